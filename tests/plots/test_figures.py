from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from persim_gym.evaluation.episodes import follow
from persim_gym.evaluation.latent_factors import LatentProbe
from persim_gym.evaluation.open_loop import open_loop_error
from persim_gym.plots import figures as plots
from persim_gym.plots.style import DARK, LIGHT, to_png
from tests.evaluation.worlds import DriftDynamics, DriftTask, Off, count_up
from tests.plots.drifts import errors

LABELS = {0: "gravity 1", 2: "gravity 3"}


def lines_of(axes, color):
    return [line for line in axes.lines if to_rgba(line.get_color()) == to_rgba(color)]


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_fans_show_truth_mean_and_spread(theme):
    error, reference = errors()
    figure = plots.prediction_fans(
        error, ["position", "sum"], LABELS, reference=reference, theme=theme
    )
    assert len(figure.axes) == 4  # two agents, two coordinates
    axes = figure.axes[2]
    traces = error.traces
    (true,) = lines_of(axes, theme.true)
    shown = np.concatenate([traces.before[2, :, 0], traces.true[2, :, 0]])
    np.testing.assert_array_equal(true.get_ydata(), shown)
    np.testing.assert_array_equal(true.get_xdata(), np.arange(-10, 51))
    (mean,) = lines_of(axes, theme.learned)
    np.testing.assert_allclose(mean.get_ydata()[1:], traces.true[2, :, 0] + 2)
    (other,) = lines_of(axes, theme.pooled)
    np.testing.assert_array_equal(other.get_ydata(), traces.before[2, -1, 0])
    (band,) = axes.collections
    low, high = band.get_paths()[0].get_extents().intervaly
    assert low == traces.before[2, -1, 0]
    assert high == traces.true[2, -1, 0] + 3
    assert figure.get_facecolor() == to_rgba(theme.paper)
    written = {text.get_text() for text in axes.texts}
    assert written == {"agent 2", "gravity 3"}
    only = plots.prediction_fans(error, ["position", "sum"], LABELS, columns=[1], theme=theme)
    assert len(only.axes) == 2
    assert not lines_of(only.axes[0], theme.pooled)


def test_fans_end_with_the_true_episode():
    error, _ = errors(line=44.0)  # agent 2 ends after 15 steps
    axes = plots.prediction_fans(error, ["position", "sum"], LABELS).axes[2]
    (mean,) = lines_of(axes, LIGHT.learned)
    np.testing.assert_array_equal(mean.get_xdata(), np.arange(6))


def test_error_by_horizon_is_a_geometric_mean_on_a_log_scale():
    growing = np.arange(1.0, 51.0)[None, :, None] * np.ones(2)
    seen = follow(DriftTask(), DriftDynamics(), [0, 2], count_up, episodes=1)
    model = Off(growing)
    error = open_loop_error(model, seen)
    error.step_rmse[1] *= 4
    figure = plots.error_by_horizon({"PerSim": error, "persistence": error})
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    (line,) = lines_of(axes, LIGHT.learned)
    np.testing.assert_allclose(line.get_ydata(), 2 * np.arange(1.0, 51.0))
    assert {text.get_text() for text in axes.yaxis.get_minorticklabels()} <= {""}
    names = [text for text in axes.texts if text.get_text() in ("PerSim", "persistence")]
    heights = sorted(text.xyann[1] for text in names)
    assert heights[1] - heights[0] > 0.05  # equal ends, and yet both can be read


def test_error_by_horizon_bears_what_is_missing_or_infinite():
    error, reference = errors(line=44.0)
    error.step_rmse[0, 3:] = np.inf
    error.step_rmse[1, 2] = 0.0
    to_png(plots.error_by_horizon({"PerSim": error, "mine": reference}))


def test_latent_factors_show_every_agent():
    rng = np.random.default_rng(0)
    true = rng.uniform(size=(30, 2))
    probe = LatentProbe(
        names=("force", "length"),
        true=true,
        predicted=true + 0.01,
        r2=np.array([0.99998, 0.5]),
        components=rng.normal(size=(30, 2)),
        explained=np.array([0.7, 0.2]),
    )
    figure = plots.latent_factors(probe)
    assert len(figure.axes) == 4
    points = figure.axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(points, np.stack([true[:, 0], true[:, 0] + 0.01], axis=1))
    assert "0.99998" in figure.axes[0].get_title()
    marked = figure.axes[0].collections[1].get_offsets()
    assert len(marked) == 5
    one = LatentProbe(("g",), true[:, :1], true[:, :1], np.ones(1), probe.components, true[0])
    assert len(plots.latent_factors(one).axes) == 2


def test_returns_are_dots_with_their_mean():
    values = {"random actions": {0: np.array([1.0, 3.0]), 2: np.array([5.0])}}
    values["mine"] = {2: np.array([7.0, 9.0])}
    figure = plots.returns_by_agent(values, LABELS)
    (axes,) = figure.axes
    dots = np.concatenate([dots.get_offsets() for dots in axes.collections])
    assert sorted(dots[:, 1].tolist()) == [1, 3, 5, 7, 9]
    bars = [line.get_ydata()[0] for line in axes.lines]
    assert sorted(bars) == [2, 5, 8]
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert labels == ["agent 0\ngravity 1", "agent 2\ngravity 3"]
