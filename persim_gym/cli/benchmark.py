"""The command `benchmark`: the paper's experiments, or parts of them, run and gone on with."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persim_gym.cli import options, resolve
from persim_gym.cli.group import FAILED, on_interrupt, say
from persim_gym.cli.next_step import say_next
from persim_gym.cli.output import duration, print_json, print_table

if TYPE_CHECKING:
    from persim_gym.experiments.cell import Cell
    from persim_gym.experiments.engines import Done

#: Failed cells that are named; the others are counted.
NAMED = 10


def _some(what: str, *names: str, **more: Any) -> Any:
    text = f"{what}; a list with commas, or repeatable."
    return typer.Option(*names, metavar="NAME", help=text, show_default="all", **more)


def benchmark(
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Preset: quick (minutes), laptop (MountainCar and CartPole complete, "
            "some nine hours of one core), paper (all three tasks).",
        ),
    ] = "quick",
    out: Annotated[
        Path | None,
        options.folder_to_write("rows, tables and figures", show_default="runs/benchmark-PRESET"),
    ] = None,
    experiment: Annotated[
        list[str] | None, _some("Experiment: only this of prediction, reward, unseen, latent")
    ] = None,
    task: Annotated[
        list[str] | None, _some(f"Task: only this of {', '.join(options.TASKS)}")
    ] = None,
    dataset: Annotated[
        list[str] | None,
        _some("Behaviour: only its data, such as random or pure", "--behaviour", "--dataset"),
    ] = None,
    method: Annotated[list[str] | None, _some("Method: only this, such as persim")] = None,
    planner: Annotated[list[str] | None, _some("Planner: only this, such as default")] = None,
    seeds: Annotated[int | None, options.count("Repeats, from seed 0 on.", "the preset's")] = None,
    jobs: Annotated[
        int | None,
        options.count("Cells beside each other.", "1, and on a Ray cluster all its processors"),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="local, or ray: the cluster of RAY_ADDRESS, else a Ray on this machine.",
        ),
    ] = "local",
    device: options.Device = "cpu",
    threads: Annotated[
        int | None,
        options.count("CPU threads; of each cell.", "cores / jobs", max=options.MOST_THREADS),
    ] = None,
    show: Annotated[
        bool, typer.Option("--list", help="Say which cells there are and are done; run nothing.")
    ] = False,
    force: Annotated[bool, options.force("cells that are done; their fits, too")] = False,
    as_json: options.Json = False,
) -> None:
    """Run the paper's experiments, or parts of them.

    Each result is a file of its own in FOLDER/rows. A run that was stopped or killed goes on when
    the same command is given again, and what has failed is tried again. More of the same FOLDER
    can be run later, by another preset or with fewer restrictions.
    """
    from persim_gym.cli.watching import watching
    from persim_gym.experiments.ledger import note_end, note_start
    from persim_gym.experiments.presets import preset_cells, select_cells
    from persim_gym.experiments.runner import run_cells

    chosen = {
        "experiments": _names(experiment),
        "tasks": _names(task),
        "datasets": _names(dataset),
        "methods": _names(method),
        "planners": _names(planner),
    }
    cells = select_cells(preset_cells(preset, device, seeds), **chosen)
    folder = Path(f"runs/benchmark-{preset}") if out is None else out
    if show:
        _list(cells, folder, preset, force, as_json)
        return
    words = ["--preset", preset, "--out", str(folder)]
    for name, given in chosen.items():
        option = "--behaviour" if name == "datasets" else f"--{name.removesuffix('s')}"
        words += [option, ",".join(given)] if given else []
    numbers = {"--seeds": seeds, "--jobs": jobs, "--threads": threads}
    for name, number in numbers.items():
        words += [name, str(number)] if number is not None else []
    words += ["--engine", engine] if engine != "local" else []
    words += ["--device", device] if device != "cpu" else []
    about = {
        "command": shlex.join(["persim-gym", "benchmark", *words]),
        "preset": preset,
        "device": device,
        "jobs": jobs,
        "engine": engine,
    }
    run: list[int] = []
    began = time.monotonic()
    again = f"what is done stays in {folder}, and the same command goes on"
    with (
        on_interrupt(again.replace("goes on", "without --force goes on") if force else again),
        watching(lambda: run.append(note_start(folder, cells, **about))) as watch,
    ):
        done = run_cells(
            cells, folder, device=device, jobs=jobs, engine=engine, threads=threads, force=force,
            watch=watch,
        )  # fmt: skip
    failed = [one for one in done if one.row is None]
    seconds = round(time.monotonic() - began, 3)
    note_end(folder, run[0], seconds=seconds, done=len(done) - len(failed), failed=len(failed))
    pages = _write_report(folder)
    _say_end(cells, done, folder, seconds, pages, as_json)
    if failed:
        raise typer.Exit(FAILED)


def _names(texts: Sequence[str] | None) -> list[str]:
    names = [name.strip() for text in texts or () for name in text.split(",")]
    if "" in names:
        raise ValueError(f"names must be words with commas between them, got {texts}")
    return list(dict.fromkeys(names))


def _write_report(folder: Path) -> Path | None:
    """The page of the report; ``None`` if the folder's rows make none."""
    resolve.draw_without_display()
    from persim_gym.experiments.report.page import write_report

    try:
        return write_report(folder)
    except ValueError as error:  # what was run is kept all the same
        say("note", f"there is no report: {error}")
        return None


def _list(cells: Sequence[Cell], folder: Path, preset: str, force: bool, as_json: bool) -> None:
    from persim_gym.experiments.costs import Estimate
    from persim_gym.experiments.row_files import RowFiles
    from persim_gym.experiments.runner import failure_path, is_fitted

    rows = RowFiles(folder)
    there = {cell: rows.has(cell) for cell in cells}
    missing = [cell for cell in cells if force or not there[cell]]
    known = () if force else [cell.fit_key or "" for cell in cells if is_fitted(cell, folder)]
    seconds = dict(zip(missing, Estimate(known).of_all(missing), strict=True))
    states = {
        cell: "done"
        if there[cell]
        else "failed"
        if failure_path(folder, cell).exists()
        else "missing"
        for cell in cells
    }
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "cells": [
                    {"key": c.key, "state": states[c], "seconds": seconds.get(c, 0.0)}
                    | {"cell": c.to_json()}
                    for c in cells
                ],
                "seconds": sum(seconds.values()),
            }
        )
        return
    table = [
        (c.describe(), states[c], duration(seconds[c]) if c in seconds else "-") for c in cells
    ]
    print_table(f"Cells of {folder}", ("cell", "state", "about"), table, left=2)
    counts = {state: list(states.values()).count(state) for state in ("done", "failed", "missing")}
    typer.echo(
        f"{len(cells)} cells: {counts['done']} done, {counts['failed']} failed, "
        f"{counts['missing']} missing; about {duration(sum(seconds.values()))} of one processor "
        "to go"
    )
    if len(cells) > counts["done"]:
        say_next("benchmark", "--preset", preset, "--out", folder)
    else:
        say_next("report", folder)


def _say_end(
    cells: Sequence[Cell],
    done: Sequence[Done],
    folder: Path,
    seconds: float,
    page: Path | None,
    as_json: bool,
) -> None:
    from persim_gym.experiments.runner import failure_path

    failed = [one for one in done if one.row is None]
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "cells": len(cells),
                "there": len(cells) - len(done),
                "done": len(done) - len(failed),
                "failed": [
                    {"key": one.cell.key, "error": one.error, "cell": one.cell.to_json()}
                    for one in failed
                ],
                "seconds": seconds,
                "report": None if page is None else str(page),
            }
        )
    else:
        there = len(cells) - len(done)
        typer.echo(
            f"{len(cells) - len(failed)} of {len(cells)} cells are in {folder}: "
            f"{len(done) - len(failed)} run in {duration(seconds)}"
            + (f", {there} were there" if there else "")
            + (f", {len(failed)} failed" if failed else "")
        )
        if page is not None:
            typer.echo(f"report: {page}")
        say_next("report", folder)
    for one in failed[:NAMED]:
        where = failure_path(folder, one.cell)
        say("failed", f"{one.cell.describe()}: {one.error} (traceback in {where})")
    if len(failed) > NAMED:
        say("failed", f"and {len(failed) - NAMED} more: see {folder / 'failed'}")
