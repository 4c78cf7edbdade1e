"""What the page is made of: plain HTML elements, and three drawings of its own."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

from nicegui import ui
from nicegui.element import Element

#: Seconds between two values of a slider that is dragged.
THROTTLE = 0.016

_VALUE = "(e) => emit(e.target.value)"


class Chart(Element, component="chart.js"):
    """Courses of one coordinate: JSON as text, for properties are watched number by number."""


class Held(Element):
    """An element that is edited in the browser, which keeps what it holds.

    Only what the browser does not have is sent: an echo would undo what was typed since. Each value
    that is sent is counted, for one that was sent before may have been edited away.
    """

    held: Any = None

    def put(self, value: Any) -> None:
        """Make the element hold a value."""
        if value != self.held:
            self.held = value
            set_props(self, held=value, sent=self.props.get("sent", 0) + 1)

    def know(self, value: Any) -> None:
        """Note what the element holds by an edit."""
        self.held = value


class Control(Held, component="control.js"):
    """A native input."""


class Schedule(Held, component="schedule.js"):
    """The actions of a plan, step by step: numbers as JSON."""


class AgentMap(Element, component="agents.js"):
    """The agents on a map."""


def words(tag: str, text: str = "", classes: str = "") -> ui.html:
    """Plain text in an element of its own."""
    return ui.html(html.escape(text), tag=tag, sanitize=False).classes(classes)


def say(element: ui.html, text: str) -> None:
    """Other plain text in an element of :func:`words`."""
    element.set_content(html.escape(text))


def set_props(element: Element, **props: Any) -> None:
    """Set properties of an element, and send them if they are others."""
    if any(element.props.get(name) != value for name, value in props.items()):
        for name, value in props.items():
            element.props[name] = value
        element.update()


def labelled(text: str) -> Element:
    """A label, to be filled with its control."""
    label = ui.element("label").classes("field")
    with label:
        words("span", text, "name")
    return label


def slider(
    label: str,
    low: float,
    high: float,
    increment: float,
    value: float,
    on_value: Callable[[float], None],
    said: Callable[[float], str],
) -> tuple[Control, ui.html]:
    """A native range input with its value beside it."""
    with ui.element("div").classes("slider"):
        words("span", label, "name")
        shown = words("output", said(value))
        control = Control()
    for name, given in (
        ("type", "range"), ("min", low), ("max", high), ("step", increment), ("aria-label", label),
    ):  # fmt: skip
        control.props[name] = given
    control.put(value)

    def changed(event: Any) -> None:
        now = float(event.args)
        say(shown, said(now))
        control.know(now)
        on_value(now)

    control.on("input", changed, js_handler=_VALUE, throttle=THROTTLE)
    return control, shown


def field(
    label: str, kind: str, value: Any, on_value: Callable[[str], None], **props: Any
) -> Control:
    """A native input that reports when it has been changed."""
    with labelled(label):
        control = Control()
    for name, given in {"type": kind, **props}.items():
        control.props[name.replace("_", "-")] = given
    control.put(value)

    def changed(event: Any) -> None:
        control.know(str(event.args))
        on_value(str(event.args))

    control.on("change", changed, js_handler=_VALUE)
    return control


def button(text: str, on_click: Callable[[], Any], classes: str = "") -> tuple[Element, ui.html]:
    """A native button, and its text."""
    made = ui.element("button").classes(classes)
    made.props["type"] = "button"
    with made:
        shown = words("span", text)
    made.on("click", lambda: on_click(), args=[])
    return made, shown


def choice(
    legend: str,
    name: str,
    options: dict[str, str],
    chosen: str,
    on_choice: Callable[[str], None],
    off: Sequence[str] = (),
) -> dict[str, Control]:
    """Native radio buttons in a row."""
    made: dict[str, Control] = {}

    def changed(event: Any) -> None:
        for value, radio in made.items():
            radio.know(value == event.args)
        on_choice(str(event.args))

    with ui.element("fieldset").classes("choice"):
        words("legend", legend)
        for value, text in options.items():
            with ui.element("label"):
                radio = Control()
                words("span", text)
            for prop, given in (("type", "radio"), ("name", name), ("value", value)):
                radio.props[prop] = given
            radio.put(value == chosen)
            radio.props["disabled"] = value in off
            radio.on("change", changed, js_handler=_VALUE)
            made[value] = radio
    return made


def choose(radios: dict[str, Control], chosen: str) -> None:
    """Mark one of the radio buttons of :func:`choice`."""
    for value, radio in radios.items():
        radio.put(value == chosen)


def tick(text: str, checked: bool, on_tick: Callable[[bool], None]) -> Control:
    """A native checkbox."""
    with ui.element("label").classes("tick"):
        box = Control()
        words("span", text)
    box.props["type"] = "checkbox"
    box.put(checked)

    def changed(event: Any) -> None:
        box.know(bool(event.args))
        on_tick(bool(event.args))

    box.on("change", changed, js_handler="(e) => emit(e.target.checked)")
    return box


def link(text: str, target: str, classes: str = "", download: str = "") -> Element:
    """A link to what a route makes of the view that the address holds."""
    made = ui.element("a").classes(classes)
    made.props["href"] = target
    if download:
        made.props["download"] = download
    with made:
        words("span", text)
    # The address follows the view, so that the server need not send each link anew.
    made.on("pointerdown", js_handler=_FOLLOW)
    made.on("keydown", js_handler=_FOLLOW)
    return made


_FOLLOW = "(e) => { const a = e.currentTarget; a.search = location.search; }"
