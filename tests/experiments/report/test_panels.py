"""Parts of the report's figures."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import pytest

from persim_gym.experiments.report.panels import (
    DASHES,
    MARKERS,
    at_least,
    colours,
    draw_curve,
    is_drawn,
    line_style,
    new_panels,
    set_ticks,
    tick_subs,
    usual_range,
)
from persim_gym.experiments.results import Variant
from persim_gym.experiments.statistics import Summary
from persim_gym.plots.style import DARK, LIGHT


def summary(value: float, low: float = math.nan, high: float = math.nan) -> Summary:
    return Summary(value, math.nan, value, low, high, 1, 1)


def test_the_bulk_decides_the_limits() -> None:
    assert usual_range([1.0, 2.0, 3.0]) == (1.0, 3.0)
    low, high = usual_range([1.0, 2.0, 3.0, -1e6])
    assert -10 < low < 1
    assert 3 < high < 10
    assert usual_range([math.nan]) == (-math.inf, math.inf)


def test_a_difference_of_a_thousandth_does_not_fill_a_panel() -> None:
    low, high = at_least((100.0, 100.1))
    assert high - low == pytest.approx(0.1 * 100.05)
    assert at_least((0.0, 10.0)) == (0.0, 10.0)


def test_panels_stand_two_in_a_row() -> None:
    figure, panels = new_panels(3, LIGHT)
    assert len(panels) == 3
    assert panels[0].get_position().y0 == panels[1].get_position().y0
    assert panels[2].get_position().y0 < panels[0].get_position().y0
    plt.close(figure)


def test_a_curve_leaves_out_what_has_no_logarithm() -> None:
    figure, (axes,) = new_panels(1, LIGHT)
    assert not is_drawn(summary(math.inf))
    draw_curve(axes, [(1, None), (2, summary(0.0)), (3, summary(math.inf))], LIGHT.learned)
    assert not axes.lines
    points = [(1, summary(1.0, 0.5, 2.0)), (2, summary(0.0)), (4, summary(2.0))]
    draw_curve(axes, points, LIGHT.learned)
    assert axes.lines[0].get_xdata().tolist() == [1, 4]
    assert len(axes.collections) == 1  # the band, of what has an interval
    set_ticks(axes, [1, 4])
    assert axes.get_xticks().tolist() == [1, 4]
    plt.close(figure)


def test_neighbours_differ_in_more_than_colour() -> None:
    assert line_style(0) == {"marker": MARKERS[0], "ls": DASHES[0]}
    assert line_style(1)["marker"] != line_style(0)["marker"]
    assert line_style(len(MARKERS))["marker"] == MARKERS[0]


def test_short_axes_have_more_ticks() -> None:
    assert tick_subs((1, 1000)) == (1.0,)
    assert len(tick_subs((1, 5))) > len(tick_subs((1, 20))) > 1


def test_colours_are_each_methods_own() -> None:
    names = ("persim", "true", "one-for-all", "bcq", "cql", "persistence", "random")
    for theme in (LIGHT, DARK):
        found = colours([Variant(name) for name in names], theme)
        assert found[Variant("persim")] == theme.learned
        assert len(set(found.values())) == len(names)
