"""Open-loop prediction error of a simulator, all episodes in one batch.

It follows the paper's protocol (Section 5.2): episodes of test agents in the true environment,
under a policy that made no data; some real steps first, then a long rollout of the simulator on its
own predictions, under the actions that the policy took in the true environment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.envs.suites import coordinate_names, suite_of
from persim_gym.evaluation.episodes import HORIZON, WARMUP, Episodes, follow
from persim_gym.evaluation.references import Predictor
from persim_gym.learned.simulator import PerSim
from persim_gym.policies.scripted import scripted_policy
from persim_gym.progress import OnProgress

HORIZONS = (1, 5, 10, 25, 50)  # where the error is reported


@dataclass(frozen=True, slots=True)
class Traces:
    """A few episodes as they were and as they were predicted, for plots.

    Attributes:
        agents: ``[E]``.
        before: The real steps, the state that the prediction starts from last
            ``[E, warmup + 1, d]``.
        true: ``[E, h, d]``.
        predicted: Every member's ``[m, E, h, d]``.
        valid: ``[E, h]``.
    """

    agents: NDArray[np.int64]
    before: NDArray[np.float64]
    true: NDArray[np.float64]
    predicted: NDArray[np.float64]
    valid: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class OpenLoopError:
    """Open-loop prediction error of a simulator, one row for each of ``A`` test agents.

    ``by_coordinate`` has each coordinate's error in its own unit. ``rmse`` is the paper's number,
    over all coordinates without any scaling, whatever their units. An episode that ended during
    its real steps has nothing to predict and is left out; an agent with no episode
    left has ``nan``. A prediction that is not finite is infinitely wrong.

    Attributes:
        agents: ``[A]``.
        episodes: Episodes that count ``[A]``.
        rmse: Mean over episodes of the root of the mean squared error ``[A]``.
        rmse_sd: Its standard deviation over episodes ``[A]``.
        r2: Median over episodes of the share of variance explained ``[A]``.
        coordinate_rmse: As ``rmse``, of each coordinate alone ``[A, d]``.
        coordinates: What these are called, with their units ``[d]``.
        step_rmse: Root of the mean squared error after each number of steps, over the episodes
            that live so long ``[A, h]``.
        step_episodes: How many these are ``[A, h]``.
        traces: A few episodes for plots.
    """

    agents: NDArray[np.int64]
    episodes: NDArray[np.int64]
    rmse: NDArray[np.float64]
    rmse_sd: NDArray[np.float64]
    r2: NDArray[np.float64]
    coordinate_rmse: NDArray[np.float64]
    coordinates: tuple[str, ...]
    step_rmse: NDArray[np.float64]
    step_episodes: NDArray[np.int64]
    traces: Traces

    @property
    def by_coordinate(self) -> dict[str, NDArray[np.float64]]:
        """Error of each coordinate in its own unit, by name ``[A]``."""
        return dict(zip(self.coordinates, self.coordinate_rmse.T, strict=True))

    def horizon_rmse(self, steps: int) -> NDArray[np.float64]:
        """Error after some number of steps ``[A]``, ``nan`` where no episode lived so long.

        Raises:
            ValueError: If so many steps were not predicted.
        """
        if not 1 <= steps <= self.step_rmse.shape[1]:
            raise ValueError(f"steps must be 1 to {self.step_rmse.shape[1]}, got {steps!r}")
        return self.step_rmse[:, steps - 1]

    def to_json(self) -> dict[str, Any]:
        """All numbers (without the traces) as plain types; what is not finite becomes ``None``."""
        horizons = [h for h in HORIZONS if h <= self.step_rmse.shape[1]]
        return {
            "coordinates": list(self.coordinates),
            "agents": [
                {
                    "agent": int(agent),
                    "episodes": int(self.episodes[i]),
                    "rmse": _plain(self.rmse[i]),
                    "rmse_sd": _plain(self.rmse_sd[i]),
                    "r2": _plain(self.r2[i]),
                    "rmse_after_steps": {
                        str(h): _plain(self.step_rmse[i, h - 1]) for h in horizons
                    },
                    "rmse_of_coordinates": [_plain(v) for v in self.coordinate_rmse[i]],
                }
                for i, agent in enumerate(self.agents)
            ],
        }


def evaluate(
    sim: PerSim,
    agents: Sequence[int | str] | NDArray[np.integer[Any]] | None = None,
    *,
    episodes: int = 50,
    policy: Any = None,
    seed: int = 0,
    population: object = None,
    warmup: int = WARMUP,
    horizon: int = HORIZON,
    on_progress: OnProgress | None = None,
) -> OpenLoopError:
    """Open-loop error of a simulator of one of this package's tasks, by the paper's protocol.

    Args:
        sim: The simulator.
        agents: Test agents ``[A]``, by index or name; by default the first five.
        episodes: Episodes of each.
        policy: Who acts; by default :func:`scripted_policy`.
        seed: Seed of start states and policy.
        population: The population of the data, as for the environment.
        warmup: Real steps before the prediction.
        horizon: Predicted steps.
        on_progress: Called with the steps of the episodes that are done, and their number.

    Raises:
        TypeError: If an agent is no integer.
        ValueError: If an argument is invalid or the task has no true environment.
    """
    checks.with_attributes("sim", sim, ("task", "rollout"), "a simulator")
    suite = suite_of(sim.task)
    true = suite.dynamics(suite.population(population))
    policy = scripted_policy(suite.name, seed) if policy is None else policy
    chosen = sim.agent_indices(np.arange(5) if agents is None else agents)
    followed = follow(
        sim.task, true, chosen, policy,
        episodes=episodes, seed=seed, warmup=warmup, horizon=horizon,
        on_progress=on_progress,
    )  # fmt: skip
    return open_loop_error(sim, followed)


def open_loop_error(model: Predictor, episodes: Episodes, traces: int = 3) -> OpenLoopError:
    """Compare a model's open-loop predictions with what was.

    Each member goes on from its own states; what counts is the members' mean at each step.

    Original: the authors' code also counts the last of the real steps, which is predicted one step
    ahead; here only what is predicted open loop counts.

    Args:
        model: What predicts.
        episodes: What was.
        traces: How many episodes of each agent to keep for plots: the first of the longest ones,
            chosen before anything is known of their errors.
    """
    predicted = episodes.predicted_by(model)
    valid, true = episodes.valid, episodes.true
    with np.errstate(invalid="ignore", over="ignore"):
        mean = predicted.mean(axis=0)
        squared = np.square(mean - true)
    squared[~np.isfinite(squared)] = np.inf
    squared[~valid] = 0.0
    counts = valid.sum(axis=1)  # [n]
    counted = counts > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        by_coordinate = np.sqrt(squared.sum(axis=1) / counts[:, None])  # [n, d]
        by_episode = np.sqrt(squared.mean(axis=2).sum(axis=1) / counts)  # [n]
    r2 = explained_variance(true, squared, valid)
    agents = np.array(list(dict.fromkeys(episodes.agents.tolist())), dtype=np.int64)
    rows: dict[str, list[Any]] = {name: [] for name in (
        "episodes", "rmse", "rmse_sd", "r2", "coordinate_rmse", "step_rmse", "step_episodes",
    )}  # fmt: skip
    for agent in agents:
        own = (episodes.agents == agent) & counted
        living = (valid & own[:, None]).sum(axis=0)  # [h]
        with np.errstate(invalid="ignore", divide="ignore"):
            after = np.sqrt(squared[own].mean(axis=2).sum(axis=0) / living)
        known = own & np.isfinite(r2)
        rows["episodes"].append(own.sum())
        rows["rmse"].append(by_episode[own].mean() if own.any() else np.nan)
        rows["rmse_sd"].append(_deviation(by_episode[own]))
        # An infinitely wrong episode counts in the median as the worst, not as missing.
        known |= own & (r2 == -np.inf)
        rows["r2"].append(np.median(r2[known]) if known.any() else np.nan)
        rows["coordinate_rmse"].append(
            by_coordinate[own].mean(axis=0) if own.any() else np.full(true.shape[2], np.nan)
        )
        rows["step_rmse"].append(after)
        rows["step_episodes"].append(living)
    shown = _longest(episodes, agents, traces)
    return OpenLoopError(
        agents=agents,
        coordinates=coordinate_names(episodes.task_name, true.shape[2]),
        **{name: np.array(values) for name, values in rows.items()},
        traces=Traces(
            agents=episodes.agents[shown],
            before=episodes.obs[shown, : episodes.warmup + 1],
            true=true[shown],
            predicted=predicted[:, shown],
            valid=valid[shown],
        ),
    )


def explained_variance(
    true: NDArray[np.float64], squared: NDArray[np.float64], valid: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """R2 of each episode over time, coordinates weighted by their variance.

    One minus the sum of squared errors over the sum of squared deviations from the episode's own
    mean, both over valid steps and all coordinates.

    Args:
        true: ``[n, h, d]``.
        squared: Squared errors ``[n, h, d]``, zero where not valid.
        valid: ``[n, h]``.

    Returns:
        ``[n]``, ``nan`` where nothing varies (one step alone does not).
    """
    weight = valid[:, :, None].astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (weight * true).sum(axis=1, keepdims=True) / weight.sum(axis=1, keepdims=True)
        total = (weight * np.square(true - mean)).sum(axis=(1, 2))
        r2: NDArray[np.float64] = 1 - squared.sum(axis=(1, 2)) / total
    r2[~(total > 0)] = np.nan
    return r2


def _longest(episodes: Episodes, agents: NDArray[np.int64], each: int) -> NDArray[np.int64]:
    chosen = []
    for agent in agents:
        own = np.flatnonzero(episodes.agents == agent)
        chosen.append(own[np.argsort(-episodes.lengths[own], kind="stable")[:each]])
    return np.concatenate(chosen)


# -- small things ----------------------------------------------------------------------------------


def _deviation(values: NDArray[np.float64]) -> float:
    """Standard deviation of a sample; nothing can be said of one value alone."""
    if len(values) < 2:
        return math.nan
    with np.errstate(invalid="ignore"):
        return float(values.std(ddof=1))


def _plain(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
