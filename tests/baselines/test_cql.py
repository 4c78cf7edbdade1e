"""How CQL acts by what was learned: networks are written down here, not fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from persim_gym.baselines import CQL
from persim_gym.baselines.config import CQLConfig
from tests.baselines.small import linear_net, plain_units
from tests.learned.worlds import PlainTask

CPU = torch.device("cpu")


def test_an_action_is_worth_the_mean_of_its_quantiles() -> None:
    """The first has the highest quantile, the second the highest mean."""
    task = PlainTask.of(1, actions=2)
    quantiles = torch.tensor([[-9.0, 0.0, 6.0], [1.0, 1.0, 1.0]])
    tensors = plain_units(task) | linear_net("value", torch.zeros(6, 1), quantiles.ravel())
    config = CQLConfig(quantiles=3).settled(task)
    fitted = CQL(task, config, tensors, {"seed": 0}, CPU)
    assert fitted.predict(np.zeros((2, 1)))[0].tolist() == [1, 1]


def gaussian(log_deviation: float) -> Any:
    """A mean of one half in every state."""
    task = PlainTask.of(1, action_dim=1)
    out = torch.tensor([0.5, log_deviation])
    tensors = plain_units(task) | linear_net("policy", torch.zeros(2, 1), out)
    return CQL(task, CQLConfig().settled(task), tensors, {"seed": 0}, CPU)


def test_a_continuous_action_is_the_mean_or_a_draw_inside_its_space() -> None:
    obs = np.zeros((3000, 1))
    fitted = gaussian(np.log(0.3))
    assert fitted.predict(obs)[0] == pytest.approx(np.tanh(0.5))
    before = np.arctanh(fitted.predict(obs, deterministic=False)[0].astype(float))
    assert before.mean() == pytest.approx(0.5, abs=0.03)
    assert before.std() == pytest.approx(0.3, abs=0.03)
    again = gaussian(np.log(0.3)).predict(obs, deterministic=False)[0]
    np.testing.assert_allclose(np.arctanh(again.astype(float)), before)  # a generator of its own
    assert np.abs(gaussian(50.0).predict(obs, deterministic=False)[0]).max() <= 1
