"""Columns that are wrapped into one turn: they are known, and going over the end is no leap."""

from __future__ import annotations

import numpy as np
import pytest

from persim_gym.offline.tables.strange import Strange
from persim_gym.offline.tables.turns import RANGES, Floats, full_turns, unwrapped

AGENTS, STEPS = 10, 60
FOLLOWS = np.tile(np.arange(STEPS) < STEPS - 1, AGENTS)[:-1]
WHOSE, TIME = np.divmod(np.arange(AGENTS * STEPS), STEPS)


def wander(seed: int, period: float, least: float, size: float = 0.1) -> tuple[Floats, Floats]:
    """A heading that wanders with what is done ``[n, 1]``, and the actions ``[n, 1]``."""
    rng = np.random.default_rng(seed)
    done = rng.uniform(-1, 1, (AGENTS, STEPS))
    steps = done * rng.uniform(0.3, 0.9, (AGENTS, 1)) + 0.05 * rng.standard_normal((AGENTS, STEPS))
    place = rng.uniform(0, 1, (AGENTS, 1)) + size * (np.cumsum(steps, axis=1) - steps)
    place += 0.003 * rng.standard_normal(place.shape)
    heading = (period * place - least) % period + least
    return heading.reshape(-1, 1), done.reshape(-1, 1)


def strange(values: Floats, actions: Floats, declared: bool, period: float) -> Strange:
    turns = [(0, period)] if declared else []
    return Strange.of(values, FOLLOWS, actions, TIME.astype(float), WHOSE, turns, [False])


@pytest.mark.parametrize("declared", [False, True])
@pytest.mark.parametrize(("period", "least"), RANGES)
def test_a_heading_that_goes_over_the_end_and_back_has_no_wrong_value(
    period: float, least: float, declared: bool
) -> None:
    for seed in range(8):
        for size in (0.03, 0.1):
            values, actions = wander(seed, period, least, size)
            assert not strange(values, actions, declared, period).rows.any(), (seed, size)


def test_wrong_values_of_a_heading_are_found_all_the_same() -> None:
    values, actions = wander(0, 360.0, 0.0, 0.01)
    rng = np.random.default_rng(1)
    wrong = 4 * rng.choice(len(values) // 4, 16, replace=False) + 1
    values[wrong, 0] = (values[wrong, 0] + rng.uniform(90, 270, len(wrong))) % 360
    for declared in (False, True):
        found = strange(values, actions, declared, 360.0).rows
        assert found[wrong].mean() > 0.8
        assert found.sum() <= 1.1 * len(wrong)


def test_what_only_looks_like_a_turn_has_none() -> None:
    rng = np.random.default_rng(0)
    level = 180 + 90 * np.sin(np.linspace(0, 40, len(WHOSE)))  # from one end to the other, slowly
    far = np.where(rng.random(len(WHOSE)) < 0.01, 359.0, level)
    noise = rng.uniform(0, 360, len(WHOSE))  # nothing goes on
    values = np.stack([level, far, noise, np.full(len(WHOSE), np.nan)], axis=1)
    assert full_turns(values, FOLLOWS, ()).tolist() == [0.0, 0.0, 0.0, 0.0]
    assert full_turns(values, FOLLOWS, [(1, 24.0)]).tolist() == [0.0, 24.0, 0.0, 0.0]


def test_unwrapped_values_have_no_jumps_and_keep_their_gaps() -> None:
    values = np.array([[350.0, 1.0], [10.0, 9.0], [np.nan, 1.0], [355.0, 9.0]])
    found = unwrapped(values, np.array([360.0, 0.0]))
    np.testing.assert_array_equal(found[:, 0], [350.0, 370.0, np.nan, 355.0])
    np.testing.assert_array_equal(found[:, 1], values[:, 1])
