"""Baselines as methods of the benchmark: fitted on all agents, on one, or on synthetic data too.

Functions here give policies; :mod:`persim_gym.experiments.methods` makes methods of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from persim_gym.baselines.face import FILE, Baseline, method_class
from persim_gym.baselines.recipe import as_config
from persim_gym.envs.suites import SUITES
from persim_gym.experiments.cell import Cell
from persim_gym.experiments.context import Context
from persim_gym.experiments.recordings import check_own
from persim_gym.learned.simulator import PerSim
from persim_gym.offline import datasets
from persim_gym.offline.reading import read_transitions
from persim_gym.offline.transitions import Transitions
from persim_gym.planning import MPC
from persim_gym.policies.paper_behaviours import by_policy
from persim_gym.progress import OnProgress
from persim_gym.rollout import Chooser, EpisodeBatch

#: Synthetic trajectories of each test agent.
SYNTHETIC = 5

#: Folder of a model of the behaviour in that of what draws from it.
BEHAVIOUR = "behaviour"


class PerAgent:
    """A policy of its own for each agent."""

    name = "per-agent"

    def __init__(self, policies: Mapping[int, Any]) -> None:
        self.policies = dict(policies)

    def begin_episodes(self, batch: EpisodeBatch) -> Chooser:
        """Each episode under the policy of its agent."""
        return by_policy(self.policies, batch.agents)

    def predict(self, observation: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Refuse: whose episode it is has to be known.

        Raises:
            TypeError: Always.
        """
        raise TypeError("policies of single agents act in episodes whose agent is known")


class ModelPerAgent:
    """A model of its own for each agent, asked for open-loop predictions.

    Args:
        models: Models of one member count, whose states are observations, by agent.
    """

    lag = 1

    def __init__(self, models: Mapping[int, Any]) -> None:
        self.models = dict(models)

    def rollout(self, agents: Any, obs: Any, actions: Any) -> NDArray[Any]:
        """Predictions ``[m, n, h, d]`` of agents ``[n]``, each by its own model."""
        agents, obs, actions = np.asarray(agents), np.asarray(obs), np.asarray(actions)
        found: NDArray[Any] | None = None
        for agent in np.unique(agents).tolist():
            rows = agents == agent
            own = self.models[agent].rollout(agents[rows], obs[rows], actions[rows])
            if found is None:
                found = np.zeros((len(own), len(agents), *own.shape[2:]), dtype=own.dtype)
            found[:, rows] = own
        assert found is not None
        return found


def check_options(name: str, cell: Cell, options: Mapping[str, Any]) -> None:
    """Check the options of a cell's fit, beside those of its method.

    Raises:
        ValueError: If one is unknown or invalid.
    """
    as_config(method_class(name).Config, None, {**options, **dict(cell.fit)})


def behaviour_of(context: Context) -> tuple[Any, dict[str, Any]]:
    """A model of the behaviour of all agents' data, to draw candidates from, and facts of it."""
    discrete = isinstance(SUITES[context.cell.task].task().action_space, Discrete)
    # The cell's options are of its simulator.
    plain = replace(context, cell=replace(context.cell, fit=()))
    options: dict[str, Any] = {} if discrete else {"rounds": 0}
    name, folder = "cloning" if discrete else "sfbc", context.folder / BEHAVIOUR
    fitted = _fitted(plain, name, folder, context.data, context.on_progress, options)
    return fitted, _facts(fitted)


def of_everyone(context: Context, name: str, **options: Any) -> tuple[Baseline, dict[str, Any]]:
    """One policy from the data of all agents, and facts of it."""
    fitted = _fitted(context, name, context.folder, context.data, context.on_progress, options)
    return fitted, _facts(fitted)


def of_each(context: Context, name: str, **options: Any) -> tuple[PerAgent, dict[str, Any]]:
    """A policy of each test agent from its own trajectory, and facts of one of them."""
    return _each(context, name, lambda agent: _alone(context.data(), agent), options)


def of_each_with_synthetic(
    context: Context, sim: PerSim, name: str, **options: Any
) -> tuple[PerAgent, dict[str, Any]]:
    """A policy of each test agent from its own trajectory and synthetic ones.

    Paper: which policy acts in the synthetic trajectories is not said. Here it is MPC in the
    agent's own simulator, by the task's default planner: what a simulator is good for.
    """
    cell, drawn = context.cell, list[Transitions]()

    def data(agent: int) -> Transitions:
        if not drawn:
            drawn.append(_synthetic(sim, cell))
        return joined(_alone(context.data(), agent), _alone(drawn[0], agent))

    policy, facts = _each(context, name, data, options)
    return policy, {**facts, "simulator_sha256": sim.sha256, "synthetic": SYNTHETIC}


def joined(first: Transitions, second: Transitions) -> Transitions:
    """Transitions of the same agents and task, one set after the other.

    Raises:
        ValueError: If they do not fit together.
    """
    names = ("agent", "obs", "action", "next_obs", "reward", "terminated", "truncated")
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in names
    }
    episode = np.concatenate([first.episode, second.episode + first.episode.max() + 1])
    changes: Any = None
    if first.changes is not None or second.changes is not None:
        changes = np.concatenate([each.change(slice(None)) for each in (first, second)])
    return replace(first, **columns, episode=episode, changes=changes)


def _synthetic(sim: PerSim, cell: Cell) -> Transitions:
    """Synthetic trajectories of a cell's agents."""
    agents, task = list(cell.agents), SUITES[cell.task].task()
    mpc = MPC(sim, agents, task=task, planner="default", seed=cell.seed)
    data = sim.generate(
        agents, mpc, SYNTHETIC, cell.seed, overwrite=True, progress=False,
        dataset_id=f"{datasets.NAMESPACE}/synthetic/{cell.fit_key}-v0",
        max_episode_steps=cell.max_episode_steps,
    )  # fmt: skip
    return read_transitions(data)


def _alone(transitions: Transitions, agent: int) -> Transitions:
    return transitions.select(transitions.agent == agent)


def _each(
    context: Context,
    name: str,
    data: Callable[[int], Transitions],
    options: Mapping[str, Any],
) -> tuple[PerAgent, dict[str, Any]]:
    agents = context.cell.agents
    policies: dict[int, Any] = {}
    for place, agent in enumerate(agents):
        with part_of(context.on_progress, place, len(agents)) as report:
            folder = context.folder / f"agent-{agent}"
            own = partial(data, agent)
            policies[agent] = _fitted(context, name, folder, own, report, options)
    return PerAgent(policies), _facts(policies[agents[0]])


@contextmanager
def part_of(report: OnProgress | None, place: int, count: int) -> Iterator[OnProgress | None]:
    """The progress of one of several like fits, as that of all."""
    yield None if report is None else lambda done, of: report(place * of + done, count * of)


def _fitted(
    context: Context,
    name: str,
    folder: Path,
    data: Callable[[], Transitions],
    report: OnProgress | None,
    options: Mapping[str, Any],
) -> Baseline:
    """A baseline, from disk where another cell has fitted it already.

    Raises:
        ValueError: If what lies there was fitted on other data.
    """
    cell = context.cell
    if (folder / FILE).is_file():
        there = Baseline.load(folder, device=context.device)
        check_own(cell, folder, "baseline", there.card)
        return there
    fitted: Baseline = method_class(name).fit(
        data(), seed=cell.seed, device=context.device, checkpoint=folder, progress=False,
        on_progress=report, **{**options, **dict(cell.fit)},
    )  # fmt: skip
    return fitted


def _facts(fitted: Baseline) -> dict[str, Any]:
    """What was fitted, without times: equal fits have equal facts."""
    card = fitted.card
    return {"fitted_by": card["method"], "config": card["config"], "dataset": card["dataset"]}
