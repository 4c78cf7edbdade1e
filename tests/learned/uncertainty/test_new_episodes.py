"""Episodes that were not recorded: any agent from any beginning, with actions as recorded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from persim_gym.learned.comparison.holdout import Record
from persim_gym.learned.data import Data
from persim_gym.learned.fitting.fit import record_of
from persim_gym.learned.uncertainty.new_episodes import EPISODES, _chained, fresh_episodes
from tests.learned.noisy_worlds import TASK, WORLDS, fitted


@pytest.fixture(scope="module")
def record() -> Record:
    return record_of(Data(WORLDS["process"].record(), TASK), 1)


def test_actions_follow_each_other_as_they_were_recorded(record: Record) -> None:
    rows = _chained(record, 50, 200, np.random.default_rng(0))
    same = record.episode[rows[:, 1:]] == record.episode[rows[:, :-1]]
    last = np.append(record.episode[1:] != record.episode[:-1], True)
    after = ~last[rows[:, :-1]]
    assert (rows[:, 1:] == rows[:, :-1] + 1)[after].all()
    assert same[after].all()
    assert 0 < (~after).sum() < 50 * 10  # an episode is 80 steps
    assert rows.shape == (50, 200)


def test_agents_begin_where_others_began_and_go_on_by_their_own_law(record: Record) -> None:
    sim = fitted("process")
    fresh = fresh_episodes(sim.ensemble, record, 7, np.random.default_rng(1))
    assert fresh.actions.shape == (len(fresh.agents), 7, 1)
    assert len(fresh.agents) > 0.9 * EPISODES
    assert len(np.unique(fresh.agents)) == 40
    first = record.states[np.append(True, np.diff(record.episode) != 0)]
    begun = (np.abs(fresh.states[:, None] - first).max(2) < 1e-7).any(1)
    assert 0 < begun.mean() < 0.1  # those of no step, one of 51
    again = fresh_episodes(sim.ensemble, record, 7, np.random.default_rng(1))
    np.testing.assert_array_equal(again.states, fresh.states)


def test_what_ends_or_leaves_the_record_is_no_place_to_begin(record: Record) -> None:
    sim, rng = fitted("process"), np.random.default_rng(1)
    ended = replace(record, over=lambda obs: obs[:, 0] > 0.2)
    fresh = fresh_episodes(sim.ensemble, ended, 3, rng)
    assert 0 < len(fresh.agents) < EPISODES
    assert (fresh.states[:, 0] <= 0.2).all()
    never = replace(record, over=lambda obs: np.ones(len(obs), dtype=bool))
    assert len(fresh_episodes(sim.ensemble, never, 3, rng).agents) == 0
    narrow = replace(record, next_obs=record.next_obs * 1e-3)
    assert len(fresh_episodes(sim.ensemble, narrow, 3, rng).agents) < 0.2 * EPISODES
