"""Plans as they are edited: a constant, blocks, a step-by-step schedule, a text of values."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
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


def mode_of(plan: Plan, horizon: int) -> str:
    """Which of :data:`MODES` a plan is over so many steps."""
    if plan.kind != "values":
        return plan.kind
    rows = len(plan.rows)
    if rows == 1:
        return "constant"
    return "blocks" if rows <= MOST_BLOCKS and rows < horizon else "schedule"


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
    count = 1 if mode == "constant" else max(1, min(blocks, view.horizon - 1))
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
        if plan is None or len(plan.rows) < 2 or len(plan.rows) != view.horizon:
            return plan
        more = horizon - len(plan.rows)
        return replace(plan, rows=plan.rows[:horizon] + plan.rows[-1:] * max(0, more))

    plan = fitted(view.plan)
    assert plan is not None
    return replace(
        view, horizon=horizon, plan=plan, other=fitted(view.other), step=min(view.step, horizon)
    )


@dataclass(frozen=True, slots=True)
class Scale:
    """What a slider of one action runs over: round numbers inside of the action's range."""

    low: float
    high: float
    increment: float

    def snapped(self, value: float) -> float:
        """The nearest number of the scale."""
        steps = round((value - self.low) / self.increment)
        return min(self.high, max(self.low, float(f"{self.low + steps * self.increment:.6g}")))


def scales(scene: Scene) -> list[Scale]:
    """The scale of each action ``[a]``: about a hundred round numbers, or the choices."""
    found = []
    for low, high in zip(*(bound.tolist() for bound in scene.action_bounds), strict=True):
        if scene.choices:
            found.append(Scale(low, high, 1.0))
            continue
        rough = max(high - low, 1e-9) / 100
        power = 10.0 ** math.floor(math.log10(rough))
        increment = float(f"{power * (5 if rough / power >= 5 else 1):.6g}")
        first, last = math.ceil(low / increment - 1e-9), math.floor(high / increment + 1e-9)
        if first < last:
            low, high = (float(f"{k * increment:.6g}") for k in (first, last))
        found.append(Scale(low, high, increment))
    return found


def _middle(scene: Scene, part: NDArray[Any]) -> NDArray[np.float64]:
    """One row for several ``[k, a]``: the mean on a slider's grid, or the most frequent choice."""
    if scene.choices:
        return np.array([float(np.bincount(part[:, 0].astype(np.int64)).argmax())])
    means = part.mean(0).tolist()
    return np.array([one.snapped(x) for one, x in zip(scales(scene), means, strict=True)])
