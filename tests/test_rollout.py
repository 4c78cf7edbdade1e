"""The one vectorised loop: episodes side by side are those of one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from persim_gym.envs.suites import find_suite
from persim_gym.offline import EpsilonMixture, record
from persim_gym.planning import MPC, RandomShooting
from persim_gym.rollout import EpisodeBatch, play, play_returns, start_episodes
from tests.evaluation.worlds import DriftDynamics, DriftTask


def test_returns_are_those_of_stepping_one_episode_after_the_other() -> None:
    suite = find_suite("cartpole")
    task, dynamics, policy = suite.task(), suite.dynamics(suite.population()), Leaning()
    agents = np.array([0, 3, 3, 4])
    starts = task.sample_start(np.random.default_rng(7), 4)
    expected = []
    for agent, start in zip(agents, starts, strict=True):
        state, total = start[None], 0.0
        for _ in range(task.max_episode_steps):
            state = dynamics.step(np.array([agent]), state, policy.predict(state)[0])
            total += 1
            if task.terminated(state)[0]:
                break
        expected.append(total)
    assert play_returns(task, dynamics, policy, agents, 7).tolist() == expected
    assert len(set(expected)) == 4


class Leaning:
    """Pushes to where the pole leans."""

    def predict(self, obs: np.ndarray) -> tuple[np.ndarray, None]:
        return (obs[:, 2] > 0).astype(np.int64), None


def batch_of(agents: list[int], horizon: int, line: float = np.inf) -> EpisodeBatch:
    return EpisodeBatch(
        DriftTask(line), np.array(agents), np.zeros(len(agents), dtype=int), horizon, seed=0
    )


def test_episodes_that_are_over_step_no_more() -> None:
    batch = batch_of([0, 3, 1], horizon=6, line=4.5)
    start = np.array([[0.0, 1.0], [0.0, 2.0], [0.0, 3.0]])
    seen: list[list[float]] = []

    def choose(step: int, lanes: np.ndarray, obs: np.ndarray) -> np.ndarray:
        assert obs.dtype == np.float32
        seen.append(obs[:, 0].tolist())
        return np.ones(len(lanes), dtype=int)

    moves = list(play(DriftDynamics(), batch, start, choose, np.random.default_rng(0)))
    # Agent k walks k + 1 a step, and is over beyond 4.5.
    assert [moved.rows.tolist() for moved in moves] == [[0, 1, 2]] * 2 + [[0, 2]] + [[0]] * 2
    assert seen == [[0, 0, 0], [1, 4, 2], [2, 4], [3], [4]]
    assert [moved.step for moved in moves] == [0, 1, 2, 3, 4]
    assert [moved.rows[moved.over].tolist() for moved in moves] == [[], [1], [2], [], [0]]
    assert moves[-1].result.obs.tolist() == [[5.0, 6.0]]


def test_the_horizon_ends_episodes() -> None:
    batch = batch_of([0, 1], horizon=3)
    rng = np.random.default_rng(0)
    moves = list(play(DriftDynamics(), batch, np.zeros((2, 2)), lambda t, k, o: k * 0, rng))
    assert [moved.over.tolist() for moved in moves] == [[False] * 2] * 2 + [[True] * 2]
    assert moves[-1].result.truncated.all()


@pytest.mark.parametrize(
    ("actions", "error"), [([0, 3], ValueError), ([0.5, 0.5], TypeError), ([0], ValueError)]
)
def test_actions_outside_the_space_are_refused(actions: Any, error: type[Exception]) -> None:
    batch, rng = batch_of([0, 1], horizon=3), np.random.default_rng(0)
    with pytest.raises(error, match="action"):
        list(play(DriftDynamics(), batch, np.zeros((2, 2)), lambda *_: np.array(actions), rng))


def test_a_policy_known_by_predict_sees_every_lane_and_where_episodes_begin() -> None:
    seen: list[tuple[list[float], list[bool]]] = []

    class Counting:
        def predict(
            self, observation: Any, state: Any = None, episode_start: Any = None, **_: Any
        ) -> tuple[Any, Any]:
            seen.append((observation[:, 0].tolist(), episode_start.tolist()))
            return np.zeros(len(observation), dtype=int), (state or 0) + 1

    batch = batch_of([0, 3], horizon=3, line=4.5)
    choose = start_episodes(Counting(), batch)
    list(play(DriftDynamics(), batch, np.zeros((2, 2)), choose, np.random.default_rng(0)))
    assert seen == [([0, 0], [True] * 2), ([1, 4], [False] * 2), ([2, 4], [False] * 2)]


def test_mpc_inside_mixtures_and_recordings_plans_for_each_agent(root: Any) -> None:
    suite = find_suite("cartpole")
    mpc = MPC("cartpole", agent=1, planner=RandomShooting(8, 3))
    asked: list[list[int]] = []
    plan = mpc.plan

    def watched(agents: Any, *rest: Any) -> Any:
        asked.append(agents.tolist())
        return plan(agents, *rest)

    mpc.plan = watched  # type: ignore[method-assign]
    record("cartpole", EpsilonMixture(mpc, 0.5), agents=[0, 3], max_episode_steps=3)
    assert asked == [[0, 3]] * 3
    with pytest.raises(ValueError, match="agent 600 does not exist"):
        start_episodes(mpc, EpisodeBatch(suite.task(), np.array([600]), np.zeros(1, int), 2, 0))
