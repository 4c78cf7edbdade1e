"""Ridge regressions to compare with."""

from __future__ import annotations

import dataclasses

import numpy as np

from persim_gym.learned.fitting.plain_models import RidgeModels
from tests.evaluation.validation.worlds import as_data, patients


def test_a_linear_world_is_found_for_each_agent() -> None:
    data = patients(5, 200, noise=0.0)
    model = RidgeModels.fit(data, np.zeros(2), 0)
    predicted = model.rollout(data.agent, data.obs, data.action[:, None])
    np.testing.assert_allclose(predicted[0, :, 0], data.next_obs, rtol=2e-3, atol=0.2)


def test_products_are_found_with_degree_2() -> None:
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (1, 300, 1))
    rows = np.zeros((1, 301, 1))
    for t in range(300):
        rows[0, t + 1] = 0.5 * rows[0, t] + actions[0, t] * rows[0, t] * 0.4 + actions[0, t]
    data = as_data(rows, actions)
    errors = []
    for degree in (1, 2):
        model = RidgeModels.fit(data, np.zeros(1), 0, degree)
        found = model.rollout(data.agent, data.obs, data.action[:, None])[0, :, 0]
        errors.append(np.abs(found - data.next_obs).mean())
    assert errors[1] < 0.02 < errors[0]


def test_blocks_and_order_make_no_difference() -> None:
    data = patients(40, 300)  # more rows than are in memory together
    turned = np.argsort(-data.agent, kind="stable")
    other = dataclasses.replace(
        data.select(np.arange(len(data))),
        agent=data.agent[turned], obs=data.obs[turned], action=data.action[turned],
        next_obs=data.next_obs[turned],
    )  # fmt: skip
    models = [RidgeModels.fit(one, np.zeros(2), 0) for one in (data, other)]
    np.testing.assert_allclose(models[0].weights, models[1].weights, rtol=1e-6, atol=1e-6)


def test_angles_and_discrete_actions() -> None:
    """A wheel that an action turns by 30 degrees or not at all, and that goes round."""
    rng = np.random.default_rng(0)
    choice = rng.integers(0, 2, 200)
    angle = np.append(0.0, np.cumsum(30.0 * choice)) % 360
    data = as_data(angle[None, :, None], choice[None, :, None].astype(float))
    data = dataclasses.replace(data, action=choice, action_names=None)
    model = RidgeModels.fit(data, np.array([360.0]), 2)
    found = model.rollout([0], np.array([[350.0]]), np.array([[1, 1, 0]]))[0, 0, :, 0]
    np.testing.assert_allclose(found, [380, 410, 410], atol=2)


def test_what_runs_away_is_held_near_the_record() -> None:
    rows = 2.0 ** np.arange(12)[None, :, None]
    data = as_data(rows, np.random.default_rng(0).uniform(size=(1, 11, 1)))
    model = RidgeModels.fit(data, np.zeros(1), 0)
    found = model.rollout([0], np.array([[2048.0]]), np.zeros((1, 50, 1)))
    assert found.max() <= 2 * 2048
