"""Agents that were not in training: what their covariates, or a few transitions, are worth.

Paper: there a map from covariates to factors stands in for a trajectory, on MountainCar. Here the
same map stands beside factors that are estimated from a few transitions of random actions, for
which covariates need not be known.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from persim_gym.envs.suites import SUITES
from persim_gym.evaluation.adaptation import mean_agent, random_transitions
from persim_gym.evaluation.episodes import Episodes, follow
from persim_gym.evaluation.open_loop import open_loop_error
from persim_gym.evaluation.references import PooledModel
from persim_gym.experiments.context import Context, Model
from persim_gym.experiments.prediction import paper_policy
from persim_gym.experiments.recordings import population_of
from persim_gym.learned.simulator import PerSim
from persim_gym.progress import OnProgress

#: Transitions of random actions with which an unseen agent comes.
COUNTS = (1, 2, 5, 10, 25, 50)


def judge(context: Context, model: Model, on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Open-loop error for agents that a simulator has not seen, by what is known of them.

    Returns:
        ``"agents"``, and in ``"known"`` for each kind of knowledge RMSE and R2 of each agent.
    """
    cell, sim = context.cell, model.dynamics
    assert isinstance(sim, PerSim)
    suite = SUITES[cell.task]
    population = population_of(cell)
    task, true = suite.task(), suite.dynamics(population)
    policy = paper_policy(task, cell.seed)
    followed = follow(task, true, cell.agents, policy, episodes=cell.episodes, seed=cell.seed)
    records = random_transitions(
        task, true, cell.agents, episodes=max(COUNTS), seed=cell.seed + 1, steps=max(COUNTS)
    )
    known = ["mean", "covariates", *(str(count) for count in COUNTS)]
    errors = []
    for i, name in enumerate(known):
        if name == "mean":
            error = open_loop_error(PooledModel(mean_agent(sim)), followed, traces=1)
        else:
            own = sim.to(str(sim.device))  # a copy: agents are added to it
            if name == "covariates":
                mapping = own.map_covariates(population.values[: cell.train_agents])
                indices = own.adapt_covariates(mapping, population.values[list(cell.agents)])
            else:
                indices = [_adapted(own, records, agent, int(name)) for agent in cell.agents]
            asked = _renamed(followed, dict(zip(cell.agents, indices, strict=True)))
            error = open_loop_error(own, asked, traces=1)
        errors.append({"known": name, "rmse": error.rmse.tolist(), "r2": error.r2.tolist()})
        if on_progress is not None:
            on_progress(i + 1, len(known))
    return {"agents": list(cell.agents), "known": errors}


def _adapted(sim: PerSim, records: Any, agent: int, count: int) -> int:
    own = records.select(np.flatnonzero(records.agent == agent)[:count])
    return sim.adapt(own.obs, own.action, own.next_obs)


def _renamed(followed: Episodes, index: dict[int, int]) -> Episodes:
    agents = np.array([index[agent] for agent in followed.agents.tolist()], dtype=np.int64)
    return dataclasses.replace(followed, agents=agents)
