"""Frames of the true environment beside its simulator."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest

from persim_gym.envs.suites import find_suite
from persim_gym.learned.simulator import PerSim
from persim_gym.plots import video


class Pushes:
    """Pushes to the right, and remembers what it saw."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray[Any, Any]] = []

    def predict(self, obs: Any, state: Any = None, *_: object) -> tuple[int, Any]:
        self.seen.append(np.asarray(obs))
        return 1, state


def test_both_sides_of_a_comparison_are_given_the_same(
    cartpole: PerSim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The true side is the agent's own; the learned side is closed on its own predictions."""
    population, policy = {"size": 12, "seed": 0}, Pushes()
    pairs = []
    monkeypatch.setattr(video, "_draw", lambda env: env._obs)
    monkeypatch.setattr(video, "side_by_side", lambda *sides, **titles: pairs.append(sides))
    list(video.comparison_frames(cartpole, 5, policy, population=population, steps=5, seed=2))
    true = np.array([pair[0] for pair in pairs])
    learned = np.array([pair[1] for pair in pairs])
    assert np.allclose(true[0], learned[0])
    assert np.array_equal(np.float32(true[:5]), policy.seen)
    dynamics = find_suite("cartpole").dynamics(find_suite("cartpole").population(population))
    for before, after in itertools.pairwise(true):
        assert np.allclose(dynamics.step(np.array([5]), before[None], np.array([1]))[0], after)
    state = np.float32(true[:1])
    for after in learned[1:]:  # the members' mean goes on from the members' mean
        state = cartpole.predict([5], state, np.array([1]))
        assert np.allclose(state[0], after, atol=1e-6)


def test_a_side_that_is_over_stands_still(
    cartpole: PerSim, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[dict[str, str]] = []
    monkeypatch.setattr(video, "_draw", lambda env: env._obs)
    monkeypatch.setattr(video, "side_by_side", lambda *sides, **names: titles.append(names))
    list(video.comparison_frames(cartpole, 0, Pushes(), population={"size": 12, "seed": 0}))
    over = [re.fullmatch(r"true: over after (\d+) steps", t["left_title"]) for t in titles]
    first = next(i for i, match in enumerate(over) if match)
    assert over[first][1] == str(first)  # type: ignore[index]
    assert all(match and match[1] == str(first) for match in over[first:])
