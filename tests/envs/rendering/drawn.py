"""Pictures to write and compare, and processes of their own that draw."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from persim_gym.envs.rendering import Frame
from persim_gym.envs.rendering.canvas import Canvas


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


def curves_of(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Beginnings and ends of the lines that are drawn from now on on any canvas."""
    found: list[Any] = []
    monkeypatch.setattr(Canvas, "line", lambda self, color, a, b, *_, **__: found.append((a, b)))
    return found
