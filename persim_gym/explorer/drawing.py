"""What is drawn of courses, as plain types: the page's drawing code gets nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.explorer.scene import Course, Courses, Scene
from persim_gym.explorer.view import View

#: By how many widths of the recorded range a course may stretch an axis.
STRETCH = 1.0
#: Share of an axis that stays free above and below.
ROOM = 0.06

Truths = Sequence[NDArray[np.float64] | None]


def charts(scene: Scene, view: View, courses: Courses, truths: Truths = ()) -> list[dict[str, Any]]:
    """One chart for each coordinate that is shown.

    Args:
        scene: What computes.
        view: What is shown.
        courses: Its courses.
        truths: True observations ``[h + 1, d]`` of A and B, where they are known.
    """
    known = scene.sim.experience
    own_low, own_high = scene.record.range(courses.a.agent)
    found = []
    for name in view.shown or scene.coordinates:
        d = scene.coordinates.index(name)
        lines = [
            {**_line(course, d), "truth": _numbers(truth[:, d]) if truth is not None else None}
            for course, truth in zip(courses.sides, _filled(truths, courses), strict=True)
        ]
        every: list[NDArray[Any]] = [
            courses.recorded[:, d],
            own_low[d : d + 1],
            own_high[d : d + 1],
        ]
        for course in courses.sides:
            every += [
                part[:, d] for part in (course.mean, course.low, course.high) if part is not None
            ]
        every += [truth[:, d] for truth in truths if truth is not None]
        found.append(
            {
                "name": name,
                "steps": view.horizon,
                "axis": axis_of(every, float(known.low[d]), float(known.high[d])),
                "range": [float(known.low[d]), float(known.high[d])],
                "own": [float(own_low[d]), float(own_high[d])],
                "recorded": _numbers(courses.recorded[:, d]),
                "lines": lines,
                "words": chart_words(name, courses, d),
            }
        )
    return found


def axis_of(values: Sequence[NDArray[Any]], low: float, high: float) -> list[float]:
    """Ends of an axis: of all values, but not far beyond the recorded range."""
    width = max(high - low, 1e-9 * max(abs(low), abs(high), 1e-3))
    together = np.concatenate([np.asarray(part, dtype=np.float64) for part in values])
    together = together[np.isfinite(together)]
    together = np.clip(together, low - STRETCH * width, high + STRETCH * width)
    least, most = float(together.min()), float(together.max())
    room = max(ROOM * (most - least), 0.02 * width)
    return [least - room, most + room]


def chart_words(name: str, courses: Courses, d: int) -> str:
    """What a chart shows, in one sentence for those who do not see it."""
    said = []
    for label, course in zip("AB", courses.sides, strict=False):
        text = f"plan {label} from {course.mean[0, d]:.4g} to {course.mean[-1, d]:.4g}"
        if course.low is not None and course.high is not None:
            text += f", interval {course.low[-1, d]:.4g} to {course.high[-1, d]:.4g}"
        said.append(text)
    if len(courses.recorded) > 1:
        said.append(
            f"recorded up to {courses.recorded[-1, d]:.4g} after {len(courses.recorded) - 1} steps"
        )
    return f"{name} over {len(courses.a.actions)} steps: " + "; ".join(said)


def sentences(scene: Scene, view: View, courses: Courses) -> list[tuple[str, str]]:
    """What is to be said of each course: its side (``"a"``, ``"b"`` or ``""``) and a sentence."""
    said = []
    for side, course in zip("ab", courses.sides, strict=False):
        whom = f"{side.upper()}: " if courses.b is not None else ""
        if courses.b is not None and courses.b.agent != courses.a.agent:
            whom = f"{side.upper()} ({course.name}): "
        if course.support is None:
            said.append(
                (side, f"{whom}Inside the support of the data over all {view.horizon} steps.")
            )
        else:
            said.append((
                side,
                f"{whom}Support ends at step {course.support.step}: {course.support.reason}.",
            ))  # fmt: skip
        if course.ends is not None:
            said.append((side, f"{whom}The predicted episode ends at step {course.ends}."))
        if has_reward(scene):
            said.append((side, f"{whom}Sum of predicted rewards: {course.total:.4g}."))
    left = scene.record.left(courses.a.agent, view.start, view.horizon)
    follows = any(plan.kind == "recorded" for _, plan in view.sides)
    if follows and 0 < left < view.horizon:
        said.append(("", f"The record ends at step {left}; its last action is held after that."))
    return said


def readings(
    scene: Scene, view: View, courses: Courses, truths: Truths = ()
) -> tuple[list[str], list[list[str]]]:
    """All values of the step that is shown: the head and rows of a table."""
    head = [f"step {view.step}"]
    both = courses.b is not None
    for label, truth in zip("AB", _filled(truths, courses), strict=False):
        head += [f"{label} predicted" if both else "predicted", "interval"]
        head += [("true " + label) if both else "true"] if truth is not None else []
    shows_record = view.step < len(courses.recorded)
    head += ["recorded"] if shows_record else []
    rows = []
    for d, name in enumerate(scene.coordinates):
        if view.shown and name not in view.shown:
            continue
        row = [name]
        for course, truth in zip(courses.sides, _filled(truths, courses), strict=True):
            row.append(_said(course.mean[view.step, d]))
            row.append(
                "-" if course.low is None or course.high is None or not view.step
                else f"{_said(course.low[view.step, d])} to {_said(course.high[view.step, d])}"
            )  # fmt: skip
            row += [_said(truth[view.step, d])] if truth is not None else []
        row += [_said(courses.recorded[view.step, d])] if shows_record else []
        rows.append(row)
    return head, rows


def _filled(truths: Truths, courses: Courses) -> list[NDArray[np.float64] | None]:
    return [*truths, *([None] * len(courses.sides))][: len(courses.sides)]


def _line(course: Course, d: int) -> dict[str, Any]:
    return {
        "mean": _numbers(course.mean[:, d]),
        "low": None if course.low is None else _numbers(course.low[:, d]),
        "high": None if course.high is None else _numbers(course.high[:, d]),
        "support": None if course.support is None else course.support.step,
        "ends": course.ends,
    }


def _numbers(values: NDArray[Any]) -> list[float | None]:
    """Five significant digits; what is not finite is nothing."""
    return [float(f"{x:.5g}") if math.isfinite(x) else None for x in values.tolist()]


def _said(value: float) -> str:
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}") if math.isfinite(value) else "-"


def has_reward(scene: Scene) -> bool:
    """Whether rewards differ, so that there is something to plan for."""
    learned = scene.sim.card.get("data_task")
    return learned is None or learned["reward"]["kind"] != "constant"
