"""Features that move with the state."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from persim_gym.learned.latent.feature_map import AngleColumns, FeatureMap


def test_features_move_with_the_state() -> None:
    angle, speed, action = 0.3, 2.0, 0.7
    frame = FeatureMap(
        features=4,
        columns=[2],
        outputs=[1],
        gains=[4.0],
        angles=[AngleColumns(0, 1, output=0, gain=0.5)],
    )

    def features(angle: float, speed: float, action: float) -> torch.Tensor:
        columns = [np.cos(angle), np.sin(angle), speed, action]
        return torch.tensor(columns, dtype=torch.float64)

    now = features(angle, speed, action)
    change = torch.tensor([0.2, -0.25], dtype=torch.float64)
    moved = frame.moved(now, change)
    assert torch.allclose(moved, features(angle + 0.1, speed - 1.0, action))
    with pytest.raises(ValueError, match="one length"):
        FeatureMap(1, [0], [0, 1], [1.0])


def test_values_of_changes_are_put_where_the_state_is() -> None:
    frame = FeatureMap(4, [0], [1], [2.0], [AngleColumns(1, 2, output=0, gain=1.0)])
    assert frame.of_changes(torch.tensor([[7, -1]])).tolist() == [[-1, 0, 0]]


def test_last_coordinates_that_drive_nothing() -> None:
    frame = FeatureMap(2, [0], [0], [1.0])
    now, change = torch.zeros(2), torch.tensor([1.0, 5.0])
    assert frame.moved(now, change).tolist() == [1.0, 0.0]
