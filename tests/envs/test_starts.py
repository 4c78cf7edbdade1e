"""Start states of lanes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.utils import seeding

from persim_gym.envs.starts import LaneStarts, check_state
from tests.learned.worlds import PlainTask


def sample(rng: np.random.Generator, n: int) -> Any:
    return rng.uniform(size=(n, 2))


def test_a_lane_draws_what_its_seed_alone_would() -> None:
    starts = LaneStarts(sample, 3, 2)
    starts.seed([0, 1, 2], [7, 8, 7])
    size = 512  # of a block of two coordinates
    drawn = np.stack([starts.draw(np.arange(3)) for _ in range(size + 2)])
    first = seeding.np_random(7)[0]
    alone = np.concatenate([sample(first, size), sample(first, size)[:2]])
    np.testing.assert_array_equal(drawn[:, 0], alone)
    np.testing.assert_array_equal(drawn[:, 0], drawn[:, 2])
    assert (drawn[:, 0] != drawn[:, 1]).any()


def test_lanes_go_on_by_themselves_and_begin_anew_with_a_seed() -> None:
    starts = LaneStarts(sample, 2, 2)
    starts.seed([0, 1], [1, 1])
    one = starts.draw(np.array([0]))
    later = starts.draw(np.array([0]))
    np.testing.assert_array_equal(starts.draw(np.array([1])), one)
    starts.seed([0, 1], [1, None])  # without a seed a running stream goes on
    np.testing.assert_array_equal(starts.draw(np.arange(2)), np.concatenate([one, later]))


TASK = PlainTask.of(2, actions=3, low=-1.0)


def test_a_state_is_given_to_one_lane_or_to_all() -> None:
    assert check_state(TASK, [0.5, -1]).tolist() == [0.5, -1.0]
    assert check_state(TASK, [0.5, -1], n=3).shape == (3, 2)
    each = np.arange(6).reshape(3, 2) / 10
    np.testing.assert_array_equal(check_state(TASK, each, n=3), each)


@pytest.mark.parametrize(
    ("state", "n", "says"),
    [
        ("here", None, "must be numbers"),
        ([1.0], None, r"must have shape \(2,\), got \(1,\)"),
        (np.zeros((2, 2)), 3, r"\(2,\) or \(3, 2\)"),
        ([0.0, np.nan], None, "must be finite"),
        ([0.0, 1.5], None, "coordinate 1 of the state is out of the observation space"),
    ],
)
def test_other_states_are_refused(state: Any, n: int | None, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_state(TASK, state, n)
