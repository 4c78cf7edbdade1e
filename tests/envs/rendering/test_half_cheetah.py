"""The picture of HalfCheetah."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from persim_gym.envs.rendering import Renderer, make_renderer
from tests.envs.rendering.drawn import run_python


@pytest.fixture(scope="module")
def cheetah(opengl: None) -> Iterator[Renderer]:
    renderer = make_renderer("half-cheetah")
    yield renderer
    renderer.close()
    renderer.close()


@pytest.mark.slow
def test_cheetah_frame(cheetah: Renderer) -> None:
    agent = {"mass": 0.3, "damping": 1.7}
    still = cheetah.draw(np.zeros(18), agent)
    kept = still.copy()
    assert still.shape == (400, 600, 3)
    assert still.dtype == np.uint8
    for coordinate in range(1, 9):
        obs = np.zeros(18)
        obs[coordinate] = 0.4
        other = cheetah.draw(obs, agent)
        assert (other[60:] != still[60:]).any(), coordinate
    assert not np.shares_memory(still, other)
    np.testing.assert_array_equal(still, kept)
    assert (cheetah.draw(np.zeros(18), agent, label="agent 3") != still).any()
    for name in agent:
        assert (cheetah.draw(np.zeros(18), {**agent, name: 1.0}) != still).any(), name


def test_cheetah_camera_goes_along(cheetah: Renderer) -> None:
    # Rows 150 to 200 show the trunk, rows 300 to 350 the floor in front of it.
    here = cheetah.draw(np.zeros(18), {}, x=0.0).astype(int)
    there = cheetah.draw(np.zeros(18), {}, x=0.7).astype(int)
    far = cheetah.draw(np.zeros(18), {}, x=1000.0).astype(int)
    red = [frame[150:200, :, 0] - frame[150:200, :, 2] > 100 for frame in (here, there)]
    assert red[0].any()
    assert (red[0] == red[1]).mean() > 0.99
    assert (np.abs(here - there)[300:350] > 5).mean() > 0.1
    # The floor repeats every two metres, so that nobody runs off it.
    np.testing.assert_array_equal(here[:350], far[:350])


def test_cheetah_stays_in_the_picture(cheetah: Renderer) -> None:
    for height in (-3.0, 2.0, 50.0):
        obs = np.zeros(18)
        obs[1] = height
        frame = cheetah.draw(obs, {}).astype(int)
        assert (frame[..., 0] - frame[..., 2] > 100).any(), height


def test_cheetah_unfit_input_is_named(cheetah: Renderer) -> None:
    with pytest.raises(ValueError, match=r"shape \(17,\), expected \(18,\)"):
        cheetah.draw(np.zeros(17), {})
    obs = np.zeros(18)
    obs[3] = np.nan
    with pytest.raises(ValueError, match=r"position of bthigh is nan"):
        cheetah.draw(obs, {})
    obs[[3, 17]] = 0.0, -np.inf
    with pytest.raises(ValueError, match=r"velocity of ffoot is -inf"):
        cheetah.draw(obs, {})
    with pytest.raises(ValueError, match=r"x is nan"):
        cheetah.draw(np.zeros(18), {}, x=float("nan"))


@pytest.mark.slow
def test_cheetahs_of_two_renderers_do_not_disturb_each_other(cheetah: Renderer) -> None:
    before = cheetah.draw(np.zeros(18), {})
    other = make_renderer("half-cheetah")
    np.testing.assert_array_equal(other.draw(np.zeros(18), {}), before)
    np.testing.assert_array_equal(cheetah.draw(np.zeros(18), {}), before)
    other.close()
    np.testing.assert_array_equal(cheetah.draw(np.zeros(18), {}), before)


@pytest.mark.slow
def test_drawing_the_cheetah_is_quiet(cheetah: Renderer, tmp_path: Path) -> None:
    code = f"""
import os, numpy as np
os.chdir({str(tmp_path)!r})
from persim_gym.envs.rendering import make_renderer
renderer = make_renderer("half-cheetah")
renderer.draw(np.full(18, 1e6), {{}}, x=1e12)
assert not os.listdir(), os.listdir()  # no MUJOCO_LOG.TXT
"""
    done = run_python(code, MUJOCO_GL=os.environ.get("MUJOCO_GL", ""), PYTHONWARNINGS="error")
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere OpenGL needs no display")
@pytest.mark.parametrize("backend", ["", "glfw", "nonsense"])
def test_without_opengl_the_remedy_is_named(backend: str) -> None:
    pytest.importorskip("mujoco")
    code = """
from persim_gym.envs.rendering import make_renderer
try:
    make_renderer("half-cheetah")
except RuntimeError as error:
    print(error)
"""
    done = run_python(code, MUJOCO_GL=backend)
    assert "MUJOCO_GL=egl" in done.stdout
    assert f"{backend!r} now" in done.stdout
    assert done.stderr == ""
