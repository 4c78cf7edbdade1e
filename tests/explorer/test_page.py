"""The page in a real browser: what is shown, by pointer and by keyboard, and what it asks for."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from persim_gym.explorer.blocks import scales
from persim_gym.explorer.scene import Scene
from persim_gym.learned import PerSim
from tests.explorer.browser import CHROMIUM, PATIENCE, served
from tests.explorer.worlds import patients

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]

COLUMNS = (
    "--agent-column", "patient", "--step-column", "week", "--episode-column", "course",
    "--state", "ferritin,hb", "--action", "iron,epo", "--reward", "reward",
)  # fmt: skip


def write_table(path: Path) -> None:
    data = patients()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["patient", "week", "course", "ferritin", "hb", "iron", "epo", "reward"])
        for start, length in zip(data.starts, data.lengths, strict=True):
            agent = (data.agent_names or ())[data.agent[start]]
            for week in range(length + 1):
                row = start + min(week, length - 1)
                obs = data.obs[row] if week < length else data.next_obs[row]
                writer.writerow([agent, week, start, *obs, *data.action[row], data.reward[row]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, patient_sim: PerSim, cartpole: PerSim) -> Path:
    made = tmp_path_factory.mktemp("explorer")
    patient_sim.view().save(made / "patients")
    cartpole.view().save(made / "carts")
    write_table(made / "patients.csv")
    return made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    pytest.importorskip("nicegui", reason="the explorer's library is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with playwright.sync_playwright() as p:
        # Inside a container Chromium's own is not to be had.
        yield p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture(scope="module")
def patients_at(folder: Path) -> Iterator[str]:
    with served("patients", "--data", "patients.csv", *COLUMNS, cwd=folder) as address:
        yield address


@pytest.fixture(scope="module")
def carts_at(folder: Path) -> Iterator[str]:
    with served("carts", cwd=folder) as address:
        yield address


class Visitor:
    """A page that notes what it asks for, and what goes wrong on it."""

    def __init__(self, browser: Any, address: str, query: str = "", **context: Any) -> None:
        self.context = browser.new_context(**context)
        self.page = page = self.context.new_page()
        page.set_default_timeout(PATIENCE)
        self.asked: list[str] = []
        self.wrong: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("websocket", lambda socket: self.asked.append(socket.url))
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", lambda m: self.wrong.append(m.text) if m.type == "error" else None)
        page.goto(f"{address}{query}")
        page.wait_for_selector("path.mean[d*=L]")

    def curve(self, chart: int = 0) -> str:
        return str(self.page.locator("path.mean").nth(chart * 2).get_attribute("d"))

    def until(self, text: str, value: Any = None) -> None:
        self.page.wait_for_function(text, arg=value, timeout=PATIENCE)

    def until_curve_is_not(self, before: str) -> None:
        self.until("was => document.querySelector('path.mean').getAttribute('d') !== was", before)

    def until_address_has(self, part: str) -> None:
        self.until("part => decodeURIComponent(location.search).includes(part)", part)


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    made: list[Visitor] = []

    def begin(address: str, query: str = "", **context: Any) -> Visitor:
        made.append(Visitor(browser, address, query, **context))
        return made[-1]

    yield begin
    for visitor in made:
        visitor.context.close()
        assert visitor.wrong == []


def test_nothing_leaves_the_machine(visit: Any, patients_at: str) -> None:
    visitor = visit(patients_at)
    visitor.until_address_has("agent=P-01")
    assert len(visitor.asked) > 5
    assert {urlsplit(url).hostname for url in visitor.asked} == {"127.0.0.1"}
    text = visitor.page.content()
    assert not re.findall(r"(?:src|href)=\"https?://(?!127\.0\.0\.1)", text)


def test_a_slider_moves_the_curve_and_the_address(visit: Any, patients_at: str) -> None:
    visitor = visit(patients_at, "?a=values:10,1")
    before = visitor.curve()
    slider = visitor.page.get_by_role("slider", name="iron", exact=True).first
    slider.focus()
    visitor.page.keyboard.press("ArrowRight")
    visitor.until_curve_is_not(before)
    visitor.until_address_has("a=values:10.1,1")


def test_the_keyboard_is_enough(visit: Any, patients_at: str) -> None:
    """From the top of the page by Tab alone to a radio button, a schedule, and a slider."""
    visitor = visit(patients_at)
    page, seen = visitor.page, []
    for _ in range(80):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                "() => { const e = document.activeElement; return [e.tagName, e.getAttribute"
                "('role') || e.type || '', (e.getAttribute('aria-label') || e.closest('label')"
                "?.innerText || e.innerText || '').trim()] }"
            )
        )
        if seen[-1][0] == "BODY":
            break
    names = [name for _, _, name in seen]
    order = ("Copy link", "CSV", "Map of", "Step of the record", "Steps ahead", "As recorded",
             "iron, step 1", "epo, step 1", "Ask the planner", "Step", "Python code")  # fmt: skip
    last = -1
    for part in order:
        later = [i for i, name in enumerate(names) if i > last and name.startswith(part)]
        assert later, (part, names)
        last = later[0]
    assert all(name for tag, _, name in seen if tag != "BODY"), seen


def test_arrow_keys_draw_a_schedule(visit: Any, patients_at: str, scene: Scene) -> None:
    most = scales(scene)[0].high
    visitor = visit(patients_at, "?a=values:10,1&horizon=12")
    page = visitor.page
    page.get_by_role("slider", name="iron, step 1", exact=True).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("End")
    visitor.until_address_has(f"a=values:10,1;{most:.6g},1;10,1*10")
    assert page.locator(".plan.a").get_by_role("radio", name="Every step").is_checked()
    assert (
        page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "iron, step 2"
    )


def test_the_focus_stays_where_it_was(visit: Any, patients_at: str) -> None:
    visitor = visit(patients_at)
    page = visitor.page
    focused = "() => [document.activeElement.value, document.activeElement.checked]"
    page.locator(".plan.a").get_by_role("radio", name="As recorded").focus()
    for mode, part in (("hold", "a=hold"), ("random", "a=random:0"), ("constant", "a=values:")):
        page.keyboard.press("ArrowDown")
        visitor.until_address_has(part)
        assert page.evaluate(focused) == [mode, True]


def test_a_schedule_is_drawn_by_pointer(visit: Any, patients_at: str) -> None:
    visitor = visit(patients_at, "?a=values:10,1&horizon=12")
    before = visitor.curve()
    box = visitor.page.locator(".schedule svg").first.bounding_box()
    mouse = visitor.page.mouse
    mouse.move(box["x"] + 60, box["y"] + 15)
    mouse.down()
    mouse.move(box["x"] + box["width"] - 20, box["y"] + 15, steps=4)
    mouse.up()
    visitor.until_curve_is_not(before)
    heights = visitor.page.locator(".bar.a .value").evaluate_all(
        "bars => bars.slice(0, 12).map(bar => +bar.getAttribute('height'))"
    )
    assert np.ptp(heights) < 1
    assert min(heights) > 50


def test_an_agent_is_found_by_name_and_by_map(visit: Any, patients_at: str) -> None:
    visitor = visit(patients_at)
    page = visitor.page
    before = visitor.curve()
    page.get_by_label("Name").fill("P-04")
    page.keyboard.press("Enter")
    visitor.until_curve_is_not(before)
    visitor.until_address_has("agent=P-04")
    page.locator(".map circle").nth(1).dispatch_event("click")
    visitor.until_address_has("agent=P-02")
    assert page.get_by_label("Name").input_value() == "P-02"
    page.get_by_label("Name").fill("nobody")
    page.keyboard.press("Enter")
    alert = page.get_by_role("alert")
    visitor.until("() => document.querySelector('[role=alert]').innerText.includes('nobody')")
    assert "there is no agent 'nobody'" in alert.inner_text()
    assert "Traceback" not in page.content()


SET = "(e, x) => { e.value = x; e.dispatchEvent(new Event('input', { bubbles: true })) }"


def test_what_is_drawn_anew_keeps_what_is_typed(visit: Any, patients_at: str) -> None:
    """Each answer of the server draws the whole page: a half-typed name and sliders stay."""
    visitor = visit(patients_at)
    page, name = visitor.page, visitor.page.get_by_label("Name")
    visitor.until_address_has("agent=P-01")
    name.fill("P-04")
    ahead = page.get_by_role("slider", name="Steps ahead")
    ahead.evaluate(SET, 7)
    visitor.until_address_has("horizon=7")
    page.get_by_role("slider", name="Step of the record").evaluate(SET, 3)
    visitor.until_address_has("start=3")
    assert (name.input_value(), ahead.input_value()) == ("P-04", "7")
    page.keyboard.press("Enter")
    visitor.until_address_has("agent=P-04")


def test_a_refused_edit_is_taken_back_each_time(visit: Any, patients_at: str) -> None:
    """Although the server sends the same value again."""
    visitor = visit(patients_at)
    page, name = visitor.page, visitor.page.get_by_label("Name")
    for wrong in ("nobody", "nobody else"):
        name.fill(wrong)
        page.keyboard.press("Enter")
        alert = page.get_by_role("alert")
        visitor.until(
            "wrong => document.querySelector('[role=alert]').innerText.includes(wrong)", repr(wrong)
        )
        assert alert.is_visible()
        visitor.until("() => document.querySelector('input[list=agents]').value === 'P-01'")


def test_the_last_coordinate_stays_and_says_so(visit: Any, patients_at: str) -> None:
    visitor = visit(patients_at)
    page = visitor.page
    boxes = [page.get_by_role("checkbox", name=name, exact=True) for name in ("ferritin", "hb")]
    boxes[0].click()
    visitor.until_address_has("show=hb")
    boxes[1].click()
    visitor.until("() => document.querySelectorAll('.tick input:checked').length === 1")
    assert [box.is_checked() for box in boxes] == [False, True]


def test_two_plans_and_two_agents_are_compared(visit: Any, patients_at: str) -> None:
    visitor = visit(patients_at)
    page = visitor.page
    page.get_by_label("Compare with a plan B").check()
    page.wait_for_selector("path.mean.b[d*=L]")
    page.locator(".plan.b").get_by_role("radio", name="Random").check()
    visitor.until_address_has("b=random:0")
    page.locator(".plan.b").get_by_label("Agent").fill("P-05")
    page.keyboard.press("Enter")
    visitor.until_address_has("b_agent=P-05")
    visitor.until("() => document.querySelector('.said').innerText.includes('B (P-05)')")
    shared = visit(patients_at, "?" + page.evaluate("() => location.search.slice(1)"))
    shared.page.wait_for_selector("path.mean.b[d*=L]")
    assert shared.curve() == visitor.curve()
    page.get_by_label("Compare with a plan B").uncheck()
    page.wait_for_selector("path.mean.b", state="detached")


def test_the_planner_is_asked(visit: Any, patients_at: str) -> None:
    visitor = visit(patients_at, "?horizon=4")
    visitor.page.locator(".plan.a").get_by_role("button", name="Ask the planner").click()
    visitor.until_address_has("a=values:")
    assert visitor.page.get_by_text("The planner's proposal").is_visible()


def test_what_is_taken_away_is_what_is_shown(visit: Any, patients_at: str) -> None:
    visitor = visit(patients_at, "?agent=P-03&a=values:5,1&horizon=6")
    visitor.until_address_has("agent=P-03")
    for name, kind in (("CSV", "view.csv"), ("PNG", "view.png"), ("Python", "view.py")):
        with visitor.page.expect_download() as caught:
            visitor.page.get_by_role("link", name=name).click()
        content = Path(caught.value.path()).read_bytes()
        assert caught.value.suggested_filename == kind
        if kind == "view.csv":
            rows = list(csv.DictReader(io.StringIO(content.decode())))
            assert [row["a.iron"] for row in rows] == ["5.0"] * 6 + [""]
            assert rows[0]["a.agent"] == "P-03"
        elif kind == "view.png":
            assert content.startswith(b"\x89PNG")
        else:
            compile(content, kind, "exec")


def test_a_wrong_address_is_a_sentence(visit: Any, patients_at: str) -> None:
    visitor = visit(patients_at, "?agent=nobody")
    assert "no agent 'nobody'" in visitor.page.get_by_role("alert").inner_text()
    answer = visitor.page.request.get(f"{patients_at}view.csv?a=x")
    assert answer.status == 422
    assert answer.text().startswith("This cannot be shown: ")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_and_dark(visit: Any, patients_at: str, scheme: str) -> None:
    visitor = visit(
        patients_at, "?b=hold", viewport={"width": 420, "height": 800}, color_scheme=scheme
    )
    wide = visitor.page.evaluate("() => document.documentElement.scrollWidth")
    assert wide <= 420
    shades = visitor.page.evaluate(
        "() => [document.body, document.querySelector('.explorer h1')].map((e, i) =>"
        " getComputedStyle(e)[i ? 'color' : 'backgroundColor'].match(/\\d+/g).slice(0, 3)"
        ".reduce((sum, x) => sum + +x, 0))"
    )
    assert (shades[0] > shades[1]) == (scheme == "light")
    assert abs(shades[0] - shades[1]) > 400


def test_a_moved_record_is_said(visit: Any, carts_at: str) -> None:
    visitor = visit(carts_at)
    page = visitor.page
    assert page.get_by_text("is not on this machine").first.is_visible()
    assert page.get_by_role("radio", name="As recorded").is_disabled()
    assert page.locator(".recorded circle:visible").count() == 0


def test_truth_and_its_picture_stand_beside(visit: Any, carts_at: str) -> None:
    visitor = visit(carts_at, "?agent=2&a=values:1&horizon=10")
    page = visitor.page
    page.wait_for_selector("path.true[d*=L]")
    loaded = "() => { const i = document.querySelector('.frames'); return i.naturalWidth > 500 }"
    visitor.until(loaded)
    first = page.locator(".frames").get_attribute("src")
    page.get_by_role("slider", name="Step", exact=True).focus()
    page.keyboard.press("End")
    visitor.until("was => !document.querySelector('.frames').src.endsWith(was)", first)
    visitor.until(loaded)
    visitor.until_address_has("step=10")
