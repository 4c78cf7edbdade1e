"""Polynomial models of every kind as polynomials of named inputs, in the data's units."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import sympy
from sympy import Symbol

from persim_gym.learned.closed_form.ensemble import PolynomialEnsemble
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.features.charted import ChartedEnsemble
from persim_gym.learned.features.ensemble import FrameEnsemble
from persim_gym.learned.geometry.geometry import TURN, Geometry
from persim_gym.learned.hierarchical.model import HierarchicalModel

#: Terms of one equation up to which Python compiles it.
MOST_TERMS = 2000


class Input(NamedTuple):
    """What a polynomial is in.

    Attributes:
        name: As it is shown.
        value: In terms of the inner coordinates, the action and factors.
        centre: What is taken from it first.
        typical: How far from the centre it usually is.
    """

    name: str
    value: Any
    centre: float = 0.0
    typical: float = 1.0

    def shown(self, digits: int) -> str:
        """The name, with what is taken from it."""
        sign = "-" if self.centre > 0 else "+"
        return f"({self.name} {sign} {abs(self.centre):.{digits}g})" if self.centre else self.name


class Polynomials(NamedTuple):
    """Changes of the inner coordinates.

    Attributes:
        inputs: What they are in ``[q]``.
        changes: A polynomial of SymPy's sparse ring for each action and coordinate.
        units: Standard deviations of the changes ``[c]``.
        factors: Symbols of an agent's factors but the first, which is 1, where they stand.
        known: The agent's factors but the first, where they are multiplied in.
    """

    inputs: tuple[Input, ...]
    changes: tuple[tuple[Any, ...], ...]
    units: tuple[float, ...]
    factors: tuple[str, ...] = ()
    known: tuple[float, ...] = ()


class Names(NamedTuple):
    """What everything is called.

    Attributes:
        observed: The observation's coordinates ``[d]``.
        geometry: Which of them are angles.
        inner: The inner coordinates ``[c]``.
        actions: The discrete actions, or the numbers of a continuous one.
        discrete: Which of the two.
        past: What a state holds of a past action.
        lag: Observations of a state.
    """

    observed: tuple[str, ...]
    geometry: Geometry
    inner: tuple[str, ...]
    actions: tuple[str, ...]
    discrete: bool
    past: tuple[str, ...]
    lag: int

    @classmethod
    def of(
        cls, ensemble: Ensemble, observed: tuple[str, ...], actions: Sequence[str] | None
    ) -> Names:
        """The names for a model; actions are numbered where the names given are not theirs."""
        geometry, model, lag = Geometry(len(observed)), ensemble, ensemble.lag
        if isinstance(model, ChartedEnsemble):
            geometry, model = model.geometry, model.inner
        named = tuple(actions or ())
        if isinstance(model, FrameEnsemble):
            frame, geometry = model.frame, model.frame.geometry
            first = len(geometry.plain) + 2 * len(geometry.periodic)
            first += (lag - 1) * (geometry.size + frame.past)
            discrete = frame.choices > 0
            size = frame.choices or frame.past or max(frame.kept[-1] + 1 - first, len(named))
        else:
            assert isinstance(model, PolynomialEnsemble)
            discrete = model.discrete
            width = len(model.inputs.centre) - model.obs_dim * lag - model.past * (lag - 1)
            size = model.weights.shape[1] if discrete else width
        if len(named) != size or {*named} & {*observed}:
            named = tuple(f"action {i}" if discrete else f"a{i}" for i in range(size))
        inner = list(geometry.names(observed))
        for a in geometry.angles:
            if a.period != TURN or a.counts:  # the angle has another value than the coordinate
                inner[geometry.columns.index(a.column)] = f"angle({observed[a.column]})"
        past = (named[1:] if discrete else named) if ensemble.past else ()
        return cls(observed, geometry, tuple(inner), named, discrete, past, lag)

    def state(self, names: Sequence[str]) -> list[str]:
        """Columns of a state without the action before it, the oldest first."""
        found: list[str] = []
        for back in reversed(range(self.lag)):
            found += [at(name, back) for name in (*names, *(self.past if back else ()))]
        return found


def low_rank(e: PolynomialEnsemble, agent: int | None, names: Names) -> Polynomials:
    """Those of a closed form; of the first member with factors as symbols where no agent is."""
    columns = names.state(names.inner) + ([] if e.discrete else list(names.actions))
    values: list[Any] = [Symbol(name) for name in columns]
    values += [sympy.cos(values[i]) for i in e.inputs.angles]
    for i in e.inputs.angles:
        values[i] = sympy.sin(values[i])
    more = [0.0] * len(e.inputs.angles)
    centre = e.inputs.centre.tolist() + more
    usual = [scale / 2 for scale in e.inputs.scale.tolist()] + [0.5 for _ in more]
    loads = e.weights.double() * e.scale.double()  # [m, A, r, P, d]
    known: tuple[float, ...] = ()
    if agent is None:
        loads = loads[0]
    else:
        personal = e.factors[:, agent].double()
        loads = (loads * personal[:, None, :, None, None]).sum(2, keepdim=True).mean(0)
        known = tuple(personal.mean(0)[1:].tolist())
    rank = loads.shape[1]
    factors = tuple(f"v{i}" for i in range(2, rank + 1))
    inputs = [Input(name, Symbol(name)) for name in factors]
    inputs += map(Input, e.inputs.names(columns), values, centre, usual)
    ring, *_ = sympy.ring([f"g{i}" for i in range(len(inputs))], sympy.RR)
    exponents = e.monomials.exponents
    # The first factor is 1; a scale is twice what is usual.
    own = np.eye(rank, rank - 1, -1, int).tolist()
    powers = [(*factor, *power) for factor in own for power in exponents.tolist()]
    divided = loads.numpy(force=True) / np.prod((2 * np.array(usual)) ** exponents, axis=1)[:, None]
    rows = divided.transpose(0, 3, 1, 2).reshape(len(divided), e.obs_dim, -1).tolist()
    changes = tuple(
        tuple(ring.from_dict(dict(zip(powers, row, strict=True))) for row in of_action)
        for of_action in rows
    )
    return Polynomials(tuple(inputs), changes, tuple(e.scale.tolist()), factors, known)


def hierarchical(e: FrameEnsemble, agent: int | None, names: Names) -> Polynomials:
    """Those of a hierarchical regression; of the mean coefficients where no agent is.

    Raises:
        ValueError: If there are too many terms.
    """
    assert isinstance(e.model, HierarchicalModel)
    frame, model, basis = e.frame, e.model, e.model.basis
    if len(basis) > MOST_TERMS:
        raise ValueError(
            f"equations of {len(basis)} terms are too long to be read, {MOST_TERMS} are the most: "
            "fit with a lower degree"
        )
    own = model.prior_mean if agent is None else model.factors[:, agent].double().mean(0)
    loads = (own.double().view(model.outputs, -1) * frame.unit.double()[:, None]).tolist()
    features, first = _features(names)
    centre, scale = (part.double().tolist() for part in (frame.centre, frame.scale))
    # As they are where zero is a usual value: a law that is odd or even is short around it.
    inputs = [
        Input(*features[column], 0.0 if abs(c) < s else c, s)
        for column, c, s in zip(frame.kept, centre, scale, strict=True)
    ]
    ring, *gens = sympy.ring([f"g{i}" for i in range(len(inputs))], sympy.RR)
    changes = []
    for action in range(max(1, frame.choices)):
        tables = []
        for j, column in enumerate(frame.kept):
            x = gens[j] + inputs[j].centre
            if frame.choices and column >= first:
                x = ring(float(column - first + 1 == action))
            z = (x - centre[j]) / scale[j]
            tables.append(_polynomials(z, basis.shift[j].tolist(), basis.size[j].tolist()))
        phi = [
            math.prod((tables[j][k] for j, k in enumerate(term) if k), start=ring.one)
            for term in basis.terms.tolist()
        ]
        changes.append(tuple(sum(map(operator.mul, phi, row), ring.zero) for row in loads))
    return Polynomials(tuple(inputs), tuple(changes), tuple(frame.unit.tolist()))


def _polynomials(z: Any, shifts: Sequence[float], sizes: Sequence[float]) -> list[Any]:
    """The orthonormal polynomials of one scaled input, by their recurrence."""
    found = [z.ring.one]
    for k, (shift, size) in enumerate(zip(shifts, sizes, strict=True)):
        if not math.isfinite(size):
            break
        following = (z - shift) * found[k] - (sizes[k - 1] * found[k - 1] if k else 0)
        found.append(following / size)
    return found


def _features(names: Names) -> tuple[list[tuple[str, Any]], int]:
    """Names and values of a frame's features, and the place of the first action."""
    g, inner = names.geometry, [(name, Symbol(name)) for name in names.inner]
    turning = [inner[k] for k in g.periodic]
    found: list[tuple[str, Any]] = [inner[k] for k in g.plain]
    found += [(f"cos({name})", sympy.cos(x)) for name, x in turning]
    found += [(f"sin({name})", sympy.sin(x)) for name, x in turning]
    for back, (k, name) in itertools.product(range(1, names.lag), enumerate(names.inner)):
        newer, older = at(name, back - 1), at(name, back)
        step = Symbol(newer) - Symbol(older)
        if k in g.periodic:
            step -= TURN * sympy.floor(step / TURN + sympy.Rational(1, 2))
        found.append((f"({newer} - {older})", step))
    past = [at(name, back) for back in range(1, names.lag) for name in names.past]
    acted = names.actions[1:] if names.discrete else names.actions
    return found + [(name, Symbol(name)) for name in (*past, *acted)], len(found) + len(past)


def at(name: str, back: int) -> str:
    """What a column is called some steps back."""
    return f"{name}[-{back}]" if back else name
