"""Settings of the whole test run, made before any test module is imported."""

from __future__ import annotations

import ctypes.util
import os
import sys
from collections.abc import Iterator

# MuJoCo chooses its OpenGL backend when it is imported, pygame its display when it is first used:
# without a screen the one draws through EGL (where its library is there, for MuJoCo cannot be
# imported otherwise) and the other into the void.
if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
    if ctypes.util.find_library("EGL"):
        os.environ.setdefault("MUJOCO_GL", "egl")
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

import pytest
import torch

# Processes that run tests beside each other would otherwise fight for the same cores.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_display_left_open() -> Iterator[None]:
    """A window leaves pygame's video system up; the next test shall find it as a program does."""
    yield
    if "pygame" in sys.modules:
        sys.modules["pygame"].display.quit()


@pytest.fixture(scope="session")
def opengl() -> None:
    """Skip where MuJoCo cannot draw; asked of MuJoCo itself, so that no mistake of ours skips."""
    import mujoco

    try:
        mujoco.Renderer(mujoco.MjModel.from_xml_string("<mujoco/>"), 8, 8).close()
    except Exception as error:
        pytest.skip(f"this machine has no OpenGL: {error}")
