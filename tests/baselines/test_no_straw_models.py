"""On dense data of few agents CaDM explains what there is to be predicted, as PerSim does."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from persim_gym.baselines import CaDM
from persim_gym.baselines.context import fit as context_fit
from persim_gym.baselines.model_config import DENSE, VANILLA
from persim_gym.envs.suites import SUITES
from persim_gym.evaluation.episodes import Episodes, follow
from persim_gym.evaluation.open_loop import open_loop_error
from persim_gym.evaluation.references import Persistence
from persim_gym.learned import PerSim
from persim_gym.offline.transitions import Transitions
from persim_gym.policies.behaviours import EpsilonMixture
from persim_gym.policies.scripted import scripted_policy
from persim_gym.rollout import EpisodeBatch, play, start_episodes
from tests.baselines.context_worlds import TASK, HiddenGain, recorded
from tests.baselines.small import transitions_of

#: As often is what is held out looked at, which may end a fit.
BLOCK = context_fit.BLOCK
#: Agents of no test: settings are tuned on such.
AGENTS = np.arange(5, 10)
GAINS = np.array([-1.4, -0.7, 0.2, 0.8, 1.5])
SETTINGS: dict[str, Any] = {**VANILLA, "learning_rate": 3e-3, "progress": False}


def linear(episodes: int, seed: int = 0) -> Transitions:
    """Episodes of five agents in a linear world."""
    data = recorded(HiddenGain(np.tile(GAINS, episodes)), 40, seed)
    return dataclasses.replace(data, agent=data.agent % 5, num_agents=5)


def followed(data: Transitions) -> Episodes:
    """Ten steps of each episode, and thirty to predict."""
    count = len(data) // 40
    last = data.next_obs.reshape(count, 40, 2)[:, -1:]
    obs = np.concatenate([data.obs.reshape(count, 40, 2), last], axis=1).astype(np.float64)
    actions = data.action.reshape(count, 40, 1).astype(np.float64)
    agents, lengths = data.agent[data.starts], np.full(count, 40)
    return Episodes(TASK.name, agents, obs, actions, lengths, 10, 30)


@pytest.mark.slow
def test_cadm_and_persim_explain_a_linear_world_of_five_agents() -> None:
    """30 episodes of each agent; 30 steps are predicted after 10 observed ones."""
    data, asked = linear(30, seed=1), followed(linear(10, seed=7))
    cadm = CaDM.fit(data, task=TASK, **SETTINGS)
    networks = PerSim.fit(data, task=TASK, method="sgd", ensemble_size=1, progress=False)
    for model in (cadm.dynamics, networks):
        assert open_loop_error(model, asked, traces=1).r2.min() > 0.95
    assert open_loop_error(Persistence(), asked, traces=1).r2.max() < 0.5


def dense(task: Any, true: Any, episodes: int) -> Transitions:
    """Episodes of each agent from anywhere, under a controller that mostly acts."""
    batch = EpisodeBatch.of_each(task, AGENTS, episodes, horizon=100, seed=0)
    rng = np.random.default_rng(0)
    start = rng.uniform(-1, 1, (len(batch), 4)) * np.array([2.0, 2.0, 0.18, 2.0])
    controller = scripted_policy(task.name, 0)
    policy = EpsilonMixture(controller, 0.3, action_space=task.action_space, seed=0)
    moves = play(true, batch, start, start_episodes(policy, batch), rng)
    return transitions_of(batch, start, moves)


@pytest.mark.slow
def test_cadm_follows_cartpoles_that_it_has_seen_enough_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PerSim's networks are nearer still: the documentation says by how much."""
    monkeypatch.setattr(context_fit, "BLOCK", BLOCK)
    suite = SUITES["cartpole"]
    task, true = suite.task(), suite.dynamics(suite.population())
    data = dense(task, true, 60)
    asked = follow(task, true, AGENTS, scripted_policy("cartpole", 3), episodes=20, seed=1)
    cadm = CaDM.fit(data, **VANILLA, **DENSE, progress=False)
    own, still = (
        float(open_loop_error(model, asked, traces=1).rmse.mean())
        for model in (cadm.dynamics, Persistence())
    )
    assert own < 0.1 * still


@pytest.mark.slow
def test_a_small_fit_explains_a_linear_world_of_five_agents() -> None:
    data, asked = linear(20), followed(linear(4, seed=7))
    small = DENSE | {"steps": 900, "encoder": (32, 32), "hidden": (32,)}
    cadm = CaDM.fit(data, task=TASK, **VANILLA, **small, progress=False)
    assert open_loop_error(cadm.dynamics, asked, traces=1).r2.min() > 0.9
