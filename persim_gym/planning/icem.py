"""Sample-efficient cross-entropy method: few candidates, well used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from persim_gym import checks
from persim_gym.planning.continuous import Units, coloured_noise, shifted
from persim_gym.planning.planner import Plan, Score, check_sizes


@dataclass(frozen=True, slots=True)
class ICEM:
    """CEM with noise that changes slowly, and with elites that are kept (Pinneri et al. 2020).

    What it has over :class:`~persim_gym.planning.cem.CEM`: candidates move around the mean as
    coloured noise, not each step on its own, so that few of them go far; later rounds have fewer
    candidates; the best of a round are tried again in the next one, and those of the last
    decision, moved on by a step, in the first; the last round tries the mean as well; and the
    best candidate's action is taken.

    Attributes:
        candidates: Sequences scored in the first round ``k``, kept ones included.
        horizon: Their length ``h``.
        elites: The best of a round, to which the distribution is fitted.
        rounds: Rounds in a decision.
        beta: Exponent of the noise's spectrum: 0 is white, 2 a random walk, the larger the slower.
        deviation: Standard deviation of the first round, in units of half the action range.
        decay: A round has so many times fewer candidates than the one before it, but not fewer
            than twice the elites.
        keep: Weight of the old mean and deviation.
        carry: Share of the elites that is tried again.
        action: Whether the ``"best"`` candidate of the last round is the plan or the elites'
            ``"mean"``.
    """

    candidates: int = 40
    horizon: int = 30
    elites: int = 10
    rounds: int = 3
    beta: float = 2.0
    deviation: float = 0.5
    decay: float = 1.25
    keep: float = 0.1
    carry: float = 0.3
    action: Literal["best", "mean"] = "best"

    def __post_init__(self) -> None:
        """Refuse settings that cannot be."""
        check_sizes(self, "candidates", "horizon", "elites", "rounds")
        if 2 * self.elites > self.candidates:
            raise ValueError(
                f"candidates must be at least twice the elites, got {self.candidates} candidates "
                f"and {self.elites} elites"
            )
        checks.number("beta", self.beta, 0, 10)
        checks.number("deviation", self.deviation, 0, above=True)
        checks.number("decay", self.decay, 1)
        checks.number("carry", self.carry, 0, 1)
        checks.number("keep", self.keep, 0, 1, below=True, says="in [0, 1)")
        checks.one_of("action", self.action, ("best", "mean"))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Candidates of each round."""
        least = 2 * self.elites
        return tuple(max(int(self.candidates / self.decay**i), least) for i in range(self.rounds))

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

        What is carried over are the mean and the elites that are tried again, in units of half the
        action range: ``[p, 1 + e, h, a]``.

        Raises:
            TypeError: If actions are discrete.
            ValueError: If the action space has no bounds.
        """
        device = generator.device
        units = Units.of(space, device, "ICEM")
        shape = (problems, self.horizon, *units.middle.shape)
        carried = round(self.carry * self.elites)
        mean = torch.zeros(shape, dtype=torch.float32, device=device)
        elites = mean[:, None]
        if previous is not None:
            mean, elites = shifted(previous[:, 0], fresh), previous[:, 1:, 1:]
        deviation = torch.full(shape, float(self.deviation), dtype=torch.float32, device=device)
        for i, size in enumerate(self.sizes):
            noise = coloured_noise((problems, size, *shape[1:]), self.beta, generator)
            samples = (mean[:, None] + deviation[:, None] * noise).clamp_(-1, 1)
            if i == 0 and previous is not None:
                # What follows the end of a shifted plan is not known: the candidate's own stays.
                own = samples[:, :carried, : self.horizon - 1]
                void = fresh[:, None, None, None]
                samples[:, :carried, : self.horizon - 1] = torch.where(void, own, elites)
            elif i > 0:
                samples[:, :carried] = elites[:, :carried]
            if i == self.rounds - 1:
                samples[:, -1] = mean
            returns = score(units.actions(samples))
            top, chosen = returns.topk(self.elites, dim=1)
            elites = samples.gather(1, chosen[:, :, None, None].expand(-1, -1, *shape[1:]))
            elite_mean, elite_deviation = _fit(elites, top)
            mean = self.keep * mean + (1 - self.keep) * elite_mean
            deviation = self.keep * deviation + (1 - self.keep) * elite_deviation
        best = self.action == "best"
        actions = units.actions(elites[:, 0] if best else elite_mean)
        return Plan(
            actions=actions,
            action=actions[:, 0],
            returns=top[:, 0] if best else top.mean(1),
            memory=torch.cat([mean[:, None], elites[:, :carried]], dim=1),
        )


def _fit(elites: Tensor, returns: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of a problem's elites, without those that are worth minus infinity.

    Where all are, they count alike.
    """
    finite = torch.isfinite(returns)
    counts = finite | ~finite.any(dim=1, keepdim=True)
    weight = (counts / counts.sum(dim=1, keepdim=True))[:, :, None, None]
    mean = (weight * elites).sum(1)
    variance = (weight * (elites - mean[:, None]).square()).sum(1)
    return mean, variance.sqrt()
