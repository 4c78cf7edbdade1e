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


class Schedule(Element, component="schedule.js"):
    """The actions of a plan, step by step."""


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


def know(element: Element, **props: Any) -> None:
    """Note what the browser has by itself, and send nothing: an echo would undo what came since."""
    with element.props.suspend_updates():
        for name, value in props.items():
            element.props[name] = value


def slider(
    label: str,
    low: float,
    high: float,
    increment: float,
    value: float,
    on_value: Callable[[float], None],
    said: Callable[[float], str],
) -> tuple[Element, ui.html]:
    """A native range input with its value beside it."""
    with ui.element("div").classes("slider"):
        words("span", label, "name")
        shown = words("output", said(value))
        control = ui.element("input")
    for name, given in (
        ("type", "range"), ("min", low), ("max", high), ("step", increment), ("value", value),
        ("aria-label", label),
    ):  # fmt: skip
        control.props[name] = given

    def changed(event: Any) -> None:
        now = float(event.args)
        say(shown, said(now))
        know(control, value=now)
        on_value(now)

    control.on("input", changed, js_handler=_VALUE, throttle=THROTTLE)
    return control, shown


def field(
    label: str, kind: str, value: Any, on_value: Callable[[str], None], **props: Any
) -> Element:
    """A native input that reports when it has been changed."""
    with labelled(label):
        control = ui.element("input")
    for name, given in {"type": kind, **props, "value": value}.items():
        control.props[name.replace("_", "-")] = given

    def changed(event: Any) -> None:
        know(control, value=str(event.args))
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
) -> dict[str, Element]:
    """Native radio buttons in a row."""
    made: dict[str, Element] = {}

    def changed(event: Any) -> None:
        choose(made, str(event.args))
        on_choice(str(event.args))

    with ui.element("fieldset").classes("choice"):
        words("legend", legend)
        for value, text in options.items():
            with ui.element("label"):
                radio = ui.element("input")
                words("span", text)
            for prop, given in (("type", "radio"), ("name", name), ("value", value)):
                radio.props[prop] = given
            radio.props["checked"] = value == chosen
            radio.props["disabled"] = value in off
            radio.on(
                "change", lambda e: on_choice(str(e.args)), js_handler="(e) => emit(e.target.value)"
            )
            made[value] = radio
    return made


def choose(radios: dict[str, Element], chosen: str) -> None:
    """Mark one of the radio buttons of :func:`choice`."""
    for value, radio in radios.items():
        set_props(radio, checked=value == chosen)


def tick(text: str, checked: bool, on_tick: Callable[[bool], None]) -> Element:
    """A native checkbox."""
    with ui.element("label").classes("tick"):
        box = ui.element("input")
        words("span", text)
    box.props["type"] = "checkbox"
    box.props["checked"] = checked

    def changed(event: Any) -> None:
        set_props(box, checked=bool(event.args))
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
