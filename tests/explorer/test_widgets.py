"""Native elements that keep what is edited in the browser."""

from __future__ import annotations

import pytest

from tests.explorer.edits import edit, text_of

pytestmark = pytest.mark.usefixtures("client")


def test_a_value_is_sent_where_the_browser_does_not_have_it() -> None:
    from persim_gym.explorer.widgets import Control

    control = Control()
    control.put(3)
    assert (control.props["held"], control.props["sent"]) == (3, 1)
    control.put(3)
    assert control.props["sent"] == 1
    control.know(5)  # edited
    control.put(5)
    assert control.props["sent"] == 1, "no echo"
    control.put(3)
    assert (control.props["held"], control.props["sent"]) == (3, 2), "sent before, edited away"


def test_a_slider_says_its_value_and_reports_edits() -> None:
    from persim_gym.explorer.widgets import slider

    moved: list[float] = []
    control, shown = slider("dose", 0.0, 10.0, 0.1, 2.0, moved.append, lambda x: f"<{x:g} mg>")
    assert {k: control.props[k] for k in ("type", "min", "max", "step", "aria-label", "held")} == {
        "type": "range", "min": 0.0, "max": 10.0, "step": 0.1, "aria-label": "dose", "held": 2.0,
    }  # fmt: skip
    edit(control, "input", "2.5")
    assert moved == [2.5]
    assert text_of(shown) == "&lt;2.5 mg&gt;"
    control.put(2.5)
    assert control.props["sent"] == 1


def test_a_field_reports_text() -> None:
    from persim_gym.explorer.widgets import field

    found: list[str] = []
    control = field("Name", "text", "ann", found.append, auto_complete="off")
    assert control.props["auto-complete"] == "off"
    edit(control, "change", 7)
    assert found == ["7"]
    assert control.held == "7"


def test_of_radio_buttons_one_is_chosen() -> None:
    from persim_gym.explorer.widgets import choice, choose

    found: list[str] = []
    radios = choice("Actions", "mode", {"a": "A", "b": "B", "c": "C"}, "a", found.append, ("c",))
    assert [radio.props["held"] for radio in radios.values()] == [True, False, False]
    assert [radio.props["disabled"] for radio in radios.values()] == [False, False, True]
    assert len({radio.props["name"] for radio in radios.values()}) == 1
    edit(radios["b"], "change", "b")
    assert found == ["b"]
    choose(radios, "b")
    assert [radio.props["sent"] for radio in radios.values()] == [1, 1, 1], "the browser has it"
    choose(radios, "c")
    assert [radio.props["held"] for radio in radios.values()] == [True, False, True]
    assert radios["b"].props["held"] is False


def test_a_tick_reports_whether_it_is_set() -> None:
    from persim_gym.explorer.widgets import tick

    found: list[bool] = []
    box = tick("Compare", False, found.append)
    edit(box, "change", True)
    assert found == [True]
    assert box.held is True


def test_a_button_is_clicked_and_a_link_follows_the_view() -> None:
    from persim_gym.explorer.widgets import button, link

    clicks: list[int] = []
    made, _ = button("<Copy>", lambda: clicks.append(1))
    edit(made, "click", None)
    assert clicks == [1]
    assert made.props["type"] == "button"
    anchor = link("CSV", "/view.csv", download="view.csv")
    assert (anchor.props["href"], anchor.props["download"]) == ("/view.csv", "view.csv")
    kinds = {listener.type for listener in anchor._event_listeners.values()}
    assert kinds == {"pointerdown", "keydown"}


def test_text_is_no_markup() -> None:
    from persim_gym.explorer.widgets import say, words

    shown = words("p", "<b>a</b>", "small")
    assert text_of(shown) == "&lt;b&gt;a&lt;/b&gt;"
    say(shown, "a & b")
    assert text_of(shown) == "a &amp; b"
