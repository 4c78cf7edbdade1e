"""SfBC earns what an expert does, on the expert's own data of one agent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from persim_gym.baselines import SfBC
from persim_gym.envs.suites import SUITES
from persim_gym.evaluation.returns import episode_returns
from persim_gym.offline import read_transitions, record
from tests.baselines.small import Push, PushExpert, PushTask, episodes_of


@pytest.mark.slow
def test_a_small_fit_does_as_a_clear_expert_does() -> None:
    task, dynamics = PushTask(), Push()
    data = episodes_of(task, dynamics, PushExpert(), 2, 10)
    fitted = SfBC.fit(
        data, task=task, agent=2, updates=400, widths=(32, 16), batch_size=64, learning_rate=3e-3,
        critic_updates=100, critic_hidden=(32,), planned=4, rounds=1, candidates=8, average=4,
        progress=False,
    )  # fmt: skip

    def mean(policy: Any) -> float:
        return float(episode_returns(task, dynamics, [2], policy, 20, seed=9).mean())

    least, most = mean("random"), mean(PushExpert())
    assert mean(fitted) >= least + 0.9 * (most - least)


@pytest.mark.slow
def test_half_cheetah_runs_as_its_expert_does(root: Any) -> None:
    """Five episodes of an agent, no test agent, that runs steadily; a minute of one core."""
    agent, suite = 7, SUITES["half-cheetah"]
    record("half-cheetah", "pure", [agent], episodes=5, dataset_id="persim/expert-v0")
    data = read_transitions("persim/expert-v0")
    behaviour = np.add.reduceat(data.reward, data.starts)
    assert behaviour.mean() > 2500
    fitted = SfBC.fit(
        data, agent=agent, updates=5000, critic_updates=800, planned=8, rounds=1, average=4,
        progress=False,
    )  # fmt: skip
    true = suite.dynamics(suite.population())
    returns = episode_returns(suite.task(), true, [agent], fitted, 3, seed=1)
    assert returns.mean() >= 0.9 * behaviour.mean()
