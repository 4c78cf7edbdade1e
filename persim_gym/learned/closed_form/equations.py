"""A fitted closed form as text: the change of each coordinate as a polynomial.

A polynomial ensemble computes in scaled inputs ``(x - centre) / scale``. Here the scale is divided
out, so that an equation stands in the data's units: in the coordinates themselves where the centre
is 0, which it is wherever 0 is among the usual values; else in the distance from the centre, for
multiplying that out would leave large terms that cancel. An angle stands in its sine and cosine.
Members' coefficients are averaged: from one state that is exactly the members' mean prediction,
before it is put back into the observation space.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.envs.suites import SUITES
from persim_gym.learned.charted import ChartedEnsemble
from persim_gym.learned.closed_form.ensemble import PolynomialEnsemble
from persim_gym.learned.ensemble import Ensemble

if TYPE_CHECKING:
    from persim_gym.learned.simulator import PerSim

#: Terms that move a change by less than this share of its deviation are not shown.
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Term:
    """A coefficient times powers of inputs, and of an agent's factor.

    Attributes:
        coefficient: In the data's units.
        powers: Exponent of each input ``[q]``.
        factor: Which factor it is multiplied with, from 1 on; the first is 1, and not written.
        size: What it is at usual values, in units of the change's deviation.
    """

    coefficient: float
    powers: tuple[int, ...]
    factor: int
    size: float


@dataclass(frozen=True, slots=True)
class Equation:
    """The change of one coordinate under one action.

    Attributes:
        coordinate: Index of the coordinate.
        action: Index of the discrete action; ``None`` where actions are continuous.
        terms: What adds up to the change, the largest first.
    """

    coordinate: int
    action: int | None
    terms: tuple[Term, ...]

    def __call__(
        self, inputs: NDArray[np.float64], factors: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """The change ``[n]`` at inputs ``[n, q]``, of agents with factors ``[n, r]``."""
        total = np.zeros(len(inputs))
        for term in self.terms:
            value = term.coefficient * np.prod(inputs ** np.array(term.powers), axis=1)
            if term.factor > 1:
                if factors is None:
                    raise ValueError("these are the population's equations: factors are needed")
                value = value * factors[:, term.factor - 1]
            total += value
        return total


@dataclass(frozen=True, slots=True)
class Equations:
    """Changes of all coordinates under all actions.

    Attributes:
        equations: One for each coordinate and action.
        coordinates: Names of the coordinates ``[d]``.
        inputs: Names of what the polynomials are in ``[q]``.
        actions: Names of the discrete actions; empty where actions are continuous.
        agent: Whose; ``None`` for the population's.
        factors: The agent's factors ``[r]``; for a population their number in the data.
        digits: Significant digits that are shown.
        tolerance: Terms below this size are left out.
        centre: What is taken from each input first ``[q]``.
        angles: Columns of the state whose sines and cosines are inputs.
    """

    equations: tuple[Equation, ...]
    coordinates: tuple[str, ...]
    inputs: tuple[str, ...]
    actions: tuple[str, ...]
    agent: int | str | None
    factors: tuple[float, ...]
    digits: int
    tolerance: float
    centre: tuple[float, ...]
    angles: tuple[int, ...] = ()

    def change(
        self, states: Any, actions: Any, factors: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Changes by these equations ``[n, d]``.

        Args:
            states: ``[n, l * d]``.
            actions: ``[n]`` integers, or ``[n, a]``.
            factors: Factors of the agents ``[n, r]``; for the population's equations.
        """
        values = np.asarray(states, dtype=np.float64)
        if not self.actions:
            values = np.concatenate([values, np.asarray(actions, dtype=np.float64)], axis=1)
        inputs = values.copy()
        columns = list(self.angles)
        inputs[:, columns] = np.sin(values[:, columns])
        inputs = np.concatenate([inputs, np.cos(values[:, columns])], axis=1) - self.centre
        change = np.zeros((len(values), len(self.coordinates)))
        for equation in self.equations:
            rows = np.full(len(values), True)
            if equation.action is not None:
                rows = np.asarray(actions) == equation.action
            own = None if factors is None else factors[rows]
            change[rows, equation.coordinate] = equation(inputs[rows], own)
        return change

    def __str__(self) -> str:
        """A line for each coordinate and action; one for all actions where they do the same."""
        lines = [self._title()]
        for number, name in enumerate(self.coordinates):
            own = [e for e in self.equations if e.coordinate == number]
            texts = [self.text(equation) for equation in own]
            if len(set(texts)) == 1:
                lines.append(f"d {name} = {texts[0]}")
                continue
            lines.append(f"d {name} =")
            width = max(map(len, self.actions))
            for equation, text in zip(own, texts, strict=True):
                assert equation.action is not None
                lines.append(f"    {self.actions[equation.action]:<{width}}  {text}")
        return "\n".join(lines)

    def text(self, equation: Equation) -> str:
        """One equation's right side."""
        parts = []
        for term in equation.terms:
            powers = zip(self.inputs, term.powers, strict=True)
            names = [f"{n}^{e}" if e > 1 else n for n, e in powers if e]
            if term.factor > 1:
                names.insert(0, f"v{term.factor}")
            number = f"{abs(term.coefficient):.{self.digits}g}"
            sign = "-" if term.coefficient < 0 else "+"
            plain = [] if number == "1" and names else [number]
            parts.append((sign, " ".join([*plain, *names])))
        if not parts:
            return "0"
        first = ("-" if parts[0][0] == "-" else "") + parts[0][1]
        return first + "".join(f" {sign} {body}" for sign, body in parts[1:])

    def _title(self) -> str:
        whose = "the population" if self.agent is None else f"agent {self.agent}"
        lines = [
            f"Change in one step, {whose}; coordinates in the data's units; terms that move a "
            f"change by less than {self.tolerance:g} of its deviation are left out."
        ]
        if self.agent is None and len(self.factors) > 1:
            names = ", ".join(f"v{i}" for i in range(2, len(self.factors) + 1))
            lines.append(f"An agent's own: {names}, of mean 0 and deviation 1 over the population.")
        elif len(self.factors) > 1:
            own = (f"v{i} = {v:.{self.digits}g}" for i, v in enumerate(self.factors[1:], start=2))
            lines.append(f"The agent's factors, multiplied in: {', '.join(own)}.")
        return "\n".join(lines)


def equations_of(sim: PerSim, agent: int | str | None, **options: Any) -> Equations:
    """The equations of a simulator, with the names of its data; options of :func:`equations`.

    Raises:
        TypeError: If the simulator is one of networks.
        ValueError: If there is no such agent, or nothing was recorded of it.
    """
    index = None if agent is None else sim.agent_index(agent)
    if index is not None:
        sim.check_seen(np.array([index]))
    d = sim.ensemble.obs_dim
    suite = SUITES.get(sim.task.name)
    known = sim.card.get("obs_names") or (suite.coordinates if suite else ())
    names = [re.sub(r"\s+", "_", re.sub(r"\s*\(.*?\)", "", name).strip()) for name in known]
    return equations(
        sim.ensemble,
        index,
        coordinates=names if len(names) == d else None,
        actions=sim.card.get("action_names"),
        label=agent,
        **options,
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
    """The equations of a fit in closed form.

    Args:
        ensemble: The members.
        agent: Whose; ``None`` for the population's, with the factors as symbols: then of the
            first member, for members agree on the factors only up to a rotation.
        coordinates: Names of the coordinates ``[d]``.
        actions: Names of the actions.
        label: What the agent is called; its index by default.
        digits: Significant digits.
        tolerance: Terms that move a change by less than this share of its deviation are left out.

    Raises:
        TypeError: If the fit is one of networks, which have no equations to show.
        ValueError: If the agent, the names or the numbers are invalid.
    """
    if isinstance(ensemble, ChartedEnsemble):  # those of its inner coordinates
        given = tuple(coordinates or (f"x{i}" for i in range(ensemble.obs_dim)))
        coordinates = ensemble.geometry.names(given)
        ensemble = ensemble.inner
    if not isinstance(ensemble, PolynomialEnsemble):
        raise TypeError(
            "this simulator is one of networks, which have no equations to show: fit with "
            "method='als'"
        )
    digits = checks.positive_integer("digits", digits, 17, "an integer from 1 to 17")
    checks.number("tolerance", tolerance, 0, 1, below=True, says="in [0, 1)")
    if agent is not None and not 0 <= agent < ensemble.num_agents:
        raise ValueError(f"agent must be 0 to {ensemble.num_agents - 1}, got {agent}")
    d, lag, past, units = ensemble.obs_dim, ensemble.lag, ensemble.past, ensemble.inputs
    names = tuple(coordinates or (f"x{i}" for i in range(d)))
    if len(names) != d:
        raise ValueError(f"there are {d} coordinates, got {len(names)} names: {', '.join(names)}")
    choices = ensemble.weights.shape[1]
    width = len(units.centre) - d * lag - past * (lag - 1)
    named = list(actions or ())
    if len(named) != (choices if ensemble.discrete else width):
        named = [f"action {i}" if ensemble.discrete else f"a{i}" for i in range(choices + width)]
        named = named[:choices] if ensemble.discrete else named[:width]
    taken = named[1:] if ensemble.discrete else named
    columns = []
    for back in reversed(range(lag)):
        columns += [name if back == 0 else f"{name}[-{back}]" for name in names]
        columns += [f"{name}[-{back}]" for name in taken if back and past]
    if not ensemble.discrete:
        columns += named

    weights = ensemble.weights.double() * ensemble.scale.double()
    if agent is None:
        loads = weights[0]
        factors = (1.0,) * ensemble.rank
    else:
        own = ensemble.factors[:, agent].double()
        loads = (weights * own[:, None, :, None, None]).sum(2, keepdim=True).mean(0)
        factors = tuple(own.mean(0).tolist())
    loads_ = loads.cpu().numpy()  # [A, r, P, d]
    extra = len(units.angles)
    centre = np.append(units.centre.double().cpu().numpy(), np.zeros(extra))
    scale = np.append(units.scale.double().cpu().numpy(), np.ones(extra))
    exponents = ensemble.monomials.exponents
    divided = loads_ / np.prod(scale**exponents, axis=1)[None, None, :, None]
    # A scale is twice a deviation: a scaled coordinate is about one half.
    typical = np.prod(0.5**exponents, axis=1)[None, None, :, None]
    sizes = np.abs(loads_) * typical / ensemble.scale.double().cpu().numpy()
    found = []
    for coordinate, action in itertools.product(range(d), range(choices)):
        size = sizes[action, :, :, coordinate]
        kept = np.argwhere(size > tolerance)
        kept = kept[np.argsort(-size[kept[:, 0], kept[:, 1]], kind="stable")]
        terms = tuple(
            Term(
                float(divided[action, r, p, coordinate]),
                tuple(exponents[p].tolist()),
                int(r) + 1,
                float(size[r, p]),
            )
            for r, p in kept
        )
        found.append(Equation(coordinate, action if ensemble.discrete else None, terms))
    shown = [
        name if not c else f"({name} {'-' if c > 0 else '+'} {abs(c):.{digits}g})"
        for name, c in zip(units.names(columns), centre, strict=True)
    ]
    return Equations(
        tuple(found),
        names,
        tuple(shown),
        tuple(named) if ensemble.discrete else (),
        label if label is not None else agent,
        factors,
        digits,
        tolerance,
        tuple(centre.tolist()),
        units.angles,
    )


def rounded(found: Equations) -> Equations:
    """The same with coefficients as they are printed: what a reader would compute with."""
    return replace(
        found,
        equations=tuple(
            replace(
                equation,
                terms=tuple(
                    replace(term, coefficient=float(f"{term.coefficient:.{found.digits}g}"))
                    for term in equation.terms
                ),
            )
            for equation in found.equations
        ),
    )
