"""Renderers of the three tasks, the window, side-by-side pictures and video files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from persim_gym.envs.rendering import (
    Frame,
    Renderer,
    Window,
    make_renderer,
    side_by_side,
    write_video,
)

# MuJoCo chooses its OpenGL backend when it is first imported, by any test of this process.
if sys.platform == "linux":
    os.environ.setdefault("MUJOCO_GL", "egl")

pytest.importorskip("pygame")

CLASSIC = {
    "mountain-car": (np.array([-0.5, 0.01]), {"gravity": 0.0025}),
    "cartpole": (np.array([0.3, 0.1, 0.05, -0.2]), {"force": 10.0, "length": 0.5}),
}


@pytest.fixture(params=CLASSIC)
def classic(request: pytest.FixtureRequest) -> tuple[Renderer, np.ndarray, dict[str, float]]:
    obs, covariates = CLASSIC[request.param]
    return make_renderer(request.param), obs.copy(), dict(covariates)


@pytest.fixture(scope="module")
def cheetah() -> Iterator[Renderer]:
    mujoco = pytest.importorskip("mujoco")
    # Asked of MuJoCo itself, so that a mistake of ours fails a test and skips none.
    try:
        mujoco.Renderer(mujoco.MjModel.from_xml_string("<mujoco/>"), 8, 8).close()
    except Exception as error:
        pytest.skip(f"this machine has no OpenGL: {error}")
    renderer = make_renderer("half-cheetah")
    yield renderer
    renderer.close()
    renderer.close()


def picture(value: int = 0, height: int = 40, width: int = 60) -> Frame:
    return np.full((height, width, 3), value, dtype=np.uint8)


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    hidden = {"MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER", "SDL_VIDEO_DRIVER"}
    clean = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_unknown_task_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"'pendulum'.*mountain-car, cartpole, half-cheetah"):
        make_renderer("pendulum")


@pytest.mark.slow
def test_import_is_light_and_drawing_needs_no_display_and_prints_nothing() -> None:
    code = """
import sys
import numpy as np
from persim_gym.envs.rendering import make_renderer
assert not {"pygame", "mujoco", "torch", "imageio"} & set(sys.modules)
make_renderer("cartpole").draw(np.zeros(4), {})
import pygame
assert not pygame.display.get_init()
assert not {"mujoco", "torch"} & set(sys.modules)
"""
    done = run_python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_classic_frame(classic: tuple[Renderer, np.ndarray, dict[str, float]]) -> None:
    renderer, obs, covariates = classic
    frame = renderer.draw(obs, covariates, label="agent 3")
    assert frame.shape == (400, 600, 3)
    assert frame.dtype == np.uint8
    assert frame.flags.c_contiguous
    assert frame.flags.writeable
    assert len(np.unique(frame.reshape(-1, 3), axis=0)) > 100
    np.testing.assert_array_equal(
        frame, renderer.draw(obs.astype(np.float32).astype(np.float64), covariates, label="agent 3")
    )
    renderer.close()
    renderer.close()


def test_classic_frame_shows_state_covariates_and_label(
    classic: tuple[Renderer, np.ndarray, dict[str, float]],
) -> None:
    renderer, obs, covariates = classic
    frame = renderer.draw(obs, covariates)
    assert (renderer.draw(obs + 0.1, covariates) != frame).any()
    assert (renderer.draw(obs, covariates, label="agent 3") != frame).any()
    for name in covariates:
        other = renderer.draw(obs, {**covariates, name: covariates[name] / 2})
        # Below the caption, too: agents differ at a glance.
        assert (other[60:] != frame[60:]).any(), name


def test_cartpole_pole_is_drawn_to_scale() -> None:
    renderer = make_renderer("cartpole")
    heights = []
    for length in (0.15, 0.5, 0.85):
        frame = renderer.draw(np.zeros(4), {"length": length}).astype(int)
        # Above the cart only the pole is red in this column.
        rows = np.flatnonzero((frame[40:255, 300, 0] - frame[40:255, 300, 2]) > 100)
        heights.append(rows.size)
    assert np.diff(heights) == pytest.approx([70, 70], abs=2)  # twice 0.35 m of 100 pixels each


def test_cartpole_leans_and_moves_the_right_way() -> None:
    renderer = make_renderer("cartpole")

    def red_column(obs: list[float]) -> float:
        # Above the cart and between the posts at the ends of the track.
        frame = renderer.draw(np.array(obs), {}).astype(int)[150:240, 100:500]
        return float(np.nonzero((frame[..., 0] - frame[..., 2]) > 100)[1].mean()) + 100

    assert red_column([0, 0, 0, 0]) == pytest.approx(300, abs=1)
    assert red_column([0, 0, 0.2, 0]) > 303
    assert red_column([1, 0, 0, 0]) == pytest.approx(400, abs=1)


def test_missing_covariates_are_drawn_with_defaults(
    classic: tuple[Renderer, np.ndarray, dict[str, float]],
) -> None:
    renderer, obs, covariates = classic
    np.testing.assert_array_equal(renderer.draw(obs, {})[60:], renderer.draw(obs, covariates)[60:])


def test_classic_survives_any_finite_state(
    classic: tuple[Renderer, np.ndarray, dict[str, float]],
) -> None:
    renderer, obs, covariates = classic
    for value in (-1e30, -10.0, 10.0, 1e30):
        frame = renderer.draw(np.full_like(obs, value), dict.fromkeys(covariates, abs(value)))
        assert frame.shape == (400, 600, 3)


def test_frames_are_no_shared_buffers(
    classic: tuple[Renderer, np.ndarray, dict[str, float]],
) -> None:
    renderer, obs, covariates = classic
    first = renderer.draw(obs, covariates)
    kept = first.copy()
    second = renderer.draw(obs + 0.1, covariates)
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, kept)
    second[:] = 0
    np.testing.assert_array_equal(renderer.draw(obs, covariates), kept)


def test_unfit_input_is_named(classic: tuple[Renderer, np.ndarray, dict[str, float]]) -> None:
    renderer, obs, covariates = classic
    with pytest.raises(ValueError, match=rf"shape \(7,\), expected \({len(obs)},\)"):
        renderer.draw(np.zeros(7), covariates)
    with pytest.raises(ValueError, match=r"velocity is nan"):
        renderer.draw(np.where(np.arange(len(obs)) == 1, np.nan, obs), covariates)
    with pytest.raises(ValueError, match=r"position is inf"):
        renderer.draw(np.where(np.arange(len(obs)) == 0, np.inf, obs), covariates)
    name = next(iter(covariates))
    with pytest.raises(ValueError, match=rf"{name} is inf"):
        renderer.draw(obs, {name: np.inf})


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


def test_window_keeps_its_rate_and_takes_other_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    import pygame

    class Clock:
        """Pygame's, without the waiting."""

        rates: ClassVar[list[int]] = []

        def tick(self, rate: int) -> None:
            self.rates.append(rate)

    monkeypatch.setattr(pygame.time, "Clock", Clock)
    window = Window("PerSim", fps=50)
    window.close()
    assert not pygame.display.get_init()
    window.show(picture(1))
    for value in range(10):
        window.show(picture(value))
    assert Clock.rates == [50] * 11
    window.show(picture(2, height=50, width=80))
    with pytest.raises(ValueError, match="frame must be uint8"):
        window.show(np.zeros((4, 4), dtype=np.uint8))
    window.close()
    window.close()
    window.show(picture(3))  # opens again
    window.close()
    pygame.display.quit()


def test_a_user_closes_one_window_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    import pygame

    opened: list[Any] = []
    original = pygame.Window

    def spy(*args: Any) -> Any:
        opened.append(original(*args))
        return opened[-1]

    monkeypatch.setattr(pygame, "Window", spy)
    first, second = Window("true", 1000), Window("learned", 1000)
    for window in (first, second):
        window.show(picture())
    pygame.event.post(pygame.Event(pygame.WINDOWCLOSE, window=opened[1]))
    for _ in range(2):
        first.show(picture())
        second.show(picture())
    assert len(opened) == 2
    assert first._window is not None  # the click was meant for the other one
    assert second._window is None
    first.close()
    pygame.display.quit()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a display")
def test_window_without_a_display_tells_the_remedy() -> None:
    code = """
import numpy as np
from persim_gym.envs.rendering import Window
try:
    Window("PerSim", 30).show(np.zeros((40, 60, 3), np.uint8))
except RuntimeError as error:
    print(error)
"""
    assert "use render_mode='rgb_array'" in run_python(code).stdout


def test_side_by_side() -> None:
    left, right = picture(10), picture(200)
    frame = side_by_side(left, right)
    assert frame.shape == (72, 128, 3)
    assert frame.dtype == np.uint8
    np.testing.assert_array_equal(frame[32:, :60], left)
    np.testing.assert_array_equal(frame[32:, 68:], right)
    assert (side_by_side(left, right, left_title="agent 1")[:32] != frame[:32]).any()
    assert (side_by_side(left, right, right_title="agent 1")[:32] != frame[:32]).any()
    assert not np.shares_memory(frame, left)


def test_side_by_side_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"one shape, got \(40, 60, 3\) and \(40, 61, 3\)"):
        side_by_side(picture(), picture(width=61))
    with pytest.raises(ValueError, match="right must be uint8"):
        side_by_side(picture(), picture().astype(np.float32))


def fading(count: int, height: int = 40, width: int = 60) -> Iterator[Frame]:
    return (picture(20 * i, height, width) for i in range(count))


def test_mp4_is_written_and_read_back(tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    path = tmp_path / "new" / "video.mp4"
    write_video(path, fading(10, 41, 61), fps=20)
    assert os.listdir(path.parent) == [path.name]
    # Not through imageio, whose reader leaves pipes open.
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run([ffmpeg, "-i", path, *raw], capture_output=True, check=True)
    # Even sides, which players ask for.
    frames = np.frombuffer(done.stdout, np.uint8).reshape(-1, 42, 62, 3)
    assert frames.mean(axis=(1, 2, 3)) == pytest.approx([20 * i for i in range(10)], abs=4)
    assert b"20 fps" in done.stderr
    assert b"yuv420p" in done.stderr


def test_gif_is_written_and_read_back(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("imageio")
    path = tmp_path / "new" / "video.gif"
    write_video(str(path), fading(10, 41, 61), fps=20)
    assert os.listdir(path.parent) == [path.name]
    with image.open(path) as gif:
        assert (gif.n_frames, gif.size, gif.info["loop"]) == (10, (61, 41), 0)
        for i in range(10):
            gif.seek(i)
            assert gif.info["duration"] == 50
            assert np.asarray(gif.convert("RGB")).mean() == pytest.approx(20 * i, abs=2)


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_video_appears_whole_or_not_at_all(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("imageio")
    path = tmp_path / f"video{suffix}"
    path.write_bytes(b"an older video")

    def broken() -> Iterator[Frame]:
        yield from fading(3)
        assert len(os.listdir(tmp_path)) <= 2
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(path, broken(), fps=20)
    with pytest.raises(ValueError, match=r"one shape, got \(40, 60, 3\) and \(40, 62, 3\)"):
        write_video(path, [picture(), picture(width=62)], fps=20)
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes() == b"an older video"


def test_video_refuses_what_it_can_not_write(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"as \.mp4 or \.gif, got '.*video\.avi'"):
        write_video(tmp_path / "video.avi", fading(2), fps=20)
    with pytest.raises(ValueError, match="at least one frame"):
        write_video(tmp_path / "video.mp4", [], fps=20)
    with pytest.raises(ValueError, match="fps must be positive, got 0"):
        write_video(tmp_path / "video.mp4", fading(2), fps=0)
    with pytest.raises(ValueError, match="at most 50 frames per second"):
        write_video(tmp_path / "video.gif", fading(2), fps=60)
    with pytest.raises(ValueError, match="frame must be uint8"):
        write_video(tmp_path / "video.gif", [np.zeros((4, 4, 3))], fps=20)  # type: ignore[list-item]
    assert os.listdir(tmp_path) == []
