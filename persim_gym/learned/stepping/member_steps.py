"""`MemberSteps`: a step of all members for environments: what is followed, and how far they differ.

Compiled where that can be had, in torch elsewhere; either way put back into the space.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from persim_gym.learned.dynamics import LearnedDynamics
from persim_gym.learned.ensemble import Ensemble, before_bounds
from persim_gym.learned.stepping.compile import compile_ensemble, settle
from persim_gym.learned.stepping.steps import CompiledSteps
from persim_gym.threads import few_threads

#: Propagations that follow single members.
MEMBERS = ("random_member", "fixed_member")
#: Distance from a bound, in units of it, within which single precision does not say on which side.
CLOSE = 1e-5
#: Disagreement whose square single precision may not hold.
OVERFLOWS = 1e15


#: Least and largest observations ``[d]`` of all rows, and the largest disagreement.
Extremes: TypeAlias = "tuple[list[float], list[float], float]"


@dataclass(slots=True)
class Followed:
    """One step of ``n`` rows.

    Attributes:
        next_obs: Next observations ``[n, d]``.
        deviation: Disagreement ``[n]``.
        clipped: Coordinates put back into the space ``[n]``.
        extremes: Extremes of ``next_obs`` and ``deviation``, where they are known.
    """

    next_obs: NDArray[np.float64]
    deviation: NDArray[np.float64]
    clipped: NDArray[np.int64]
    extremes: Extremes | None = None


def _extremes(obs: NDArray[np.float64], deviation: NDArray[np.float64]) -> Extremes:
    """Of observations ``[d, n]`` and disagreement ``[n]``."""
    least, most = np.minimum.reduce(obs, axis=1), np.maximum.reduce(obs, axis=1)
    return least.tolist(), most.tolist(), float(np.maximum.reduce(deviation))


class MemberSteps:
    """Steps of a simulator's members.

    Args:
        sim: The simulator.
        propagation: Its name: one that follows single members, or their mean.
    """

    def __init__(self, sim: LearnedDynamics, propagation: str) -> None:
        self._sim = sim
        self._single = propagation in MEMBERS
        limits = sim.ensemble.limits
        #: Least and largest observations ``[d]``.
        self.space = low, high = tuple(bound.double().cpu().numpy() for bound in limits)
        self._bounds = low[:, None], high[:, None]
        near = [CLOSE * np.where(np.isfinite(bound), np.abs(bound), 0.0) for bound in (low, high)]
        well_inside = low + near[0], high - near[1]
        # No member is further from their mean than this times the disagreement [d].
        root = math.sqrt(sim.members * sim.ensemble.obs_dim)
        self._unit = sim.experience.change_scale.astype(np.float64)
        self._reach = root * self._unit
        rows = (*well_inside, self._reach)
        self._by_coordinate = list(zip(*(part.tolist() for part in rows), strict=True))
        self._compiled: tuple[Ensemble | None, CompiledSteps | None] = None, None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is made anew in no time."""
        return {**self.__dict__, "_compiled": (None, None)}

    def rows(
        self,
        agents: NDArray[np.int64],
        states: NDArray[np.float64],
        actions: NDArray[Any],
        kept: NDArray[np.int64],
    ) -> Followed:
        """One step of ``n`` rows.

        Args:
            agents: ``[n]``.
            states: ``[n, ...]``.
            actions: ``[n]`` or ``[n, a]``.
            kept: The member of each row ``[n]``, where single ones are followed.
        """
        compiled = self.ready()
        if compiled is None:
            return self._in_torch(agents, states, actions, kept)
        return self._stepped(compiled, agents, states, actions, kept)

    def row(
        self, agent: int, state: Sequence[float], action: Any, kept: int
    ) -> tuple[list[float], float] | None:
        """The next observation ``[d]`` and the disagreement of one row, in plain numbers.

        ``None`` where it takes more: nothing compiled is to be had, a member may be over a bound,
        or something is not finite.
        """
        compiled = self.ready()
        if compiled is None:
            return None
        following, apart, deviation = compiled.row(agent)(state, action)
        if not (deviation < OVERFLOWS and self._within(following, following, deviation)):
            return None
        if self._single:
            d = len(following)
            own = apart[kept * d : (kept + 1) * d] * self._reach
            following = [x + y for x, y in zip(following, own.tolist(), strict=True)]
        return following, deviation

    def ready(self) -> CompiledSteps | None:
        """The simulator made ready for stepping, or ``None`` where it is not to be had."""
        made_of, compiled = self._compiled
        if made_of is not self._sim.ensemble:
            compiled = compile_ensemble(self._sim.ensemble, self._unit, compiled)
            self._compiled = self._sim.ensemble, compiled
        return compiled

    def _stepped(
        self,
        compiled: CompiledSteps,
        agents: NDArray[np.int64],
        states: NDArray[np.float64],
        actions: NDArray[Any],
        kept: NDArray[np.int64],
    ) -> Followed:
        n, d = len(agents), len(self._unit)
        flat = states.T if states.ndim == 2 else states.reshape(n, -1).T
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is found later
            change, contrasts = compiled.change(agents, flat, actions)  # [d, n], [k, n]
            following = middle = change.astype(np.float64)
            middle += flat[-d:]
            if self._single:
                own = compiled.axes @ contrasts  # [m, d, n]
                following = middle + own[kept, :, np.arange(n)].T
            squares = np.einsum("kn,kn->n", contrasts, contrasts)
            deviation = np.sqrt(squares).astype(np.float64)
            clipped = np.zeros(n, dtype=np.int64)
            extremes = _extremes(middle, deviation)
            if not self._within(*extremes):
                near = self._near(middle, deviation, extremes)
                if len(near):
                    members = middle[:, near] + compiled.axes @ contrasts[:, near]
                    if not self._inside(members):
                        found = self._settle(members, kept[near])
                        following[:, near], deviation[near], clipped[near] = found
                        extremes = _extremes(following, deviation)
        return Followed(following.T, deviation, clipped, None if self._single else extremes)

    def _near(
        self, middle: NDArray[np.float64], deviation: NDArray[np.float64], extremes: Extremes
    ) -> NDArray[np.int64]:
        """Rows of which a member may be over a bound, by their mean ``[d, n]``."""
        least, most, largest = extremes
        near = np.zeros(len(deviation), dtype=np.bool_)
        for own, x, y, bounds in zip(middle, least, most, self._by_coordinate, strict=True):
            low, high, reach = bounds
            if not x - largest * reach >= low:
                near |= ~(own - reach * deviation >= low)
            if not y + largest * reach <= high:
                near |= ~(own + reach * deviation <= high)
        return near.nonzero()[0]

    def _inside(self, raw: NDArray[np.float64]) -> bool:
        """Whether members' predictions ``[m, d, k]`` are in the space as they are."""
        low, high = self._bounds
        return bool(((raw >= low) & (raw <= high) & np.isfinite(raw)).all())

    def _within(self, least: list[float], most: list[float], deviation: float) -> bool:
        """Whether no member can be over a bound where their mean is between these ``[d]``."""
        for x, y, (low, high, reach) in zip(least, most, self._by_coordinate, strict=True):
            if not (x - deviation * reach >= low and y + deviation * reach <= high):
                return False
        return True

    def _settle(
        self, raw: NDArray[np.float64], kept: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Members' predictions ``[m, d, k]``, settled; what is followed is ``[d, k]``."""
        low, high = self._bounds
        outside = (raw < low) | (raw > high)
        members = settle(raw, self._sim.ensemble, low, high)
        mean = np.add.reduce(members, axis=0) / len(members)
        apart = (members - mean) / self._reach[:, None]
        deviation = np.sqrt(np.einsum("mdk,mdk->k", apart, apart))
        deviation[deviation > OVERFLOWS] = np.inf
        if not self._single:
            return mean, deviation, outside.any(axis=0).sum(axis=0)
        rows = np.arange(len(kept))
        return members[kept, :, rows].T, deviation, outside[kept, :, rows].sum(axis=1)

    def _in_torch(
        self,
        agents: NDArray[np.int64],
        states: NDArray[np.float64],
        actions: NDArray[Any],
        kept: NDArray[np.int64],
    ) -> Followed:
        """The same in torch, wherever it is computed."""
        sim, n = self._sim, len(agents)
        device = sim.device
        flat = np.ascontiguousarray(states, dtype=np.float32).reshape(n, -1)
        acted = actions.astype(np.float32) if actions.dtype.kind == "f" else actions
        with few_threads(sim.members * n, sim.ensemble.widths, device):
            parts = (torch.as_tensor(part, device=device) for part in (agents, flat, acted))
            raw = before_bounds(sim.ensemble, *parts)
            members = sim.ensemble.settle(raw)
            low, high = (torch.as_tensor(bound).to(raw) for bound in self.space)
            over = ((raw < low) | (raw > high)).cpu().numpy()
            deviation = sim.disagreement_of(members).cpu().numpy().astype(np.float64)
        if not self._single:
            following, outside = members.mean(0).cpu().numpy(), over.any(0)
        else:
            rows = np.arange(n)
            following, outside = members.cpu().numpy()[kept, rows], over[kept, rows]
        return Followed(following.astype(np.float64), deviation, outside.sum(axis=1))
