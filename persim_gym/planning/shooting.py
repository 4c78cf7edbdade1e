"""Random shooting: the best of many random action sequences."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from persim_gym.planning.planner import Plan, Score, check_positive


@dataclass(frozen=True, slots=True)
class RandomShooting:
    """Uniform action sequences, and the previous plan shifted by one among them.

    The paper's planner for discrete actions (Section 5.3): 1000 candidates over 50 steps. The best
    sequence's first action is taken.

    Attributes:
        candidates: Sequences tried in a decision ``k``.
        horizon: Their length ``h``.
    """

    candidates: int = 1000
    horizon: int = 50

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be."""
        check_positive(candidates=self.candidates, horizon=self.horizon)

    def plan(
        self,
        score: Score,
        space: Discrete | Box,
        problems: int,
        previous: Tensor | None,
        fresh: Tensor,
        generator: torch.Generator,
    ) -> Plan:
        """See :class:`~persim_gym.planning.planner.Planner`."""
        shape = (problems, self.candidates, self.horizon)
        device = generator.device
        if isinstance(space, Discrete):
            actions = torch.randint(int(space.n), shape, generator=generator, device=device)
        else:
            low, high = (torch.as_tensor(b, device=device) for b in (space.low, space.high))
            uniform = torch.rand((*shape, *space.shape), generator=generator, device=device)
            actions = low + (high - low) * uniform
        if previous is not None and self.horizon > 1:
            # The last action of a shifted plan is not known: the candidate's own stays.
            kept = torch.where(_like(fresh, previous), actions[:, 0], previous)
            actions[:, 0, :-1] = kept[:, 1:]
            actions[:, 0] = torch.where(_like(fresh, previous), kept, actions[:, 0])
        returns = score(actions)
        best = returns.argmax(dim=1)
        rows = torch.arange(problems, device=device)
        chosen = actions[rows, best]
        return Plan(actions=chosen, action=chosen[:, 0], returns=returns[rows, best])


def _like(mask: Tensor, sequences: Tensor) -> Tensor:
    return mask.view(-1, *[1] * (sequences.ndim - 1))
