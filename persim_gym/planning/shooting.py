"""Random shooting: many random action sequences, and what they say of the first action."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor
from torch.nn.functional import one_hot

from persim_gym import checks
from persim_gym.planning.continuous import bounds_of
from persim_gym.planning.planner import Plan, Score, check_sizes
from persim_gym.planning.stickiness import check_sticky, last_draws, shares


@dataclass(frozen=True, slots=True)
class RandomShooting:
    """Uniform action sequences, and the previous plan shifted by one among them.

    The paper's planner for discrete actions (Section 5.3): 1000 candidates over 50 steps. The best
    sequence's first action is taken. Two settings, of which the paper has neither, find more with
    a fraction of the candidates:

    * **Sticky** sequences draw an action in some steps only, and keep it in the others. Where a
      task takes the same action many times over, independent actions cancel each other out: no
      sequence of them rocks a car up a hill.
    * **The mean decides** (``decide="mean"``): the first action whose candidates earn most on
      average is taken, instead of the best candidate's. Where many candidates earn all there is,
      as long as a pole still stands, the best says nothing, but the mean says after which action
      it stands more firmly. The candidates share out first actions evenly, and the previous plan
      is not among them.

    Attributes:
        candidates: Sequences tried in a decision ``k``.
        horizon: Their length ``h``.
        sticky: Probability in [0, 1) that a step keeps the action before it; or several, which the
            candidates share out among them, so that several time scales are searched at once. The
            mean length of a block is ``1 / (1 - sticky)`` steps.
        decide: ``"best"`` or, for discrete actions, ``"mean"``.
    """

    candidates: int = 1000
    horizon: int = 50
    sticky: float | tuple[float, ...] = 0.0
    decide: Literal["best", "mean"] = "best"

    @property
    def leading(self) -> int | None:
        """How many of the best candidates it uses; ``None`` for all."""
        return 1 if self.decide == "best" else None

    def __post_init__(self) -> None:
        """Refuse settings that cannot be."""
        check_sizes(self, "candidates", "horizon")
        check_sticky(self.sticky)
        checks.one_of("decide", self.decide, ("best", "mean"))

    def plan(
        self,
        score: Score,
        space: Discrete | Box,
        problems: int,
        previous: Tensor | None,
        fresh: Tensor,
        generator: torch.Generator,
    ) -> Plan:
        """See :class:`~persim_gym.planning.planner.Planner`.

        Raises:
            TypeError: If the mean is to decide among continuous actions.
            ValueError: If it is to decide among more actions than there are candidates, or if
                continuous actions have no bounds.
        """
        by_mean = self.decide == "mean"
        if by_mean:
            self._check_mean(space)
        shape = (problems, self.candidates, self.horizon)
        device = generator.device
        if isinstance(space, Discrete):
            actions = torch.randint(int(space.n), shape, generator=generator, device=device)
            if by_mean:
                actions[:, :, 0] = self._first_actions(int(space.n), device)
        else:
            low, high = bounds_of(space, device, "RandomShooting")
            uniform = torch.rand(
                (*shape, *space.shape), generator=generator, dtype=torch.float32, device=device
            )
            actions = low + (high - low) * uniform
        sticky = shares(self.sticky, self.candidates)
        if sticky.any():
            drawn = last_draws(problems, self.horizon, sticky, generator)
            drawn = drawn.view(*shape, *[1] * (actions.ndim - 3)).expand_as(actions)
            actions = actions.gather(2, drawn)
        if previous is not None and self.horizon > 1 and not by_mean:
            # The last action of a shifted plan is not known: the candidate's own stays.
            kept = torch.where(_like(fresh, previous), actions[:, 0], previous)
            actions[:, 0, :-1] = kept[:, 1:]
            actions[:, 0] = torch.where(_like(fresh, previous), kept, actions[:, 0])
        return self.choose(score, actions)

    def choose(self, score: Score, actions: Tensor) -> Plan:
        """Choose among candidates ``[p, k, h(, a)]``, wherever they come from."""
        by_mean = self.decide == "mean"
        returns = score(actions)
        if by_mean:
            first = _best_on_average(returns, actions[:, :, 0])
            best = torch.where(actions[:, :, 0] == first[:, None], returns, -torch.inf).argmax(1)
        else:
            best = returns.argmax(dim=1)
        rows = torch.arange(len(actions), device=actions.device)
        chosen = actions[rows, best]
        return Plan(
            actions=chosen,
            action=first if by_mean else chosen[:, 0],
            returns=returns[rows, best],
        )

    def _first_actions(self, choices: int, device: torch.device) -> Tensor:
        """Every action as often as any other ``[k]``, in blocks.

        Members of an ensemble may be dealt out to candidates in turn; in blocks, every action
        meets all of them.
        """
        return torch.arange(self.candidates, device=device) * choices // self.candidates

    def _check_mean(self, space: Discrete | Box) -> None:
        if not isinstance(space, Discrete):
            raise TypeError("decide='mean' is for discrete actions; use decide='best'")
        if self.candidates < space.n:
            raise ValueError(
                f"decide='mean' tries every action: {space.n} actions need at least as many "
                f"candidates, got {self.candidates}"
            )


def _best_on_average(returns: Tensor, first: Tensor) -> Tensor:
    """The action ``[p]`` of the best mean return, of candidates that begin with ``first``.

    A return that is not finite counts as the lowest that is: one rollout gone wild must not rule
    out an action, and is no reason to take it. An action that no candidate begins with is not
    taken.

    Args:
        returns: ``[p, k]``.
        first: First actions ``[p, k]``.
    """
    finite = torch.isfinite(returns)
    lowest = torch.where(finite, returns, torch.inf).amin(dim=1, keepdim=True)
    counted = torch.where(finite, returns, torch.where(torch.isfinite(lowest), lowest, 0.0))
    begins = one_hot(first).to(counted.dtype)  # [p, k, A]
    number = begins.sum(dim=1)
    total = (counted[:, None] @ begins)[:, 0]
    return torch.where(number > 0, total / number, -torch.inf).argmax(dim=1)


def _like(mask: Tensor, sequences: Tensor) -> Tensor:
    return mask.view(-1, *[1] * (sequences.ndim - 1))
