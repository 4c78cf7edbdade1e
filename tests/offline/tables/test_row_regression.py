"""A regression of rows on the rows before them that outliers do not bend."""

from __future__ import annotations

import numpy as np
import pytest

from persim_gym.offline.tables.row_regression import RowRegression, short_way


def test_differences_of_angles_go_the_shorter_way() -> None:
    left = short_way(np.array([[350.0, 350.0], [-190.0, 10.0]]), np.array([360.0, 0.0]))
    np.testing.assert_allclose(left, [[-10.0, 350.0], [170.0, 10.0]])


@pytest.mark.parametrize("discrete", [False, True])
def test_it_finds_each_agents_law_among_wrong_values(discrete: bool) -> None:
    rng = np.random.default_rng(0)
    agents, steps = 10, 80
    gain = rng.uniform(0.5, 1.5, agents)
    whose = np.repeat(np.arange(agents), steps)
    acted = rng.integers(0, 3, (agents * steps, 1)).astype(float)
    acted = acted if discrete else rng.normal(size=acted.shape)
    pushed = np.array([0.0, 1.0, -3.0])[acted[:, 0].astype(int)] if discrete else acted[:, 0]
    states = rng.normal(size=(agents * steps, 1))
    following = 0.9 * states + 0.2 * (gain[whose] * pushed)[:, None] - 0.05 * states**2
    wrong = rng.random(len(states)) < 0.05
    seen = following + np.where(wrong[:, None], rng.normal(0, 50, states.shape), 0.0)
    none = np.full(len(states), -1)
    model = RowRegression.fitted(states, acted, seen, whose, np.zeros(1), none)
    off = np.abs(model(states, acted, whose) - following)[:, 0]
    assert np.median(off) < 0.01
    assert np.quantile(off, 0.95) < 0.05
    plain = np.linalg.lstsq(np.hstack([states, acted]), seen - states, rcond=None)[0]
    assert np.median(np.abs(np.hstack([states, acted]) @ plain + states - following)) > 0.1


def test_what_comes_of_few_wrong_rows_is_not_learned_by_heart() -> None:
    rng = np.random.default_rng(1)
    values = np.zeros(600)
    for t in range(1, len(values)):
        values[t] = 0.95 * values[t - 1] + 0.3 * rng.normal()
    truth = values.copy()
    values[50::60] += 40.0
    rows = np.arange(len(values) - 1)
    before = rows - 1
    model = RowRegression.fitted(
        values[:-1, None], np.zeros((len(rows), 0)), values[1:, None], 0 * rows, np.zeros(1), before
    )
    far = model(values[50::60, None], np.zeros((10, 0)), np.zeros(10, dtype=int))[:, 0]
    assert (far - truth[50::60] > 20.0).all()  # a value so far off would stay so


def test_it_needs_some_rows_for_each_column() -> None:
    assert RowRegression.possible(60, 3)
    assert not RowRegression.possible(20, 3)
    assert not RowRegression.possible(0, 1)
