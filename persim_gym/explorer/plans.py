"""The panel of one plan: which actions, edited as sliders, curve or text, or proposed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from nicegui import run, ui
from nicegui.element import Element

from persim_gym.explorer import blocks
from persim_gym.explorer.drawing import has_reward
from persim_gym.explorer.proposal import propose
from persim_gym.explorer.scene import Courses
from persim_gym.explorer.view import Plan, View
from persim_gym.explorer.widgets import (
    Schedule,
    button,
    choice,
    field,
    say,
    set_props,
    slider,
    words,
)

if TYPE_CHECKING:
    from persim_gym.explorer.page import Page


class PlanPanel:
    """Controls of plan A or B.

    Args:
        page: The page, whose view the controls change.
        b: Whether it is plan B.
    """

    def __init__(self, page: Page, b: bool) -> None:
        self.page = page
        self.b = b
        self.side = "b" if b else "a"
        self._schedules: list[Element] = []
        self._from = -1  # the schedule that is drawn in, which knows what it shows
        self._stop = False
        self._planning = False
        with ui.element("section").classes(f"card plan {self.side}"):
            words("h2", "Plan B" if b else "Plan A")
            self._body = ui.element("div")
            with ui.element("div").classes("row"):
                self._ask = button("Ask the planner", self._propose)
                self._told = words("p", "", "small").props('role="status"')

    # -- what is there -------------------------------------------------------------------------

    def rebuild(self) -> None:
        """Make the controls of the present view anew."""
        self._body.clear()
        self._schedules = []
        view = self.page.view
        if self.b and view.other is None:
            return
        plan = view.side(self.b)[1]
        mode = blocks.mode_of(plan)
        with self._body:
            if self.b:
                field(
                    "Agent", "text", view.other_agent or view.agent, self._choose_agent,
                    list="agents", autocomplete="off",
                )  # fmt: skip
            off = () if self.page.scene.record.data is not None else ("recorded", "hold")
            choice("Actions", f"mode-{self.side}", blocks.MODES, mode, self._choose_mode, off)
            if mode == "random":
                field(
                    "Seed", "number", plan.seed,
                    lambda text: self._set(Plan("random", seed=_whole(text)), rebuild=True),
                    min=0, step=1,
                )  # fmt: skip
            if mode in ("constant", "blocks"):
                self._build_sliders(plan)
            self._build_schedules()

    def _build_sliders(self, plan: Plan) -> None:
        scene, view = self.page.scene, self.page.view
        scales = blocks.scales(scene)
        rows = len(plan.rows)
        if rows > 1:
            field(
                "Number of blocks", "number", rows, self._set_blocks, min=2,
                max=min(blocks.MOST_BLOCKS, view.horizon),
            )  # fmt: skip
        with ui.element("div").classes("sliders"):
            for row in range(rows):
                for column, name in enumerate(scene.action_names):
                    first = -(-row * view.horizon // rows) + 1
                    last = -(-(row + 1) * view.horizon // rows)
                    label = name if rows == 1 else f"{name}, steps {first} to {last}"
                    slider(
                        label, float(low[column]), float(high[column]), float(steps[column]),
                        plan.rows[row][column],
                        lambda x, row=row, column=column: self._slide(row, column, x),
                        self._said,
                    )  # fmt: skip

    def _build_schedules(self) -> None:
        scene = self.page.scene
        recorded = scene.record.action_range()
        for column, (name, scale) in enumerate(
            zip(scene.action_names, blocks.scales(scene), strict=True)
        ):
            schedule = Schedule()
            for prop, value in {
                "name": name, "values": [], "low": scale.low,
                "high": scale.high, "increment": scale.increment,
                "choices": list(scene.choices), "side": self.side,
                "recorded": None if recorded is None or scene.choices
                else [float(end[column]) for end in recorded],
                "hint": "draw, or use the arrow keys",
            }.items():  # fmt: skip
                schedule.props[prop] = value
            schedule.on(
                "paint", lambda e, k=column: self._paint(k, e.args["values"]), throttle=0.016
            )
            self._schedules.append(schedule)
        if self.page.courses is not None:
            self._fill(self.page.courses)

    def show(self, courses: Courses) -> None:
        """Show the actions of courses."""
        if self.b and courses.b is None:
            return
        self._fill(courses)
        scene = self.page.scene
        if not self._planning:
            set_props(self._ask, disabled=not has_reward(scene))
            if not has_reward(scene):
                say(self._told, "The data hold no reward that a planner could plan for.")

    def _fill(self, courses: Courses) -> None:
        course = courses.sides[-1 if self.b else 0]
        acted = course.actions.reshape(len(course.actions), -1).astype(np.float64)
        for column, schedule in enumerate(self._schedules):
            values = [float(f"{x:.6g}") for x in acted[:, column]]
            if column == self._from:
                schedule.props["values"] = values
            else:
                set_props(schedule, values=values)
        self._from = -1

    # -- changes -------------------------------------------------------------------------------

    def _set(self, plan: Plan, rebuild: bool = False) -> None:
        self.page.change(lambda view: view.with_plan(plan, self.b), rebuild=rebuild)

    def _choose_agent(self, name: str) -> None:
        def chosen(view: View) -> View:
            return replace(view, other_agent=None if name == view.agent else name)

        self.page.change(chosen, rebuild=True)

    def _choose_mode(self, mode: str) -> None:
        def chosen(view: View) -> View:
            return view.with_plan(blocks.in_mode(self.page.scene, view, self.b, mode), self.b)

        self.page.change(chosen, rebuild=True)

    def _set_blocks(self, text: str) -> None:
        def chosen(view: View) -> View:
            count = min(max(_whole(text), 2), blocks.MOST_BLOCKS)
            plan = blocks.in_mode(self.page.scene, view, self.b, "blocks", count)
            return view.with_plan(plan, self.b)

        self.page.change(chosen, rebuild=True)

    def _slide(self, row: int, column: int, value: float) -> None:
        plan = self.page.view.side(self.b)[1]
        if row < len(plan.rows):
            self._set(blocks.with_value(plan, row, column, value))

    def _paint(self, column: int, values: list[float]) -> None:
        mode = blocks.mode_of(self.page.view.side(self.b)[1])
        self._from = column

        def drawn(view: View) -> View:
            plan = blocks.with_column(self.page.scene, view, self.b, column, values)
            return view.with_plan(plan, self.b)

        self.page.change(drawn, rebuild=mode != "schedule")

    async def _propose(self) -> None:
        if self._planning:
            self._stop = True
            return
        self._planning, self._stop = True, False
        done = [0]

        def on_step(step: int, of: int) -> bool:
            done[0] = step
            return self._stop

        view = self.page.view
        timer = ui.timer(
            0.3,
            lambda: say(
                self._told, f"Planning: step {done[0]} of {view.horizon}; press again to stop."
            ),
        )
        try:
            plan = await run.io_bound(propose, self.page.scene, view, self.b, on_step)
        except Exception as error:
            say(self._told, f"There is no proposal: {error}")
        else:
            say(self._told, "" if self._stop else "The planner's proposal, step by step.")
            if plan is not None and not self._stop:
                self._set(plan, rebuild=True)
        finally:
            timer.deactivate()
            self._planning = False

    def _said(self, value: float) -> str:
        choices = self.page.scene.choices
        return choices[int(value)] if choices else f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) > 2**31 - 1:
        raise ValueError(f"a whole number is needed here, got {text!r}")
    return int(text)
