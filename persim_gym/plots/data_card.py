"""The figure of a data card: returns by covariate, states in the plane, coordinates, ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from persim_gym.offline.cards import Coordinate, DataCard, Plane
from persim_gym.plots.style import LIGHT, Theme, label_axes, new_figure, number, rings, style_axes

Panel = Callable[[Axes], None]

#: Inches: the figure's width, its margins and gaps.
WIDTH, LEFT, RIGHT, ABOVE, BELOW = 10.0, 0.62, 0.14, 0.98, 0.5
GAP_X, GAP_Y = 0.68, 0.74
BINS = 40


def card_figure(card: DataCard, *, theme: Theme = LIGHT) -> Figure:
    """Draw a data card.

    The first row shows the return of each episode against its agent's covariates, the second how
    often states were visited (on a logarithmic scale) and how long episodes were (returns, where
    all are of one length), the rest one coordinate each: all states, and as a line and a pale band
    where episodes begin.

    Args:
        card: The card.
        theme: Colours.
    """
    rows = _rows(card, theme)
    small = _coordinate_rows(card)
    heights = [2.35] * (len(rows) - small) + [1.15] * small
    height = ABOVE + sum(heights) + GAP_Y * (len(rows) - 1) + BELOW
    figure = new_figure(WIDTH, height, theme)
    top = height - ABOVE
    for row, tall in zip(rows, heights, strict=True):
        gap = GAP_X if len(row) <= 4 else 0.3
        wide = (WIDTH - LEFT - RIGHT - gap * (len(row) - 1)) / len(row)
        for column, panel in enumerate(row):
            left = LEFT + column * (wide + gap)
            axes = figure.add_axes(
                (left / WIDTH, (top - tall) / height, wide / WIDTH, tall / height)
            )
            style_axes(axes, theme)
            panel(axes)
        top -= tall + GAP_Y
    _heading(figure, card, height, theme)
    return figure


def _coordinate_rows(card: DataCard) -> int:
    """How many rows at the end show coordinates only."""
    count = len(card.coordinates)
    return 0 if count <= 2 else -(-count // (6 if count > 8 else 4))


def _rows(card: DataCard, theme: Theme) -> list[list[Panel]]:
    first: list[Panel] = [_return_panel(card, i, theme) for i in range(len(card.covariates))]
    if len(card.covariates) == 2:
        first.append(_landscape_panel(card, theme))
    returns = _histogram_panel(card, card.episodes.returns, "return", theme)
    lengths = _histogram_panel(card, card.episodes.lengths, "steps of an episode", theme)
    second: list[Panel] = [_plane_panel(card, plane, theme) for plane in card.planes]
    if not first:
        first.append(returns)
    one_length = int(np.ptp(card.episodes.lengths)) == 0
    (first if len(first) < 3 else second).append(returns if one_length else lengths)
    coordinates = [_coordinate_panel(c, theme) for c in card.coordinates]
    if _coordinate_rows(card) == 0:
        return [first, [*second, *coordinates]]
    each = 6 if len(coordinates) > 8 else 4
    rest = [coordinates[i : i + each] for i in range(0, len(coordinates), each)]
    if len(rest) > 1:  # panels of one size: the last row is filled up with nothing
        rest[-1] += [_nothing] * (each - len(rest[-1]))
    return [row for row in (first, second) if row] + rest


def _heading(figure: Figure, card: DataCard, height: float, theme: Theme) -> None:
    summary = card.summary
    x = LEFT / WIDTH
    figure.text(
        x, 1 - 0.2 / height, summary.id, fontsize=13, weight="bold", color=theme.ink, va="top"
    )
    figure.text(
        1 - RIGHT / WIDTH, 1 - 0.22 / height, _legend(card), fontsize=8, color=theme.faint,
        ha="right", va="top",
    )  # fmt: skip
    lengths = card.episodes.lengths
    facts = [
        f"{summary.agents:,} agents" if summary.agents else "",
        f"{summary.episodes:,} episodes",
        f"{summary.transitions:,} transitions",
        f"{lengths[0]:,} steps each" if np.ptp(lengths) == 0 else "",
        f"mean return {number(float(f'{summary.mean_return:.4g}'))}",
    ]
    text = "   ".join(fact for fact in facts if fact)
    figure.text(x, 1 - 0.48 / height, text, fontsize=9, color=theme.faint, va="top")
    # The ends have their colours; they stand at the right, the last one first.
    right = 1 - RIGHT / WIDTH
    for end, count in reversed(card.end_counts().items()):
        shown = figure.text(
            right, 1 - 0.48 / height, f"{end} {count:,}", fontsize=9, weight="bold",
            color=_end_color(end, theme), ha="right", va="top",
        )  # fmt: skip
        box = shown.get_window_extent()
        right -= (box.width / figure.dpi + 0.2) / WIDTH


def _legend(card: DataCard) -> str:
    parts = ["pale band: start states"]
    if card.covariates:
        parts.insert(0, "line: median of agents that are alike")
    if _tests(card).any():
        parts.insert(0, "rings: test agents")
    return "   ".join(parts)


# -- panels ----------------------------------------------------------------------------------------


def _return_panel(card: DataCard, column: int, theme: Theme) -> Panel:
    def draw(axes: Axes) -> None:
        values, returns = card.episodes.covariates[:, column], card.episodes.returns
        ends = np.array(card.episodes.ends)
        for end in card.end_counts():
            rows = ends == end
            axes.scatter(
                values[rows], returns[rows], s=11, lw=0, alpha=0.6, zorder=2,
                color=_end_color(end, theme),
            )  # fmt: skip
        tests = _tests(card)
        rings(axes, values[tests], returns[tests], theme)
        _running_median(axes, values, returns, theme)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        label_axes(axes, card.covariates[column], "return" if column == 0 else "", theme)

    return draw


def _running_median(
    axes: Axes, values: NDArray[np.float64], returns: NDArray[np.float64], theme: Theme
) -> None:
    """The median return of agents that are alike, where there are enough of them."""
    groups = min(12, len(values) // 10)
    if groups < 3:
        return
    parts = np.array_split(np.argsort(values, kind="stable"), groups)
    x = [float(np.median(values[rows])) for rows in parts]
    y = [float(np.median(returns[rows])) for rows in parts]
    axes.plot(x, y, color=theme.ink, lw=1.4, alpha=0.75, zorder=4)


def _landscape_panel(card: DataCard, theme: Theme) -> Panel:
    def draw(axes: Axes) -> None:
        x, y = card.episodes.covariates.T
        returns = card.episodes.returns
        scale = LinearSegmentedColormap.from_list("persim", list(theme.scale))
        low, high = np.quantile(returns, (0.02, 0.98))
        norm = Normalize(low, high if high > low else low + 1)
        order = np.argsort(returns, kind="stable")
        shown = axes.scatter(
            x[order], y[order], c=returns[order], cmap=scale, norm=norm, s=13, lw=0, zorder=2
        )
        tests = _tests(card)
        rings(axes, x[tests], y[tests], theme)
        # Inside the panel's own place, which the scale's numbers would leave at its right.
        box = axes.get_position()
        axes.set_position((box.x0, box.y0, box.width - 0.62 / WIDTH, box.height))
        bar = axes.figure.colorbar(shown, cax=axes.inset_axes((1.04, 0, 0.035, 1)))
        bar.outline.set_visible(False)
        bar.ax.tick_params(colors=theme.faint, labelsize=8, length=0)
        bar.ax.yaxis.set_major_formatter(FuncFormatter(number))
        bar.ax.yaxis.set_major_locator(MaxNLocator(5))
        label_axes(axes, card.covariates[0], card.covariates[1], theme)
        axes.set_title("return", fontsize=9, color=theme.ink, pad=5)

    return draw


def _plane_panel(card: DataCard, plane: Plane, theme: Theme) -> Panel:
    def draw(axes: Axes) -> None:
        scale = LinearSegmentedColormap.from_list(
            "visits",
            [theme.grid, theme.true, theme.ink] if plane.counts.max() > 1 else [theme.true] * 2,
        )
        counts = np.ma.masked_equal(plane.counts.T, 0)
        axes.grid(visible=False)
        axes.pcolormesh(
            *plane.edges, counts, cmap=scale, norm=LogNorm(1, max(2, int(plane.counts.max()))),
            rasterized=True,
        )  # fmt: skip
        x, y = (card.coordinates[axis].name for axis in plane.axes)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        label_axes(axes, x, y, theme)
        outside = f", {_percent(plane.outside)} outside" if plane.outside > 0 else ""
        axes.set_title(
            f"{_percent(plane.visited)} visited{outside}",
            fontsize=9,
            color=theme.ink,
            pad=5,
        )

    return draw


def _histogram_panel(
    card: DataCard, values: NDArray[np.generic], label: str, theme: Theme
) -> Panel:
    def draw(axes: Axes) -> None:
        ends = np.array(card.episodes.ends)
        names = list(card.end_counts())
        numbers = values.astype(np.float64)
        low, high = float(numbers.min()), float(numbers.max())
        if high - low < 1e-9 * max(abs(low), 1):
            low, high = low - 0.5, high + 0.5
        edges = np.linspace(low, high, BINS + 1)
        for end in names:
            axes.hist(
                numbers[ends == end], bins=edges.tolist(), color=_end_color(end, theme),
                alpha=0.85 if len(names) == 1 else 0.6, histtype="stepfilled",
            )  # fmt: skip
        if len(names) > 1:  # what is rare is worth seeing
            axes.set_yscale("log")
            axes.set_ylim(bottom=0.7)
            axes.yaxis.set_major_formatter(FuncFormatter(number))
        else:
            axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(visible=False, axis="x")
        label_axes(axes, label, "episodes", theme)

    return draw


def _coordinate_panel(coordinate: Coordinate, theme: Theme) -> Panel:
    def draw(axes: Axes) -> None:
        widths = np.diff(coordinate.edges)
        axes.bar(
            coordinate.edges[:-1], coordinate.counts, widths, align="edge", color=theme.true,
            alpha=0.8, lw=0,
        )  # fmt: skip
        low, mean, high = coordinate.start
        axes.axvspan(low, high, color=theme.learned, alpha=0.22, lw=0, zorder=0)
        axes.axvline(mean, color=theme.learned, lw=1.0, zorder=3)
        axes.set_xlim(coordinate.edges[0], coordinate.edges[-1])
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.grid(visible=False)
        axes.set_title(coordinate.name, fontsize=8.5, color=theme.ink, pad=4)

    return draw


def _nothing(axes: Axes) -> None:
    axes.set_axis_off()


# -- small things ----------------------------------------------------------------------------------


def _tests(card: DataCard) -> NDArray[np.bool_]:
    """Which episodes are of test agents ``[E]``."""
    tests: Sequence[bool] = [
        isinstance(agent, int) and agent < card.test_agents for agent in card.episodes.agents
    ]
    return np.array(tests, dtype=np.bool_)


def _percent(share: float) -> str:
    """A share that is not nothing is not called 0%, and one that is not all not 100%."""
    if 0 < share < 0.001:
        return "under 0.1%"
    return f"{100 * share:.1f}%" if share < 0.1 or 0.99 < share < 1 else f"{100 * share:.0f}%"


def _end_color(end: str, theme: Theme) -> str:
    return {
        "time limit": theme.true,
        "goal reached": theme.trained,
        "pole fell": theme.learned,
        "terminated": theme.learned,
        "off the track": theme.pooled,
    }.get(end, theme.nothing)
