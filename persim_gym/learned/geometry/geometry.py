"""Coordinates that are angles in disguise: pairs on a circle, and values that wrap.

Models are fitted in *inner* coordinates, in which such a pair or value is one angle in radians.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

TURN = 2 * math.pi


@dataclass(frozen=True, slots=True)
class Circle:
    """Two coordinates that lie on a circle around the origin.

    Attributes:
        cosine: Column of the one, the radius times the angle's cosine.
        sine: Column of the other, the radius times its sine.
        radius: The radius.
    """

    cosine: int
    sine: int
    radius: float = 1.0


@dataclass(frozen=True, slots=True)
class Faster:
    """The clock whose rounds another one counts: the hour is the weekday's.

    Attributes:
        column: Its column.
        period: A full turn in its units.
        start: Value at which a round begins.
    """

    column: int
    period: float
    start: float


@dataclass(frozen=True, slots=True)
class Angle:
    """A coordinate that is an angle.

    Attributes:
        column: Its column.
        period: A full turn in its units.
        low: Least value of the range that it is wrapped into; ``None`` where it goes on and on.
        counts: The clock whose rounds it counts, one by one. The angle is then of this count and
            the share of the present round: it goes on evenly, where the coordinate goes in steps.
    """

    column: int
    period: float = TURN
    low: float | None = None
    counts: Faster | None = None


@dataclass(frozen=True, slots=True)
class Geometry:
    """Which coordinates of an observation are angles.

    Inner coordinates stand in the order of the columns; a circle's angle stands where the first of
    its two columns does.

    Attributes:
        obs_dim: Coordinates ``d`` of an observation.
        circles: Pairs on a circle.
        angles: Coordinates that are angles.

    Raises:
        ValueError: If a column does not exist, or has two meanings.
    """

    obs_dim: int
    circles: tuple[Circle, ...] = ()
    angles: tuple[Angle, ...] = ()
    #: Column of each inner coordinate ``[c]``; of a circle the first one.
    columns: tuple[int, ...] = field(init=False, compare=False, default=())
    #: Inner coordinates that are angles.
    periodic: tuple[int, ...] = field(init=False, compare=False, default=())
    #: The angles, each after the one whose rounds it counts.
    ordered: tuple[Angle, ...] = field(init=False, compare=False, default=())

    def __post_init__(self) -> None:
        """Refuse columns that cannot be, and place the inner coordinates."""
        used = [c for o in self.circles for c in (o.cosine, o.sine)]
        used += [a.column for a in self.angles]
        for column in used:
            if not 0 <= column < self.obs_dim:
                raise ValueError(f"column {column} is none of {self.obs_dim} coordinates")
            if used.count(column) > 1:
                raise ValueError(f"column {column} is of two angles: declare it in one place")
        second = {max(o.cosine, o.sine) for o in self.circles}
        columns = tuple(c for c in range(self.obs_dim) if c not in second)
        turning = {min(o.cosine, o.sine) for o in self.circles} | {a.column for a in self.angles}
        periodic = tuple(k for k, column in enumerate(columns) if column in turning)
        object.__setattr__(self, "ordered", _ordered(self.angles))
        object.__setattr__(self, "columns", columns)
        object.__setattr__(self, "periodic", periodic)

    @property
    def size(self) -> int:
        """Number of inner coordinates ``c``."""
        return len(self.columns)

    @property
    def plain(self) -> tuple[int, ...]:
        """Inner coordinates that are no angles."""
        return tuple(k for k in range(self.size) if k not in self.periodic)

    @property
    def turning(self) -> tuple[int, ...]:
        """Columns of observations that are of angles."""
        pairs = [c for o in self.circles for c in (o.cosine, o.sine)]
        return tuple(sorted([*pairs, *(a.column for a in self.angles)]))

    @property
    def trivial(self) -> bool:
        """Whether inner coordinates are the observation's own."""
        unwrapped = all(a.low is None is a.counts and a.period == TURN for a in self.angles)
        return not self.circles and unwrapped

    def inward(self, obs: Tensor) -> Tensor:
        """Observations ``[..., d]`` -> inner coordinates ``[..., c]``; angles in radians."""
        if self.trivial:
            return obs
        inner = obs[..., list(self.columns)]
        place = {column: k for k, column in enumerate(self.columns)}
        for o in self.circles:
            turned = torch.atan2(obs[..., o.sine], obs[..., o.cosine])
            inner[..., place[min(o.cosine, o.sine)]] = turned
        for a in self.ordered:
            if (f := a.counts) is not None:
                faster = inner[..., place[f.column]] * (f.period / TURN)
                # Not wrapped: noise that leaves a round at its end does not begin the next one.
                inner[..., place[a.column]] += (faster - f.start) / f.period
            inner[..., place[a.column]] *= TURN / a.period
        return inner

    def inward_states(self, states: Tensor, past: int) -> Tensor:
        """The same of states ``[..., l * w]``, whose slots begin with past actions ``[b]``."""
        if self.trivial:
            return states
        slot = states.unflatten(-1, (-1, past + self.obs_dim))
        inner = self.inward(slot[..., past:])
        return torch.cat([slot[..., :past], inner], dim=-1).flatten(-2)

    def outward(self, inner: Tensor) -> Tensor:
        """Inner coordinates ``[..., c]`` -> observations ``[..., d]``, pairs on their circles."""
        if self.trivial:
            return inner
        obs = inner.new_empty((*inner.shape[:-1], self.obs_dim))
        obs[..., list(self.columns)] = inner
        place = {column: k for k, column in enumerate(self.columns)}
        for o in self.circles:
            turned = inner[..., place[min(o.cosine, o.sine)]]
            obs[..., o.cosine] = o.radius * turned.cos()
            obs[..., o.sine] = o.radius * turned.sin()
        for a in self.angles:
            value = inner[..., place[a.column]] * (a.period / TURN)
            if (f := a.counts) is not None:
                faster = inner[..., place[f.column]] * (f.period / TURN)
                value = value - torch.remainder(faster - f.start, f.period) / f.period
            if a.low is not None:
                value = a.low + torch.remainder(value - a.low, a.period)
            obs[..., a.column] = value
        return obs

    def between(self, before: Tensor, after: Tensor) -> Tensor:
        """Differences of inner coordinates ``[..., c]``, of angles the shorter way round."""
        change = after - before
        if self.periodic:
            turned = change[..., list(self.periodic)]
            change[..., list(self.periodic)] = turned - TURN * torch.round(turned / TURN)
        return change

    def difference(self, obs: Tensor, next_obs: Tensor) -> Tensor:
        """Changes ``[..., c]`` between observations ``[..., d]``, in double precision."""
        return self.between(self.inward(obs.double()), self.inward(next_obs.double()))

    def bounds(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds of observations ``[d]`` as those of inner coordinates: angles have none."""
        if self.trivial:
            return low, high
        ends = low[list(self.columns)].clone(), high[list(self.columns)].clone()
        for end, infinite in zip(ends, (-math.inf, math.inf), strict=True):
            end[list(self.periodic)] = infinite
        return ends

    def names(self, obs_names: Sequence[str]) -> tuple[str, ...]:
        """Names of the inner coordinates, after those of the columns ``[d]``."""
        found = {c: obs_names[c] for c in self.columns}
        for o in self.circles:
            found[min(o.cosine, o.sine)] = f"angle({obs_names[o.cosine]}, {obs_names[o.sine]})"
        return tuple(found[c] for c in self.columns)

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {
            "obs_dim": self.obs_dim,
            "circles": [[o.cosine, o.sine, o.radius] for o in self.circles],
            "angles": [
                [a.column, a.period, a.low]
                + ([] if (f := a.counts) is None else [[f.column, f.period, f.start]])
                for a in self.angles
            ],
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Geometry:
        """What :meth:`to_json` has given.

        Raises:
            KeyError: If something is missing.
            TypeError: If something is of another type.
            ValueError: If columns do not fit together.
        """
        circles: Iterable[Any] = plain["circles"]
        angles: Iterable[Any] = plain["angles"]
        return cls(
            int(plain["obs_dim"]),
            tuple(Circle(int(c), int(s), float(r)) for c, s, r in circles),
            tuple(Angle(int(c), float(p), None if low is None else float(low),
                        *(Faster(int(k), float(turn), float(start)) for k, turn, start in counts))
                  for c, p, low, *counts in angles),
        )  # fmt: skip


def _ordered(angles: tuple[Angle, ...]) -> tuple[Angle, ...]:
    """Angles, each after the one whose rounds it counts.

    Raises:
        ValueError: If one counts what is no other clock's rounds.
    """
    found: list[Angle] = []
    left = list(angles)
    while left:
        known = {a.column for a in found if a.low is not None}
        ready = [a for a in left if a.counts is None or a.counts.column in known]
        if not ready:
            column = left[0].column
            raise ValueError(f"column {column} counts rounds of a column that is no other clock")
        found += ready
        left = [a for a in left if a not in ready]
    return tuple(found)
