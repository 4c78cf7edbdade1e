"""Video files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from persim_gym.envs.rendering import Frame, write_video
from tests.envs.rendering.drawn import picture


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
