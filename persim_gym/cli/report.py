"""The command report: the tables and figures of a benchmark that was run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persim_gym.cli import options, resolve
from persim_gym.cli.next_step import say_next
from persim_gym.cli.output import print_facts, print_json, print_table

if TYPE_CHECKING:
    from persim_gym.experiments.results import Findings


def report(
    folder: Annotated[
        Path, options.path_to_read("FOLDER", "Folder of a benchmark, such as runs/paper.")
    ],
    out: Annotated[
        Path | None,
        options.folder_to_write("page, tables and figures", show_default="the benchmark's folder"),
    ] = None,
    small: Annotated[
        bool,
        typer.Option("--small", help="Print the main table as Markdown, and write nothing."),
    ] = False,
    json: options.Json = False,
) -> None:
    """Make tables and figures of a benchmark's results.

    A benchmark need not be complete: what is missing is shown as missing.
    """
    if small and (json or out is not None):
        other = "--json" if json else "--out"
        raise ValueError(f"--small prints one table and writes nothing: leave {other} out")
    resolve.draw_without_display()
    from persim_gym.experiments.report.main_tables import small_table
    from persim_gym.experiments.report.page import (
        FIGURES,
        MARKDOWN,
        RESULTS,
        first_dataset,
        write_findings,
    )
    from persim_gym.experiments.results import read_findings

    findings = read_findings(folder)
    if small:
        typer.echo(small_table(findings, first_dataset(findings)).to_markdown().rstrip())
        return
    page = write_findings(findings, folder, out)
    files = {
        "page": page,
        "markdown": page.parent / MARKDOWN,
        "numbers": page.parent / RESULTS,
        "figures": page.parent / FIGURES,
    }
    files = {name: path.resolve() for name, path in files.items()}
    if json:
        print_json(_summary(findings) | {"files": {name: str(p) for name, p in files.items()}})
        return
    _print_main(findings)
    print_facts("Report", [*_facts(findings), *files.items()])
    say_next("benchmark", "--preset", "quick", "--list")


def _print_main(findings: Findings) -> None:
    from persim_gym.envs.suites import SUITES
    from persim_gym.evaluation.coordinates import PAPER_COLUMN, headline_of
    from persim_gym.experiments.report.main_tables import small_table

    rows = small_table(findings).rows
    for name, title in [(suite.name, suite.title) for suite in SUITES.values()]:
        own = [row[1:] for row in rows if row[0] == title]
        if own:
            columns = ["data set", "method", f"RMSE of {headline_of(name)}", PAPER_COLUMN, "return"]
            print_table(f"{title}: prediction error and return", columns, own, left=2)


def _facts(findings: Findings) -> list[tuple[str, object]]:
    from persim_gym.experiments.report.page import facts, warnings

    cells = next(value for name, value in facts(findings) if name == "cells")
    return [("cells", cells), *(("warning", text) for text in warnings(findings))]


def _summary(findings: Findings) -> dict[str, Any]:
    from persim_gym.experiments.report.main_tables import small_numbers
    from persim_gym.experiments.report.page import facts, failed_lines, missing_lines, warnings

    return {
        "facts": dict(facts(findings)),
        "warnings": warnings(findings),
        "main": small_numbers(findings),
        "failed": [{"cell": cell, "error": error} for cell, error in failed_lines(findings)],
        "missing": [{"cells": cells, "seeds": seeds} for cells, seeds in missing_lines(findings)],
    }
