"""Episodes that are recorded: their ends, and actions and states that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import minari
import numpy as np
import pytest

from persim_gym.offline import FunctionPolicy
from tests.offline.worlds import check_replay, episodes, record


def spoiled(value: Any, dtype: Any) -> FunctionPolicy:
    """Fine until step 3, when the lane of agent 11 gets another action."""
    calls = iter(range(10_000))

    def act(obs: np.ndarray) -> np.ndarray:
        actions = np.zeros(len(obs), dtype=dtype)
        if next(calls) == 3:
            actions[1] = value
        return actions

    return FunctionPolicy(act)


def test_termination_and_truncation_are_told_apart() -> None:
    push = FunctionPolicy(lambda obs: np.ones(len(obs), dtype=int), name="push")
    dataset = record("cartpole", push, agents=[0, 2])
    weak, strong = (episode for _, episode in episodes(dataset))
    for episode in (weak, strong):
        assert episode.terminations.tolist() == [False] * (len(episode) - 1) + [True]
        assert not episode.truncations.any()
        assert len(episode.observations) == len(episode) + 1
    assert len(strong) < len(weak) < 200
    # Cut short before any of them falls; and at the very step at which the second falls.
    short = record("cartpole", push, agents=[0, 2], max_episode_steps=3, dataset_id="short-v0")
    for _, episode in episodes(short):
        assert episode.truncations.tolist() == [False, False, True]
        assert not episode.terminations.any()
    assert short.env_spec.max_episode_steps == 3
    limit = len(strong)
    both = record("cartpole", push, agents=[2], max_episode_steps=limit, dataset_id="both-v0")
    check_replay(both)  # Gymnasium's own time limit then sets both flags
    assert episodes(both)[0][1].terminations[-1]


@pytest.mark.slow
def test_lanes_that_are_over_are_left_alone() -> None:
    """A function sees the running lanes, each with its own latest observation."""
    seen: list[np.ndarray] = []

    def push(obs: np.ndarray) -> np.ndarray:
        seen.append(obs.copy())
        return np.ones(len(obs), dtype=int)

    dataset = record("cartpole", push, agents=5)
    lengths = [len(episode) for _, episode in episodes(dataset)]
    assert len(set(lengths)) > 1
    assert len(seen) == max(lengths)
    for step, obs in enumerate(seen):
        expected = [e.observations[step] for _, e in episodes(dataset) if len(e) > step]
        np.testing.assert_array_equal(obs, expected)


@pytest.mark.parametrize(
    ("value", "dtype", "error", "words"),
    [
        (np.nan, float, TypeError, "must be integers, got float64"),
        (2, int, ValueError, "agent 11 at step 3 .episode 0. is 2, an action must be 0 to 1"),
        (-1, int, ValueError, "agent 11 at step 3 .episode 0. is -1"),
        ("x", object, TypeError, "must be integers, got object"),
    ],
)
def test_discrete_actions_that_do_not_exist(
    value: Any, dtype: Any, error: type[Exception], words: str, root: Path
) -> None:
    with pytest.raises(error, match=words):
        record("cartpole", spoiled(value, dtype), agents=[4, 11, 2])
    assert minari.list_local_datasets() == {}


def test_discrete_actions_that_are_not_finite_are_named() -> None:
    policy = FunctionPolicy(lambda obs: np.full(len(obs), np.inf))
    with pytest.raises(ValueError, match=r"agent 4 at step 0 .episode 0. is not finite: inf"):
        record("cartpole", policy, agents=[4, 11])


def test_continuous_actions_that_are_not_finite_are_named() -> None:
    calls = iter(range(100))

    def act(obs: np.ndarray) -> np.ndarray:
        actions = np.zeros((len(obs), 6))
        if next(calls) == 2:
            actions[1, 4] = np.nan
        return actions

    with pytest.raises(ValueError, match=r"agent 8 at step 2 .episode 0. is not finite: \[0.0, "):
        record("half-cheetah", act, agents=[3, 8], max_episode_steps=5)
    with pytest.raises(TypeError, match="must be numbers, got complex128"):
        record("half-cheetah", lambda obs: np.zeros((len(obs), 6), complex), agents=1)


def test_physics_that_break_name_the_agent(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from persim_gym.envs.tasks.cart_pole import CartPoleDynamics

    original, calls = CartPoleDynamics.step, iter(range(99))

    def step(self: Any, agents: Any, states: Any, actions: Any) -> Any:
        following = original(self, agents, states, actions)
        if len(agents) == 2 and next(calls) == 2:  # not what is tried before the recording
            following[1, 3] = np.nan
        return following

    monkeypatch.setattr(CartPoleDynamics, "step", step)
    zero = FunctionPolicy(lambda obs: np.zeros(len(obs), dtype=int))
    with pytest.raises(ValueError, match=r"agent 8 at step 2 .*not finite: .*nan.*ranges"):
        record("cartpole", zero, agents=[3, 8])
    assert not any(root.iterdir())
