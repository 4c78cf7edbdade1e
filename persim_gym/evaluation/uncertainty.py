"""Whether a simulator knows how wrong it is: disagreement beside true error.

Two questions. *Open loop*: where the members' predictions have come apart after some steps, is
their mean wrong by as much? *One step, anywhere*: in states that rollouts lead to, far off the
data included, does disagreement tell good predictions from bad ones? The second is what a guard
and a penalty live on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from persim_gym.core import Dynamics
from persim_gym.evaluation.episodes import Episodes
from persim_gym.evaluation.latent_factors import rank_correlation
from persim_gym.learned.simulator import PerSim

#: Error, in deviations of the recorded changes, from which a step is a bad one.
BAD = 0.5

#: Widths of the recorded range off it at which a rollout begins anew.
FAR = 1.0


@dataclass(frozen=True, slots=True)
class OpenLoopUncertainty:
    """Standard deviation of the members beside the error of their mean, step by step.

    Attributes:
        deviation: Root mean square over coordinates of the members' standard deviation, in those of
            the observations ``[n, h]``.
        error: Root mean square over coordinates of the mean's error, in the same units ``[n, h]``.
        valid: Steps that the episode lived to see ``[n, h]``.
    """

    deviation: NDArray[np.float64]
    error: NDArray[np.float64]
    valid: NDArray[np.bool_]

    def rank_correlation(self) -> NDArray[np.float64]:
        """Spearman's correlation of deviation and error over episodes, at each step ``[h]``."""
        found = np.full(self.deviation.shape[1], np.nan)
        for t in range(len(found)):
            own = self.valid[:, t]
            if own.sum() > 2:
                found[t] = rank_correlation(self.deviation[own, t], self.error[own, t])
        return found

    def ratio(self) -> NDArray[np.float64]:
        """Median of error over deviation, at each step ``[h]``; 1 would be calibrated."""
        found = np.full(self.deviation.shape[1], np.nan)
        for t in range(len(found)):
            own = self.valid[:, t] & (self.deviation[:, t] > 0)
            if own.any():
                found[t] = np.median(self.error[own, t] / self.deviation[own, t])
        return found

    def calibration(self, bins: int = 10) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Root mean square error in bins of equal size by deviation, over all steps.

        Returns:
            The bins' root mean square deviation and error, ``[bins]`` each.
        """
        order = np.argsort(self.deviation[self.valid])
        deviation, error = self.deviation[self.valid][order], self.error[self.valid][order]
        parts = np.array_split(np.arange(len(order)), bins)
        return (
            np.array([np.sqrt(np.mean(deviation[part] ** 2)) for part in parts]),
            np.array([np.sqrt(np.mean(error[part] ** 2)) for part in parts]),
        )


def open_loop_uncertainty(sim: PerSim, episodes: Episodes) -> OpenLoopUncertainty:
    """Compare the members' deviation with the error of their mean, open loop.

    Raises:
        ValueError: If the simulator has one member only.
    """
    if sim.members < 2:
        raise ValueError("one member cannot disagree: fit with ensemble_size of at least 2")
    predicted = episodes.predicted_by(sim)
    unit = np.maximum(episodes.true[episodes.valid].std(axis=0), 1e-12)
    mean = predicted.mean(axis=0)
    deviation = np.sqrt(np.mean(np.square((predicted - mean) / unit), axis=(0, 3)))
    # Of m draws, the mean is off by the deviation of one more draw: hence m - 1 and m + 1.
    m = sim.members
    deviation *= np.sqrt((m + 1) / (m - 1))
    error = np.sqrt(np.mean(np.square((mean - episodes.true) / unit), axis=-1))
    finite = np.isfinite(deviation) & np.isfinite(error)
    return OpenLoopUncertainty(deviation, error, episodes.valid & finite)


@dataclass(frozen=True, slots=True)
class StepUncertainty:
    """Disagreement beside true error of single steps.

    Attributes:
        disagreement: As the guard sees it, in deviations of the recorded changes ``[n]``.
        error: Root mean square over coordinates, in the same units ``[n]``.
        outside: How far the state is off the recorded range, in widths of the range ``[n]``.
    """

    disagreement: NDArray[np.float64]
    error: NDArray[np.float64]
    outside: NDArray[np.float64]

    def caught(self, limit: float) -> tuple[float, float]:
        """Shares of bad steps that a limit stops, and of good ones that it stops in vain."""
        bad = self.error > BAD
        stopped = self.disagreement > limit
        return (
            float(stopped[bad].mean()) if bad.any() else np.nan,
            float(stopped[~bad].mean()) if (~bad).any() else np.nan,
        )

    def best_limit(self) -> float:
        """The limit with the largest share of bad steps stopped less that of good ones."""
        limits = np.unique(np.quantile(self.disagreement, np.linspace(0, 1, 401)))
        scores = [caught - vain for caught, vain in map(self.caught, limits)]
        return float(limits[int(np.nanargmax(scores))]) if np.isfinite(scores).any() else np.nan


def step_uncertainty(
    sim: PerSim,
    true: Dynamics,
    agents: NDArray[np.int64],
    *,
    steps: int = 200,
    seed: int = 0,
) -> StepUncertainty:
    """Follow the simulator's own rollouts under random actions, far off the data, and compare.

    Args:
        sim: The simulator.
        true: The true dynamics of the same agents.
        agents: Agents ``[n]``, a rollout each.
        steps: Length of the rollouts.
        seed: Seed of start states and actions.
    """
    from persim_gym.policies.behaviours import draw_actions

    rng = np.random.default_rng(seed)
    obs = sim.task.sample_start(rng, len(agents)).astype(np.float32)
    low, high = sim.experience.low, sim.experience.high
    unit = sim.experience.change_scale
    found: list[tuple[NDArray[np.float64], ...]] = []
    for _ in range(steps):
        # An action is kept for some steps now and then: random ones alone hardly leave the data.
        drawn = draw_actions(sim.task.action_space, rng, len(agents))
        if not found:
            actions = drawn
        fresh = rng.random(len(agents)) < 0.2
        actions = np.where(fresh.reshape(-1, *[1] * (drawn.ndim - 1)), drawn, actions)
        predicted = np.asarray(sim.predict(agents, obs, actions))
        deviation = np.asarray(sim.disagreement(agents, obs, actions), dtype=np.float64)
        truth = np.asarray(true.step(agents, obs.astype(np.float64), actions))
        with np.errstate(over="ignore", invalid="ignore"):
            error = np.sqrt(np.mean(np.square((predicted - truth) / unit), axis=1))
            off = np.maximum(low - obs, obs - high) / np.maximum(high - low, 1e-12)
        kept = np.isfinite(error) & np.isfinite(deviation)
        found.append((deviation[kept], error[kept], np.maximum(off.max(axis=1), 0.0)[kept]))
        obs = np.where(np.isfinite(predicted), predicted, obs).astype(np.float32)
        # An episode that is over, or further out than the guard lets one go, begins anew.
        lost = np.asarray(sim.task.terminated(obs), dtype=np.bool_) | (off.max(axis=1) > FAR)
        if lost.any():
            obs[lost] = sim.task.sample_start(rng, int(lost.sum()))
    return StepUncertainty(*(np.concatenate(part) for part in zip(*found, strict=True)))
