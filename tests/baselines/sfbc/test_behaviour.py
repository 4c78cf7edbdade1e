"""The behaviour model without a fit: its units, its loss, and what it draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch import Tensor, nn

from persim_gym.baselines.sfbc import behaviour
from persim_gym.baselines.sfbc.behaviour import SCHEDULE, DiffusionBehaviour

SPACE = Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 1.0], np.float32))
OBS = np.random.default_rng(0).normal(3.0, 2.0, (50, 3)).astype(np.float32)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def model() -> DiffusionBehaviour:
    found = DiffusionBehaviour(SPACE, 3, (8, 4), 1.0, generator())
    found.measure(OBS)
    return found


def test_observations_and_actions_are_seen_in_units_and_come_back() -> None:
    states = model().states(torch.as_tensor(OBS))
    torch.testing.assert_close(states.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(states.std(0, correction=0), torch.ones(3), atol=1e-4, rtol=0)
    actions = torch.tensor([[-2.0, 0.0], [0.0, 0.5], [2.0, 0.25]])
    scaled = model().scaled(actions)
    assert scaled.tolist() == [[-1.0, -1.0], [0.0, 0.0], [1.0, -0.5]]
    np.testing.assert_allclose(model().actions(scaled), actions.numpy())


@torch.no_grad()
def test_samples_are_inside_their_space_however_far_a_state_is() -> None:
    own, states = model(), 10 * torch.as_tensor(OBS)
    drawn = own.draw(states, own.noise(50, 30, generator()), 3)
    assert drawn.shape == (50, 30, 2)
    assert float(drawn.abs().max()) <= 1
    found = own.actions(drawn).reshape(-1, 2)
    assert (found >= SPACE.low).all()
    assert (found <= SPACE.high).all()
    assert float(drawn.std()) > 0.1


def test_equal_noise_makes_equal_actions_however_many_are_drawn_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, states = model(), torch.as_tensor(OBS)
    noise = own.noise(1, 4, generator()).expand(50, -1, -1)
    whole = own.draw(states, noise, 3)
    monkeypatch.setattr(behaviour, "_AT_ONCE", {"cpu": 1})
    torch.testing.assert_close(own.draw(states, noise, 3), whole)
    torch.testing.assert_close(own.draw(states[7:8], noise[:1], 3), whole[7:8])


class Knowing(nn.Module):
    """Finds the noise in actions that are all one half."""

    def see(self, states: Tensor) -> Tensor:
        return states

    def forward(self, actions: Tensor, time: Tensor, seen: Tensor) -> Tensor:
        alpha, sigma = SCHEDULE.scales(time)
        return (actions - alpha * 0.5) / sigma


def test_the_loss_is_that_of_the_noise() -> None:
    own = model()
    own.network = Knowing()  # type: ignore[assignment]
    states, half = torch.zeros(200, 3), torch.full((200, 2), 0.5)
    assert float(own.loss(states, half, generator())) < 1e-6
    assert float(own.loss(states, half + 0.1, generator())) > 0.01
