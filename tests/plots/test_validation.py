"""Figures of a validation."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from persim_gym.evaluation.validation import Validation
from persim_gym.plots.style import DARK, LIGHT
from persim_gym.plots.validation import (
    NAMES,
    calibration_panel,
    colours,
    course_legend,
    course_panel,
    error_panel,
    legend,
)
from tests.evaluation.validation.worlds import scores


def test_figures_draw_what_was_found(found: Validation) -> None:
    split = found.splits[0]
    scores, shown = split.scores, split.worst[0]
    assert scores is not None
    lines = error_panel(scores, 0, "mg/dL").axes[0].get_lines()
    np.testing.assert_allclose(np.array(lines[0].get_ydata()), scores.curve["simulator"][:, 0])
    assert len(lines) == 4
    calibration = calibration_panel(scores, 0, found.columns).axes[0].get_lines()
    share = [float(scores.coverage[level][0, 1]) for level in (0.5, 0.8, 0.9, 0.95)]
    np.testing.assert_allclose(np.array(calibration[2].get_ydata()), share)
    course = course_panel(shown, 1).axes[0]
    np.testing.assert_allclose(np.array(course.get_lines()[0].get_ydata()), shown.true[:, 1])
    assert len(course.collections) == 1


def test_what_is_infinite_can_be_drawn(found: Validation) -> None:
    shown = found.splits[0].worst[0]
    lost = dataclasses.replace(
        shown, predicted=np.full_like(shown.predicted, np.inf), low=None, high=None
    )
    assert np.isnan(course_panel(lost, 0).axes[0].get_lines()[1].get_ydata()).all()


def names_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_models_have_colours_and_dashes_of_their_own() -> None:
    for theme in (LIGHT, DARK):
        assert len(set(colours(theme).values())) == len(NAMES)
    lines = error_panel(scores(), 0).axes[0].get_lines()
    assert len({line.get_color() for line in lines}) == 4
    assert len({str(line.get_linestyle()) + str(line._dash_pattern) for line in lines}) == 4


def test_errors_of_very_different_sizes_are_on_a_logarithmic_scale() -> None:
    assert error_panel(scores(1.0, still=9.0), 0).axes[0].get_yscale() == "linear"
    assert error_panel(scores(0.1, still=9.0), 0, "mg").axes[0].get_yscale() == "log"
    assert error_panel(scores(), 0, "mg").axes[0].get_ylabel() == "RMSE (mg)"
    own = scores()
    lost = replace(own, curve={**own.curve, "pooled": np.full((10, 2), np.inf)})
    assert [len(line.get_xdata()) for line in error_panel(lost, 0).axes[0].get_lines()] == [
        10, 10, 0, 10,
    ]  # fmt: skip


def test_many_coordinates_share_a_colour_and_have_no_legend() -> None:
    few = calibration_panel(scores(), 0, ["glucose", "a name that is far too long for it"])
    assert [text.get_text() for text in few.axes[0].get_legend().get_texts()] == [
        "glucose", "a name that is far …",
    ]  # fmt: skip
    own = replace(
        scores(), coverage={0.95: np.full((2, 6), 0.9)}, deviation=np.full(6, 0.5),
        low=np.zeros(6), high=np.ones(6),
    )  # fmt: skip
    many = calibration_panel(own, 0, [f"c{k}" for k in range(6)]).axes[0]
    assert many.get_legend() is None
    assert len({line.get_color() for line in many.get_lines()[1:]}) == 1
    still = replace(own, deviation=np.array([0.5, 0, 0, 0, 0, 0.5]))
    assert len(calibration_panel(still, 0, [f"c{k}" for k in range(6)]).axes[0].get_lines()) == 3


def test_legends_name_what_is_drawn() -> None:
    assert names_of(legend(["simulator", "pooled", "as saved"])) == ["simulator", "pooled model"]
    assert names_of(course_legend()) == ["recorded", "predicted", "95% interval"]
