"""Lanes: what the three shells share, on a world that counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from persim_gym.envs.guard import reasons
from persim_gym.envs.lanes import Advance, Lanes, LaneStep, check_actions, first, time_limit
from tests.contract.worlds import CountingDynamics, CountingTask
from tests.learned.worlds import PlainTask

RNG = np.random.default_rng(0)
GO = np.zeros(3, dtype=np.int64)


def lanes(limit: int | None = None, dynamics: Any = None) -> Lanes:
    made = Lanes(CountingTask(), dynamics or CountingDynamics(), np.array([2, 0, 1]), limit)
    made.begin(np.arange(3), np.zeros((3, 1)), RNG)
    return made


def test_lanes_step_by_their_agents_together_or_some_of_them() -> None:
    own = lanes()
    step = own.advance(GO, RNG, None)
    assert step.obs[:, 0].tolist() == step.reward.tolist() == [3.0, 1.0, 2.0]
    assert step.info["agent"].tolist() == [2, 0, 1]
    some = own.advance(GO[:1], RNG, np.array([2]))
    assert some.obs[:, 0].tolist() == [4.0]
    assert some.info["agent"].tolist() == [1]
    assert own.obs[:, 0].tolist() == [3.0, 1.0, 4.0]
    assert own.steps.tolist() == [1, 1, 2]
    assert own.advance(GO, RNG, None).terminated.tolist() == [True, False, True]


def test_rewards_are_no_view_of_the_state() -> None:
    own = lanes()
    step = own.advance(GO, RNG, None)
    step.reward[:] = 99
    assert own.obs[:, 0].tolist() == [3.0, 1.0, 2.0]


def test_time_is_up_lane_by_lane() -> None:
    own = lanes(limit=2)
    assert not own.advance(GO, RNG, None).truncated.any()
    own.begin(np.array([1]), np.zeros((1, 1)), RNG)
    assert own.advance(GO, RNG, None).truncated.tolist() == [True, False, True]
    for wrong in (0, 2.5, True):
        with pytest.raises(ValueError, match="max_episode_steps must be a positive integer"):
            lanes(limit=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("given", "limit"), [(None, 4), (-1, None), (7, 7)])
def test_the_limit_is_the_tasks_unless_another_is_given(
    given: int | None, limit: int | None
) -> None:
    assert time_limit(CountingTask(), given) == limit


class Guarded(CountingDynamics):
    """Stops in the second lane, halts in the third, and subtracts a penalty from all."""

    quiet_info = {"guard": reasons(1)[0], "reward_raw": np.float64(0), "penalty": np.float64(0)}

    def begin(self, n: int, rng: np.random.Generator) -> Any:
        return np.arange(n) + 5

    def advance(self, agents: Any, states: Any, actions: Any, kept: Any, rng: Any) -> Advance:
        place = np.arange(len(agents))
        return Advance(
            self.step(agents, states, actions), place == 1, np.full(len(agents), 0.5),
            {"guard": reasons(len(agents), support=place == 1)}, place == 2,
        )  # fmt: skip


def test_a_guard_truncates_an_end_terminates_and_penalties_are_subtracted() -> None:
    own = lanes(dynamics=Guarded())
    assert [own.kept(lane) for lane in range(3)] == [5, 6, 7]
    quiet = own.quiet_info()
    step = own.advance(GO, RNG, None)
    assert set(step.info) == set(quiet) == {"agent", "guard", "reward_raw", "penalty"}
    assert step.truncated.tolist() == [False, True, False]
    assert step.terminated.tolist() == [False, False, True]
    assert step.stopped.tolist() == [False, True, False]
    assert step.info["reward_raw"].tolist() == [3.0, 1.0, 2.0]
    assert step.reward.tolist() == [2.5, 0.5, 1.5]
    own.quieten(step.info, np.array([1]))
    assert step.info["guard"].tolist() == [0, 0, 0]
    assert step.info["penalty"].tolist() == [0.5, 0.0, 0.5]


def test_without_a_guard_no_lane_is_stopped() -> None:
    nothing = np.zeros(2)
    step = LaneStep(nothing, nothing, nothing > 1, nothing > 1, {})
    assert step.stopped.tolist() == [False, False]


def test_start_states_are_checked_by_a_dynamics_that_can() -> None:
    class Wary(CountingDynamics):
        def check_states(self, agents: Any, states: Any) -> None:
            raise ValueError(f"not from {states.tolist()}")

    lanes().check_start(GO, np.zeros((3, 1)))
    with pytest.raises(ValueError, match=r"not from \[\[7.0\]\]"):
        lanes(dynamics=Wary()).check_start(np.array([0]), np.array([[7.0]]))


def test_actions_that_a_dynamics_refuses_are_those_that_have_an_effect() -> None:
    class Strict(CountingDynamics):
        strict = True

        def check_actions(self, agents: Any, actions: Any) -> None:
            if (actions == 1).any():
                raise ValueError(f"agent {agents[actions == 1][0]} never did that")

    own, actions = lanes(dynamics=Strict()), np.array([0, 1, 0])
    with pytest.raises(ValueError, match="agent 0 never did that"):
        own.check_actions(actions)
    idle = np.array([False, True, False])
    assert own.check_actions(actions, idle=idle).tolist() == [0, 1, 0]


CONTINUOUS = PlainTask.of(2, action_dim=1)


def test_continuous_actions_are_cut_to_their_bounds_unless_the_dynamics_does() -> None:
    given = np.array([[3.0], [-0.5]])
    assert check_actions(CONTINUOUS, given, 2).tolist() == [[1.0], [-0.5]]
    assert check_actions(CONTINUOUS, given, 2, cut=False).tolist() == [[3.0], [-0.5]]

    class Uncut(CountingDynamics):
        takes_uncut_actions = True

    for dynamics, seen in ((CountingDynamics(), 1.0), (Uncut(), 3.0)):
        own = Lanes(CONTINUOUS, dynamics, np.array([0, 1]), None)
        assert own.check_actions(given)[0, 0] == seen
        assert own.cut(own.check_actions(given))[0, 0] == 1.0


@pytest.mark.parametrize(
    ("task", "actions", "error", "says"),
    [
        (CountingTask(), [0, 1, 0], ValueError, r"shape \(2,\), got \(3,\)"),
        (CountingTask(), [0.0, 1.0], TypeError, "must be integers"),
        (CountingTask(), [0, 2], ValueError, "0 to 1, got 0..2"),
        (CountingTask(), [0, -1], ValueError, "0 to 1, got -1..0"),
        (CONTINUOUS, [0.0, 1.0], ValueError, r"shape \(2, 1\), got \(2,\)"),
        (CONTINUOUS, [[0.0], [np.nan]], ValueError, r"finite, got \[nan\] in row 1"),
    ],
)
def test_other_actions_are_refused(task: Any, actions: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        check_actions(task, actions, 2)


def test_an_answer_about_one_is_a_number() -> None:
    assert first(np.array([3.0])) == 3.0
    assert first(np.float64(4.0)) == 4.0
