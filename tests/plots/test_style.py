"""Figures as files, without global state."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from PIL import Image

from persim_gym.plots import figures as plots
from persim_gym.plots.style import DARK, LIGHT, save, to_png
from tests.plots.drifts import errors


@pytest.mark.slow
def test_pictures_are_twice_as_dense_and_files_are_written(tmp_path):
    error, _ = errors()
    figure = plots.error_by_horizon({"PerSim": error})
    picture = Image.open(io.BytesIO(to_png(figure)))
    assert picture.size == tuple(200 * inches for inches in figure.get_size_inches())
    for suffix in (".png", ".svg", ".pdf"):
        assert save(figure, tmp_path / "new" / f"f{suffix}").stat().st_size > 1000
    with pytest.raises(ValueError, match=r"\.png, \.svg or \.pdf"):
        save(figure, tmp_path / "f.bmp")


@pytest.mark.slow
def test_no_global_state_of_matplotlib_is_used():
    code = (
        "import sys, persim_gym.plots.figures\n"
        "assert 'matplotlib.figure' in sys.modules\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio of two colours."""

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_what_is_written_can_be_read(theme):
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    names = ("ink", "faint", "true", "learned", "pooled", "nothing", "trained")  # labels, too
    assert all(contrast(getattr(theme, name), theme.paper) >= 4.5 for name in names)
