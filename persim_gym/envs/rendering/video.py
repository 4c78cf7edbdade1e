"""Video files."""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from persim_gym import checks, files
from persim_gym.envs.rendering.picture import Frame, check_frame

#: Bytes that are free on a disk that is not full.
_LEAST_ROOM = 64_000


def write_video(path: str | os.PathLike[str], frames: Iterable[Frame], fps: int) -> None:
    """Write pictures as a video.

    The file appears whole or not at all: it is written under another name in the same folder and
    put in its place when complete, so an interrupted run never leaves half a video, nor destroys
    an older one.

    Args:
        path: Where to write; ``.mp4`` or ``.gif`` decides the format. Missing folders are made.
        frames: Pictures ``[height, width, 3]``, all of one shape; taken one by one.
        fps: Frames per second, at most 50 for a GIF.

    Raises:
        OSError: If the file cannot be written, the disk being full among other reasons.
        ValueError: If the suffix, the frame rate or a frame is unfit, or there is no frame.
    """
    target = checks.output_file("path", path)
    suffix = target.suffix.lower()
    if suffix not in (".mp4", ".gif"):
        raise ValueError(f"a video is written as .mp4 or .gif, got {str(target)!r}")
    checks.number("fps", fps, 0, above=True, says="positive")
    if suffix == ".gif" and fps > 50:
        # GIF counts in hundredths of a second, and viewers slow down what is shorter than two.
        raise ValueError(f"a GIF plays at most 50 frames per second, got {fps}: write a .mp4")
    remaining = iter(frames)
    first = next(remaining, None)
    if first is None:
        raise ValueError("a video needs at least one frame")
    every = chain([first], remaining)
    if suffix == ".gif":
        stream = io.BytesIO()  # the encoder holds the pictures until its end in any case
        _encode(stream, every, mode="I", duration=1000 / fps, loop=0)
        files.write_bytes(target, stream.getvalue())
        return
    with files.replacing(target) as part:
        # macro_block_size 1: by default imageio stretches pictures to multiples of 16.
        options = {"codec": "libx264", "quality": 8, "macro_block_size": 1}
        count = _encode(part, every, fps=fps, ffmpeg_log_level="fatal", **options)
        _check_whole(part, count)


def _check_whole(path: Path, count: int) -> None:
    """Raise unless a video holds its frames: the encoder, a program of its own, fails silently.

    Raises:
        OSError: If it does not.
    """
    import imageio_ffmpeg

    try:
        found, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
    except RuntimeError:
        found = 0
    if found != count:
        full = shutil.disk_usage(path.parent).free < _LEAST_ROOM
        reason = os.strerror(errno.ENOSPC) if full else "is the disk full?"
        raise OSError(f"the encoder wrote {found} of {count} frames ({reason})")


def _encode(target: Path | io.BytesIO, frames: Iterable[Frame], **options: Any) -> int:
    """Write frames to a file or a GIF's stream; how many."""
    import imageio.v2 as imageio

    shape: tuple[int, ...] | None = None
    count = 0
    is_gif = isinstance(target, io.BytesIO)
    writer: Any = imageio.get_writer(target, ".gif" if is_gif else ".mp4", **options)
    # Not `with`, which leaves the encoder running (and writing) when an exception passes.
    try:
        for frame in frames:
            check_frame(frame, "frame")
            shape = shape or frame.shape
            if frame.shape != shape:
                raise ValueError(f"frames must have one shape, got {shape} and {frame.shape}")
            if not is_gif:
                # Players expect colour at half resolution, which needs even sides.
                odd = ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0))
                frame = np.pad(frame, odd, mode="edge")
            writer.append_data(frame)
            count += 1
    finally:
        writer.close()
    return count
