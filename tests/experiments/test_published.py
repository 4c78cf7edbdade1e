"""What the authors' published code does."""

from __future__ import annotations

import math

import numpy as np
import pytest

from persim_gym.envs.suites import SUITES
from persim_gym.experiments import published


def test_authors_geometric_means_are_those_of_their_agents() -> None:
    for task, own in published.RMSE.items():
        mean = math.exp(np.log(own.values).mean())
        assert published.RMSE_ALL[task] == pytest.approx(mean, rel=0.01)


def test_numbers_are_of_the_five_test_agents() -> None:
    tables = (
        published.RMSE,
        published.R2,
        published.MPC,
        published.TRUE_MPC,
        published.TEST_POLICY,
    )
    for table in tables:
        assert table.keys() <= SUITES.keys()
        for task, own in table.items():
            assert len(own.values) == len(SUITES[task].covariates.test_agents) == 5
            assert len(own.sd) in (0, 5)
    assert published.RMSE.keys() == published.RMSE_ALL.keys() == published.R2.keys()


def test_errors_are_positive_and_returns_possible() -> None:
    assert all(min(own.values) > 0 for own in published.RMSE.values())
    assert all(max(own.values) <= 1 for own in published.R2.values())
    for table in (published.MPC, published.TRUE_MPC, published.TEST_POLICY):
        for task, own in table.items():
            limit = SUITES[task].task().max_episode_steps
            low, high = {"mountain-car": (-limit, 0), "cartpole": (0, limit)}.get(task, (-1e4, 1e4))
            assert low <= min(own.values) <= max(own.values) <= high
