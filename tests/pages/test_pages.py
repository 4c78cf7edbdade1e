"""What all pages share: colours that can be read, in light and in dark, on paper and on cards."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from persim_gym import pages
from persim_gym.plots.style import DARK, LIGHT, Theme

STYLE = (Path(pages.__file__).parent / "templates" / "style.css").read_text()


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb``, by WCAG 2."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("shade", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("colour", ["ink", "faint", "warm", "cool"])
def test_text_can_be_read_on_every_background(colour: str, shade: int) -> None:
    block = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[shade]
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
    for background in ("paper", "card"):
        assert contrast(colours[colour], colours[background]) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_figures_lie_on_cards_and_their_text_can_be_read(theme: Theme) -> None:
    assert f"--card: {theme.paper}" in STYLE
    for colour in (theme.ink, theme.faint):
        assert contrast(colour, theme.paper) >= 4.5


def test_black_on_white_is_21() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_cells_that_stand_out_are_text() -> None:
    assert pages.Bold("a") == "a"
    assert pages.typeset("-1.5") == "\N{MINUS SIGN}1.5"
    assert pages.typeset("one-for-all") == "one-for-all"


def test_a_name_that_is_missing_is_an_error() -> None:
    with pytest.raises(Exception, match="is undefined"):
        pages.render("report.md.jinja")
