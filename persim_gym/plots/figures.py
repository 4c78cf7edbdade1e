"""The figures: predictions, error by horizon, latent factors, returns. For paper and for screen.

All are plain matplotlib figures without ``pyplot``: nothing global is touched and no window opens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import blended_transform_factory
from numpy.typing import NDArray

from persim_gym.evaluation.latent_factors import LatentProbe
from persim_gym.evaluation.open_loop import OpenLoopError, Traces
from persim_gym.plots.style import (
    LIGHT,
    Theme,
    label_axes,
    legend_above,
    log_scale,
    new_figure,
    rings,
    style_axes,
)

#: What tells lines and points apart where colours cannot be seen.
_DASHES = ("-", "--", "-.", ":")
_MARKERS = ("v", "s", "o", "D", "^")

# -- predictions -----------------------------------------------------------------------------------


def prediction_fans(
    error: OpenLoopError,
    coordinates: Sequence[str],
    labels: Mapping[int, str],
    *,
    reference: OpenLoopError | None = None,
    columns: Sequence[int] | None = None,
    theme: Theme = LIGHT,
) -> Figure:
    """One episode of each agent: what was, and what its simulator predicted open loop.

    Args:
        error: Of the simulator, with traces.
        coordinates: Names of all coordinates.
        labels: What to write beside each agent's row.
        reference: Of the pooled model, over the same episodes.
        columns: Coordinates to draw; by default the first two, for which a phone has room.
        theme: Colours.
    """
    traces = error.traces
    shown = [int(np.flatnonzero(traces.agents == agent)[0]) for agent in error.agents]
    columns = list(range(min(2, traces.true.shape[2]))) if columns is None else list(columns)
    rows = len(shown)
    figure = new_figure(6.4, 1.1 + 1.35 * rows, theme)
    grid = figure.add_gridspec(
        rows, len(columns), left=0.235, right=0.985, top=1 - 0.85 / figure.get_figheight(),
        bottom=0.55 / figure.get_figheight(), hspace=0.28, wspace=0.33,
    )  # fmt: skip
    for row, e in enumerate(shown):
        for column, d in enumerate(columns):
            axes = figure.add_subplot(grid[row, column])
            style_axes(axes, theme)
            _fan(axes, traces, None if reference is None else reference.traces, e, d, theme)
            if row == 0:
                axes.set_title(coordinates[d], fontsize=10.5, color=theme.ink, pad=6)
            if row < rows - 1:
                axes.tick_params(labelbottom=False)
            if column == 0:
                _row_label(axes, int(traces.agents[e]), labels, theme)
    figure.text(
        0.6, 0.1 / figure.get_figheight(), "steps since the simulator was left to itself",
        ha="center", va="bottom", fontsize=10, color=theme.faint,
    )  # fmt: skip
    handles: list[Any] = [
        Line2D([], [], color=theme.true, lw=3.6, alpha=0.45, label="true"),
        Line2D([], [], color=theme.learned, lw=1.3, label="PerSim, mean"),
        Patch(color=theme.learned, alpha=0.3, lw=0, label="range of the members"),
    ]
    if reference is not None:
        handles.append(
            Line2D([], [], color=theme.pooled, lw=1.1, dashes=(3, 2), label="pooled model")
        )
    legend_above(figure, handles, theme)
    return figure


def _fan(
    axes: Axes, traces: Traces, reference: Traces | None, e: int, d: int, theme: Theme
) -> None:
    """One coordinate of one episode: its true course, and the members' predictions."""
    valid, before = traces.valid[e], traces.before[e, :, d]
    warmup, start = len(before) - 1, before[-1]
    after = np.concatenate([[0], np.arange(1, len(valid) + 1)[valid]])
    true = np.concatenate([before, traces.true[e, valid, d]])
    time = np.concatenate([np.arange(-warmup, 1), after[1:]])
    axes.plot(time, true, color=theme.true, lw=3.6, alpha=0.45, solid_capstyle="round")
    if reference is not None:
        other = reference.predicted[:, e, valid, d].mean(axis=0)
        axes.plot(after, [start, *other], color=theme.pooled, lw=1.1, dashes=(3, 2))
    members = traces.predicted[:, e][:, valid, d]
    low, high = members.min(axis=0), members.max(axis=0)
    axes.fill_between(after, [start, *low], [start, *high], color=theme.learned, alpha=0.3, lw=0)
    axes.plot(after, [start, *members.mean(axis=0)], color=theme.learned, lw=1.3)
    axes.axvline(0, color=theme.faint, lw=0.8, dashes=(1, 2))
    _limits(axes, true, members)
    axes.set_xlim(-warmup - 1, traces.true.shape[1] + 1)
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _limits(axes: Axes, true: NDArray[Any], members: NDArray[Any]) -> None:
    """Limits that hold the true course, and the prediction as far as it is not far off."""
    low, high = float(true.min()), float(true.max())
    width = max(high - low, 1e-6)
    mean = members.mean(axis=0)
    if np.isfinite(mean).all():
        low = min(low, max(float(mean.min()), low - width))
        high = max(high, min(float(mean.max()), high + width))
    margin = 0.12 * max(high - low, 1e-6)
    axes.set_ylim(low - margin, high + margin)


def _row_label(axes: Axes, agent: int, labels: Mapping[int, str], theme: Theme) -> None:
    """Name the row at the figure's left edge, whatever the width of its panels."""
    place = blended_transform_factory(axes.figure.transFigure, axes.transAxes)
    axes.text(
        0.008, 0.64, f"agent {agent}", transform=place, va="center", fontsize=10.5, weight="bold",
        color=theme.ink,
    )  # fmt: skip
    axes.text(
        0.008, 0.5, labels.get(agent, "").replace(", ", "\n"), transform=place, va="top",
        fontsize=9, color=theme.faint, linespacing=1.4,
    )  # fmt: skip


# -- error by horizon ------------------------------------------------------------------------------


def error_by_horizon(errors: Mapping[str, OpenLoopError], *, theme: Theme = LIGHT) -> Figure:
    """RMSE after each number of open-loop steps, on a logarithmic scale.

    A line is the geometric mean over the agents, the band their range.

    Args:
        errors: By name: ``"PerSim"``, ``"pooled model"``, ``"persistence"`` have their colours.
        theme: Colours.
    """
    figure = new_figure(6.4, 3.9, theme)
    axes = figure.add_axes((0.13, 0.15, 0.62, 0.82))
    style_axes(axes, theme)
    colors = _colors(theme)
    ends: list[tuple[float, str, str]] = []
    horizon = 1
    for i, (name, error) in enumerate(errors.items()):
        color = colors.get(name, theme.scale[i % len(theme.scale)])
        values = np.where(error.step_rmse > 0, error.step_rmse, np.nan)
        values[~np.isfinite(values)] = np.nan
        known = np.isfinite(values).any(axis=0)
        steps = np.arange(1, values.shape[1] + 1)[known]
        if len(steps) == 0:
            continue
        horizon = max(horizon, values.shape[1])
        logs = np.log(values[:, known])
        middle = np.exp(np.nanmean(logs, axis=0))
        low, high = np.exp(np.nanmin(logs, axis=0)), np.exp(np.nanmax(logs, axis=0))
        axes.fill_between(steps, low, high, color=color, alpha=0.16, lw=0)
        axes.plot(steps, middle, color=color, lw=2.2, ls=_DASHES[i % len(_DASHES)])
        ends.append((float(middle[-1]), name, color))
    log_scale(axes)
    axes.set_xlim(0, horizon)
    label_axes(axes, "open-loop steps", "RMSE, all (paper's)", theme)
    _name_ends(axes, horizon, ends)
    return figure


def _name_ends(axes: Axes, horizon: int, ends: list[tuple[float, str, str]]) -> None:
    """Write each line's name at its end, not closer than a line's height to the next."""
    axes.figure.canvas.draw()
    to_pixels, box = axes.transData, axes.get_window_extent()
    taken = -np.inf
    for value, name, color in sorted(ends):
        fraction = (to_pixels.transform((horizon, value))[1] - box.y0) / box.height
        fraction = max(fraction, taken + 0.075)
        taken = fraction
        axes.annotate(
            name, (1, fraction), xytext=(1.025, fraction), xycoords="axes fraction",
            textcoords="axes fraction", va="center", fontsize=10.5, color=color, weight="bold",
        )  # fmt: skip


# -- latent factors --------------------------------------------------------------------------------


def latent_factors(probe: LatentProbe, *, tests: int = 5, theme: Theme = LIGHT) -> Figure:
    """What the latent factors say of the covariates, which were hidden from the fit.

    One row a covariate: read off the factors against the true values, and the factors' two leading
    principal components coloured by it.

    Args:
        probe: The probe's answers.
        tests: How many of the first agents to mark, as test agents.
        theme: Colours.
    """
    count = len(probe.names)
    width = 3.1 * count + 0.2 if count > 1 else 6.4
    figure = new_figure(width, 6.4 if count > 1 else 3.5, theme)
    rows = 2 if count > 1 else 1
    grid = figure.add_gridspec(
        rows, 2 if count == 1 else count, left=0.125, right=0.985, hspace=0.36, wspace=0.36,
        bottom=0.085 if count > 1 else 0.16, top=0.94 if count > 1 else 0.89,
    )  # fmt: skip
    scale = LinearSegmentedColormap.from_list("persim", list(theme.scale))
    for c, name in enumerate(probe.names):
        true, predicted = probe.true[:, c], probe.predicted[:, c]
        colors = scale((true - true.min()) / max(float(np.ptp(true)), 1e-12))
        axes = figure.add_subplot(grid[0, c])
        _agents(axes, true, predicted, colors, tests, theme)
        ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
        axes.plot(ends, ends, color=theme.faint, lw=0.8, zorder=1)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        label_axes(axes, f"true {name}", "read off the latent factors", theme)
        axes.set_title(
            f"{name}: R² = {_share(probe.r2[c])}", fontsize=10, color=theme.ink, weight="bold"
        )
        below = figure.add_subplot(grid[1, c] if count > 1 else grid[0, 1])
        _agents(below, probe.components[:, 0], probe.components[:, 1], colors, tests, theme)
        first, second = (f"{100 * share:.0f}%" for share in probe.explained[:2])
        label_axes(below, f"1st component ({first})", f"2nd component ({second})", theme)
        below.set_title(f"factors, coloured by {name}", fontsize=10, color=theme.ink)
    return figure


def _agents(
    axes: Axes, x: NDArray[Any], y: NDArray[Any], colors: Any, tests: int, theme: Theme
) -> None:
    """A dot for each agent, with circles around the test agents."""
    style_axes(axes, theme)
    axes.scatter(x, y, c=colors, s=13, lw=0, alpha=0.85, zorder=2)
    rings(axes, x[:tests], y[:tests], theme)


def _share(r2: float) -> str:
    """R2 so that 0.99998 is not called 1.000."""
    return f"{r2:.5f}" if 0.9995 <= r2 < 1 else f"{r2:.3f}"


# -- returns ---------------------------------------------------------------------------------------


def returns_by_agent(
    returns: Mapping[str, Mapping[int, NDArray[np.float64]]],
    labels: Mapping[int, str],
    *,
    theme: Theme = LIGHT,
) -> Figure:
    """Returns of several ways to act, in the true environment: a dot an episode, a bar the mean.

    Args:
        returns: By the way's name, then by agent: returns of its episodes.
        labels: What to write below each agent.
        theme: Colours.
    """
    agents = sorted({agent for of in returns.values() for agent in of})
    figure = new_figure(6.4, 4.6, theme)
    axes = figure.add_axes((0.1, 0.17, 0.885, 0.61))
    style_axes(axes, theme)
    colors = _colors(theme)
    methods = list(returns)
    rng = np.random.default_rng(0)  # where the dots lie side by side
    for a, agent in enumerate(agents):
        if a % 2:
            axes.axvspan(a - 0.5, a + 0.5, color=theme.grid, alpha=0.35, lw=0)
        present = [name for name in methods if agent in returns[name]]
        slot = min(0.2, 0.84 / max(len(present), 1))
        for i, name in enumerate(present):
            values = returns[name][agent]
            color = colors.get(name, theme.scale[methods.index(name) % len(theme.scale)])
            x = a + (i - (len(present) - 1) / 2) * slot
            spots = x + rng.uniform(-0.26, 0.26, len(values)) * slot
            marker = _MARKERS[methods.index(name) % len(_MARKERS)]
            axes.scatter(spots, values, s=19, color=color, marker=marker, alpha=0.5, lw=0, zorder=2)
            mean = float(values.mean())
            axes.plot(
                [x - 0.4 * slot, x + 0.4 * slot], [mean, mean], color=color, lw=3,
                solid_capstyle="round", zorder=3,
            )  # fmt: skip
    axes.set_xlim(-0.5, len(agents) - 0.5)
    axes.set_xticks(range(len(agents)))
    axes.set_xticklabels(
        [f"agent {agent}\n{labels.get(agent, '').replace(', ', chr(10))}" for agent in agents],
        fontsize=9,
    )
    axes.tick_params(axis="x", length=0, pad=6)
    for text in axes.get_xticklabels():
        text.set_color(theme.ink)
        text.set_linespacing(1.4)
    axes.grid(visible=False, axis="x")
    label_axes(axes, "", "return", theme)
    handles = [
        Line2D(
            [],
            [],
            color=colors.get(name, theme.scale[i % len(theme.scale)]),
            lw=3,
            label=name,
            marker=_MARKERS[i % len(_MARKERS)],
            ms=6,
        )
        for i, name in enumerate(methods)
    ]
    legend_above(figure, handles, theme)
    return figure


# -- style -----------------------------------------------------------------------------------------


def _colors(theme: Theme) -> dict[str, str]:
    return {
        "true": theme.true,
        "PerSim": theme.learned,
        "pooled model": theme.pooled,
        "persistence": theme.nothing,
        "random actions": theme.nothing,
        "trained in the simulator": theme.trained,
        "MPC, planned in the simulator": theme.learned,
        "MPC, planned in the true dynamics": theme.true,
    }
