"""Video files."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from persim_gym import checks
from persim_gym.envs.rendering.picture import Frame, check_frame


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
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile, whose files are readable by their owner only, and would stay so.
    part = target.with_name(f".{target.stem}.{uuid.uuid4().hex}{suffix}")
    try:
        _encode(part, chain([first], remaining), fps)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _encode(path: Path, frames: Iterable[Frame], fps: int) -> None:
    import imageio.v2 as imageio

    options: dict[str, Any]
    if path.suffix == ".gif":
        options = {"mode": "I", "duration": 1000 / fps, "loop": 0}
    else:
        # macro_block_size 1: by default imageio stretches pictures to multiples of 16.
        options = {"fps": fps, "codec": "libx264", "quality": 8, "macro_block_size": 1}
    shape: tuple[int, ...] | None = None
    writer: Any = imageio.get_writer(path, **options)
    # Not `with`, which leaves the encoder running (and writing) when an exception passes.
    try:
        for frame in frames:
            check_frame(frame, "frame")
            shape = shape or frame.shape
            if frame.shape != shape:
                raise ValueError(f"frames must have one shape, got {shape} and {frame.shape}")
            if path.suffix == ".mp4":
                # Players expect colour at half resolution, which needs even sides.
                odd = ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0))
                frame = np.pad(frame, odd, mode="edge")
            writer.append_data(frame)
    finally:
        writer.close()
