"""Cross-entropy method for continuous actions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from persim_gym import checks
from persim_gym.planning.continuous import Units
from persim_gym.planning.planner import Plan, Score, check_sizes


@dataclass(frozen=True, slots=True)
class CEM:
    """Gaussian sequences, refitted to their best again and again.

    The paper's planner for HalfCheetah, with the settings of the authors' code: 200 candidates
    over 30 steps, 50 elites, one round and five refinements, the old mean and deviation kept with
    weight 0.1. Samples are from normal distributions cut off at the bounds. The mean of the last
    elites is the plan.

    Attributes:
        candidates: Sequences in a round ``k``.
        horizon: Their length ``h``.
        elites: The best of a round, to which the distribution is fitted.
        rounds: Rounds in a decision, the first one included.
        keep: Weight of the old mean and deviation.
        deviation: Standard deviation of the first round, in units of half the action range: this
            to twice this, drawn once a decision and problem.
    """

    candidates: int = 200
    horizon: int = 30
    elites: int = 50
    rounds: int = 6
    keep: float = 0.1
    deviation: float = 0.3

    def __post_init__(self) -> None:
        """Refuse settings that cannot be."""
        check_sizes(self, "candidates", "horizon", "elites", "rounds")
        if self.elites > self.candidates:
            raise ValueError(
                f"{self.elites} elites cannot be chosen of {self.candidates} candidates"
            )
        checks.number("keep", self.keep, 0, 1, below=True, says="in [0, 1)")
        checks.number("deviation", self.deviation, 0, above=True, says="positive")

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
            TypeError: If actions are discrete.
            ValueError: If they have no bounds.
        """
        device = generator.device
        units = Units.of(space, device, "CEM")
        shape = (problems, self.horizon, *units.middle.shape)
        mean = torch.zeros(shape, dtype=torch.float32, device=device)
        if previous is not None:
            scaled = units.scaled(previous)
            mean[:, :-1] = torch.where(fresh[:, None, None], 0.0, scaled[:, 1:])
        first = torch.rand(
            (problems, 1, 1), generator=generator, dtype=torch.float32, device=device
        )
        deviation = (self.deviation * (1 + first)).expand(shape)
        for _ in range(self.rounds):
            samples = truncated_normal(mean, deviation, self.candidates, generator)
            returns = score(units.actions(samples))
            top, chosen = returns.topk(self.elites, dim=1)
            index = chosen[:, :, None, None].expand(-1, -1, *shape[1:])
            elites = samples.gather(1, index)
            elite_mean = elites.mean(1)
            mean = self.keep * mean + (1 - self.keep) * elite_mean
            deviation = self.keep * deviation + (1 - self.keep) * elites.std(1, correction=0)
        actions = units.actions(elite_mean)
        return Plan(actions=actions, action=actions[:, 0], returns=top.mean(1))


def truncated_normal(mean: Tensor, deviation: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Draw from normal distributions cut off at -1 and 1.

    By the inverse of the distribution function: what drawing again until a sample is inside gives,
    without the waiting.

    Args:
        mean: Means before the cut, inside [-1, 1]: ``[p, ...]``.
        deviation: Deviations before the cut, of the same shape.
        n: Draws of each.
        generator: All randomness.

    Returns:
        ``[p, n, ...]``.
    """
    mean, deviation = mean[:, None], deviation[:, None].clamp_min(1e-4)
    below = torch.special.ndtr((-1 - mean) / deviation)
    above = torch.special.ndtr((1 - mean) / deviation)
    shape = (mean.shape[0], n, *mean.shape[2:])
    uniform = torch.rand(shape, generator=generator, dtype=torch.float32, device=mean.device)
    level = below + (above - below) * uniform
    # The inverse is infinite at 0 and 1, which rounding can reach.
    draws = mean + deviation * torch.special.ndtri(level.clamp(1e-7, 1 - 1e-7))
    return draws.clamp(-1, 1)
