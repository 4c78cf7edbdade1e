"""Stretches of a record that are held out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from persim_gym.learned.comparison.holdout import (
    Record,
    earlier_end,
    escapes,
    held_out,
    kept_back,
    wandered,
)
from tests.learned.comparison.records import record


@pytest.mark.parametrize("steps", [3, 8, 12, 40, 100, 400])
def test_stretches_are_of_every_agent_whole_and_unseen(steps: int) -> None:
    data = record(steps)
    parts = held_out(data, np.random.default_rng(0))
    assert len(parts) == (3 if steps < 30 else 1)
    for part in parts:
        held = np.setdiff1d(np.arange(len(data.agent)), part.rows)
        assert set(data.agent[part.start]) == set(range(20)) == set(data.agent[held])
        steps_ahead = part.start[:, None] + np.arange(part.longest.max())
        inside = np.arange(part.longest.max()) < part.length[:, None]
        assert np.isin(steps_ahead[inside], held).all()
        assert (part.longest >= min(60, steps // 3)).all()
    if steps < 30:  # every transition is held out once
        assert sum(len(data.agent) - len(part.rows) for part in parts) == len(data.agent)


@pytest.mark.parametrize("steps", [3, 8, 29])
def test_an_earlier_end_is_predicted_from_what_was_before_it(steps: int) -> None:
    data = record(steps)
    part, last = (
        earlier_end(data, np.random.default_rng(0)),
        held_out(data, np.random.default_rng(0))[0],
    )
    assert part is not None
    place = np.tile(np.arange(steps), 20)
    assert place[part.rows].max() < place[part.start].min()
    assert place[part.start].max() < place[last.start].min()
    assert (part.length == steps - place[part.start]).all()
    assert set(data.agent[part.start]) == set(range(20))
    assert earlier_end(record(30), np.random.default_rng(0)) is None


@pytest.mark.parametrize("agents", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("steps", [60, 100, 400])
def test_a_stretch_of_each_agent_is_kept_back_at_another_place(agents: int, steps: int) -> None:
    data = record(steps, agents)
    mixed = np.random.default_rng(0).permutation(agents)  # an agent's rows stay in order
    order = np.concatenate([np.flatnonzero(data.agent == who) for who in mixed])
    data = replace(data, agent=data.agent[order], episode=data.episode[order])
    kept = kept_back(data)
    width = steps // 6
    begins = []
    for agent in range(agents):
        own = np.flatnonzero(kept[data.agent == agent])
        assert len(own) == width
        assert np.ptp(own) == width - 1
        begins.append(own[0] / (steps - width))
    if agents == 20:
        assert (min(begins), max(begins)) == (0, 1)
        assert np.diff(sorted(begins)).max() < 0.2


@pytest.mark.parametrize("steps", [1, 59])
def test_of_short_records_nothing_is_kept_back(steps: int) -> None:
    assert not kept_back(record(steps, 4)).any()


class Sums:
    """A candidate: every action is added, times what has come together so far to a power."""

    def __init__(self, blow_up: float = 0.0) -> None:
        self.blow_up = blow_up

    def rollout(self, agents, states, actions):  # type: ignore[no-untyped-def]
        found, now = [], states[:, -1:].astype(float)
        for action in actions.T:
            now = now * (1 + self.blow_up) + action[:, None]
            found.append(now)
        return np.stack(found, axis=1)


def test_what_adds_up_may_leave_the_recorded_range() -> None:
    rng = np.random.default_rng(0)
    agent = np.repeat(np.arange(20), 80)
    action = rng.uniform(-0.8, 1.2, len(agent))
    next_obs = np.concatenate([action[agent == k].cumsum() for k in range(20)])[:, None]
    states = next_obs - action[:, None]
    walk = Record(agent, agent, states, action, next_obs, np.ones(1))
    assert escapes(Sums(), walk, rng) < 0.05
    assert escapes(Sums(0.1), walk, rng) > 0.95
    stays = replace(walk, next_obs=rng.permutation(next_obs))
    assert escapes(Sums(), stays, rng) > 0.2, "what does not add up may not"


def test_how_far_it_wanders_is_known_for_any_number_of_steps() -> None:
    """Without a row for each of them: the longest trajectory may have millions."""
    episode = np.repeat(np.arange(20), 80)
    total = np.tile(np.arange(80.0), 20)[:, None]
    far = wandered(total, episode, np.array([1, 10, 10**12]))
    np.testing.assert_allclose(far[:, 0], [1, 10, 1e12])
