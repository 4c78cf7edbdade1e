"""Model-predictive path integral control: all candidates count, the better the more."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from persim_gym import checks
from persim_gym.planning.continuous import Units, coloured_noise, shifted
from persim_gym.planning.planner import Plan, Score, check_sizes


@dataclass(frozen=True, slots=True)
class MPPI:
    """The mean of noisy copies of a plan, weighted by ``exp(return / temperature)``.

    After Williams et al. 2017 (information-theoretic MPC), with coloured noise, without the cost of
    control that belongs to the task's reward here, and with several rounds. Returns are divided by
    their deviation over the candidates, so that the temperature has no units.

    Attributes:
        candidates: Sequences in a round ``k``; the first is the plan itself.
        horizon: Their length ``h``.
        rounds: Rounds in a decision.
        temperature: In deviations of the candidates' returns. Near 0 the best one alone counts,
            far above 1 all count alike.
        beta: Exponent of the noise's spectrum: 0 is white, 2 a random walk, the larger the slower.
        deviation: Standard deviation of the noise in the first round, in units of half the action
            range.
        shrink: Factor on it from round to round.
    """

    candidates: int = 40
    horizon: int = 30
    rounds: int = 3
    temperature: float = 0.3
    beta: float = 2.0
    deviation: float = 0.5
    shrink: float = 0.7

    def __post_init__(self) -> None:
        """Refuse settings that cannot be."""
        check_sizes(self, "candidates", "horizon", "rounds")
        if self.candidates < 2:
            raise ValueError(f"candidates must be at least 2, got {self.candidates}")
        checks.number("temperature", self.temperature, 0, above=True)
        checks.number("beta", self.beta, 0, 10)
        checks.number("deviation", self.deviation, 0, above=True)
        checks.number("shrink", self.shrink, 0, 1, above=True)

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

        The plan itself is not scored: its ``returns`` are the candidates', by the same weights.

        Raises:
            TypeError: If actions are discrete.
            ValueError: If the action space has no bounds.
        """
        device = generator.device
        units = Units.of(space, device, "MPPI")
        shape = (problems, self.candidates, self.horizon, *units.middle.shape)
        mean = torch.zeros((problems, *shape[2:]), dtype=torch.float32, device=device)
        if previous is not None:
            mean = shifted(units.scaled(previous), fresh)
        deviation = self.deviation
        for _ in range(self.rounds):
            noise = coloured_noise(shape, self.beta, generator)
            noise[:, 0] = 0.0
            samples = (mean[:, None] + deviation * noise).clamp_(-1, 1)
            returns = score(units.actions(samples))
            weight = weights(returns, self.temperature)
            mean = (weight[:, :, None, None].to(samples.dtype) * samples).sum(1)
            deviation *= self.shrink
        actions = units.actions(mean)
        # A weight of nothing times minus infinity is nothing here.
        value = torch.where(weight > 0, weight * returns, 0.0).sum(1)
        return Plan(actions=actions, action=actions[:, 0], returns=value)


def weights(returns: Tensor, temperature: float) -> Tensor:
    """Weights of candidates, which add up to 1.

    Args:
        returns: ``[p, k]``; minus infinity weighs nothing, unless it is all there is.
        temperature: In deviations of a problem's finite returns.

    Returns:
        ``[p, k]``.
    """
    finite = torch.isfinite(returns)
    lost = ~finite.any(dim=1, keepdim=True)
    counts = finite.sum(dim=1, keepdim=True).clamp_min(1)
    known = torch.where(finite, returns, 0.0)
    mean = known.sum(dim=1, keepdim=True) / counts
    away = torch.where(finite, returns - mean, 0.0)
    deviation = (away.square().sum(dim=1, keepdim=True) / counts).sqrt()
    unit = torch.where(deviation > 0, deviation, 1.0)
    score = torch.where(finite | lost, away / (unit * temperature), -torch.inf)
    return torch.softmax(score, dim=1)
