"""Commands that write a simulator for others: its step for programs, its equations for readers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from persim_gym.cli import options, resolve
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
    sim = resolve.open_simulator(simulator)
    written = sim.export(out)
    say("written", str(written))
    say_next_of(sim, simulator)


def equations(
    simulator: options.Simulator,
    agent: options.AgentOrAll = None,
    digits: Annotated[int, options.count("Significant digits.", max=17)] = 4,
    tolerance: Annotated[
        float,
        options.number(
            "Leave out terms that move a change by less than this share of its deviation.", min=0.0
        ),
    ] = 1e-4,
    latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX.")] = False,
) -> None:
    """Print a simulator's equations: every change as a polynomial.

    For simulators that were fitted by --method als or --method hierarchical; networks have none.
    """
    sim = resolve.open_simulator(simulator)
    from persim_gym.learned.export.equations import equations_of

    whose = None if agent is None else sim.names.parse(agent)
    found = equations_of(sim, whose, digits=digits, tolerance=tolerance)
    typer.echo(found.latex() if latex else found)
    say_next_of(sim, simulator, index=whose)
