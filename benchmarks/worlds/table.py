"""Rows as one table of ratios, as CSV and as a figure."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm

from persim_gym.files import write_text
from persim_gym.plots.style import LIGHT, new_figure, save

from .cells import Cell
from .score import BEHAVIOURS, HORIZONS, middle_and_tail

#: A ratio up to which PerSim counts as no worse, and the least that a ratio counts as in a mean.
ENOUGH, LEAST_RATIO = 1.05, 0.05
MEASURES = ("median", "ninth decile")
#: What is compared: behaviour, horizon and measure.
Place = tuple[str, int, str]
PLACES: list[Place] = [(b, h, m) for m in MEASURES for b in BEHAVIOURS for h in HORIZONS]


@dataclass(frozen=True, slots=True)
class Line:
    """A cell of the table.

    Attributes:
        cell: The cell.
        rows: Rows by method; PerSim's is ``"persim"``.
        values: Errors by method and place.
        ratios: PerSim's error over the best reference's, by place.
        best: Name of the best reference after 10 steps.
        worse: Share of agents that are worse off after 50 steps than if nothing changed.
    """

    cell: Cell
    rows: Mapping[str, dict[str, Any]]
    values: Mapping[str, Mapping[Place, float]]
    ratios: Mapping[Place, float]
    best: str
    worse: float


def line_of(cell: Cell, rows: Mapping[str, dict[str, Any]]) -> Line:
    """A cell's rows as a line."""
    values = {m: _values(row) for m, row in rows.items() if "errors" in row}
    own = values.get("persim", {})
    references = {m: v for m, v in values.items() if m != "persim"}
    ratios = {}
    for place in PLACES:
        best = min((v[place] for v in references.values()), default=math.nan)
        ratios[place] = own.get(place, math.inf if "persim" in rows else math.nan) / best
    ten = ("same", 10, "median")
    best_name = min(references, key=lambda name: references[name][ten], default="")
    return Line(cell, rows, values, ratios, best_name, _worse_than_persistence(rows))


def _values(row: Mapping[str, Any]) -> dict[Place, float]:
    found: dict[Place, float] = {}
    for behaviour in BEHAVIOURS:
        for horizon in HORIZONS:
            pair = middle_and_tail(row["errors"][behaviour][str(horizon)])
            found |= {(behaviour, horizon, m): v for m, v in zip(MEASURES, pair, strict=True)}
    return found


def _worse_than_persistence(rows: Mapping[str, dict[str, Any]]) -> float:
    if any("errors" not in rows.get(name, {}) for name in ("persim", "persistence")):
        return math.nan
    own, nothing = (
        np.array([rows[m]["errors"][b]["50"] for b in BEHAVIOURS], dtype=np.float64)
        for m in ("persim", "persistence")
    )
    known = np.isfinite(own) & np.isfinite(nothing)
    return float((own > nothing)[known].mean()) if known.any() else math.nan


def geometric_mean(lines: Sequence[Line]) -> float:
    """Mean ratio over cells and places, each counted as at least a twentieth."""
    ratios = np.array([line.ratios[place] for line in lines for place in PLACES])
    ratios = ratios[~np.isnan(ratios)]
    if not len(ratios):
        return math.nan
    return float(np.exp(np.log(np.clip(ratios, LEAST_RATIO, 1e6)).mean()))


HEADINGS = (
    "cell", "fitted by", "s", "same 1", "10", "50", "other 1", "10", "50", "worst", "best",
    "worse than persistence", "in 95 % interval: 1", "10", "50",
)  # fmt: skip


def text_of(lines: Sequence[Line]) -> str:
    """The table as Markdown: ratios of medians, the ninth deciles' in brackets."""
    cells = [HEADINGS, *(_cells(line) for line in lines)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(HEADINGS))]
    texts = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    texts.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    worst = [_worst(line) for line in lines]
    known = [ratio for ratio in worst if not math.isnan(ratio)]
    within = sum(ratio <= ENOUGH for ratio in known)
    texts.append(
        f"\n{within} of {len(known)} cells are nowhere above {ENOUGH} of the best reference; "
        f"geometric mean of the ratios {geometric_mean(lines):.3f}."
    )
    return "\n".join(texts)


def _cells(line: Line) -> tuple[str, ...]:
    row = line.rows.get("persim", {})
    seconds = f"{row['processor_seconds']:.0f}" if "processor_seconds" in row else ""
    ratios = [
        f"{line.ratios[b, h, 'median']:.2f} ({line.ratios[b, h, 'ninth decile']:.2f})"
        for b in BEHAVIOURS
        for h in HORIZONS
    ]
    how = "failed" if "failed" in row else str(row.get("fitted_by", ""))
    worse = "" if math.isnan(line.worse) else f"{line.worse:.0%}"
    first = (line.cell.name, how, seconds, *ratios, f"{_worst(line):.2f}", line.best, worse)
    return (*first, *_covered(row))


def _covered(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Share of observations of the recorded behaviour that intervals hold, by steps."""
    shares = row.get("coverage", {}).get("observation", {}).get("same", {})
    return tuple(f"{shares[str(h)][0]:.1%}" if str(h) in shares else "" for h in HORIZONS)


def _worst(line: Line) -> float:
    known = [ratio for ratio in line.ratios.values() if not math.isnan(ratio)]
    return max(known, default=math.nan)


def write_csv(lines: Sequence[Line], path: Path) -> None:
    """Write every error and every ratio: a row a cell and method, as CSV."""
    out = io.StringIO()
    names = [f"{behaviour} {horizon} {measure}" for behaviour, horizon, measure in PLACES]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["cell", "method", "fitted by", "seconds", "processor seconds", *names])
    for line in lines:
        for method, row in line.rows.items():
            values = line.values.get(method, {})
            first = [row.get(key, "") for key in ("fitted_by", "seconds", "processor_seconds")]
            errors = [f"{values[place]:.4g}" if values else "" for place in PLACES]
            writer.writerow([line.cell.name, method, *first, *errors])
        ratios = [f"{line.ratios[place]:.4g}" for place in PLACES]
        writer.writerow([line.cell.name, "ratio", "", "", "", *ratios])
    write_text(path, out.getvalue())


def draw(lines: Sequence[Line], path: Path) -> None:
    """Draw all ratios of medians: a row a cell, a column a behaviour and horizon."""
    places = [place for place in PLACES if place[2] == "median"]
    ratios = np.array([[line.ratios[place] for place in places] for line in lines])
    height = 1.4 + 0.24 * len(lines)  # inches, of which 1.15 are above and below the map
    figure = new_figure(7.5, height, LIGHT)
    axes = figure.add_axes((0.36, 0.25 / height, 0.5, (height - 1.15) / height))
    picture = axes.imshow(
        np.clip(ratios, LEAST_RATIO, 1 / LEAST_RATIO),
        norm=LogNorm(LEAST_RATIO, 1 / LEAST_RATIO),
        cmap="RdBu_r",
        aspect="auto",
    )
    for (row, column), ratio in np.ndenumerate(ratios):
        text = "" if math.isnan(ratio) else f"{ratio:.2f}" if ratio < 99 else ">99"
        strong = not LEAST_RATIO * 3 < ratio < 1 / LEAST_RATIO / 3
        colour = LIGHT.paper if strong else LIGHT.ink
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    axes.set_yticks(range(len(lines)), [line.cell.name for line in lines], fontsize=7)
    axes.set_xticks(range(len(places)), [f"{b}\n{h}" for b, h, _ in places], fontsize=7)
    axes.xaxis.tick_top()
    axes.set_title("Error over the best reference's: behaviour and steps", fontsize=9, pad=8)
    figure.colorbar(picture, ax=axes, fraction=0.04, pad=0.02).ax.tick_params(labelsize=7)
    save(figure, path)
