"""How many transitions a new agent needs: error and calibration against their number.

A simulator is fitted on some agents of a population. Others, whom it has never seen, come with
``k`` transitions of random actions each; their simulators then predict open loop under a scripted
policy, beside a simulator that had these agents in training and beside the population's mean. How
often intervals of the posterior hold what comes, on further transitions, says whether the
simulator knows what it does not know.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.core import Dynamics, Task
from persim_gym.evaluation.episodes import Episodes, collect, follow
from persim_gym.evaluation.open_loop import open_loop_error
from persim_gym.evaluation.references import PooledModel
from persim_gym.evaluation.returns import episode_batch
from persim_gym.learned.posterior.agent import AgentPosterior
from persim_gym.learned.posterior.prior import FactorModel, FactorPrior, normal_quantile
from persim_gym.learned.simulator import PerSim
from persim_gym.offline.transitions import Transitions
from persim_gym.policies.behaviours import RandomPolicy
from persim_gym.policies.scripted import scripted_policy
from persim_gym.rollout import play, start_episodes

COUNTS = (0, 1, 2, 5, 10, 25, 50)
LEVELS = (0.5, 0.8, 0.95)
#: Transitions on which intervals are tried, and of which reference factors are made.
FURTHER, LONG = 50, 400


@dataclass(frozen=True, slots=True)
class Coverage:
    """How often intervals hold what they should, for each number of transitions.

    Attributes:
        predictions: Share of next observations inside their intervals, over agents, transitions
            and coordinates ``[K, len(LEVELS)]``.
        scripted: The same on transitions of the scripted policy.
        factors: Share of personal numbers inside theirs; the truth is taken from long records.
    """

    predictions: NDArray[np.float64]
    scripted: NDArray[np.float64]
    factors: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Adaptation:
    """What transitions of unseen agents are worth.

    Attributes:
        task_name: The task.
        agents: The ``A`` unseen agents, as indices of the population.
        counts: Numbers of transitions ``[K]``.
        rmse: Open-loop error after each number ``[K, A]``.
        trained: Error of the simulator that had the agents in training ``[A]``.
        mean: Error of the population's mean ``[A]``.
        deviation: Standard deviation of the personal numbers, in the population's ``[K, A]``.
        calibrated: Coverage of the intervals as they are.
        plain: Coverage without the calibration: white Gaussian noise of the fit's size.
    """

    task_name: str
    agents: NDArray[np.int64]
    counts: NDArray[np.int64]
    rmse: NDArray[np.float64]
    trained: NDArray[np.float64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    calibrated: Coverage
    plain: Coverage

    def to_json(self) -> dict[str, Any]:
        """All numbers as plain types."""
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in dataclasses.asdict(self).items()
            if name not in ("calibrated", "plain")
        } | {
            name: {f.name: getattr(part, f.name).tolist() for f in dataclasses.fields(part)}
            for name, part in (("calibrated", self.calibrated), ("plain", self.plain))
        }


def random_transitions(
    task: Task,
    dynamics: Dynamics,
    agents: Sequence[int] | NDArray[np.integer[Any]],
    *,
    episodes: int = 1,
    seed: int = 0,
    steps: int | None = None,
) -> Transitions:
    """Transitions of random actions in true dynamics, an agent's episodes one after the other.

    Each episode starts in a state of its own, as those of a recording do, and unlike those of an
    evaluation.

    Args:
        task: The task.
        dynamics: The true dynamics.
        agents: Whose.
        episodes: Episodes of each.
        seed: Seed of start states and actions.
        steps: Steps of an episode at most; by default the task's time limit.
    """
    horizon = task.max_episode_steps if steps is None else steps
    batch = episode_batch(task, dynamics, agents, episodes, seed, horizon)
    rng = np.random.default_rng([seed, 11])
    start = task.sample_start(rng, len(batch))
    choose = start_episodes(RandomPolicy(), batch)
    followed = collect(batch, start, play(dynamics, batch, start, choose, rng))
    return as_transitions(followed, dynamics.num_agents)


def as_transitions(followed: Episodes, num_agents: int) -> Transitions:
    """Episodes as transitions in single precision, as recordings have them."""
    steps = np.arange(followed.actions.shape[1])
    lived = steps < followed.lengths[:, None]
    episode, step = np.nonzero(lived)
    obs = followed.obs.astype(np.float32)
    actions = followed.actions[episode, step]
    over = step == followed.lengths[episode] - 1
    return Transitions(
        agent=followed.agents[episode],
        obs=obs[episode, step],
        action=actions if actions.ndim == 1 else actions.astype(np.float32),
        next_obs=obs[episode, step + 1],
        reward=np.zeros(len(episode)),
        terminated=np.zeros(len(episode), dtype=np.bool_),
        truncated=over,
        episode=episode.astype(np.int64),
        num_agents=num_agents,
        task_name=followed.task_name,
    )


def measure(
    sim: PerSim,
    trained: PerSim,
    dynamics: Dynamics,
    agents: Sequence[int],
    *,
    counts: Sequence[int] = COUNTS,
    episodes: int = 20,
    horizon: int = 50,
    seed: int = 1,
) -> Adaptation:
    """Adapt a simulator to agents that it has not seen, and see how well it does.

    Args:
        sim: Fitted without ``agents``.
        trained: Fitted with them, by their indices of the population.
        dynamics: The true dynamics of the population.
        agents: The unseen agents ``[A]``.
        counts: Numbers of transitions ``[K]``.
        episodes: Episodes of each agent that are predicted.
        horizon: Predicted steps.
        seed: Seed of what the agents are shown and tried on.
    """
    task = sim.task
    script = scripted_policy(task.name, seed)
    followed = follow(task, dynamics, agents, script, episodes=episodes, seed=seed, horizon=horizon)
    records = _records(task, dynamics, agents, max(counts) + FURTHER + LONG, seed + 1)
    off = as_transitions(followed, dynamics.num_agents)
    rmse, deviation = [], []
    for count in counts:
        own = sim.to(str(sim.device))
        indices = []
        for record in records:
            obs, actions, following = (part[:count] for part in _arrays(record))
            indices.append(own.adapt(obs, actions, following))
        renamed = dict(zip(agents, indices, strict=True))
        asked = np.array([renamed[agent] for agent in followed.agents.tolist()])
        rmse.append(open_loop_error(own, dataclasses.replace(followed, agents=asked)).rmse)
        deviation.append([own.posterior(index).deviation for index in indices])
    tried = [off.select(np.flatnonzero(off.agent == agent)[:FURTHER]) for agent in agents]
    prior = sim.prior
    plain = dataclasses.replace(prior, temperature=1.0, correlation=0.0, quantiles=None)
    return Adaptation(
        task.name,
        np.asarray(agents, dtype=np.int64),
        np.asarray(counts, dtype=np.int64),
        np.array(rmse),
        open_loop_error(trained, followed).rmse,
        open_loop_error(PooledModel(mean_agent(sim)), followed).rmse,
        np.array(deviation),
        coverage(sim, prior, records, tried, counts),
        coverage(sim, plain, records, tried, counts),
    )


def mean_agent(sim: PerSim) -> PerSim:
    """The simulator of a single agent, whose factor is the population's mean."""
    ensemble = sim.ensemble.with_factors(sim.prior.mean[:, None])
    experience = dataclasses.replace(sim.experience, seen=None, own_low=None, own_high=None)
    return PerSim(ensemble, sim.task, experience, {"task": sim.task.name})


def coverage(
    sim: PerSim,
    prior: FactorPrior,
    records: Sequence[Transitions],
    scripted: Sequence[Transitions],
    counts: Sequence[int] = COUNTS,
) -> Coverage:
    """How often the intervals of a prior's posteriors hold what they should.

    Args:
        sim: The simulator.
        prior: With or without calibration.
        records: Transitions of each agent: those it is adapted with, then at least
            :data:`FURTHER` more, then all others for the reference of its factor.
        scripted: Transitions of another policy, of each agent.
        counts: Numbers of transitions ``[K]``.
    """
    model = FactorModel(sim.ensemble, prior)
    bounds = normal_quantile(LEVELS)
    first = max(counts) + FURTHER
    longest = []
    for record in records:
        known = AgentPosterior(model, sim.task)
        known.update(*(part[first:] for part in _arrays(record)))
        longest.append(known.personal[0])
    table: list[list[NDArray[np.float64]]] = []
    for count in counts:
        rows: list[list[NDArray[np.bool_]]] = [[], [], []]
        for record, other, truth in zip(records, scripted, longest, strict=True):
            arrays = _arrays(record)
            known = AgentPosterior(model, sim.task).update(*(part[:count] for part in arrays))
            further = tuple(part[count : count + FURTHER] for part in arrays)
            rows[0].append(_inside(known, sim.task, further))
            rows[1].append(_inside(known, sim.task, _arrays(other)))
            middle, deviation = known.personal
            z = np.abs(middle - truth) / deviation
            rows[2].append(z[..., None] < bounds)
        table.append([_share(part) for part in rows])
    shares = np.array(table)
    return Coverage(*(shares[:, kind] for kind in range(3)))


def _share(parts: list[NDArray[np.bool_]]) -> NDArray[np.float64]:
    """Share of what is inside, for each level."""
    flat = np.concatenate([part.reshape(-1, len(LEVELS)) for part in parts])
    return np.asarray(flat.mean(axis=0))


def _inside(known: AgentPosterior, task: Task, rows: tuple[NDArray[Any], ...]) -> NDArray[np.bool_]:
    """Which coordinates of next observations lie in their intervals ``[n, d, len(LEVELS)]``.

    Of transitions that end on a bound nothing is asked: the environment has cut them off.
    """
    obs, actions, following = rows
    space = task.observation_space
    free = ((following > space.low) & (following < space.high)).all(axis=1)
    obs, actions, following = obs[free], actions[free], following[free].astype(np.float64)
    inside = []
    for level in LEVELS:
        low, high = known.interval(obs, actions, level)
        inside.append((following >= low) & (following <= high))
    return np.stack(inside, axis=-1)


def _records(
    task: Task, dynamics: Dynamics, agents: Sequence[int], least: int, seed: int
) -> list[Transitions]:
    """At least some transitions of random actions of each agent, over as many episodes."""
    episodes = 1
    while True:
        data = random_transitions(task, dynamics, agents, episodes=episodes, seed=seed)
        count = np.bincount(data.agent, minlength=dynamics.num_agents)[list(agents)]
        if count.min() >= least:
            return [data.select(data.agent == agent) for agent in agents]
        episodes = int(np.ceil(1.2 * episodes * least / max(1, count.min())))


def _arrays(data: Transitions) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    return data.obs, data.action, data.next_obs
