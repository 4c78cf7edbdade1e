"""The panel of one plan: which actions, edited as sliders, curve or text, or proposed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np
from nicegui import run, ui

from persim_gym.explorer import blocks
from persim_gym.explorer.drawing import has_reward
from persim_gym.explorer.proposal import propose
from persim_gym.explorer.scene import Courses, Scene
from persim_gym.explorer.view import Plan, Rows, View, whole
from persim_gym.explorer.widgets import (
    THROTTLE,
    Control,
    Schedule,
    button,
    choice,
    choose,
    field,
    say,
    slider,
    words,
)


class Shown(Protocol):
    """A page as its panels see it."""

    @property
    def scene(self) -> Scene:
        """What computes."""

    @property
    def view(self) -> View:
        """What is shown."""

    def change(self, make: Callable[[View], View]) -> None:
        """Show another view."""


class PlanPanel:
    """Controls of plan A or B; those that are there stay, so that the keyboard's focus does.

    Args:
        page: The page, whose view the controls change.
        b: Whether it is plan B.
    """

    def __init__(self, page: Shown, b: bool) -> None:
        self.page = page
        self.b = b
        self._stop = False
        self._planning = False
        self._sliders: list[tuple[Control, ui.html]] = []
        self._made: tuple[int, int] | None = None  # rows and steps that there are sliders of
        with ui.element("section").classes(f"card plan {self._side}"):
            words("h2", "Plan B" if b else "Plan A")
            if b:
                self._agent = field(
                    "Agent", "text", "", self._choose_agent, list="agents", autocomplete="off"
                )
            off = () if page.scene.record.data is not None else ("recorded", "hold")
            self._modes = choice(
                "Actions", f"mode-{self._side}", blocks.MODES, "", self._choose_mode, off
            )
            # First, so that it stays in its place under the pointer whatever the mode becomes.
            with ui.element("div").classes("schedules"):
                self._schedules = [self._schedule(k) for k in range(len(page.scene.action_names))]
            with ui.element("div") as self._for_random:
                self._seed = field("Seed", "number", 0, self._set_seed, min=0, step=1)
            with ui.element("div") as self._for_blocks:
                self._count = field(
                    "Number of blocks", "number", blocks.BLOCKS, self._set_blocks, min=2,
                    max=blocks.MOST_BLOCKS,
                )  # fmt: skip
            self._rows = ui.element("div").classes("sliders")
            with ui.element("div").classes("row"):
                self._ask, _ = button("Ask the planner", self._propose)
                self._status = words("p", "", "small").props('role="status"')
            if not has_reward(page.scene):
                self._ask.props["disabled"] = True
                say(self._status, "The data hold no reward that a planner could plan for.")

    @property
    def _side(self) -> str:
        return "b" if self.b else "a"

    @property
    def _plan(self) -> Plan:
        return self.page.view.side(self.b)[1]

    def _schedule(self, column: int) -> Schedule:
        scene = self.page.scene
        scale, recorded = blocks.scales(scene)[column], scene.record.action_range()
        made = Schedule()
        for prop, value in {
            "name": scene.action_names[column], "low": scale.low,
            "high": scale.high, "increment": scale.increment, "choices": list(scene.choices),
            "side": self._side, "hint": "draw, or use the arrow keys",
            "recorded": None if recorded is None or scene.choices
            else [float(end[column]) for end in recorded],
        }.items():  # fmt: skip
            made.props[prop] = value
        made.put("[]")
        made.on("paint", lambda e: self._paint(column, e.args["values"]), throttle=THROTTLE)
        return made

    # -- what is shown -------------------------------------------------------------------------

    def show(self) -> None:
        """Make the controls say what the view says."""
        view = self.page.view
        if self.b and view.other is None:
            return
        plan, mode = self._plan, blocks.mode_of(self._plan, view.horizon)
        if self.b:
            self._agent.put(view.other_agent or view.agent)
        choose(self._modes, mode)
        self._for_random.set_visibility(mode == "random")
        self._for_blocks.set_visibility(mode == "blocks")
        if mode == "random":
            self._seed.put(str(plan.seed))
        if mode == "blocks":
            self._count.put(str(len(plan.rows)))
        self._show_sliders(plan.rows if mode in ("constant", "blocks") else ())

    def _show_sliders(self, rows: Rows) -> None:
        made = len(rows), self.page.view.horizon
        if made != self._made:
            self._made = made
            self._rows.clear()
            with self._rows:
                self._sliders = [
                    self._slider(row, column, value)
                    for row, values in enumerate(rows)
                    for column, value in enumerate(values)
                ]
            return
        values = [value for row in rows for value in row]
        for (control, shown), value in zip(self._sliders, values, strict=True):
            control.put(value)
            say(shown, self._said(value))

    def _slider(self, row: int, column: int, value: float) -> tuple[Control, ui.html]:
        assert self._made is not None
        rows, steps = self._made
        label = self.page.scene.action_names[column]
        if rows > 1:
            first, last = -(-row * steps // rows) + 1, -(-(row + 1) * steps // rows)
            label = f"{label}, steps {first} to {last}"
        scale = blocks.scales(self.page.scene)[column]
        return slider(
            label, scale.low, scale.high, scale.increment, value,
            lambda x: self._slide(row, column, x), self._said,
        )  # fmt: skip

    def draw(self, courses: Courses) -> None:
        """Show the actions of courses."""
        if self.b and courses.b is None:
            return
        course = courses.sides[-1 if self.b else 0]
        acted = course.actions.reshape(len(course.actions), -1).astype(np.float64)
        for column, schedule in enumerate(self._schedules):
            schedule.put(json.dumps([float(f"{x:.6g}") for x in acted[:, column]]))

    def _said(self, value: float) -> str:
        choices = self.page.scene.choices
        return choices[int(value)] if choices else f"{value:.4g}".replace("-", "\N{MINUS SIGN}")

    # -- changes -------------------------------------------------------------------------------

    def _set(self, make: Callable[[View], Plan]) -> None:
        self.page.change(lambda view: view.with_plan(make(view), self.b))

    def _choose_agent(self, name: str) -> None:
        def chosen(view: View) -> View:
            return replace(view, other_agent=None if name == view.agent else name)

        self.page.change(chosen)

    def _choose_mode(self, mode: str) -> None:
        self._set(lambda view: blocks.in_mode(self.page.scene, view, self.b, mode))

    def _set_seed(self, text: str) -> None:
        self._set(lambda view: Plan("random", seed=whole("the seed", text)))

    def _set_blocks(self, text: str) -> None:
        def blocked(view: View) -> Plan:
            count = min(max(whole("the number of blocks", text), 2), blocks.MOST_BLOCKS)
            return blocks.in_mode(self.page.scene, view, self.b, "blocks", count)

        self._set(blocked)

    def _slide(self, row: int, column: int, value: float) -> None:
        if row < len(self._plan.rows):
            self._set(lambda view: blocks.with_value(self._plan, row, column, value))

    def _paint(self, column: int, values: list[float]) -> None:
        self._schedules[column].know(json.dumps([float(x) for x in values]))
        self._set(lambda view: blocks.with_column(self.page.scene, view, self.b, column, values))

    async def _propose(self) -> None:
        if self._planning:
            self._stop = True
            return
        self._planning, self._stop = True, False
        view, done = self.page.view, [0]

        def on_step(step: int, of: int) -> bool:
            done[0] = step
            return self._stop

        def tell() -> None:
            say(self._status, f"Planning: step {done[0]} of {view.horizon}; press again to stop.")

        timer = ui.timer(0.3, tell)
        try:
            plan = await run.io_bound(propose, self.page.scene, view, self.b, on_step)
        except Exception as error:
            said = f"There is no proposal: {error}"
        else:
            said = "" if self._stop else "The planner's proposal, step by step."
            if plan is not None and not self._stop:
                self._set(lambda view: plan)
        finally:
            timer.deactivate()
            self._planning = False
        say(self._status, said)
