"""What the rollouts of all candidates have earned so far."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(slots=True)
class Tally:
    """Of each member, problem and candidate ``[m, p, k]``: earned, reached, lost, still running.

    It takes several steps at a time, ``w``: what there is to do for a step is so little that
    with few candidates its operations would cost more than the dynamics'.

    Candidates whose episode is over may be dropped; what they have earned waits in ``full``.

    Attributes:
        total: Rewards so far.
        best: Largest value of the coordinate that is watched.
        lost: Whether the numbers were left before the end.
        alive: Whether the episode still runs.
        all_alive: Whether all of them do, as far as is known without waiting for a device.
        rows: The candidates that are left ``[p, k]``.
        floors: The least that each of all candidates can come to ``[p, k]``; ``None`` where that
            was not asked for.
    """

    total: Tensor
    best: Tensor
    lost: Tensor
    alive: Tensor
    rows: Tensor
    all_alive: bool
    full: tuple[Tensor, Tensor, Tensor] | None = None
    floors: Tensor | None = None

    @classmethod
    def begin(cls, like: Tensor) -> Tally:
        """Nothing earned by rollouts whose observations ``like`` is ``[m, p, k, d]``."""
        shape, device = like.shape[:3], like.device
        _, problems, candidates = shape
        return cls(
            total=torch.zeros(shape, dtype=like.dtype, device=device),
            best=torch.full(shape, -torch.inf, dtype=like.dtype, device=device),
            lost=torch.zeros(shape, dtype=torch.bool, device=device),
            alive=torch.ones(shape, dtype=torch.bool, device=device),
            rows=torch.arange(candidates, device=device).expand(problems, candidates),
            all_alive=device.type == "cpu",
        )

    def running(self, ended: Tensor) -> Tensor | None:
        """Which rollouts run in each of the next steps: those that have not ended before it.

        Args:
            ended: Whether their episodes end in these steps ``[w, m, p, k]``.

        Returns:
            ``[w, m, p, k]``, or ``None`` where all run and none ends.
        """
        if self.all_alive:
            # On a processor it is quick to see that none ends; elsewhere it is a wait.
            if not bool(ended.any()):
                return None
            self.all_alive = False
        runs = torch.empty_like(ended)
        steps, ends = runs.unbind(0), ended.unbind(0)
        steps[0].copy_(self.alive)
        for i in range(1, len(steps)):
            torch.gt(steps[i - 1], ends[i - 1], out=steps[i])  # of booleans: and not
        self.alive = steps[-1] & ~ends[-1]
        return runs

    def count(self, reward: Tensor, obs: Tensor, runs: Tensor | None, watched: int | None) -> None:
        """Add some steps.

        Args:
            reward: Rewards, of the shape of ``runs`` or one that is broadcast to it.
            obs: Observations ``[w, m, p, k, d]``.
            runs: What :meth:`running` has said of these steps.
            watched: The coordinate whose largest value counts.
        """
        if runs is None:
            self.total += reward.sum(0) if len(reward) == len(obs) else len(obs) * reward[0]
        else:
            self.total += torch.where(runs, reward, 0.0).sum(0)
        if watched is not None:
            value = obs[..., watched]
            if runs is not None:
                value = torch.where(runs, value, -torch.inf)
            self.best = torch.maximum(self.best, value.amax(0))
        if obs.device.type == "cpu":
            # One sum of all shows that nothing is lost; if it overflows, each is checked.
            checksum = float(obs.sum())
            if checksum - checksum == 0:
                return
        checksums = obs.sum(-1)
        bad = (checksums - checksums) != 0  # nan and infinity, minus themselves, are nan
        self.lost |= (bad if runs is None else runs & bad).any(0)

    def in_play(self, leading: int | None, most_cost: float) -> Tensor:
        """Candidates ``[p, k]`` that run, and may still be among those that matter.

        Args:
            leading: How many of the best candidates matter, where no reward is above 0; ``None``
                for all.
            most_cost: What a rollout can still cost to its end.
        """
        runs = self.alive.any(dim=0)
        if leading is None:
            return runs
        least = _averages(torch.where(self.alive, self.total - most_cost, self.total), self.lost)
        if self.floors is None:
            self.floors = least.clone()
        self.floors.scatter_(1, self.rows, least)
        so_far = _averages(self.total, self.lost)
        return runs & (so_far >= self.floors.topk(leading, dim=1).values[:, -1:])

    def keep(self, candidates: Tensor) -> None:
        """Go on with some of the candidates ``[p, k']``."""
        self.full = self._gathered()
        self.rows = self.rows.gather(1, candidates)
        for name in ("total", "best", "lost", "alive"):
            setattr(self, name, columns(getattr(self, name), candidates[None], 2))

    def _gathered(self) -> tuple[Tensor, Tensor, Tensor]:
        parts = (self.total, self.best, self.lost)
        if self.full is None:
            return parts
        for whole, part in zip(self.full, parts, strict=True):
            whole.scatter_(2, self.rows.expand(part.shape), part)
        return self.full

    def returns(self, weight: float | None) -> Tensor:
        """Returns ``[p, k]``: the members' average, with ``weight`` times the largest value."""
        total, best, lost = self._gathered()
        if weight is not None:
            total = total + weight * best
        return _averages(total, lost)


def _averages(total: Tensor, lost: Tensor) -> Tensor:
    """Members' averages ``[p, k]``; minus infinity where one is lost or has no finite total."""
    return torch.where(lost | ~torch.isfinite(total), -torch.inf, total).mean(0)


def columns(values: Tensor, kept: Tensor, axis: int) -> Tensor:
    """Some of the entries along ``axis``; ``kept`` ends with that axis."""
    index = kept.view(*kept.shape, *[1] * (values.ndim - axis - 1))
    return torch.take_along_dim(values, index, axis)
