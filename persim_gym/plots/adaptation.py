"""The figure of adaptation: error and coverage against the number of transitions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter

from persim_gym.envs.suites import SUITES
from persim_gym.evaluation.adaptation import LEVELS, Adaptation
from persim_gym.plots.style import (
    LIGHT,
    Theme,
    label_axes,
    legend_above,
    log_scale,
    new_figure,
    style_axes,
)


def adaptation_figure(results: Sequence[Adaptation], theme: Theme = LIGHT) -> Figure:
    """A column for each task: error above, coverage of one-step intervals below."""
    figure = new_figure(2.9 * len(results) + 0.6, 6.9, theme)
    grid = figure.add_gridspec(
        2, len(results), left=0.72 / figure.get_figwidth(), right=0.98, top=0.79, bottom=0.08,
        hspace=0.2, wspace=0.3, height_ratios=[1.25, 1.0],
    )  # fmt: skip
    for column, found in enumerate(results):
        above = figure.add_subplot(grid[0, column])
        below = figure.add_subplot(grid[1, column])
        _errors(above, found, theme)
        _coverage(below, found, theme)
        title = SUITES[found.task_name].title if found.task_name in SUITES else found.task_name
        above.set_title(title, fontsize=10.5, color=theme.ink, pad=8)
        first = column == 0
        label_axes(above, "", "RMSE, all (paper's)" if first else "", theme)
        inside = "share inside the interval" if first else ""
        label_axes(below, "transitions of the new agent", inside, theme)
        if first:
            legend_above(figure, [*above.get_lines(), *_named(below)], theme)
    return figure


def _named(axes: Axes) -> list[Line2D]:
    return [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]


def _errors(axes: Axes, found: Adaptation, theme: Theme) -> None:
    style_axes(axes, theme)
    places = np.arange(len(found.counts))
    low, middle, high = np.quantile(found.rmse, (0.1, 0.5, 0.9), axis=1)
    axes.fill_between(places, low, high, color=theme.learned, alpha=0.25, lw=0)
    axes.plot(
        places, middle, color=theme.learned, lw=1.6, marker="o", ms=3.5,
        label="adapted: median, 80% of agents",
    )  # fmt: skip
    for errors, colour, dashes, name in (
        (found.mean, theme.pooled, (4, 2), "population's mean"),
        (found.trained, theme.true, (1, 1.5), "seen in training"),
    ):
        axes.axhline(float(np.median(errors)), color=colour, lw=1.8, dashes=dashes, label=name)
    log_scale(axes)
    _ticks(axes, found)


def _coverage(axes: Axes, found: Adaptation, theme: Theme) -> None:
    style_axes(axes, theme)
    places = np.arange(len(found.counts))
    for number, level in enumerate(LEVELS):
        first = number == 0
        axes.axhline(level, color=theme.faint, lw=0.9, dashes=(1, 2))
        axes.plot(
            places, found.calibrated.predictions[:, number], color=theme.learned, lw=1.5,
            marker="s", ms=4, label="calibrated at fit time" if first else None,
        )  # fmt: skip
        axes.plot(
            places, found.plain.predictions[:, number], color=theme.nothing, lw=1.4,
            dashes=(3, 2), label="white Gaussian noise" if first else None,
        )  # fmt: skip
    axes.set_ylim(0.0, 1.04)
    axes.yaxis.set_major_locator(FixedLocator([0.0, *LEVELS]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    _ticks(axes, found)


def _ticks(axes: Axes, found: Adaptation) -> None:
    axes.xaxis.set_major_locator(FixedLocator(np.arange(len(found.counts)).tolist()))
    names = [str(count) for count in found.counts]
    axes.set_xticklabels(names)
