"""A fitted polynomial model as SymPy expressions, as text and as LaTeX.

Models compute in scaled inputs. Here the scale is divided out, so that an equation stands in the
data's units: in the coordinates themselves where the centre is 0, else in the distance from the
centre, for multiplying that out would leave large terms that cancel. An angle stands in its sine
and cosine. The members' coefficients are averaged, which is exactly their mean prediction from one
state, before it is put back into the observation space.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sympy
from gymnasium.spaces import Discrete
from numpy.typing import NDArray
from sympy import Symbol

from persim_gym import checks
from persim_gym.envs.suites import SUITES
from persim_gym.learned.closed_form.ensemble import PolynomialEnsemble
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.export.polynomials import (
    MOST_TERMS,
    Names,
    Polynomials,
    at,
    hierarchical,
    low_rank,
)
from persim_gym.learned.features.charted import ChartedEnsemble
from persim_gym.learned.features.ensemble import FrameEnsemble
from persim_gym.learned.geometry.geometry import TURN, Angle, Faster
from persim_gym.learned.hierarchical.model import HierarchicalModel
from persim_gym.learned.identity import Identity
from persim_gym.learned.mixture import MixtureEnsemble

#: Terms that move a change by less than this share of its standard deviation are not shown.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Equations:
    """Changes of all coordinates in one step, of an agent or of the population.

    Where angles are seen as cosine and sine, or in other units than radians, these are the changes
    of *inner* coordinates: of the angles in radians.

    Attributes:
        names: What everything is called.
        polynomials: The changes.
        agent: Whose; ``None`` for the population's.
        digits: Significant digits that are shown.
        tolerance: Terms that move a change by less than this share of its unit are not shown.
    """

    names: Names
    polynomials: Polynomials
    agent: int | str | None
    digits: int
    tolerance: float

    @property
    def arguments(self) -> tuple[str, ...]:
        """What :meth:`lambdify` takes: the state, the oldest first, the action, factors."""
        acted = ("action",) if self.names.discrete else self.names.actions
        return (*self.names.state(self.names.observed), *acted, *self.polynomials.factors)

    @cached_property
    def expressions(self) -> dict[str, Any]:
        """The change of each inner coordinate, by name: every term, in full precision.

        Discrete actions are the cases of the symbol ``action``.
        """
        values = [one.value - one.centre for one in self.polynomials.inputs]
        columns = zip(*self.polynomials.changes, strict=True)
        return {
            name: _by_action([change.as_expr(*values) for change in column])
            for name, column in zip(self.names.inner, columns, strict=True)
        }

    @cached_property
    def next_obs(self) -> dict[str, Any]:
        """The next observation in terms of :attr:`arguments`, by coordinate; bounds aside."""
        g = self.names.geometry
        place = dict(zip(g.columns, self.names.inner, strict=True))
        known: dict[Any, Any] = {}
        for back in range(self.names.lag):
            seen = [Symbol(at(name, back)) for name in self.names.observed]
            inner = {c: seen[c] for c in g.columns}
            for a in g.ordered:
                share = 0 if a.counts is None else _share(inner[a.counts.column], a.counts)
                inner[a.column] = (seen[a.column] + share) * _ratio(a.period)
            for o in g.circles:
                inner[min(o.cosine, o.sine)] = sympy.atan2(seen[o.sine], seen[o.cosine])
            known |= {Symbol(at(place[c], back)): value for c, value in inner.items()}
        after = {c: (Symbol(n) + self.expressions[n]).xreplace(known) for c, n in place.items()}
        for o in g.circles:
            turned = after[min(o.cosine, o.sine)]
            after[o.cosine], after[o.sine] = (o.radius * f(turned) for f in (sympy.cos, sympy.sin))
        for a in reversed(g.ordered):
            after[a.column] /= _ratio(a.period)
            if a.counts is not None:
                after[a.column] -= sympy.Mod(_share(after[a.counts.column], a.counts), 1)
            if a.low is not None:
                after[a.column] = a.low + sympy.Mod(after[a.column] - a.low, a.period)
        return {name: after[c] for c, name in enumerate(self.names.observed)}

    def lambdify(self) -> Callable[..., NDArray[np.float64]]:
        """A NumPy function that gives the next observation, as ``sim.predict`` does.

        It takes numbers or arrays ``[n]``, one for each of :attr:`arguments`, by place or name, and
        gives ``[d]`` or ``[n, d]``: the members' mean, within the bounds of the space and the range
        of what was recorded. On a circle the mean is that of the members' angles.

        Raises:
            ValueError: If the polynomials are too long to be compiled.
        """
        longest = max(len(change) for row in self.polynomials.changes for change in row)
        if longest > MOST_TERMS:
            raise ValueError(
                f"an equation of {longest} terms is too long to be compiled, {MOST_TERMS} are the "
                "most: fit with a lower degree"
            )
        names, following = self.arguments, list(self.next_obs.values())
        plain = sympy.lambdify([*map(Symbol, names)], following, "numpy")

        def function(*values: Any, **named: Any) -> NDArray[np.float64]:
            given = dict(zip(names, values, strict=False)) | named
            if len(values) + len(named) != len(names) or set(given) != set(names):
                raise TypeError(f"the arguments are {', '.join(names)}, each once")
            rows = [np.asarray(given[name], dtype=np.float64) for name in names]
            return np.stack(np.broadcast_arrays(*plain(*rows), *rows)[: len(following)], axis=-1)

        return function

    def latex(self) -> str:
        """What is shown, in LaTeX: a line for each coordinate."""
        texts = {one.name for one in self.polynomials.inputs} | {*self.arguments, *self.names.inner}
        names: dict[Any, str] = {Symbol(text): _latex(text) for text in texts}
        shown = [Symbol(one.shown(self.digits)) for one in self.polynomials.inputs]
        for symbol, one in zip(shown, self.polynomials.inputs, strict=True):
            value = one.value - _rounded(one.centre, self.digits)
            text = sympy.latex(value, symbol_names=names)
            names[symbol] = rf"\left({text}\right)" if value.is_Add else text
        lines = []
        for k, name in enumerate(self.names.inner):
            change = _by_action([self._shown(k, a) for a in range(len(self.polynomials.changes))])
            text = sympy.latex(change, order="none", symbol_names=names)
            lines.append(rf"\Delta {names[Symbol(name)]} &= {text}")
        return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"

    def __str__(self) -> str:
        """A line for each coordinate and action; one for all actions where they do the same."""
        lines = self._title()
        for k, name in enumerate(self.names.inner):
            shown = [self._shown(k, a) for a in range(len(self.polynomials.changes))]
            texts = [sympy.sstr(one, order="none", full_prec=False) for one in shown]
            texts = [text.replace("**", "^").replace("*", " ") for text in texts]
            if len(set(texts)) == 1:
                lines.append(f"d {name} = {texts[0]}")
                continue
            width = max(map(len, self.names.actions))
            own = zip(self.names.actions, texts, strict=True)
            lines += [f"d {name} =", *(f"    {action:<{width}}  {text}" for action, text in own)]
        return "\n".join(lines)

    def _title(self) -> list[str]:
        p, g, seen = self.polynomials, self.names.geometry, self.names.observed
        whose = "the population" if self.agent is None else f"agent {self.agent}"
        lines = [
            f"Change in one step, {whose}; coordinates in the data's units; terms that move a "
            f"change by less than {self.tolerance:g} of its deviation are left out."
        ]
        if not g.trivial:
            of = [f"of cosine {seen[o.cosine]} and sine {seen[o.sine]}" for o in g.circles]
            of += [f"of {_counted(a, seen)} with a period of {a.period:.6g}" for a in g.angles]
            lines.append(f"Inner coordinates: the angle {', the angle '.join(of)}, in radians.")
        if p.factors:
            own = ", ".join(p.factors)
            lines.append(f"An agent's own: {own}, of mean 0 and deviation 1 over the population.")
        elif p.known:
            texts = (f"v{i} = {v:.{self.digits}g}" for i, v in enumerate(p.known, start=2))
            lines.append(f"The agent's factors, multiplied in: {', '.join(texts)}.")
        return lines

    def _shown(self, k: int, action: int) -> Any:
        """What is shown of a change, the largest term first."""
        p, terms = self.polynomials, []
        symbols = [Symbol(one.shown(self.digits)) for one in p.inputs]
        for powers, c in p.changes[action][k].terms():
            usual = (one.typical**e for one, e in zip(p.inputs, powers, strict=True) if e)
            size = abs(float(c)) * math.prod(usual) / p.units[k]
            if size > self.tolerance:
                product = sympy.Mul(*map(sympy.Pow, symbols, powers))
                terms.append((size, _rounded(c, self.digits) * product))
        ordered = [term for _, term in sorted(terms, key=lambda term: -term[0])]
        # Not evaluated, for else the largest would not stay the first.
        return sympy.Add(*ordered, evaluate=len(ordered) < 2)


def equations_of(sim: Identity, agent: int | str | None, **options: Any) -> Equations:
    """The equations of a simulator, with the names of its data; options of :func:`equations`.

    Raises:
        TypeError: If the model is no polynomial.
        ValueError: If there is no such agent, or nothing was recorded of it.
    """
    index = None if agent is None else sim.agent_index(agent)
    if index is not None:
        sim.check_seen(np.array([index]))
    suite = SUITES.get(sim.task.name)
    known = sim.card.get("obs_names") or (suite.coordinates if suite else ())
    names = [re.sub(r"\s+", "_", re.sub(r"\s*\(.*?\)", "", name).strip()) for name in known]
    actions = getattr(sim.task, "action_labels", None) or sim.card.get("action_names")
    if actions is None and not isinstance(sim.task.action_space, Discrete):
        actions = [f"a{i}" for i in range(math.prod(sim.task.action_space.shape))]
    given = names if len(set(names)) == sim.ensemble.obs_dim else None
    label = sim.agent_names[index] if index is not None and sim.agent_names else agent
    return equations(
        sim.ensemble, index, coordinates=given, actions=actions, label=label, **options
    )


def equations(
    ensemble: Ensemble,
    agent: int | None = None,
    *,
    coordinates: Sequence[str] | None = None,
    actions: Sequence[str] | None = None,
    label: int | str | None = None,
    digits: int = 4,
    tolerance: float = TOLERANCE,
) -> Equations:
    """The equations of a polynomial model.

    Args:
        ensemble: The members.
        agent: Whose; ``None`` for the population's. Of a closed form these have the factors as
            symbols and are the first member's, for members agree on factors only up to a rotation;
            of a hierarchical regression they have the mean coefficients.
        coordinates: Names of the coordinates ``[d]``.
        actions: Names of the actions.
        label: What the agent is called; its index by default.
        digits: Significant digits.
        tolerance: Terms that move a change by less than this share of its deviation are left out.

    Raises:
        TypeError: If the model is no polynomial.
        ValueError: If the agent, the names or the numbers are invalid, or there are too many terms.
    """
    inner = ensemble.inner if isinstance(ensemble, ChartedEnsemble) else ensemble
    model = inner.model if isinstance(inner, FrameEnsemble) else None
    if not isinstance(inner, PolynomialEnsemble) and not isinstance(model, HierarchicalModel):
        kind = "a mixture of models" if isinstance(inner, MixtureEnsemble) else "one of networks"
        raise TypeError(
            f"this simulator is {kind}, which cannot be written as equations: fit with "
            "method='als' or method='hierarchical'"
        )
    digits = checks.positive_integer("digits", digits, 17, "an integer from 1 to 17")
    checks.number("tolerance", tolerance, 0, 1, below=True, says="in [0, 1)")
    if agent is not None and not 0 <= agent < ensemble.num_agents:
        raise ValueError(f"agent must be 0 to {ensemble.num_agents - 1}, got {agent}")
    d = ensemble.obs_dim
    if coordinates is not None and len(coordinates) != d:
        named = ", ".join(coordinates)
        raise ValueError(f"there are {d} coordinates, got {len(coordinates)} names: {named}")
    names = Names.of(ensemble, tuple(coordinates or (f"x{i}" for i in range(d))), actions)
    if isinstance(inner, PolynomialEnsemble):
        found = low_rank(inner, agent, names)
    else:
        assert isinstance(inner, FrameEnsemble)
        found = hierarchical(inner, agent, names)
    return Equations(names, found, agent if label is None else label, digits, tolerance)


def _ratio(period: float) -> float | int:
    """Radians in a unit of an angle."""
    return 1 if period == TURN else TURN / period


def _share(faster: Any, counted: Faster) -> Any:
    """How much of its round a clock at an angle has gone."""
    return faster / TURN - counted.start / counted.period


def _counted(angle: Angle, seen: Sequence[str]) -> str:
    """What an angle is of."""
    name = seen[angle.column]
    return name if angle.counts is None else f"{name} and the share of {seen[angle.counts.column]}"


def _by_action(sums: Sequence[Any]) -> Any:
    if len(set(sums)) == 1:
        return sums[0]
    cases = ((one, sympy.Eq(Symbol("action"), k)) for k, one in enumerate(sums))
    return sympy.Piecewise(*cases, evaluate=False)


def _rounded(value: Any, digits: int) -> Any:
    number = sympy.Float(f"{float(value):.{digits}g}", digits)
    return int(number) if number in (-1, 0, 1) else number


def _latex(name: str) -> str:
    if re.fullmatch(r"[A-Za-z]+\d*", name):
        return str(sympy.latex(Symbol(name)))
    escaped = re.sub(r"([#$%&_{}])", r"\\\1", re.sub(r"[\\^~]", " ", name))
    return rf"\mathrm{{{escaped}}}"
