"""Features that move with the state."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from persim_gym.learned.latent.feature_map import Circle, FeatureMap


def test_features_move_with_the_state() -> None:
    angle, speed, action, older = 0.3, 2.0, 0.7, 1.5
    means, scales = (0.1, -0.2), (0.5, 2.0)
    frame = FeatureMap(
        features=5,
        columns=[2],
        outputs=[1],
        gains=[4.0],
        circles=[Circle(0, 1, output=0, gain=0.5, mean=means, scale=scales)],
        older=[4],
        newer=[2],
    )

    def features(angle: float, speed: float, action: float, older: float) -> torch.Tensor:
        cosine = (np.cos(angle) - means[0]) / scales[0]
        sine = (np.sin(angle) - means[1]) / scales[1]
        return torch.tensor([cosine, sine, speed, action, older], dtype=torch.float64)

    now = features(angle, speed, action, older)
    change = torch.tensor([0.2, -0.25], dtype=torch.float64)
    then = features(-9.0, -9.0, 0.1, -9.0)
    moved = frame.moved(now, change)
    given = frame.given(then)
    assert torch.allclose(moved, features(angle + 0.1, speed - 1.0, action, older))
    after = frame.advanced(now, change, given)
    assert torch.allclose(after, features(angle + 0.1, speed - 1.0, 0.1, speed))
    with pytest.raises(ValueError, match="one length"):
        FeatureMap(1, [0], [0, 1], [1.0])


def test_a_state_stops_at_its_walls() -> None:
    none, one = torch.full((4,), torch.inf), torch.tensor([1.0, torch.inf, torch.inf, torch.inf])
    frame = FeatureMap(4, [0], [1], [2.0], [Circle(1, 2, output=0, gain=1.0)], walls=(-none, one))
    moved = frame.stopped(torch.tensor([3.0, 0.6, 0.8, 9.0]))
    assert torch.equal(moved, torch.tensor([1.0, 0.6, 0.8, 9.0]))
    assert frame.of_changes(torch.tensor([[7, -1]])).tolist() == [[-1, 0, 0]]


def test_last_coordinates_that_drive_nothing() -> None:
    frame = FeatureMap(2, [0], [0], [1.0])
    now, change = torch.zeros(2), torch.tensor([1.0, 5.0])
    assert frame.moved(now, change).tolist() == [1.0, 0.0]
