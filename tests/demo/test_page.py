"""The page of a demo."""

from __future__ import annotations

import base64
import json

import pytest

from persim_gym.demo.page import render_page
from tests.demo.small import Finished
from tests.pages.parsed import Page

pytestmark = pytest.mark.slow


def test_the_page_needs_nothing_beside_it(finished: Finished) -> None:
    page, _, _ = finished
    text = page.read_text()
    parsed = Page(text)
    assert parsed.loads
    assert all(value.startswith(("data:image/png;", "data:video/mp4;")) for value in parsed.loads)
    assert not {"script", "link", "iframe", "object"} & set(parsed.tags)
    assert "url(" not in text
    assert "@import" not in text
    assert set(parsed.boxes) == {"wide"}  # a wide table scrolls by itself
    assert parsed.tags.count("source") == parsed.tags.count("img") == 4  # dark and light
    assert "prefers-color-scheme: dark" in text
    assert page.stat().st_size < 5e6


def test_the_film_is_small_and_whole(finished: Finished) -> None:
    page, _, _ = finished
    (video,) = [v for v in Page(page.read_text()).loads if v.startswith("data:video")]
    content = base64.b64decode(video.partition(",")[2])
    assert content[4:8] == b"ftyp"
    assert len(content) < 1e6


def test_the_page_is_honest(finished: Finished) -> None:
    page, _, _ = finished
    text = " ".join("".join(Page(page.read_text()).text).split())
    assert "persim-gym demo --task cartpole --seed 0 --out" in text
    assert "for 2 episodes under" in text
    assert "cut off after 6 steps" in text
    assert "4 candidates over 3 steps" in text
    assert "40 steps in the simulator of agent 3" in text
    for word in ("gymnasium", "torch", "sha256", "± sd", "standard deviation"):
        assert word in text


def test_a_machine_that_cannot_draw_still_gets_a_page(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, _, _ = finished
    results = json.loads((page.parent / "results.json").read_text())
    picture = (page.parent / "figures" / "horizon.png").read_bytes()
    both = {"light": picture, "dark": picture}
    figures = dict.fromkeys(("predictions", "horizon", "latent", "returns"), both)
    results["clip"]["missing"] = "RuntimeError: no <screen>"
    text = render_page(results, figures, None)
    assert "could not draw (RuntimeError: no &lt;screen&gt;)" in text
    assert "<video" not in text
    results["quick"] = True
    assert "A quick run." in render_page(results, figures, None)
    assert "A quick run." not in text
