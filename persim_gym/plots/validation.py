"""Figures of a validation: error by steps, calibration, and courses of the worst agents.

Each is a small panel of its own, so that a page sets as many side by side as there is room for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from persim_gym.evaluation.validation.models import LINEAR, PERSISTENCE, POOLED, SIMULATOR
from persim_gym.evaluation.validation.result import Shown
from persim_gym.evaluation.validation.scores import Scores
from persim_gym.plots.style import LIGHT, Theme, label_axes, log_scale, new_figure, style_axes

#: Names of the models in figures and tables.
NAMES = {
    SIMULATOR: "simulator",
    PERSISTENCE: "persistence",
    POOLED: "pooled model",
    LINEAR: "own linear model",
}
#: Dashes of their lines, which differ without colours, too; where there is none the line is whole.
DASHES: dict[str, tuple[float, ...]] = {
    PERSISTENCE: (1, 1.6),
    POOLED: (5, 2),
    LINEAR: (6, 1.6, 1.2, 1.6),
}
WIDTH, HEIGHT = 3.5, 2.7


def colours(theme: Theme) -> dict[str, str]:
    """Colours of the models."""
    own = (theme.learned, theme.nothing, theme.pooled, theme.trained)
    return dict(zip(NAMES, own, strict=True))


def error_panel(scores: Scores, place: int, unit: str = "", *, theme: Theme = LIGHT) -> Figure:
    """RMSE of one coordinate at each number of steps, beside the references."""
    figure, axes = panel(theme)
    shown = []
    for name, colour in colours(theme).items():
        if name not in scores.curve:
            continue
        values = scores.curve[name][:, place]
        known = np.isfinite(values) & (values > 0)
        steps = np.arange(1, len(values) + 1)[known]
        mark = "o" if len(steps) < 8 else None
        axes.plot(
            steps, values[known], color=colour, lw=2.2 if name == SIMULATOR else 1.6, marker=mark,
            ms=4, ls=_line(name), zorder=3 if name == SIMULATOR else 2,
        )  # fmt: skip
        shown += values[known].tolist()
    if shown and max(shown) > 12 * min(shown):
        log_scale(axes)
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    label_axes(axes, "steps ahead", f"RMSE ({unit})" if unit else "RMSE", theme)
    return figure


def calibration_panel(
    scores: Scores, k: int, columns: Sequence[str], *, theme: Theme = LIGHT
) -> Figure:
    """Share of what was inside intervals of each level, a line for each coordinate.

    Args:
        scores: Of a split.
        k: Which number of steps.
        columns: Names of the coordinates ``[d]``.
        theme: Colours.
    """
    figure, axes = panel(theme)
    levels = sorted(scores.coverage)
    axes.plot([0, 1], [0, 1], color=theme.faint, lw=0.9, dashes=(1, 2))
    vary = np.flatnonzero(~scores.constant).tolist()
    few = len(vary) <= 4
    palette = (theme.learned, theme.true, theme.pooled, theme.trained)
    for number, place in enumerate(vary):
        share = [float(scores.coverage[level][k, place]) for level in levels]
        colour = palette[number] if few else theme.learned
        mark = ("o-", "s--", "D-.", "^:")[number] if few else "o-"
        axes.plot(
            levels, share, mark, color=colour, lw=1.6, ms=4, alpha=1.0 if few else 0.35,
            label=_cut(columns[place]) if few else None,
        )  # fmt: skip
    axes.set(xlim=(0.45, 1.0), ylim=(0, 1.04))
    label_axes(axes, "level of the interval", "share inside", theme)
    if few and vary:
        axes.legend(frameon=False, fontsize=8, labelcolor=theme.ink, loc="lower right")
    return figure


def course_panel(shown: Shown, place: int, unit: str = "", *, theme: Theme = LIGHT) -> Figure:
    """One coordinate of a predicted course with its 95% interval, and what was."""
    figure, axes = panel(theme)
    steps = np.arange(len(shown.true))
    if shown.low is not None and shown.high is not None:
        axes.fill_between(
            steps[1:], shown.low[:, place], shown.high[:, place], color=theme.learned, alpha=0.2,
            lw=0,
        )  # fmt: skip
    axes.plot(steps, shown.true[:, place], color=theme.true, lw=2.0)
    predicted = np.where(np.isfinite(shown.predicted[:, place]), shown.predicted[:, place], np.nan)
    axes.plot(steps, predicted, color=theme.learned, lw=1.8, dashes=(4, 1.5))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    label_axes(axes, "steps ahead", unit, theme)
    return figure


def legend(names: Sequence[str], *, theme: Theme = LIGHT) -> Figure:
    """The lines of error panels and their names."""
    own = colours(theme)
    handles = [
        Line2D([], [], color=own[name], lw=2.2 if name == SIMULATOR else 1.6,
               ls=_line(name), label=NAMES[name])
        for name in names if name in NAMES
    ]  # fmt: skip
    return _legend(handles, theme)


def course_legend(*, theme: Theme = LIGHT) -> Figure:
    """The lines of course panels and their names."""
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=theme.true, lw=2.0, label="recorded"),
        Line2D([], [], color=theme.learned, lw=1.8, dashes=(4, 1.5), label="predicted"),
        Patch(facecolor=theme.learned, alpha=0.2, label="95% interval"),
    ]
    return _legend(handles, theme)


def _line(name: str) -> Any:
    return (0, DASHES[name]) if name in DASHES else "-"


def _legend(handles: Sequence[Line2D | Patch], theme: Theme) -> Figure:
    figure = new_figure(WIDTH, 0.5, theme)
    figure.legend(
        handles=list(handles), loc="center", frameon=False, ncols=2 if len(handles) == 4 else 3,
        fontsize=8.5, labelcolor=theme.ink, handlelength=2.4, columnspacing=1.2,
        borderaxespad=0.0, borderpad=0.0,
    )  # fmt: skip
    return figure


def panel(theme: Theme) -> tuple[Figure, Axes]:
    """An empty panel of a page."""
    figure = new_figure(WIDTH, HEIGHT, theme)
    axes = figure.add_axes((0.19, 0.17, 0.77, 0.78))
    style_axes(axes, theme)
    return figure, axes


def _cut(name: str) -> str:
    return name if len(name) <= 20 else f"{name[:19]}…"
