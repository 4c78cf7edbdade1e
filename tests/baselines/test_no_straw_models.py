"""On dense data of few agents CaDM predicts as well as PerSim's networks do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from persim_gym.baselines import CaDM
from persim_gym.baselines.model_config import VANILLA
from persim_gym.envs.suites import SUITES
from persim_gym.evaluation.episodes import follow
from persim_gym.evaluation.open_loop import open_loop_error
from persim_gym.evaluation.references import Persistence
from persim_gym.learned import PerSim
from persim_gym.offline.transitions import Transitions
from persim_gym.policies.behaviours import EpsilonMixture
from persim_gym.policies.scripted import scripted_policy
from persim_gym.rollout import EpisodeBatch, play, start_episodes
from tests.baselines.small import transitions_of

#: Agents of no test: settings are tuned on such.
AGENTS = np.arange(5, 10)


def dense(task: Any, true: Any, episodes: int) -> Transitions:
    """Episodes of each agent from anywhere, under a controller that acts half the time."""
    batch = EpisodeBatch.of_each(task, AGENTS, episodes, horizon=100, seed=0)
    rng = np.random.default_rng(0)
    start = rng.uniform(-1, 1, (len(batch), 4)) * np.array([2.0, 2.0, 0.18, 2.0])
    controller = scripted_policy(task.name, 0)
    policy = EpsilonMixture(controller, 0.5, action_space=task.action_space, seed=0)
    moves = list(play(true, batch, start, start_episodes(policy, batch), rng))
    return transitions_of(batch, start, moves, num_agents=int(AGENTS[-1]) + 1)


@pytest.mark.slow
def test_cadm_predicts_as_well_as_persims_networks_on_dense_data() -> None:
    suite = SUITES["cartpole"]
    task, true = suite.task(), suite.dynamics(suite.population())
    data = dense(task, true, 80)
    asked = follow(task, true, AGENTS, scripted_policy("cartpole", 3), episodes=20, seed=1)

    def error(model: Any) -> float:
        return float(open_loop_error(model, asked, traces=1).rmse.mean())

    cadm = CaDM.fit(data, progress=False, **VANILLA, steps=10_000)
    networks = PerSim.fit(data, method="sgd", ensemble_size=1, progress=False)
    assert error(cadm.dynamics) < 1.25 * error(networks)
    assert error(cadm.dynamics) < 0.8 * error(Persistence())
