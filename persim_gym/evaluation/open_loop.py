"""How good a simulator is: open-loop prediction error and returns, each evaluation one batch.

Open-loop error follows the paper's protocol (Section 5.2): episodes of test agents in the true
environment, under a policy that made no data; some real steps first, then a long rollout of the
simulator on its own predictions, under the actions that the policy took in truth.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.core import Array, Dynamics, Task
from persim_gym.envs.suites import suite_of
from persim_gym.learned.simulator import PerSim
from persim_gym.offline.transitions import Transitions
from persim_gym.policies.scripted import scripted_policy
from persim_gym.rollout import episode_batch, play, start_states
from persim_gym.threads import few_threads

WARMUP = 10  # real steps before a simulator is left to itself
HORIZON = 50  # steps that it is left to itself
HORIZONS = (1, 5, 10, 25, 50)  # where the error is reported


class Predictor(Protocol):
    """Whatever predicts open loop: a simulator, or one of the references below."""

    @property
    def lag(self) -> int:
        """Observations that a state holds."""

    def rollout(self, agents: Array, obs: Array, actions: Array) -> Array:
        """Predictions ``[m, n, h, d]``; see :meth:`persim_gym.learned.PerSim.rollout`."""


@runtime_checkable
class Remembering(Protocol):
    """A model whose states hold the actions between observations."""

    def states(self, obs: Array, actions: Array) -> Array:
        """States of observations and actions; see :meth:`persim_gym.learned.PerSim.states`."""

    def states_of(self, data: Transitions) -> NDArray[np.float32]:
        """States of transitions; see :meth:`persim_gym.learned.PerSim.states_of`."""


@dataclass(frozen=True, slots=True)
class Persistence:
    """The prediction that nothing changes: what any simulator must beat."""

    lag: int = 1

    def rollout(self, agents: Array, obs: Array, actions: Array) -> NDArray[np.float64]:
        """The observations ``[n, d]`` repeated: ``[1, n, h, d]``."""
        obs, actions = np.asarray(obs), np.asarray(actions)
        shape = (1, len(obs), actions.shape[1], obs.shape[1])
        return np.broadcast_to(obs[None, :, None], shape).copy()


@dataclass(frozen=True, slots=True)
class OneForAll:
    """One simulator for all agents: whoever is asked for, agent 0 of ``sim`` answers.

    Attributes:
        sim: A simulator fitted on :func:`pooled` transitions.
    """

    sim: Predictor

    @property
    def lag(self) -> int:
        """Observations that a state holds."""
        return self.sim.lag

    def states_of(self, data: Transitions) -> NDArray[np.float32]:
        """See :meth:`persim_gym.learned.PerSim.states_of`."""
        return self.sim.states_of(data) if isinstance(self.sim, Remembering) else data.obs

    def states(self, obs: Array, actions: Array) -> Array:
        """See :meth:`persim_gym.learned.PerSim.states`."""
        return self.sim.states(obs, actions) if isinstance(self.sim, Remembering) else obs

    def rollout(self, agents: Array, obs: Array, actions: Array) -> Array:
        """Predictions ``[m, n, h, d]``, the same for all agents."""
        return self.sim.rollout(np.zeros(len(agents), dtype=np.int64), obs, actions)


def pooled(transitions: Transitions) -> Transitions:
    """The same transitions as of one agent: what a simulator for all is fitted on."""
    return dataclasses.replace(
        transitions,
        agent=np.zeros_like(transitions.agent),
        num_agents=1,
        population=None,
        agent_names=None,
    )


# -- open-loop error -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Episodes:
    """Episodes in a true environment, padded to one length.

    Attributes:
        task_name: The task.
        agents: Agent of each episode ``[n]``, in blocks of equal agents.
        obs: Observations ``[n, warmup + horizon + 1, d]``; after an episode's end its last one.
        actions: ``[n, warmup + horizon(, a)]``; after the end of no meaning, but valid.
        lengths: Steps of each episode ``[n]``.
        warmup: Real steps before the prediction.
        horizon: Predicted steps ``h``.
    """

    task_name: str
    agents: NDArray[np.int64]
    obs: NDArray[np.float64]
    actions: NDArray[Any]
    lengths: NDArray[np.int64]
    warmup: int
    horizon: int

    @property
    def true(self) -> NDArray[np.float64]:
        """What is to be predicted ``[n, h, d]``."""
        return self.obs[:, self.warmup + 1 :]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Steps that the episode lived to see ``[n, h]``; the one into its end is among them."""
        steps = np.arange(self.warmup + 1, self.warmup + self.horizon + 1)
        return steps <= self.lengths[:, None]

    def states(self, lag: int) -> NDArray[np.float64]:
        """True states after the real steps, ``[n, d]`` or ``[n, lag, d]``, oldest first."""
        if lag == 1:
            return self.obs[:, self.warmup]
        past = np.maximum(np.arange(self.warmup - lag + 1, self.warmup + 1), 0)
        return self.obs[:, past]

    def predicted_by(self, model: Predictor) -> NDArray[np.float64]:
        """A model's open-loop predictions ``[m, n, h, d]``, all episodes in one call."""
        states: Array = self.states(model.lag).astype(np.float32)
        if model.lag > 1 and isinstance(model, Remembering):
            past = np.maximum(np.arange(self.warmup - model.lag + 1, self.warmup), 0)
            states = model.states(states, self.actions[:, past])
        # A few hundred rows are small work at each step, whatever the network's width.
        with few_threads(0, (), torch.device("cpu")):
            rollout = model.rollout(self.agents, states, self.actions[:, self.warmup :])
        return np.asarray(rollout, dtype=np.float64)


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

    Errors are in the data's own units, over all coordinates without any scaling. An episode that
    ended during its real steps has nothing to predict and is left out; an agent with no episode
    left has ``nan``. A prediction that is not finite is infinitely wrong.

    Attributes:
        agents: ``[A]``.
        episodes: Episodes that count ``[A]``.
        rmse: Mean over episodes of the root of the mean squared error ``[A]``.
        rmse_sd: Its standard deviation over episodes ``[A]``.
        r2: Median over episodes of the share of variance explained ``[A]``.
        coordinate_rmse: As ``rmse``, of each coordinate alone ``[A, d]``.
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
    step_rmse: NDArray[np.float64]
    step_episodes: NDArray[np.int64]
    traces: Traces

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
            ]
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
    )  # fmt: skip
    return open_loop_error(sim, followed)


def follow(
    task: Task,
    dynamics: Dynamics,
    agents: Sequence[int] | NDArray[np.integer[Any]],
    policy: Any,
    *,
    episodes: int = 50,
    seed: int = 0,
    warmup: int = WARMUP,
    horizon: int = HORIZON,
) -> Episodes:
    """Follow episodes of all agents under a policy, all in one batch.

    Episode ``e`` of every agent starts in the same state.

    Args:
        task: The task.
        dynamics: The true dynamics.
        agents: ``[A]``.
        policy: Anything with ``predict``.
        episodes: Episodes of each agent.
        seed: Seed of start states and policy.
        warmup: Real steps before a prediction.
        horizon: Steps to predict.

    Returns:
        ``A * episodes`` episodes, an agent's one after the other.

    Raises:
        TypeError: If an agent is no integer, or the policy is none.
        ValueError: If an argument is invalid.
    """
    warmup, horizon = checks.integer("warmup", warmup), checks.integer("horizon", horizon, 1)
    steps = warmup + horizon
    batch = episode_batch(task, dynamics, agents, episodes, seed, steps)
    n, space = len(batch), task.action_space
    d = task.observation_space.shape[0]
    what = f"{n} episodes of warmup={warmup} and horizon={horizon} steps"
    checks.enough_memory(what, 16 * n * (steps + 1) * d, "give fewer episodes or steps")
    obs = np.empty((n, steps + 1, d))
    # An action that is never taken must still be one.
    kind = np.int64 if isinstance(space, Discrete) else np.float64
    actions = np.zeros((n, steps, *(space.shape or ())), dtype=kind)
    lengths = np.full(n, steps)
    obs[:] = start_states(task, batch, seed)[:, None]
    for step, moved in enumerate(play(task, dynamics, batch, policy, seed)):
        obs[moved.rows, step + 1 :] = moved.step.obs[:, None]
        actions[moved.rows, step] = moved.actions
        # The step in which physics broke has no next observation to be predicted.
        lengths[moved.rows[moved.over]] = step + 1 - moved.step.stopped[moved.over]
    return Episodes(task.name, batch.agents, obs, actions, lengths, warmup, horizon)


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
