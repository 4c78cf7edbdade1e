"""Time series of every coordinate and action: recorded, predicted with intervals, planned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from persim_gym.planning.recommendation import Course, Recommendation
from persim_gym.plots.style import LIGHT, Theme, label_axes, legend_above, new_figure, style_axes

#: Coordinates and actions that are drawn at most: more are too small to be seen.
MOST = 16
#: Share of the largest and smallest values that the interval may widen an axis by.
_ROOM = 0.75


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a panel.

    Attributes:
        name: What it is, in the legend.
        color: Name of a colour of the theme.
        x: Steps ``[n]``.
        y: Values ``[n]``.
        low: Lower ends of an interval ``[n]``, or ``None``.
        high: Upper ends ``[n]``, or ``None``.
        dashed: Whether it is dashed.
        held: Whether each value holds for a step, as an action's does.
    """

    name: str
    color: str
    x: NDArray[Any]
    y: NDArray[Any]
    low: NDArray[Any] | None = None
    high: NDArray[Any] | None = None
    dashed: bool = False
    held: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """The lines of one coordinate or action.

    Attributes:
        name: What it is, with its unit.
        lines: Its lines.
        ticks: Names of the values 0, 1, ..., for discrete actions; none for numbers.
    """

    name: str
    lines: tuple[Line, ...]
    ticks: tuple[str, ...] = ()


def recommendation_figure(
    found: Recommendation, units: Mapping[str, str] | None = None, theme: Theme = LIGHT
) -> Figure:
    """Plan, recorded course and predictions of one agent, a panel a coordinate and action.

    Args:
        found: What :func:`~persim_gym.planning.recommend` has returned.
        units: Units of columns by name.
        theme: Colours.
    """
    return draw_panels(panels_of(found, units or {}), f"agent {found.agent}", theme)


def panels_of(
    found: Recommendation, units: Mapping[str, str], plan: str | None = "plan"
) -> list[Panel]:
    """The panels of a recommendation.

    Args:
        found: What was predicted.
        units: Units of columns by name.
        plan: What the plan is called; ``None`` to leave it out.
    """
    panels = []
    level = f"{found.level:.0%} interval"
    for d, name in enumerate(found.columns.state):
        real = np.concatenate([found.recorded_before, found.recorded_after])[:, d]
        lines = [
            Line("recorded", "true", np.arange(len(real)) - len(found.recorded_before) + 1, real)
        ]
        if found.before is not None:
            first = found.recorded_before[0, d]
            lines.append(_predicted(found.before, d, first, f"predicted, {level}", "learned"))
        if found.done is not None:
            name_ = "recorded actions once more" if found.repeated else f"predicted, {level}"
            color = "nothing" if found.repeated else "learned"
            if plan or not found.repeated:
                lines.append(_predicted(found.done, d, found.state[d], name_, color, begin=0))
        if plan:
            lines.append(
                _predicted(found.plan, d, found.state[d], f"{plan}, {level}", "trained", 0)
            )
        panels.append(Panel(_with_unit(name, units), tuple(lines)))
    for a, name in enumerate(found.columns.action):
        lines = []
        if found.before is not None:
            lines.append(_acted(found.before, a, -len(found.before), "recorded", "true"))
        if found.done is not None and (plan or not found.repeated):
            label, color = (
                ("recorded actions once more", "nothing")
                if found.repeated
                else ("recorded", "true")
            )
            lines.append(_acted(found.done, a, 0, label, color))
        if plan:
            lines.append(_acted(found.plan, a, 0, f"{plan}, {level}", "trained"))
        panels.append(Panel(_with_unit(name, units), tuple(lines), found.columns.labels))
    return panels


def _with_unit(name: str, units: Mapping[str, str]) -> str:
    return f"{name} ({units[name]})" if units.get(name) else name


def _predicted(
    course: Course, d: int, now: float, name: str, color: str, begin: int | None = None
) -> Line:
    first = -len(course) if begin is None else begin
    x = first + np.arange(len(course) + 1)
    y, low, high = (np.append(now, part[:, d]) for part in (course.obs, course.low, course.high))
    known = bool(np.isfinite(low).all() and np.isfinite(high).all())
    return Line(
        name, color, x, y, low if known else None, high if known else None, color != "trained"
    )


def _acted(course: Course, a: int, first: int, name: str, color: str) -> Line:
    values = course.actions if course.actions.ndim == 1 else course.actions[:, a]
    x = first + np.arange(len(values) + 1)
    return Line(name, color, x, np.append(values, values[-1]), held=True)


def draw_panels(panels: Sequence[Panel], title: str, theme: Theme = LIGHT) -> Figure:
    """A figure of panels under each other, over the same steps."""
    shown = panels[:MOST]
    figure = new_figure(8.5, 0.9 + 1.55 * len(shown), theme)
    axes = np.atleast_1d(figure.subplots(len(shown), 1, sharex=True))
    for own, panel in zip(axes, shown, strict=True):
        _draw(own, panel, theme)
    label_axes(axes[-1], f"steps, {title}", shown[-1].name, theme)
    handles: dict[str, Line2D] = {}
    for panel in shown:
        for line in panel.lines:
            style = "--" if line.dashed else "-"
            mark = Line2D([], [], color=getattr(theme, line.color), ls=style, lw=1.6)
            mark.set_label(line.name)
            handles.setdefault(line.name, mark)
    legend_above(figure, list(handles.values()), theme)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.35 / figure.get_figheight()))
    return figure


def _draw(axes: Axes, panel: Panel, theme: Theme) -> None:
    style_axes(axes, theme)
    label_axes(axes, "", panel.name, theme)
    for line in panel.lines:
        color = getattr(theme, line.color)
        if line.low is not None and line.high is not None:
            axes.fill_between(line.x, line.low, line.high, color=color, alpha=0.18, lw=0)
        style = "steps-post" if line.held else "default"
        axes.plot(
            line.x, line.y, color=color, lw=1.5, ls="--" if line.dashed else "-", drawstyle=style
        )
    axes.axvline(0, color=theme.faint, lw=0.8, ls=":")
    values = np.concatenate([line.y for line in panel.lines])
    ends = [part for line in panel.lines for part in (line.low, line.high) if part is not None]
    low, high = float(values.min()), float(values.max())
    room = _ROOM * max(high - low, 1e-9 + 1e-3 * abs(high))
    if ends:  # a wide interval must not make lines of the curves
        low = max(low - room, min(low, float(np.min(ends))))
        high = min(high + room, max(high, float(np.max(ends))))
    margin = 0.06 * max(high - low, 1e-9 + 1e-3 * abs(high))
    axes.set_ylim(low - margin, high + margin)
    if panel.ticks:
        axes.set_yticks(range(len(panel.ticks)), labels=panel.ticks)
        axes.set_ylim(-0.3, len(panel.ticks) - 0.7)


def running_frames(figure: Figure, first: int, last: int) -> Iterator[NDArray[np.uint8]]:
    """The same figure as a film: what lies to the right of a step is not yet drawn.

    Yields:
        Frames ``[height, width, 3]``, one a step.
    """
    windows = []
    for axes in figure.axes:
        low, high = axes.get_ylim()
        left, right = axes.get_xlim()
        axes.set_xlim(left, right)
        window = Rectangle((left, low), 0.0, high - low, transform=axes.transData)
        windows.append((window, left, (*axes.lines, *axes.collections)))
    canvas: Any = figure.canvas
    for step in range(first, last + 1):
        for window, left, artists in windows:
            window.set_width(step - left)
            for artist in artists:  # its size counts only when it is set
                artist.set_clip_path(window)
        canvas.draw()
        yield np.array(canvas.buffer_rgba())[..., :3]
