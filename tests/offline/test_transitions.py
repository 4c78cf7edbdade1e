"""Flat transitions: states with a past, selection, hash, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from persim_gym.offline import Transitions

LENGTHS = (3, 1, 4)


def made(**changes: Any) -> Transitions:
    """Three episodes whose observations are (agent, episode, time)."""
    episode = np.repeat(np.arange(3), LENGTHS)
    time = np.concatenate([np.arange(length) for length in LENGTHS])
    agent = np.array([5, 2, 5])[episode]
    obs = np.stack([agent, episode, time], axis=1).astype(np.float32)
    ends = np.append(episode[1:] != episode[:-1], True)
    parts: dict[str, Any] = {
        "agent": agent,
        "obs": obs,
        "action": time % 2,
        "next_obs": obs + np.array([0, 0, 1], dtype=np.float32),
        "reward": -np.ones(len(time)),
        "terminated": ends & (episode == 1),
        "truncated": ends & (episode != 1),
        "episode": episode,
        "num_agents": 6,
        "task_name": "cartpole",
        "dataset_id": "persim/cartpole/x-v0",
    }
    return Transitions(**{**parts, **changes})


def test_episodes_are_told_apart() -> None:
    data = made()
    assert len(data) == 8
    assert data.starts.tolist() == [0, 3, 4]
    assert data.lengths.tolist() == [3, 1, 4]
    assert data.step.tolist() == [0, 1, 2, 0, 0, 1, 2, 3]


def test_states_of_one_observation_are_the_observations() -> None:
    data = made()
    np.testing.assert_array_equal(data.states(1), data.obs[:, None])


def test_states_hold_the_past_oldest_first_and_never_another_episode() -> None:
    data = made()
    states = data.states(3)
    assert states.shape == (8, 3, 3)
    times = [[0, 0, 0], [0, 0, 1], [0, 1, 2], [0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3]]
    np.testing.assert_array_equal(states[:, :, 2], times)
    np.testing.assert_array_equal(states[:, :, 1], np.repeat(data.episode[:, None], 3, axis=1))


def test_a_state_without_observations_is_refused() -> None:
    with pytest.raises(ValueError, match="lag=0"):
        made().states(0)


def test_select_by_mask_and_by_indices() -> None:
    data = made()
    mask = data.agent == 5
    by_mask = data.select(mask)
    assert len(by_mask) == 7
    assert by_mask.starts.tolist() == [0, 3]
    assert (by_mask.num_agents, by_mask.task_name) == (6, "cartpole")
    assert by_mask.sha256() == data.select(np.flatnonzero(mask)).sha256()
    for field in dataclasses.fields(data):
        whole, part = getattr(data, field.name), getattr(by_mask, field.name)
        if isinstance(whole, np.ndarray):
            np.testing.assert_array_equal(part, whole[mask])


def test_nothing_selected_is_refused() -> None:
    with pytest.raises(ValueError, match="no transitions"):
        made().select(np.zeros(8, dtype=bool))


def test_hash_is_of_what_a_fit_sees() -> None:
    data = made()
    assert data.sha256() == made().sha256()
    assert data.sha256() == made(dataset_id="other", reward=np.zeros(8)).sha256()
    for name in ("agent", "obs", "action", "next_obs"):
        changed = getattr(data, name).copy()
        changed[-1] = 0
        assert data.sha256() != made(**{name: changed}).sha256(), name
    assert data.sha256() != made(episode=data.episode + 1).sha256()


def test_hash_tells_a_view_from_nothing_but_its_content() -> None:
    data = made()
    assert made(obs=np.asfortranarray(data.obs)).sha256() == data.sha256()


def with_nan(values: np.ndarray) -> np.ndarray:
    changed = values.astype(np.float32)
    changed.reshape(8, -1)[6, 0] = np.nan
    return changed


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reward": np.zeros(7)}, "reward has 7 rows, agent has 8"),
        ({"next_obs": np.zeros((8, 2), dtype=np.float32)}, r"\(8, 3\) and \(8, 2\)"),
        ({"num_agents": 5}, "0 to 4, got 2 to 5"),
        ({"agent": np.full(8, -1)}, "got -1 to -1"),
        ({"episode": np.array([1, 1, 1, 0, 2, 2, 2, 2])}, "ascend"),
        ({"obs": with_nan(made().obs)}, r"obs of transition 6 \(agent 5, episode 2\)"),
        ({"next_obs": with_nan(made().obs)}, "next_obs of transition 6"),
        ({"action": with_nan(made().action)}, "action of transition 6"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        made(**changes)


# -- names -----------------------------------------------------------------------------------------


def test_names_are_kept_by_a_selection() -> None:
    names: dict[str, Any] = {
        "agent_names": tuple("abcdef"),
        "obs_names": ("x", "y", "z"),
        "action_names": ("push",),
        "action_labels": ("left", "none", "right", "never taken"),
    }
    part = made(**names).select(np.arange(4))
    assert {name: getattr(part, name) for name in names} == names
    wide = np.zeros((8, 2), np.float32)
    assert made(action=wide, action_names=("dose", "rate")).action_names == ("dose", "rate")
    assert made().agent_names is made().obs_names is made().action_names is None


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"agent_names": tuple("abc")}, ValueError, "agent_names has 3 names for 6 agents"),
        ({"obs_names": ("x", "y")}, ValueError, "2 names for 3 observation coordinates"),
        ({"action_names": ("x", "y")}, ValueError, "2 names for 1 action coordinates"),
        ({"obs_names": ("x", "y", "x")}, ValueError, "differ from each other, got x twice"),
        ({"obs_names": ("x", "y", 3)}, TypeError, "tuple of strings"),
        ({"obs_names": "xyz"}, TypeError, "got 'xyz'"),
        ({"action_labels": ("a",)}, ValueError, "one name for each discrete action, got 1 for"),
        ({"action_labels": ("a", "b", "c", "a")}, ValueError, "action_labels must differ"),
        (
            {"action": np.zeros((8, 2), np.float32), "action_labels": ("a", "b")},
            ValueError,
            "one name for each discrete action",
        ),
    ],
)
def test_names_that_fit_nothing_are_refused(changes: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        made(**changes)


# -- made by hand ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {name: getattr(made(), name).tolist() for name in ("agent", "obs", "action", "reward")},
        {"agent": made().agent.astype(np.uint8), "episode": made().episode.astype(np.uint64)},
        {"obs": made().obs.astype(np.float64), "next_obs": made().next_obs.astype(np.int64)},
        {"action": made().action.astype(np.int8), "reward": made().reward.astype(np.float16)},
        {"terminated": made().terminated.astype(int), "truncated": made().truncated.tolist()},
        {"num_agents": np.int64(6), "obs_names": None},
    ],
)
def test_other_types_are_converted(changes: dict[str, Any]) -> None:
    data = made(**changes)
    for field in dataclasses.fields(data):
        ours, expected = getattr(data, field.name), getattr(made(), field.name)
        if isinstance(expected, np.ndarray):
            assert ours.dtype == expected.dtype, field.name
            np.testing.assert_array_equal(ours, expected)
    assert type(data.num_agents) is int
    assert data.sha256() == made().sha256()


def test_lists_of_names_are_tuples() -> None:
    assert made(obs_names=["x", "y", "z"]).obs_names == ("x", "y", "z")


def test_episodes_that_each_agent_counts_for_itself() -> None:
    data = made(agent=np.repeat([2, 5], 4), episode=np.zeros(8, int))
    assert data.episode.tolist() == [0] * 4 + [1] * 4
    assert data.starts.tolist() == [0, 4]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"agent": np.full(8, 1.0)}, TypeError, "agent must hold integers, got .* float64"),
        ({"agent": np.full(8, True)}, TypeError, "agent must hold integers, got .* bool"),
        ({"agent": np.zeros((8, 1), int)}, ValueError, r"agent must be \[T\], got the shape"),
        ({"agent": np.full(8, 2**63, np.uint64)}, ValueError, r"agent must be below 2\*\*63"),
        ({"episode": ["a"] * 8}, TypeError, "episode must hold integers, got"),
        ({"obs": np.zeros(8)}, ValueError, r"obs must be \[T, n\], got the shape \(8,\)"),
        ({"obs": np.full((8, 3), 1j)}, TypeError, "obs must hold numbers, got .* complex128"),
        ({"obs": np.full((8, 3), None)}, TypeError, "obs must hold numbers, got .* object"),
        ({"obs": [[1], [2, 3]]}, ValueError, "obs must be one array"),
        ({"obs": np.zeros((8, 0)), "next_obs": np.zeros((8, 0))}, ValueError, r"\[T, d\], got"),
        ({"obs": np.full((8, 3), 1e39)}, ValueError, "obs of transition 0 .* is not finite"),
        ({"next_obs": np.full((8, 3), 3e38)}, ValueError, "is too large for float32"),
        ({"action": np.full(8, 0.5)}, ValueError, r"give continuous ones the shape \[T, 1\]"),
        ({"action": -np.arange(8)}, ValueError, "from 0 on, got -7: .* action_labels"),
        ({"action": np.zeros((8, 1, 1))}, ValueError, r"action must be \[T\] or \[T, n\], got"),
        ({"action": np.zeros((8, 0))}, ValueError, "at least one coordinate"),
        ({"action": np.full((8, 1), np.inf)}, ValueError, "action of transition 0 .* not finite"),
        ({"reward": np.full(8, np.nan)}, ValueError, "reward of transition 0 .* is not finite"),
        ({"terminated": np.full(8, 2)}, ValueError, "terminated must be true and false, or 1"),
        ({"truncated": ["no"] * 8}, TypeError, "truncated must hold numbers"),
        ({"num_agents": 6.0}, TypeError, "num_agents must be an integer, got 6.0"),
        ({"num_agents": True}, TypeError, "num_agents must be an integer, got True"),
        ({"task_name": None}, TypeError, "task_name must be a string, got None"),
        ({"changes": np.zeros((8, 2))}, ValueError, r"changes must be \[T, d\] as obs"),
        ({"changes": np.full((8, 3), 0.5)}, ValueError, "changes are not next_obs - obs"),
        ({"changes": np.full((8, 3), np.nan)}, ValueError, "changes are not next_obs - obs"),
    ],
)
def test_what_can_not_be_converted_is_refused(changes: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        made(**changes)
