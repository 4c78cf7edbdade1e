from __future__ import annotations

import numpy as np

from persim_gym.learned.circular import short_way


def test_angles_go_the_short_way_round() -> None:
    away = np.array([[350.0, 350.0], [-190.0, -190.0], [10.0, 10.0]])
    found = short_way(away, np.array([360.0, 0.0]))
    np.testing.assert_allclose(found, [[-10.0, 350.0], [170.0, -190.0], [10.0, 10.0]])
