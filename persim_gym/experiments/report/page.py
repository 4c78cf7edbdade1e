"""The report of a benchmark: one HTML page, the same as Markdown, all numbers as CSV, figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from persim_gym import checks
from persim_gym.envs.suites import SUITES
from persim_gym.evaluation.coordinates import rmse_meaning
from persim_gym.experiments.cell import Cell
from persim_gym.experiments.report.figure_list import Drawing, drawings
from persim_gym.experiments.report.main_tables import (
    prediction_parts,
    prediction_tables,
    published_tables,
    reward_tables,
    small_table,
)
from persim_gym.experiments.report.side_tables import (
    latent_tables,
    planner_tables,
    scarce_return_tables,
    scarcity_tables,
    time_tables,
    trained_tables,
    unseen_tables,
)
from persim_gym.experiments.report.tables import NOTES, Table, results_csv
from persim_gym.experiments.results import Findings, Slot, datasets_of, read_findings
from persim_gym.experiments.row_files import Row
from persim_gym.pages import render
from persim_gym.plots import style
from persim_gym.writing import write_bytes

PAGE, MARKDOWN, RESULTS, FIGURES = "report.html", "report.md", "results.csv", "figures"

_SECTIONS = {
    "prediction": (
        "How well do they predict?",
        "Each method predicts the course of episodes whose actions no data were made by.",
    ),
    "reward": (
        "What are they good for?",
        "Returns of acting in the true environment, by planning in what was learned or by a "
        "learned policy.",
    ),
    "planners": ("Which planner?", "The same dynamics searched in different ways."),
    "scarcity": ("How many agents does it take?", "One trajectory of each, fewer and fewer."),
    "unseen": (
        "What of agents that were not in training?",
        "Their latent factors come from covariates or from a few transitions.",
    ),
    "latent": (
        "Do the latent factors hold what was hidden?",
        "They were learned without the covariates.",
    ),
    "time": ("How long does it take?", "Measured while the benchmark ran."),
}
#: Tables beside the main ones, which a reader unfolds.
_FOLDED = ("-scripted", "-horizon")


def write_report(folder: str | Path, out: str | Path | None = None) -> Path:
    """Write the report of a benchmark's folder.

    Each file appears whole or not at all: ``report.html``, which needs nothing beside it,
    ``report.md`` with the same tables, ``results.csv`` with every number, and the figures as PNG
    files in ``figures``, for light and for dark screens.

    Args:
        folder: The benchmark's folder.
        out: Where to write; by default into the same folder.

    Returns:
        The HTML page.

    Raises:
        ValueError: If the folder has no rows, or one is damaged; with what to do.
    """
    return write_findings(read_findings(folder), folder, out)


def write_findings(findings: Findings, folder: str | Path, out: str | Path | None = None) -> Path:
    """As :func:`write_report`, of a folder that was read already."""
    out = checks.output_folder("out", folder if out is None else out)
    tables = all_tables(findings)
    figures = drawings(findings)
    pngs = {drawing.name: style.pngs(drawing.draw) for drawing in figures}
    csv = results_csv(findings)
    for name, shades in pngs.items():
        write_bytes(out / FIGURES / f"{name}.png", shades["light"])
        write_bytes(out / FIGURES / f"{name}-dark.png", shades["dark"])
    write_bytes(out / RESULTS, csv.encode())
    # Pages are the same wherever they are written: they name the folder, not its place.
    name = Path(folder).resolve().name
    context = _context(findings, tables, figures, name)
    write_bytes(out / MARKDOWN, render("report.md.jinja", **context).encode())
    page = render("report.html.jinja", **context, pngs=pngs)
    return write_bytes(out / PAGE, page.encode())


def all_tables(findings: Findings) -> dict[str, list[Table]]:
    """All tables of a report that have something in them, by section."""
    made: dict[str, tuple[Callable[[Findings], list[Table]], ...]] = {
        "prediction": (prediction_parts, prediction_tables),
        "reward": (reward_tables, published_tables),
        "planners": (planner_tables, trained_tables),
        "scarcity": (scarcity_tables, scarce_return_tables),
        "unseen": (unseen_tables,),
        "latent": (latent_tables,),
        "time": (time_tables,),
    }
    sections = {
        name: [table for make in makes for table in make(findings) if table.rows]
        for name, makes in made.items()
    }
    return {name: tables for name, tables in sections.items() if tables}


def _context(
    findings: Findings,
    tables: Mapping[str, Sequence[Table]],
    figures: Sequence[Drawing],
    name: str,
) -> dict[str, Any]:
    """What the templates use."""
    sections = [
        {
            "id": section,
            "title": title,
            "text": text,
            "tables": tables[section],
            "shown": [own for own in tables[section] if not own.name.endswith(_FOLDED)],
            "folded": [own for own in tables[section] if own.name.endswith(_FOLDED)],
            "figures": [own for own in figures if own.section == section],
        }
        for section, (title, text) in _SECTIONS.items()
        if section in tables
    ]
    return {
        "tasks": [SUITES[task].title for task in findings.seeds],
        "known": facts(findings),
        "warnings": warnings(findings),
        "small": small_table(findings, first_dataset(findings)),
        "contents_of": [
            ("short", "In short"),
            ("read", "How to read the tables"),
            *((own["id"], own["title"]) for own in sections),
            ("missing", "What is not there?"),
            ("again", "How to do it again"),
        ],
        "notes": (rmse_meaning(*findings.tasks("prediction")), *NOTES),
        "sections": sections,
        "failed": failed_lines(findings),
        "missing": missing_lines(findings),
        "commands": commands(findings, name),
        "results": RESULTS,
        "figures": FIGURES,
    }


# -- facts -----------------------------------------------------------------------------------------


def facts(findings: Findings) -> list[tuple[str, str]]:
    """What was run, and on what."""
    rows = findings.rows
    dates = sorted(row.finished for row in rows)
    tried = len(findings.failures)
    lacking = sum(map(len, _lacking_seeds(findings).values()))
    seeds = ", ".join(f"{SUITES[task].title} {len(own)}" for task, own in findings.seeds.items())
    done = {row.cell for row in rows}
    asked = f"{sum(cell in done for cell in findings.wanted)} of {len(findings.wanted)} cells done"
    return [
        (
            "cells",
            f"{len(rows)} done, {tried} failed, {lacking} missing",
        ),
        *([("asked for", f"{asked}, preset {_presets(findings)}")] if findings.wanted else []),
        ("seeds", seeds),
        ("finished", dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"),
        ("machine", "; ".join(dict.fromkeys(map(_machine, rows)))),
        ("versions", ", ".join(f"{name} {v}" for name, v in _versions(findings).items())),
    ]


def _machine(row: Row) -> str:
    own = row.machine
    parts = [own.get("system"), f"{own.get('cores')} cores", f"threads: {own.get('threads')}"]
    return ", ".join(map(str, [*parts, own.get("device")]))


def _versions(findings: Findings) -> dict[str, str]:
    found: dict[str, dict[str, None]] = {}
    for row in findings.rows:
        for name, version in row.versions.items():
            found.setdefault(name, {})[str(version)] = None
    return {name: " and ".join(own) for name, own in found.items()}


def warnings(findings: Findings) -> list[str]:
    """What a reader must know before believing a table."""
    found = []
    versions = sorted({str(row.versions.get("persim-gym", "unknown")) for row in findings.rows})
    if len(versions) > 1:
        found.append(
            f"Rows were made by different versions of persim-gym ({', '.join(versions)}): "
            "differences may be theirs. Run the benchmark again into an empty folder."
        )
    if findings.beside:
        names = "; ".join(_described(group.cell) for group in findings.beside)
        found.append(
            "Some experiments are there in several sizes. Tables show the one with the most seeds "
            f"and episodes; only {RESULTS} has these: {names}."
        )
    return found


def _described(cell: Cell) -> str:
    words = cell.describe().rsplit(" seed ", 1)[0]
    return f"{words} with {cell.episodes} episodes"


def missing_lines(findings: Findings) -> list[tuple[str, str]]:
    """What is expected and neither done nor known to have failed: what, and which seeds."""
    lacking = _lacking_seeds(findings)
    return [(slot.describe(), ", ".join(map(str, own))) for slot, own in lacking.items()]


def _lacking_seeds(findings: Findings) -> dict[Slot, list[int]]:
    failed = {(f.slot, f.seed) for f in findings.failures}
    found = {}
    for slot, seeds in findings.missing.items():
        own = [seed for seed in seeds if (slot, seed) not in failed]
        if own:
            found[slot] = own
    return found


def failed_lines(findings: Findings) -> list[tuple[str, str]]:
    """What was tried in vain: which cell, and why."""
    return [(_place(f.slot, f.seed, f.key), f.error) for f in findings.failures]


def _place(slot: Slot | None, seed: int, key: str) -> str:
    return key if slot is None else f"{slot.describe()}, seed {seed}"


def commands(findings: Findings, name: str) -> list[str]:
    """How to do it again: the commands that were given, as far as it is known."""
    given = [str(run["command"]) for run in findings.runs if run.get("command")]
    return [*dict.fromkeys(given), f"persim-gym report {name}"]


def _presets(findings: Findings) -> str:
    names = [str(run["preset"]) for run in findings.runs if run.get("preset")]
    return " and ".join(dict.fromkeys(names)) or "unknown"


def first_dataset(findings: Findings) -> list[str]:
    """The data set of the small table: random data, which everything is run on, if they are."""
    there = datasets_of(findings.slots)
    return ["random"] if "random" in there else there[:1]
