"""The figure of uncertainty, from known numbers."""

from __future__ import annotations

import numpy as np

from persim_gym.evaluation.uncertainty import OpenLoopUncertainty, StepUncertainty
from persim_gym.plots.uncertainty import uncertainty_figure


def test_what_is_calibrated_lies_on_the_diagonal() -> None:
    deviation = np.exp(np.random.default_rng(0).normal(size=(200, 3)))
    open_loop = OpenLoopUncertainty(deviation, deviation.copy(), np.ones((200, 3), dtype=bool))
    one = StepUncertainty(deviation[:, 0], deviation[:, 0], np.zeros(200))
    figure = uncertainty_figure({"this": open_loop}, {"this": one})
    ranks, calibration, _ = figure.axes
    np.testing.assert_allclose(ranks.lines[0].get_ydata(), 1.0)
    points = calibration.lines[0]
    np.testing.assert_allclose(points.get_xdata(), points.get_ydata())
