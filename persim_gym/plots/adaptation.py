"""The figure of adaptation: error and coverage against the number of transitions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from persim_gym.evaluation.adaptation import LEVELS, Adaptation
from persim_gym.plots.style import LIGHT, Theme, label_axes, log_scale, new_figure, style_axes


def adaptation_figure(results: Sequence[Adaptation], theme: Theme = LIGHT) -> Figure:
    """A column for each task: error above, coverage of one-step intervals below.

    Args:
        results: One for each task.
        theme: Colours.
    """
    figure = new_figure(4.6 * len(results) + 0.4, 5.8, theme)
    grid = figure.add_gridspec(
        2, len(results), left=0.7 / figure.get_figwidth(), right=0.98, top=0.93, bottom=0.085,
        hspace=0.3, wspace=0.24, height_ratios=[1.25, 1.0],
    )  # fmt: skip
    for column, found in enumerate(results):
        above = figure.add_subplot(grid[0, column])
        below = figure.add_subplot(grid[1, column])
        _errors(above, found, theme)
        _coverage(below, found, theme)
        above.set_title(found.task_name, fontsize=10, color=theme.ink, pad=8)
        first = column == 0
        label_axes(above, "", "open-loop RMSE, 50 steps" if first else "", theme)
        inside = "share inside the interval" if first else ""
        label_axes(below, "transitions of the new agent", inside, theme)
        if first:
            for axes in (above, below):
                axes.legend(fontsize=7.5, frameon=False, labelcolor=theme.ink)
    return figure


def _errors(axes: Axes, found: Adaptation, theme: Theme) -> None:
    style_axes(axes, theme)
    places = np.arange(len(found.counts))
    low, middle, high = np.quantile(found.rmse, (0.1, 0.5, 0.9), axis=1)
    axes.fill_between(places, low, high, color=theme.learned, alpha=0.25, lw=0)
    axes.plot(
        places, middle, color=theme.learned, lw=1.6, marker="o", ms=3.5,
        label="adapted: median, and 80% of the agents",
    )  # fmt: skip
    for errors, colour, name in (
        (found.mean, theme.pooled, "population's mean"),
        (found.trained, theme.true, "seen in training"),
    ):
        axes.axhline(float(np.median(errors)), color=colour, lw=1.4, dashes=(4, 2), label=name)
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
            marker="o", ms=3, label="calibrated at fit time" if first else None,
        )  # fmt: skip
        axes.plot(
            places, found.plain.predictions[:, number], color=theme.nothing, lw=1.1,
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
