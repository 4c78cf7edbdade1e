"""A fit to be read, as equations, and its step for other programs: ONNX, torch, or NumPy code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from persim_gym import checks

if TYPE_CHECKING:
    from persim_gym.learned.dynamics import LearnedDynamics

#: What a file is, by the end of its name.
FORMATS = {".onnx": "an ONNX file", ".pt2": "a program of torch.export", ".py": "NumPy code"}


def export(sim: LearnedDynamics, path: str | Path) -> Path:
    """Write one step of a simulator as a file that does not need this package.

    What is written takes agents ``[n]``, states ``[n, d]`` (with a ``lag`` ``[n, l * w]``, the
    oldest first) and actions ``[n]`` or ``[n, a]``, and gives next observations: the members' mean
    ``[n, d]`` and each member's ``[m, n, d]``. It is checked before it is in place: on random rows
    it must give what the simulator gives.

    Args:
        sim: The simulator.
        path: Where to; the end of the name says what is written: ``.onnx`` (any simulator; needs
            ``pip install 'persim-gym[export]'`` to write, ONNX Runtime or the like to run),
            ``.pt2`` (any simulator; needs torch to run) or ``.py`` (a closed form; needs NumPy).

    Returns:
        The path.

    Raises:
        TypeError: If ``sim`` is no simulator, or ``path`` no path.
        ValueError: If the file cannot be written, the end of its name is another one, the simulator
            is no closed form and the file is to be NumPy code, or what was written does not give
            what the simulator gives.
        ImportError: If ONNX is asked for and its packages are absent.
    """
    checks.with_attributes("sim", sim, ("ensemble", "experience", "task"), "a simulator")
    path = checks.as_path("path", path)
    if path.suffix not in FORMATS:
        known = ", ".join(f"{end} ({what})" for end, what in FORMATS.items())
        raise ValueError(f"path must end in {known}, got {checks.shown(path.name)}")
    checks.output_file("path", path)
    if path.suffix == ".py":
        from persim_gym.learned.export.numpy_code import write
    elif path.suffix == ".onnx":
        from persim_gym.learned.export.graph import write_onnx as write
    else:
        from persim_gym.learned.export.graph import write_torch as write
    return write(sim, path)
