"""The figure of adaptation, from known numbers."""

from __future__ import annotations

import numpy as np

from persim_gym.evaluation.adaptation import LEVELS, Adaptation, Coverage
from persim_gym.plots.adaptation import adaptation_figure
from persim_gym.plots.style import DARK


def test_error_and_coverage_of_each_task() -> None:
    counts = np.array([1, 10, 50])
    level = np.tile(np.array(LEVELS), (3, 1))
    found = Adaptation(
        "cartpole", np.arange(4), counts, rmse=np.outer([1.0, 0.1, 0.01], [1.0, 2.0, 3.0, 4.0]),
        trained=np.full(4, 0.005), mean=np.full(4, 2.0), deviation=np.ones((3, 4)),
        calibrated=Coverage(level, level, level), plain=Coverage(level / 2, level, level),
    )  # fmt: skip
    figure = adaptation_figure([found, found], DARK)
    assert len(figure.axes) == 4
    errors, coverage = figure.axes[:2]
    medians = [line.get_ydata() for line in errors.lines if len(line.get_ydata()) == 3]
    np.testing.assert_allclose(medians, [[2.5, 0.25, 0.025]])
    assert errors.get_yscale() == "log"
    assert [text.get_text() for text in coverage.get_xticklabels()] == ["1", "10", "50"]
    assert errors.get_ylabel() == "RMSE, all (paper's)"
    assert figure.axes[2].get_ylabel() == ""  # only the first column names its axes
