"""Plans as they are edited: a constant, blocks, a step-by-step schedule, a text of values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.explorer.scene import Scene
from persim_gym.explorer.view import Plan, View

#: What a plan can be, and how the page calls it.
MODES = {
    "recorded": "As recorded",
    "hold": "Hold the last",
    "random": "Random",
    "constant": "Constant",
    "blocks": "Blocks",
    "schedule": "Every step",
}
#: Blocks that a plan of blocks has at first, and the most that have sliders.
BLOCKS, MOST_BLOCKS = 4, 12


def mode_of(plan: Plan) -> str:
    """Which of :data:`MODES` a plan is."""
    if plan.kind != "values":
        return plan.kind
    rows = len(plan.rows)
    return "constant" if rows == 1 else "blocks" if rows <= MOST_BLOCKS else "schedule"


def in_mode(scene: Scene, view: View, b: bool, mode: str, blocks: int = BLOCKS) -> Plan:
    """Plan A or B in another mode, as near to what it was as the mode can be.

    Raises:
        ValueError: If there is no such mode, or the plan does not fit.
    """
    agent, plan = view.side(b)
    if mode == "recorded":
        return Plan()
    if mode == "hold":
        return Plan("hold")
    if mode == "random":
        return plan if plan.kind == "random" else Plan("random")
    if mode not in MODES:
        raise ValueError(f"a plan is one of {', '.join(MODES)}, got {mode!r}")
    acted = scene.actions(view, agent, plan)
    acted = acted.reshape(len(acted), -1).astype(np.float64)
    if mode == "schedule":
        return Plan.of(acted.tolist())
    count = 1 if mode == "constant" else max(1, min(blocks, view.horizon))
    parts = [acted[np.arange(len(acted)) * count // len(acted) == k] for k in range(count)]
    return Plan.of([_middle(scene, part).tolist() for part in parts])


def with_column(scene: Scene, view: View, b: bool, column: int, values: list[float]) -> Plan:
    """Plan A or B as a schedule in which one action's values ``[h]`` are others."""
    agent, plan = view.side(b)
    acted = np.array(scene.actions(view, agent, plan), dtype=np.float64).reshape(view.horizon, -1)
    k = min(len(values), view.horizon)
    acted[:k, column] = values[:k]
    return Plan.of(acted.tolist())


def with_value(plan: Plan, row: int, column: int, value: float) -> Plan:
    """A plan of values with another value in one place."""
    rows = [list(own) for own in plan.rows]
    rows[row][column] = value
    return Plan.of(rows)


def with_horizon(view: View, horizon: int) -> View:
    """The view over another number of steps: schedules are cut, or their last row goes on."""

    def fitted(plan: Plan | None) -> Plan | None:
        if plan is None or mode_of(plan) != "schedule" or len(plan.rows) != view.horizon:
            return plan
        more = horizon - len(plan.rows)
        return replace(plan, rows=plan.rows[:horizon] + plan.rows[-1:] * max(0, more))

    plan = fitted(view.plan)
    assert plan is not None
    return replace(
        view, horizon=horizon, plan=plan, other=fitted(view.other), step=min(view.step, horizon)
    )


def increments(scene: Scene) -> NDArray[np.float64]:
    """By how much a slider of each action goes on ``[a]``: a round hundredth of its range."""
    low, high = scene.action_bounds
    if scene.choices:
        return np.ones(1)
    width = np.maximum(high - low, 1e-9)
    power = 10.0 ** np.floor(np.log10(width / 100))
    return np.asarray(power * np.where(width / 100 / power >= 5, 5, 1))


def _middle(scene: Scene, part: NDArray[Any]) -> NDArray[np.float64]:
    """One row for several ``[k, a]``: the mean on a slider's grid, or the most frequent choice."""
    if scene.choices:
        return np.array([float(np.bincount(part[:, 0].astype(np.int64)).argmax())])
    low, high = scene.action_bounds
    grid = increments(scene)
    return np.clip(low + np.round((part.mean(0) - low) / grid) * grid, low, high)
