"""The figure of example 8: every patient's errors, and one patient's held-out day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

# Distinct to colour-blind eyes, and in print by their lightness.
COLOURS = {"its own simulator": "#0b6fb8", "one model for all": "#d9730d", "persistence": "#8a8a8a"}
# Marks and lines differ, too: nothing is said by colour alone.
MARKS = {"its own simulator": "o", "one model for all": "s", "persistence": "^"}
LINES = {"its own simulator": "-", "one model for all": "--"}
INK, FAINT = "#222222", "#d8d8d8"


@dataclass(frozen=True)
class DayAhead:
    """One patient's day: what was, and what was predicted from some hours on.

    Attributes:
        patient: Name.
        hours: Of the readings ``[n]``.
        glucose: ``[n]``.
        carbs: Grams eaten until the next reading ``[n]``.
        insulin: Units given until the next reading ``[n]``.
        predicted: For each model pairs of hours and glucose, one for each start.
    """

    patient: str
    hours: NDArray[np.float64]
    glucose: NDArray[np.float64]
    carbs: NDArray[np.float64]
    insulin: NDArray[np.float64]
    predicted: Mapping[str, Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]]


def draw(
    path: Path, names: Sequence[str], tables: Mapping[str, NDArray[np.float64]], day: DayAhead
) -> None:
    """Write the figure; ``tables`` are errors after 30, 60 and 120 minutes ``[N, 3]``."""
    # One above the other: what stands side by side cannot be read on a phone.
    figure = Figure(figsize=(6.4, 10.6), dpi=130, layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.15, 1], hspace=0.03)
    _errors(top.subplots(), names, {name: table[:, -1] for name, table in tables.items()})
    upper, lower = bottom.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    _day(upper, day)
    _actions(lower, day)
    figure.savefig(path)


def _errors(axes: Axes, names: Sequence[str], tables: Mapping[str, NDArray[np.float64]]) -> None:
    # The patients of a group by their error, the smallest on top.
    own = next(iter(tables.values()))
    group = [name.partition("#")[0] for name in names]
    order = sorted(range(len(names)), key=lambda i: (group[i], own[i]))
    position = np.arange(len(names)) + np.cumsum(
        [0.0, *(1.2 * (group[a] != group[b]) for a, b in pairwise(order))]
    )
    values = np.array([table[order] for table in tables.values()])
    axes.hlines(position, values.min(0), values.max(0), color=FAINT, lw=1.5, zorder=1)
    for (name, colour), row in zip(COLOURS.items(), values, strict=True):
        axes.scatter(row, position, s=30, color=colour, marker=MARKS[name], label=name, zorder=2)
    axes.set_yticks(position, [names[i] for i in order], fontsize=9)
    axes.set_ylim(position[-1] + 1, position[0] - 4)  # room for the legend
    axes.set_xlim(0, None)
    axes.set_xlabel("RMSE two hours ahead, mg/dL", fontsize=10.5)
    axes.set_title("Every patient's held-out day", loc="left", fontsize=11, color=INK)
    axes.legend(loc="upper right", fontsize=10, frameon=True, framealpha=1, edgecolor=FAINT)
    _tidy(axes)


def _day(axes: Axes, day: DayAhead) -> None:
    axes.axhspan(70, 180, color="#eef3ec", zorder=0)
    axes.plot(day.hours, day.glucose, color=INK, lw=1.8, label="what was", zorder=3)
    for name, pieces in day.predicted.items():
        for i, (hours, glucose) in enumerate(pieces):
            label = f"predicted by {name}" if i == 0 else None
            axes.plot(
                hours, glucose, LINES[name], color=COLOURS[name], lw=1.8, label=label, zorder=4
            )
            axes.plot(hours[:1], glucose[:1], "o", ms=3.5, color=INK, zorder=5)
    axes.set_ylabel("glucose, mg/dL", fontsize=10.5)
    title = f"{day.patient}, its held-out day: two hours ahead from every dot"
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    axes.legend(loc="upper left", fontsize=10, frameon=True, framealpha=0.95, edgecolor=FAINT)
    axes.set_ylim(min(40, day.glucose.min() - 10), axes.get_ylim()[1] * 1.12)
    _tidy(axes)


def _actions(axes: Axes, day: DayAhead) -> None:
    meals, doses = day.carbs > 0, day.insulin > 0.3
    axes.vlines(day.hours[meals], 0, day.carbs[meals], color="#7a9a3a", lw=3)
    axes.set_ylabel("eaten in 5 min, g", color="#5f7a2a", fontsize=10.5)
    axes.set_xlabel("hours into the held-out day", fontsize=10.5)
    axes.set_xlim(day.hours[0], day.hours[-1])
    axes.set_xticks(np.arange(0, 25, 3))
    _tidy(axes)
    twin = axes.twinx()
    twin.vlines(day.hours[doses], 0, day.insulin[doses], color="#7b4fa3", lw=1.5)
    twin.plot(day.hours[doses], day.insulin[doses], "v", ms=5, color="#7b4fa3")
    twin.set_ylabel("bolus, U", color="#7b4fa3", fontsize=10.5)
    twin.tick_params(labelsize=9.5)
    twin.set_ylim(0, None)
    axes.set_ylim(0, None)
    twin.spines[["top", "left"]].set_visible(False)


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9.5)
    axes.grid(axis="x", color="#efefef", zorder=0)
