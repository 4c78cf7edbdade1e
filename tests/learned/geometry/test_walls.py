from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from persim_gym.envs.rendering import strips
from persim_gym.learned import PerSim
from persim_gym.learned.geometry.walls import find_walls
from persim_gym.learned.outcomes.data_task import DataTask
from persim_gym.offline.transitions import Transitions
from tests.learned.worlds import transitions


def walk(kind: str, agents: int = 12, steps: int = 60) -> Transitions:
    """A position whose speed is pushed, and what ``kind`` does to the speed."""
    rng = np.random.default_rng(0)
    push = rng.uniform(-1, 1, (agents, steps, 1))
    strength = rng.uniform(0.2, 0.4, agents)
    place, speed = rng.uniform(-1, 1, agents), rng.uniform(-0.5, 0.5, agents)
    states = [np.stack([place, speed], 1)]
    for t in range(steps):
        speed = speed + strength * push[:, t, 0]
        if kind == "clipped":
            speed = np.clip(speed, -0.8, 5.0)
        elif kind == "rounded":
            speed = np.clip(np.round(speed, 1), -0.8, 0.8)
        elif kind == "own":
            speed = np.clip(speed, -0.8 * strength, 5.0)
        place = place + 0.3 * speed
        states.append(np.stack([place, speed], 1))
    obs = np.stack(states, 1)
    who = np.repeat(np.arange(agents), steps)
    before, after = (part.reshape(-1, 2) for part in (obs[:, :-1], obs[:, 1:]))
    return transitions(who, before, push.reshape(-1, 1), after)


@pytest.mark.slow
def test_a_wall_is_a_bound_of_the_space(monkeypatch: pytest.MonkeyPatch) -> None:
    data = walk("clipped")
    low, high = find_walls(data)
    assert low.tolist() == [-np.inf, pytest.approx(-0.8)]
    assert high.tolist() == [np.inf, np.inf]
    task = DataTask.from_transitions(data)
    assert task.observation_space.low[1] == np.float32(-0.8)
    assert task.observation_space.high[1] > 2 * data.next_obs[:, 1].max()
    again = DataTask.from_parts(task.tensors(), task.to_json())
    assert again.card["walls"] == [[False, True], [False, False]]
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(strips, "StripsRenderer", lambda *parts: drawn.update(recorded=parts[1]))
    again.renderer()
    shaded = drawn["recorded"]
    ends = np.minimum(data.obs, data.next_obs).min(0), np.maximum(data.obs, data.next_obs).max(0)
    assert np.allclose(shaded, ends, atol=1e-5)
    # What the position does when the speed is stopped is learned with it.
    sim = PerSim.fit(data, method="als", degree=1, rank=2, progress=False, ensemble_size=1)
    slow = np.array([[0.0, -0.79]], dtype=np.float32)
    following = sim.predict(0, slow, np.array([[-1.0]]))[0]
    assert following == pytest.approx([-0.24, -0.8], abs=1e-4)


def charge(kind: str, agents: int = 12, steps: int = 60) -> Transitions:
    """A charge that is used until it is empty, or an amount that is often none."""
    rng = np.random.default_rng(0)
    power = rng.uniform(-1, 0.6, (agents, steps, 1))
    size, level = rng.uniform(0.1, 0.3, agents), rng.uniform(0, 1, agents)
    walk = [level]
    for t in range(steps):
        if kind == "empty":
            level = np.clip(level + size * power[:, t, 0], 0, 1)
        else:
            level = np.where(rng.random(agents) < 0.4, 0.0, rng.uniform(0.2, 1, agents) * size)
        walk.append(level)
    obs = np.stack(walk, 1)[..., None]
    before, after = (part.reshape(-1, 1) for part in (obs[:, :-1], obs[:, 1:]))
    return transitions(np.repeat(np.arange(agents), steps), before, power.reshape(-1, 1), after)


def test_a_wall_on_which_much_ends_is_one_if_it_cuts_off_what_would_go_further() -> None:
    empty, none = charge("empty"), charge("none")
    for data in (empty, none):
        assert 0.25 < (data.next_obs == 0).mean() < 0.6
    assert find_walls(empty)[0].tolist() == [0.0]
    assert find_walls(none)[0].tolist() == [-np.inf]


@pytest.mark.parametrize("kind", ["free", "rounded", "own"])
def test_what_is_no_wall(kind: str) -> None:
    low, high = find_walls(walk(kind))
    assert np.isinf(low).all()
    assert np.isinf(high).all()
