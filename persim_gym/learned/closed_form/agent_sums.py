"""What a linear model needs to know of each agent's transitions, and nothing more.

For features ``phi [P]`` and targets ``y [D]`` these are, for every agent and discrete action, the
sums of ``phi phi^T``, ``phi y^T`` and ``y^2``. However long the trajectories are, every round of a
fit then costs the same, and a round is two matrix products over agents.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

#: Entries of the feature matrix that are in memory at once.
ENTRIES_AT_ONCE = 1_000_000


@dataclass(frozen=True, slots=True)
class Statistics:
    """Sums over the transitions of each of ``N`` agents, under each of ``A`` actions.

    Attributes:
        gram: ``phi phi^T``, its lower triangle row by row: ``[N, A, P (P + 1) / 2]``.
        cross: ``phi y^T``: ``[N, A, P, D]``.
        square: ``y^2``: ``[N, D]``.
        count: Transitions ``[N]``.
    """

    gram: Tensor
    cross: Tensor
    square: Tensor
    count: Tensor

    @property
    def num_agents(self) -> int:
        """Number of agents ``N``."""
        return len(self.count)

    @property
    def features(self) -> int:
        """Number of features ``P``."""
        return self.cross.shape[2]

    @property
    def rows(self) -> Tensor:
        """Transitions under each action ``[A]``; the first feature is 1."""
        return self.gram[:, :, 0].sum(0)

    def select(self, agents: Tensor) -> Statistics:
        """Those of some agents, by index or mask."""
        return Statistics(
            self.gram[agents], self.cross[agents], self.square[agents], self.count[agents]
        )

    def __add__(self, other: Statistics) -> Statistics:
        """Sums over the transitions of both, of the same agents."""
        return Statistics(
            self.gram + other.gram,
            self.cross + other.cross,
            self.square + other.square,
            self.count + other.count,
        )


@dataclass(frozen=True, slots=True)
class Rows:
    """Transitions as a linear model sees them.

    Attributes:
        agent: ``[T]``.
        inputs: What features are made of ``[T, in]``; single precision will do, for sums are in
            double.
        choice: The discrete action ``[T]``; zeros where actions are continuous.
        target: ``[T, D]``.
        num_agents: ``N``.
        choices: ``A``: number of discrete actions, or 1.
        weight: How much each counts ``[T]``, on average 1; all alike by default.
    """

    agent: Tensor
    inputs: Tensor
    choice: Tensor
    target: Tensor
    num_agents: int
    choices: int
    weight: Tensor | None = None

    def __len__(self) -> int:
        """Number of transitions."""
        return len(self.agent)

    def select(self, rows: Tensor | slice) -> Rows:
        """Some of the transitions, by index, mask or slice."""
        return Rows(
            self.agent[rows],
            self.inputs[rows],
            self.choice[rows],
            self.target[rows],
            self.num_agents,
            self.choices,
            None if self.weight is None else self.weight[rows],
        )

    def of_agents(self, agents: Tensor) -> Rows:
        """The transitions of some agents ``[k]``, who are numbered anew in that order."""
        place = torch.full((self.num_agents,), -1, device=agents.device)
        place[agents] = torch.arange(len(agents), device=agents.device)
        kept = place[self.agent] >= 0
        part = self.select(kept)
        return replace(part, agent=place[part.agent], num_agents=len(agents))

    def by_agents(self, most: int) -> Iterator[tuple[slice, Rows]]:
        """Part after part, the transitions of ``most`` agents each, numbered from 0 in each part.

        One pass over the rows sorts them by agent; recorded ones mostly are, and parts are then
        views.

        Yields:
            The part's agents, and their transitions.
        """
        sorted_ = bool((self.agent[1:] >= self.agent[:-1]).all())
        order = None if sorted_ else torch.argsort(self.agent, stable=True)
        ends = torch.bincount(self.agent, minlength=self.num_agents).cumsum(0).tolist()
        for first in range(0, self.num_agents, most):
            agents = slice(first, min(first + most, self.num_agents))
            rows = slice(ends[first - 1] if first else 0, ends[agents.stop - 1])
            part = self.select(rows if order is None else order[rows])
            yield (
                agents,
                replace(part, agent=part.agent - first, num_agents=agents.stop - first),
            )


def gather(rows: Rows, features: Callable[[Tensor], Tensor]) -> Statistics:
    """Sum over transitions.

    Groups of (agent, action) are sorted by length and summed in padded batches: there is no loop
    over agents.

    Args:
        rows: The transitions.
        features: Inputs ``[n, in]`` -> features ``[P, n]``.
    """
    n, a, d = rows.num_agents, rows.choices, rows.target.shape[1]
    device, dtype = rows.inputs.device, torch.float64
    p = len(features(rows.inputs[:1].to(dtype)))
    triangle = torch.tril_indices(p, p, device=device)
    gram = torch.zeros(n * a, p * (p + 1) // 2, dtype=dtype, device=device)
    cross = torch.zeros(n * a, p, d, dtype=dtype, device=device)
    square = torch.zeros(n * a, d, dtype=dtype, device=device)
    for groups, members, real in _batches(rows.agent * a + rows.choice, n * a, p):
        inputs = rows.inputs[members.flatten()].to(dtype)
        phi = features(inputs).view(p, *members.shape).transpose(0, 1)
        phi = phi * real[:, None]  # [g, P, longest]: padding is nothing
        target = rows.target[members].to(dtype)
        if rows.weight is None:
            counted, share = phi, real
        else:
            share = real * rows.weight[members].to(dtype)
            counted = phi * share[:, None]
        gram[groups] = (counted @ phi.mT)[:, triangle[0], triangle[1]]
        cross[groups] = counted @ target
        square[groups] = (target.square() * share[..., None]).sum(1)
    return Statistics(
        gram.view(n, a, -1),
        cross.view(n, a, p, d),
        square.view(n, a, d).sum(1),
        torch.bincount(rows.agent, rows.weight, minlength=n),
    )


def _batches(key: Tensor, groups: int, features: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Groups of rows in batches of similar length.

    Yields:
        Groups ``[g]``, their rows ``[g, longest]`` and which of these are real.
    """
    order = torch.argsort(key, stable=True)
    count = torch.bincount(key, minlength=groups)
    first = torch.cumsum(count, 0) - count
    by_length = torch.argsort(count, descending=True, stable=True)
    by_length = by_length[: int((count > 0).sum())]
    lengths = count[by_length].tolist()
    start = 0
    while start < len(lengths):
        # Batches of groups that are at least half as long as the longest: little is padded.
        end = start + max(1, ENTRIES_AT_ONCE // (features * lengths[start]))
        end = min(end, len(lengths))
        while end > start + 1 and 2 * lengths[end - 1] < lengths[start]:
            end = start + (end - start + 1) // 2
        chosen = by_length[start:end]
        steps = torch.arange(lengths[start], device=key.device)
        real = steps < count[chosen][:, None]
        places = torch.where(real, first[chosen][:, None] + steps, first[chosen][:, None])
        yield chosen, order[places], real
        start = end


def unpack(gram: Tensor, p: int) -> Tensor:
    """Packed symmetric matrices ``[..., P (P + 1) / 2]`` as full ones ``[..., P, P]``."""
    rows, columns = torch.tril_indices(p, p, device=gram.device)
    full = gram.new_empty((*gram.shape[:-1], p, p))
    full[..., rows, columns] = gram
    full[..., columns, rows] = gram
    return full


def packed_size(p: int) -> int:
    """Entries of a packed symmetric matrix of ``p`` rows."""
    return p * (p + 1) // 2


def memory(num_agents: int, choices: int, features: int) -> int:
    """Bytes of the statistics of agents in double precision."""
    return 8 * math.prod((num_agents, choices, packed_size(features)))
