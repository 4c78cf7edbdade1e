"""Behaviour cloning: frequencies of discrete actions, Gaussians of continuous ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from persim_gym.baselines import Cloning
from persim_gym.offline.transitions import Transitions
from persim_gym.planning import MPC, RandomShooting
from tests.baselines.sfbc.worlds import TWO_WAYS, two_ways
from tests.learned.worlds import PlainTask

ROWS = 3000
SWITCHES = PlainTask(
    name="switches",
    observation_space=Box(-np.inf, np.inf, (1,), dtype=np.float32),
    action_space=Discrete(3),
)
SMALL: dict[str, Any] = {
    "task": SWITCHES,
    "updates": 600,
    "learning_rate": 5e-3,
    "hidden": (16,),
    "progress": False,
}


def switches() -> Transitions:
    """Action 2 is never taken; action 1 with probability 0.9 where x > 0, and 0.2 elsewhere."""
    rng = np.random.default_rng(0)
    obs = rng.choice([-1.0, 1.0], size=(ROWS, 1)) + 0.1 * rng.normal(size=(ROWS, 1))
    action = (rng.random(ROWS) < np.where(obs[:, 0] > 0, 0.9, 0.2)).astype(np.int64)
    none = np.zeros(ROWS, bool)
    return Transitions(
        agent=np.zeros(ROWS, np.int64), obs=obs, action=action, next_obs=obs + 0.01,
        reward=np.zeros(ROWS), terminated=none, truncated=none, episode=np.arange(ROWS) // 100,
        num_agents=1, task_name="switches", action_labels=("off", "on", "never"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def fitted() -> Cloning:
    return Cloning.fit(switches(), **SMALL)


@pytest.mark.slow
def test_frequencies_of_discrete_actions(fitted: Cloning) -> None:
    drawn = fitted.sample(np.array([[-1.0], [1.0]]), 4000, np.random.default_rng(0))
    assert drawn.shape == (2, 4000)
    assert drawn.dtype.kind == "i"
    assert (drawn == 1).mean(axis=1) == pytest.approx([0.2, 0.9], abs=0.05)
    assert (drawn == 2).mean() < 0.02
    actions, _ = fitted.predict(np.array([[-1.0], [1.0]]))
    assert actions.tolist() == [0, 1]
    drawn, _ = fitted.predict(np.full((4000, 1), -1.0), deterministic=False)
    assert drawn.mean() == pytest.approx(0.2, abs=0.05)


def test_it_is_a_proposal_of_a_planner(fitted: Cloning) -> None:
    class Still:
        num_agents, lag = 1, 1

        def step(self, agents: Any, states: Any, actions: Any) -> Any:
            return np.array(states)

    mpc = MPC(
        Still(), task=fitted.task, planner=RandomShooting(30, 3, decide="mean"), proposal=fitted
    )
    taken = [int(mpc.predict(np.array([1.0]))[0]) for _ in range(5)]
    assert set(taken) <= {0, 1}


@pytest.mark.slow
def test_continuous_actions_have_a_mean_and_a_deviation() -> None:
    clone = Cloning.fit(two_ways(), task=TWO_WAYS, updates=500, progress=False)
    drawn = clone.sample(np.zeros((1, 2)), 4000, np.random.default_rng(0))
    assert drawn.shape == (1, 4000, 1)
    assert float(drawn.mean()) == pytest.approx(0, abs=0.3)
    assert float(drawn.std()) == pytest.approx(1, abs=0.25)
    assert np.abs(drawn).max() <= clone.action_space.high
