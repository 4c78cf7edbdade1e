"""Figures as files, without global state."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from persim_gym.evaluation.episodes import follow
from persim_gym.evaluation.open_loop import open_loop_error
from persim_gym.evaluation.references import Persistence
from persim_gym.plots import figures as plots
from persim_gym.plots.style import save, to_png
from tests.evaluation.worlds import DriftDynamics, DriftTask, Off, count_up


def errors(line: float = np.inf):
    seen = follow(DriftTask(line), DriftDynamics(), [0, 2], count_up, episodes=2)
    model = Off(np.array([[[1.0, 2.0]], [[3.0, 2.0]]]))
    return open_loop_error(model, seen), open_loop_error(Persistence(), seen)


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
