"""How BCQ acts by what was learned: networks are written down here, not fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from persim_gym.baselines import BCQ
from persim_gym.baselines.config import BCQConfig
from tests.baselines.small import linear_net, plain_units
from tests.learned.worlds import PlainTask

CPU = torch.device("cpu")


def discrete(threshold: float) -> Any:
    """Values grow with the action; its probability falls with it, by a factor of four."""
    task = PlainTask.of(1, actions=3)
    tensors = {
        **plain_units(task),
        **linear_net("value", torch.zeros(3, 1), torch.tensor([0.0, 1.0, 2.0])),
        **linear_net("behaviour", torch.zeros(3, 1), -torch.tensor([0.0, 1.0, 2.0]) * np.log(4)),
    }
    return BCQ(task, BCQConfig(threshold=threshold).settled(task), tensors, {"seed": 0}, CPU)


@pytest.mark.parametrize(("threshold", "action"), [(0.3, 0), (0.2, 1), (0.05, 2), (0.0, 2)])
def test_the_best_action_is_taken_that_the_behaviour_is_likely_to_take(
    threshold: float, action: int
) -> None:
    assert discrete(threshold).predict(np.zeros((4, 1)))[0].tolist() == [action] * 4


def continuous(latents: Tensor, moved: float) -> Any:
    """A decoder whose action is its latent, a move upwards, and a value that grows with actions."""
    task = PlainTask.of(1, action_dim=1)
    pair = torch.tensor([[0.0, 1.0]])
    tensors = {
        **plain_units(task),
        **linear_net("decoder", pair, torch.zeros(1)),
        **linear_net("perturbation", torch.zeros(1, 2), torch.tensor([100.0])),
        **linear_net("value", pair, torch.zeros(1)),
        "latents": latents,
    }
    config = BCQConfig(perturbation=moved).settled(task)
    return BCQ(task, config, tensors, {"seed": 0}, CPU)


def test_the_best_of_the_sampled_actions_is_moved_and_taken() -> None:
    latents = torch.tensor([[-0.4], [0.3], [0.1]])
    assert continuous(latents, 0.0).predict(np.zeros(1))[0] == pytest.approx(np.tanh(0.3))
    assert continuous(latents, 0.2).predict(np.zeros(1))[0] == pytest.approx(np.tanh(0.3) + 0.2)
    assert continuous(latents, 1.0).predict(np.zeros(1))[0] == 1.0, "inside its space"
