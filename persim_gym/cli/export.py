"""The command that writes a simulator's step for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from persim_gym.cli import models, options
from persim_gym.cli.group import say
from persim_gym.cli.next_step import say_next_of


def export(
    simulator: options.Simulator,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Output: FILE.onnx, FILE.pt2 (torch) or FILE.py (NumPy code).",
        ),
    ],
) -> None:
    """Write one step as a file that does not need persim-gym.

    ONNX and torch take every simulator, NumPy code is written of closed forms. What is written is
    compared with the simulator first.
    """
    sim = models.open_simulator(simulator)
    written = sim.export(out)
    say("written", str(written))
    say_next_of(sim, simulator)
