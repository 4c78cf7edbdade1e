"""Time series of plans: every coordinate and action is there, and films show them bit by bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from persim_gym.planning import ICEM, Recommendation, recommend
from persim_gym.plots.style import DARK
from persim_gym.plots.time_series import (
    draw_panels,
    panels_of,
    recommendation_figure,
    running_frames,
)
from tests.learned.compartments import GAIN, fitted


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Recommendation:
    sim = fitted(tmp_path_factory.mktemp("series") / "patients.csv")
    small = ICEM(candidates=20, horizon=3, elites=4, rounds=2)
    return recommend(sim, "bob", start=20, steps=5, reward=GAIN, planner=small)


def test_what_is_drawn(plan: Recommendation) -> None:
    figure = recommendation_figure(plan, {"level": "mg"}, DARK)
    assert [axes.get_ylabel() for axes in figure.axes] == ["level (mg)", "dose"]
    level, dose = panels_of(plan, {})
    assert [line.name for line in level.lines] == [
        "recorded", "predicted, 95% interval", "predicted, 95% interval", "plan, 95% interval"
    ]  # fmt: skip
    recorded, before, done, planned = level.lines
    assert recorded.x.tolist() == list(range(-5, 6))
    assert (before.x[0], done.x[0], planned.x[-1]) == (-5, 0, 5)
    np.testing.assert_array_equal(planned.y[1:], plan.plan.obs[:, 0])
    np.testing.assert_array_equal(planned.low[1:], plan.plan.low[:, 0])  # type: ignore[index]
    assert planned.y[0] == plan.state[0] == recorded.y[5]
    np.testing.assert_array_equal(dose.lines[-1].y[:-1], plan.plan.actions[:, 0])
    assert "plan" not in str([line.name for line in panels_of(plan, {}, None)[0].lines])


@pytest.mark.slow
def test_a_film_shows_ever_more(plan: Recommendation, tmp_path: Path) -> None:
    frames = list(running_frames(draw_panels(panels_of(plan, {}), "agent bob"), -5, 5))
    assert len(frames) == 11
    assert {frame.shape for frame in frames} == {frames[0].shape}
    paper = [int((frame == frame[0, 0]).all(-1).sum()) for frame in frames]
    assert paper == sorted(paper, reverse=True)
    assert paper[-1] < paper[0]
