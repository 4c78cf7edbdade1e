"""Parts of the report's figures: colours, panels, curves, ticks, and limits that hold the bulk."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
)

from persim_gym.experiments.results import Variant
from persim_gym.experiments.statistics import Summary
from persim_gym.plots.style import (
    DARK,
    LIGHT,
    Theme,
    new_figure,
    number,
    style_axes,
)

#: Further colours, on light and on dark, for methods without one of their own.
_FURTHER = {
    LIGHT.paper: ("#7b5ea7", "#2f8f8b", "#b04a76", "#7d8a2e", "#8a5a3c", "#4b59b0"),
    DARK.paper: ("#b59be0", "#63c2bd", "#e083ad", "#b7c46a", "#c99878", "#96a2ee"),
}

#: Of methods, by their place: they tell lines apart where colours cannot be seen.
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">")
DASHES = ("-", "--", "-.", ":")


def colours(variants: Sequence[Variant], theme: Theme) -> dict[Variant, str]:
    """A colour for each method: well-known ones have their own in all figures."""
    own = {
        "persim": theme.learned, "true": theme.true, "one-for-all": theme.pooled,
        "persistence": theme.nothing, "random": theme.nothing, "test-policy": theme.trained,
    }  # fmt: skip
    further = iter(_FURTHER[theme.paper] * (1 + len(variants)))
    taken: set[str] = set()
    found = {}
    for variant in variants:
        colour = own.get(variant.method)
        if colour is None or colour in taken:
            colour = next(further)
        taken.add(colour)
        found[variant] = colour
    return found


def line_style(place: int) -> dict[str, Any]:
    """How a line differs from its neighbours where colours cannot be seen."""
    return {"marker": MARKERS[place % len(MARKERS)], "ls": DASHES[place % len(DASHES)]}


def write_beyond(axes: Axes, place: tuple[float, float], value: float, colour: str) -> None:
    """Write the value of a point that lies far beyond its panel, and in which direction."""
    arrow = "\N{UPWARDS ARROW}" if value > place[1] else "\N{DOWNWARDS ARROW}"
    above = value < place[1]
    axes.annotate(
        f"{arrow} {value:,.0f}", place, xytext=(0, 6 if above else -6), ha="center",
        textcoords="offset points", va="bottom" if above else "top", fontsize=9, color=colour,
    )  # fmt: skip


def usual_range(values: Sequence[float]) -> tuple[float, float]:
    """Where the bulk of some values lies: one that is far off must not squeeze the others."""
    known = np.array([value for value in values if math.isfinite(value)])
    if len(known) == 0:
        return -math.inf, math.inf
    middle = float(np.median(known))
    reach = 10 * max(float(np.median(np.abs(known - middle))), 0.05 * abs(middle))
    usual = known[np.abs(known - middle) <= reach]
    span = 0.6 * max(float(np.ptp(usual)), 0.05 * abs(middle)) if len(usual) < len(known) else 0
    return float(usual.min()) - span, float(usual.max()) + span


def at_least(ends: tuple[float, float]) -> tuple[float, float]:
    """Limits so far apart that a difference of a thousandth does not fill the panel."""
    middle, half = (ends[0] + ends[1]) / 2, (ends[1] - ends[0]) / 2
    half = max(half, 0.05 * abs(middle))
    return middle - half, middle + half


def new_panels(count: int, theme: Theme) -> tuple[Figure, list[Axes]]:
    """Panels of one size, two in a row (a phone has room for no more), and a legend above."""
    columns = min(count, 2)
    rows = math.ceil(count / columns)
    width, height = 6.4, 0.75 + 2.6 * rows
    figure = new_figure(width, height, theme)
    grid = figure.add_gridspec(
        rows, columns, left=0.78 / width, right=1 - 0.12 / width, top=1 - 0.95 / height,
        bottom=0.55 / height, hspace=0.5, wspace=0.3,
    )  # fmt: skip
    axes = [figure.add_subplot(grid[divmod(k, columns)]) for k in range(count)]
    for own in axes:
        style_axes(own, theme)
    return figure, axes


def is_drawn(own: Summary) -> bool:
    """Whether there is a number to draw."""
    return math.isfinite(own.iqm)


def draw_curve(
    axes: Axes,
    points: Iterable[tuple[float, Summary | None]],
    colour: str,
    marker: str = "o",
    ls: str = "-",
) -> None:
    """A line of interquartile means in the band of their intervals; logarithms need more than 0."""
    known = [(x, own) for x, own in points if own is not None and is_drawn(own) and own.iqm > 0]
    if not known:
        return
    x = [place for place, _ in known]
    axes.plot(x, [own.iqm for _, own in known], color=colour, lw=2, marker=marker, ms=4, ls=ls)
    inside = [(place, own) for place, own in known if own.low > 0 and math.isfinite(own.high)]
    if inside:
        axes.fill_between(
            [place for place, _ in inside], [own.low for _, own in inside],
            [own.high for _, own in inside], color=colour, alpha=0.18, lw=0,
        )  # fmt: skip


def set_ticks(axes: Axes, values: Sequence[float]) -> None:
    """Ticks of the horizontal axis at these values alone."""
    axes.xaxis.set_major_locator(FixedLocator(list(values)))
    axes.xaxis.set_minor_locator(FixedLocator([]))
    axes.xaxis.set_major_formatter(FuncFormatter(number))


def tick_subs(ends: tuple[float, float]) -> tuple[float, ...]:
    """Within each power of ten: where a logarithmic axis with these ends has its ticks."""
    if ends[1] / ends[0] > 100:
        return (1.0,)
    return (1.0, 2.0, 5.0) if ends[1] / ends[0] > 8 else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
