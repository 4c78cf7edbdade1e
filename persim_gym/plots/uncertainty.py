"""The figure of uncertainty: disagreement beside true error."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterMathtext, LogLocator, NullFormatter

from persim_gym.evaluation.uncertainty import BAD, OpenLoopUncertainty, StepUncertainty
from persim_gym.plots.style import LIGHT, Theme, new_figure, style_axes


def uncertainty_figure(
    found: dict[str, OpenLoopUncertainty], steps: dict[str, StepUncertainty], theme: Theme = LIGHT
) -> Figure:
    """Rank correlation by step, calibration, and single steps anywhere; a colour a simulator."""
    figure = new_figure(6.4, 5.8, theme)
    places = ((0.11, 0.6, 0.37, 0.33), (0.62, 0.6, 0.37, 0.33), (0.11, 0.1, 0.37, 0.33))
    left, middle, right = (figure.add_axes(place) for place in places)
    colors = (theme.learned, theme.true, theme.pooled, theme.trained)
    marks = ("o-", "s--", "D-.", "^:")
    for color, mark, (name, open_loop) in zip(colors, marks, found.items(), strict=False):
        correlation = open_loop.rank_correlation()
        left.plot(
            np.arange(1, len(correlation) + 1), correlation, mark, color=color, label=name, ms=4,
            markevery=7,
        )  # fmt: skip
        middle.loglog(*open_loop.calibration(), mark, color=color, ms=4)
        one = steps[name]
        order = np.argsort(one.disagreement)
        parts = [part for part in np.array_split(order, 25) if len(part)]
        right.loglog(
            [np.median(one.disagreement[part]) for part in parts],
            [np.median(one.error[part]) for part in parts],
            mark, color=color, ms=4,
        )  # fmt: skip
    ends = np.array([*middle.get_xlim(), *middle.get_ylim()])
    span = [ends.min(), ends.max()]
    middle.plot(span, span, color=theme.faint, lw=0.8, ls=":")
    right.axhline(BAD, color=theme.faint, lw=0.8, ls=":")
    left.set(
        title="Does disagreement rank errors?", xlabel="steps ahead", ylabel="rank correlation"
    )
    left.set_ylim(-0.1, 1.02)
    middle.set(
        title="Open loop: as large as the error?", xlabel="standard deviation of members",
        ylabel="error of their mean",
    )  # fmt: skip
    right.set(
        title="Single steps, off the data too", xlabel="disagreement",
        ylabel="error, deviations of changes",
    )  # fmt: skip
    for axes in (left, middle, right):
        style_axes(axes, theme)
        axes.title.set_fontsize(10)
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
            text.set_color(theme.ink)
    for axes in (middle, right):
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(numticks=5))
            axis.set_major_formatter(LogFormatterMathtext())
            axis.set_minor_formatter(NullFormatter())
    figure.legend(
        handles=left.get_lines(), loc="center", bbox_to_anchor=(0.8, 0.27), frameon=False,
        fontsize=10, labelcolor=theme.ink, handlelength=2.6,
    )  # fmt: skip
    return figure
