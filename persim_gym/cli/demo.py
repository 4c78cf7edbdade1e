"""The command demo: everything once, with a page about it at the end."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persim_gym.cli import options, resolve
from persim_gym.cli.group import on_interrupt
from persim_gym.cli.next_step import say_next
from persim_gym.cli.output import duration, print_facts, print_table

if TYPE_CHECKING:
    from rich.progress import Progress

    from persim_gym.demo.forecast import Forecast
    from persim_gym.demo.run import StageEvent


def demo(
    task: options.TaskOption = "cartpole",
    out: Annotated[
        Path | None,
        options.folder_to_write("all of it", show_default="runs/demo-TASK"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Less of everything: to see it run, not to judge by.")
    ] = False,
    seed: options.Seed = 0,
) -> None:
    """Record, fit, evaluate, plan and train, with a page about it.

    A demo that was stopped goes on from there when the same command is given again. It computes on
    one thread, which is fastest for work this small; OMP_NUM_THREADS=2 sets another number.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.progress import TaskProgressColumn as Share

    resolve.draw_without_display()
    from persim_gym.demo.forecast import Forecast, pace
    from persim_gym.demo.report import RESULTS
    from persim_gym.demo.run import run_demo
    from persim_gym.envs.suites import find_suite

    bar = Progress(
        TextColumn("      {task.description:<9}"),
        BarColumn(),
        Share(),
        TextColumn("{task.fields[left]}"),
        console=Console(stderr=True, highlight=False),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
    forecast = Forecast(find_suite(task).name, quick, pace())
    on_stage, on_progress = _reporters(bar, forecast)
    with on_interrupt("the same command goes on from the last stage that was finished"), bar:
        page = run_demo(task, out, quick, seed, on_stage, on_progress)
    _print_results(json.loads((page.parent / RESULTS).read_text(encoding="utf-8")))
    print_facts("Page", [("file", page.resolve())])
    say_next("record", task)


def _reporters(
    bar: Progress, forecast: Forecast
) -> tuple[Callable[[StageEvent], None], Callable[[str, int, int], None]]:
    """What a demo calls: a line for each stage that is over, a bar for the present one."""
    from persim_gym.demo.run import STAGES

    shown: dict[str, Any] = {}
    began: dict[str, float] = {}

    def on_stage(event: StageEvent) -> None:
        if event.status == "started":
            began[event.stage] = time.perf_counter()
            left = f"about {duration(forecast.left())} left"
            shown[event.stage] = bar.add_task(event.stage, total=None, left=left)
            return
        if event.stage in shown:
            bar.remove_task(shown.pop(event.stage))
        forecast.end(event.stage, event.seconds if event.status == "finished" else None)
        spent = "kept" if event.status == "kept" else f"{event.seconds:.1f} s"
        rest = f"  (about {duration(forecast.left())} left)" if event.index < len(STAGES) else ""
        head = f"[{event.index}/{len(STAGES)}] {event.stage:<9}{spent:>8}"
        typer.echo(f"{head}  {event.note}{rest}", err=True)

    def on_progress(stage: str, done: int, total: int) -> None:
        if stage in shown:
            spent = time.perf_counter() - began[stage]
            left = duration(forecast.left(stage, done / total, spent))
            bar.update(shown[stage], completed=done, total=total, left=f"about {left} left")

    return on_stage, on_progress


def _print_results(results: dict[str, Any]) -> None:
    """The main numbers: prediction and control, a line an agent."""
    from persim_gym.envs.suites import SUITES
    from persim_gym.evaluation.coordinates import headline_of

    errors, headline = results["open_loop"]["errors"], headline_of(results["task"])
    place = SUITES[results["task"]].headline
    print_table(
        f"Open-loop RMSE over {results['open_loop']['horizon']} steps of {results['task']}, of "
        f"{headline}",
        ["agent", "covariates", *errors, "R2"],
        [
            [
                str(row["agent"]),
                ", ".join(f"{name} {value:.4g}" for name, value in row["covariates"].items()),
                *(error["agents"][i]["rmse_of_coordinates"][place] for error in errors.values()),
                errors["PerSim"]["agents"][i]["r2"],
            ]
            for i, row in enumerate(results["agents"])
        ],
        left=2,
    )
    print_table(
        f"Mean return in the true environment, {results['plan']['steps']} steps at most",
        ["policy", *(f"agent {row['agent']}" for row in results["agents"])],
        [
            [policy, *(of.get(str(row["agent"]), {}).get("mean") for row in results["agents"])]
            for policy, of in results["returns"].items()
        ],
    )
