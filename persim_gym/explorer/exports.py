"""A view to take away: its numbers, its picture, and the Python code that makes them again."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.explorer.drawing import Truths, charts
from persim_gym.explorer.scene import LEVEL, Courses, Scene
from persim_gym.explorer.view import View


def table_of(scene: Scene, courses: Courses, truths: Truths = ()) -> str:
    """A view's numbers as CSV: a row a step, the start first; actions act from their row on."""
    h = len(courses.a.actions)
    columns: dict[str, list[Any]] = {"step": list(range(h + 1))}
    sides = zip("ab", courses.sides, [*truths, None, None][: len(courses.sides)], strict=False)
    for side, course, truth in sides:
        columns[f"{side}.agent"] = [course.name] * (h + 1)
        acted = course.actions.reshape(h, -1)
        for i, name in enumerate(scene.action_names):
            columns[f"{side}.{name}"] = [*acted[:, i].tolist(), ""]
        for d, name in enumerate(scene.coordinates):
            columns[f"{side}.{name}"] = course.mean[:, d].tolist()
            if course.low is not None and course.high is not None:
                columns[f"{side}.{name} low"] = course.low[:, d].tolist()
                columns[f"{side}.{name} high"] = course.high[:, d].tolist()
            if truth is not None:
                columns[f"{side}.{name} true"] = truth[:, d].tolist()
        columns[f"{side}.disagreement"] = [*course.disagreement.tolist(), ""]
    missing = [""] * (h + 1 - len(courses.recorded))
    for d, name in enumerate(scene.coordinates):
        columns[f"recorded.{name}"] = [*courses.recorded[:, d].tolist(), *missing]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return stream.getvalue()


def code_of(scene: Scene, view: View, courses: Courses) -> str:
    """Python code that makes the predictions of a view again, without its data."""
    lines = [
        "import numpy as np",
        "",
        "from persim_gym.learned import PerSim",
        "",
        f"sim = PerSim.load({scene.path!r})",
        f"agents = {[scene.agents[course.agent] for course in courses.sides]!r}"
        if scene.sim.agent_names
        else f"agents = {[course.agent for course in courses.sides]!r}",
        f"start = np.array({_literal(scene.state(view))}, dtype=np.float32)",
        "actions = np.array([",
        *(f"    {_literal(course.actions)}," for course in courses.sides),
        f"], dtype=np.{courses.a.actions.dtype.name})",
        "",
        "starts = np.repeat(start[None], len(agents), axis=0)",
        "mean = sim.rollout(agents, starts, actions).mean(0)  # [agent, step, coordinate]",
    ]
    if courses.a.low is not None:
        lines.append(f"low, high = sim.rollout_interval(agents, starts, actions, level={LEVEL})")
    lines.append("print(mean[:, -1])")
    return "\n".join(lines) + "\n"


def picture_of(scene: Scene, view: View, courses: Courses, truths: Truths = ()) -> bytes:
    """The charts of a view as a PNG."""
    from persim_gym.plots.style import LIGHT, label_axes, new_figure, style_axes, to_png

    drawn = charts(scene, view, courses, truths)
    across = min(2, len(drawn))
    down = -(-len(drawn) // across)
    figure = new_figure(4.6 * across, 2.6 * down + 0.7, LIGHT)
    axes = figure.subplots(down, across, squeeze=False).ravel()
    colors = (LIGHT.learned, "#6d5bb0")
    steps = np.arange(view.horizon + 1)
    for chart, ax in zip(drawn, axes, strict=False):
        for color, label, line in zip(colors, "AB", chart["lines"], strict=False):
            if line["low"] is not None:
                low, high = (np.array(line[end], dtype=np.float64) for end in ("low", "high"))
                ax.fill_between(steps, low, high, color=color, alpha=0.15, lw=0)
            values = np.array(line["mean"], dtype=np.float64)
            ax.plot(steps, values, color=color, lw=1.8, label=f"{label}: predicted, 95 % interval")
            if line["truth"] is not None:
                true = np.array(line["truth"], dtype=np.float64)
                ax.plot(steps, true, color=LIGHT.true, lw=1.4, ls="--", label=f"{label}: true")
            if line["support"] is not None:
                ax.axvline(line["support"], color=color, lw=0.9, ls=":")
        recorded = np.array(chart["recorded"], dtype=np.float64)
        if len(recorded) > 1:
            ax.plot(steps[: len(recorded)], recorded, ".", ms=3, color=LIGHT.ink, label="recorded")
        for end in chart["range"]:
            ax.axhline(end, color=LIGHT.faint, lw=0.8, ls=(0, (1, 3)))
        ax.set_ylim(*chart["axis"])
        style_axes(ax, LIGHT)
        label_axes(ax, "step", chart["name"], LIGHT)
    for ax in axes[len(drawn) :]:
        ax.set_visible(False)
    handles = axes[0].get_legend_handles_labels()
    figure.legend(
        *handles, loc="upper center", ncols=len(handles[0]), frameon=False, fontsize=8,
        labelcolor=LIGHT.ink,
    )  # fmt: skip
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.4 / figure.get_figheight()))
    return to_png(figure)


def _literal(values: NDArray[Any]) -> str:
    """Numbers as Python writes them; single precision in the digits that it needs."""
    if values.ndim:
        return "[" + ", ".join(_literal(part) for part in values) + "]"
    return str(values.item()) if values.dtype.kind in "iu" else str(values)
