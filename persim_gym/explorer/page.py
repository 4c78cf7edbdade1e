"""The page: controls that change a view, and what follows from it. Nothing is computed here."""

from __future__ import annotations

import asyncio
import html
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from nicegui import background_tasks, ui
from nicegui.element import Element

from persim_gym.envs.suites import SUITES
from persim_gym.explorer import blocks
from persim_gym.explorer.drawing import charts, readings, sentences
from persim_gym.explorer.exports import code_of
from persim_gym.explorer.latent_map import LatentMap, latent_map
from persim_gym.explorer.plans import PlanPanel
from persim_gym.explorer.scene import Courses, Scene
from persim_gym.explorer.view import View
from persim_gym.explorer.widgets import (
    AgentMap,
    Chart,
    Control,
    button,
    field,
    link,
    say,
    set_props,
    slider,
    tick,
    words,
)

#: Seconds without a change after which what is not needed at once follows.
SETTLED = 0.2
#: Agents that are named as the nearest ones.
NEAREST = 4

_LOG = logging.getLogger(__name__)


class Page:
    """One browser's page.

    Args:
        scene: What computes.
        view: What is shown first.
        error: A sentence about an address that was not understood.
    """

    def __init__(self, scene: Scene, view: View, error: str = "") -> None:
        self.scene = scene
        self.view = view
        self.courses: Courses | None = None
        self.map: LatentMap | None
        self.map, self.no_map = latent_map(scene.sim)
        self._pending = False
        self._late: asyncio.TimerHandle | None = None
        self._charts: dict[str, Element] = {}
        self._ticks: dict[str, Control] = {}
        self._client = ui.context.client
        self._build(error)
        self._refresh()

    # -- changes -------------------------------------------------------------------------------

    def change(self, make: Callable[[View], View]) -> None:
        """Show another view, or say why it cannot be shown."""
        try:
            self.view = self.scene.checked(make(self.view))
        except Exception as error:
            self._say_error(error)
        else:
            say(self._error, "")
        if not self._pending:  # changes that wait in line are drawn together
            self._pending = True
            background_tasks.create(self._soon(), name="refresh")

    async def _soon(self) -> None:
        await asyncio.sleep(0)
        self._pending = False
        with self._client:
            self._refresh()

    def _refresh(self) -> None:
        scene, view = self.scene, self.view
        self._show_controls()
        try:
            courses = scene.courses(view)
            truths = [scene.true_course(view, course) for course in courses.sides]
        except Exception as error:
            self._say_error(error)
            return
        self.courses = courses
        for chart in charts(scene, view, courses, truths):
            set_props(self._charts[chart["name"]], text=json.dumps(chart), step=view.step)
        said = sentences(scene, view, courses)
        self._sentences.set_content(
            "".join(f'<p class="{side}">{html.escape(text)}</p>' for side, text in said)
        )
        self._readings.set_content(_table(*readings(scene, view, courses, truths)))
        for panel in self._panels:
            panel.draw(courses)
        if self._late is not None:
            self._late.cancel()
        self._late = asyncio.get_event_loop().call_later(SETTLED, self._settle)

    def _settle(self) -> None:
        """What follows when nothing has changed for a while: address, code, pictures."""
        if self.courses is None or self._client.is_deleted:
            return
        with self._client:
            query = json.dumps("?" + self.view.query)
            ui.run_javascript(f"history.replaceState(null, '', {query})")
            say(self._code, code_of(self.scene, self.view, self.courses))
            if self._picture is not None:
                set_props(self._picture, src=f"/frames.png?{self.view.query}")

    def _say_error(self, error: Exception) -> None:
        if not isinstance(error, (ValueError, TypeError, RuntimeError, ArithmeticError)):
            _LOG.error("the explorer failed", exc_info=error)
        text = " ".join(str(error).split()) or type(error).__name__
        say(self._error, f"This cannot be shown: {text}")

    # -- what is there -------------------------------------------------------------------------

    def _build(self, error: str) -> None:
        scene = self.scene
        with ui.element("main").classes("explorer"):
            self._build_head()
            self._error = words("p", error, "error").props('role="alert"')
            for note in scene.notes:
                words("p", note, "note")
            with ui.element("div").classes("columns"):
                with ui.element("aside"):
                    self._build_agent()
                    self._build_start()
                    self._build_shown()
                with ui.element("div").classes("main"):
                    with ui.element("section").props('aria-label="Predicted courses"'):
                        self._build_courses()
                    with ui.element("div").classes("plans"):
                        self._panels = [PlanPanel(self, False)]
                        self._second = ui.element("div").classes("second")
                        with self._second:
                            self._panels.append(PlanPanel(self, True))
                    self._build_step()
                    self._build_code()
        # On a narrow screen the map would stand between the controls and the courses.
        ui.run_javascript(
            "if (innerWidth < 860) document.querySelector('.wide-open')?.removeAttribute('open')"
        )

    def _build_head(self) -> None:
        sim = self.scene.sim
        with ui.element("header"):
            with ui.element("div"):
                known = SUITES.get(sim.task.name)
                words("h1", known.title if known else sim.task.name)
                words("p", f"What if? {sim.num_agents} personalised simulators, {self.scene.path}")
            with ui.element("nav").props('aria-label="Take this view away"'):
                button("Copy link", self._copy)
                link("CSV", "/view.csv", "button", "view.csv")
                link("PNG", "/view.png", "button", "view.png")
                link("Python", "/view.py", "button", "view.py")

    def _copy(self) -> None:
        query = json.dumps("?" + self.view.query)
        ui.run_javascript(
            f"history.replaceState(null, '', {query});"
            "navigator.clipboard.writeText(location.href).catch(() => {})"
        )
        say(self._copied, "The link is copied: whoever has this page open sees the same view.")

    def _build_agent(self) -> None:
        scene = self.scene
        with ui.element("section").classes("card"):
            words("h2", "Agent")
            with ui.element("datalist").props('id="agents"'):
                for name in scene.agents:
                    ui.element("option").props["value"] = name
            self._agent = field(
                "Name" if scene.sim.agent_names else "Number", "text", self.view.agent,
                self.choose, list="agents", autocomplete="off", spellcheck="false",
            )  # fmt: skip
            if self.map is None:
                words("p", self.no_map, "small")
                return
            with ui.element("details").props("open").classes("wide-open"):
                words("summary", "Map by latent factors")
                self._map = AgentMap()
                self._map.props["places"] = self.map.places.round(4).tolist()
                self._map.props["names"] = list(scene.agents)
                self._map.on("choose", lambda e: self.choose(scene.agents[e.args["index"]]))
                share = 100 * float(self.map.explained.sum())
                words("p", f"Two directions hold {share:.0f} % of what differs.", "small")
            words("p", "Nearest agents", "small")
            with ui.element("div").classes("row"):
                self._near = [
                    button("", partial(self._choose_near, k), "quiet")[1]
                    for k in range(min(NEAREST, scene.sim.num_agents - 1))
                ]

    def _choose_near(self, k: int) -> None:
        assert self.map is not None
        near = self.map.nearest(self.scene.index(self.view.agent), NEAREST)
        self.choose(self.scene.agents[near[k]])

    def choose(self, agent: str) -> None:
        """Show another agent, from the beginning of its record."""

        def chosen(view: View) -> View:
            start = self.scene.record.usual_start(self.scene.index(agent))
            if self.scene.record.data is not None:
                start = view.start
            return replace(view, agent=agent, start=start)

        self.change(chosen)

    def _build_start(self) -> None:
        scene, view = self.scene, self.view
        with ui.element("section").classes("card"):
            words("h2", "Start")
            most = max(1, scene.record.starts(scene.index(view.agent)) - 1)
            title = "Step of the record" if scene.record.data is not None else "Recorded start"
            self._start = slider(
                title, 0, most, 1, view.start,
                lambda x: self.change(lambda v: replace(v, start=int(x))), _whole,
            )  # fmt: skip
            self._horizon = slider(
                "Steps ahead", 1, scene.most_steps, 1, view.horizon,
                lambda x: self.change(lambda v: blocks.with_horizon(v, int(x))), _whole,
            )  # fmt: skip
            self._compare = tick("Compare with a plan B", view.other is not None, self._set_other)

    def _set_other(self, wanted: bool) -> None:
        other = self.view.plan if wanted else None
        self.change(lambda v: replace(v, other=other, other_agent=None))

    def _build_shown(self) -> None:
        if len(self.scene.coordinates) < 2:
            return
        with ui.element("section").classes("card"):
            words("h2", "Coordinates")
            for name in self.scene.coordinates:
                show = partial(self._show, name)
                self._ticks[name] = tick(name, name in self.view.shown, show)

    def _show(self, name: str, on: bool) -> None:
        def chosen(view: View) -> View:
            kept = set(view.shown) - {name} | ({name} if on else set())
            shown = tuple(own for own in self.scene.coordinates if own in kept)
            return replace(view, shown=shown or (name,))

        self.change(chosen)

    def _build_courses(self) -> None:
        self._sentences = ui.html("", sanitize=False).classes("said")
        self._sentences.props('aria-live="polite"')
        self._legend = ui.html("", sanitize=False).classes("legend")
        self._legend.props('aria-hidden="true"')
        self._grid = ui.element("div").classes("charts")

    def _build_step(self) -> None:
        with ui.element("section").classes("card"):
            words("h2", "At one step")
            self._step = slider("Step", 0, self.view.horizon, 1, self.view.step, self._read, _whole)
            self._readings = ui.html("", sanitize=False).classes("wide")
            self._picture = None
            if self.scene.truth is not None:
                self._picture = ui.element("img").classes("frames")
                self._picture.props["alt"] = "The state at this step: true, and simulated"

    def _read(self, step: float) -> None:
        self.change(lambda v: replace(v, step=int(step)))

    def _build_code(self) -> None:
        with ui.element("details").classes("card"):
            words("summary", "Python code that makes these predictions again")
            with ui.element("pre").props('tabindex="0"'):
                self._code = words("code")
        self._copied = words("p", "", "small").props('role="status"')

    def _show_controls(self) -> None:
        """Make the controls say what the view says."""
        scene, view = self.scene, self.view
        agent = scene.index(view.agent)
        self._agent.put(view.agent)
        if self.map is not None:
            other = scene.index(view.other_agent) if view.other and view.other_agent else None
            set_props(self._map, a=agent, b=other)
            for shown, k in zip(self._near, self.map.nearest(agent, NEAREST), strict=True):
                say(shown, scene.agents[k])
        most = max(1, scene.record.starts(agent) - 1)
        for (control, shown), value, top in (
            (self._start, view.start, most),
            (self._horizon, view.horizon, scene.most_steps),
            (self._step, view.step, view.horizon),
        ):
            set_props(control, max=top)
            control.put(value)
            say(shown, _whole(value))
        self._compare.put(view.other is not None)
        self._second.set_visibility(view.other is not None)
        for panel in self._panels:
            panel.show()
        shown_names = view.shown or scene.coordinates
        for name, box in self._ticks.items():
            box.put(name in shown_names)
        if list(self._charts) != list(shown_names):
            self._grid.clear()
            self._charts = {}
            with self._grid:
                for name in shown_names:
                    chart = self._charts[name] = Chart()
                    chart.props["text"] = json.dumps(_EMPTY)
                    chart.props["step"] = view.step
                    chart.on("pick", lambda e: self._picked(int(e.args["step"])))
        self._legend.set_content(
            "".join(
                f'<span class="key {classes}">{html.escape(text)}</span>'
                for classes, text in self._legend_items()
            )
        )

    def _picked(self, step: int) -> None:
        self._step[0].put(step)
        say(self._step[1], _whole(step))
        self._read(step)

    def _legend_items(self) -> list[tuple[str, str]]:
        both = self.view.other is not None
        items = [("a", "A predicted, 95 % interval" if both else "predicted, 95 % interval")]
        items += [("b", "B predicted")] if both else []
        items += [("truth", "true")] if self.scene.truth is not None else []
        items += [("dots", "recorded")] if self.scene.record.data is not None else []
        return [*items, ("range", "recorded range"), ("support", "support ends")]


_EMPTY: dict[str, Any] = {
    "name": "", "steps": 1, "axis": [0.0, 1.0], "range": [], "recorded": [], "lines": [],
    "words": "",
}  # fmt: skip


def _whole(value: float) -> str:
    return f"{value:.0f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    cells = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
