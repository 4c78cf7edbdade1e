"""Unseen agents: open-loop error and coverage against the number of their transitions.

A population of 500 agents; 450 are fitted from one trajectory of random actions each. The other 50
come with 0 to 50 transitions of random actions, and their simulators predict 50 steps under a
scripted policy.

    python benchmarks/adaptation.py [--task cartpole] [--quick] [--seed 11] [--out FOLDER]

With `--out`, a figure `adaptation.png` and the numbers as `adaptation.json` are written there.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter

from persim_gym.envs.suites import SUITES, find_suite
from persim_gym.evaluation.adaptation import (
    LEVELS,
    Adaptation,
    measure,
    random_transitions,
)
from persim_gym.files import write_bytes, write_text
from persim_gym.learned import PerSim
from persim_gym.offline.transitions import Transitions
from persim_gym.plots.style import (
    LIGHT,
    Theme,
    label_axes,
    legend_above,
    log_scale,
    new_figure,
    style_axes,
    to_png,
)

TASKS = ("mountain-car", "cartpole")


def run(task_name: str, agents: int, unseen: int, seed: int, method: str) -> Adaptation:
    """Fit without and with the last agents of a population, and measure."""
    suite = find_suite(task_name)
    task = suite.task()
    dynamics = suite.dynamics(suite.population({"size": agents, "seed": seed}))
    data = random_transitions(task, dynamics, range(agents), seed=seed)
    fitted = agents - unseen
    began = time.perf_counter()
    some = PerSim.fit(first_agents(data, fitted), method=method, progress=False)
    print(f"{task_name}: {fitted} agents fitted in {time.perf_counter() - began:.1f} s", end=", ")
    print(f"{some}, prior {some.prior.to_json()}")
    every = PerSim.fit(data, method=method, progress=False)
    for sim in (some, every):
        print(f"  {sim.num_agents} agents: {sim.card['metrics'].get('chosen')}")
    return measure(some, every, dynamics, range(fitted, agents))


def first_agents(data: Transitions, count: int) -> Transitions:
    """The transitions of the first agents alone."""
    part = data.select(data.agent < count)
    return replace(part, num_agents=count)


def show(found: Adaptation) -> None:
    """Print the tables."""
    print(f"\n{found.task_name}: open-loop RMSE of {len(found.agents)} unseen agents")
    print("  transitions      median    geo. mean       worst   posterior sd")
    lines = [("population's mean", found.mean, math.nan)]
    for k, count in enumerate(found.counts.tolist()):
        lines.append((str(count), found.rmse[k], float(np.median(found.deviation[k]))))
    lines.append(("seen in training", found.trained, math.nan))
    for name, errors, deviation in lines:
        text = f"  {name:<17}{np.median(errors):10.3g} {np.exp(np.log(errors).mean()):10.3g} "
        print(
            text
            + f"{errors.max():11.3g}"
            + ("" if math.isnan(deviation) else f" {deviation:14.3g}")
        )
    asked = "/".join(f"{level:.0%}" for level in LEVELS)
    print(f"\n{found.task_name}: coverage of intervals of {asked} (* without calibration)")
    print(
        "  transitions  next step        scripted policy  factors          "
        "next step*       factors*"
    )
    for k, count in enumerate(found.counts):
        parts = (
            found.calibrated.predictions[k],
            found.calibrated.scripted[k],
            found.calibrated.factors[k],
            found.plain.predictions[k],
            found.plain.factors[k],
        )
        print(f"  {count:<12}", "   ".join(" ".join(f"{v:4.0%}" for v in part) for part in parts))


def adaptation_figure(results: Sequence[Adaptation], theme: Theme = LIGHT) -> Figure:
    """A column for each task: error above, coverage of one-step intervals below."""
    figure = new_figure(2.9 * len(results) + 0.6, 6.9, theme)
    grid = figure.add_gridspec(
        2, len(results), left=0.72 / figure.get_figwidth(), right=0.98, top=0.79, bottom=0.08,
        hspace=0.2, wspace=0.3, height_ratios=[1.25, 1.0],
    )  # fmt: skip
    for column, found in enumerate(results):
        above = figure.add_subplot(grid[0, column])
        below = figure.add_subplot(grid[1, column])
        _errors(above, found, theme)
        _coverage(below, found, theme)
        title = SUITES[found.task_name].title if found.task_name in SUITES else found.task_name
        above.set_title(title, fontsize=10.5, color=theme.ink, pad=8)
        first = column == 0
        label_axes(above, "", "RMSE, all (paper's)" if first else "", theme)
        inside = "share inside the interval" if first else ""
        label_axes(below, "transitions of the new agent", inside, theme)
        if first:
            legend_above(figure, [*above.get_lines(), *_named(below)], theme)
    return figure


def _named(axes: Axes) -> list[Line2D]:
    return [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]


def _errors(axes: Axes, found: Adaptation, theme: Theme) -> None:
    style_axes(axes, theme)
    places = np.arange(len(found.counts))
    low, middle, high = np.quantile(found.rmse, (0.1, 0.5, 0.9), axis=1)
    axes.fill_between(places, low, high, color=theme.learned, alpha=0.25, lw=0)
    axes.plot(
        places, middle, color=theme.learned, lw=1.6, marker="o", ms=3.5,
        label="adapted: median, 80% of agents",
    )  # fmt: skip
    for errors, colour, dashes, name in (
        (found.mean, theme.pooled, (4, 2), "population's mean"),
        (found.trained, theme.true, (1, 1.5), "seen in training"),
    ):
        axes.axhline(float(np.median(errors)), color=colour, lw=1.8, dashes=dashes, label=name)
    log_scale(axes)
    _ticks(axes, found)


def _coverage(axes: Axes, found: Adaptation, theme: Theme) -> None:
    style_axes(axes, theme)
    places = np.arange(len(found.counts))
    for number, level in enumerate(LEVELS):
        first = number == 0
        axes.axhline(level, color=theme.faint, lw=0.9, dashes=(1, 2))
        axes.plot(
            places, found.calibrated.predictions[:, number], color=theme.learned, lw=1.5,
            marker="s", ms=4, label="calibrated at fit time" if first else None,
        )  # fmt: skip
        axes.plot(
            places, found.plain.predictions[:, number], color=theme.nothing, lw=1.4,
            dashes=(3, 2), label="white Gaussian noise" if first else None,
        )  # fmt: skip
    axes.set_ylim(0.0, 1.04)
    axes.yaxis.set_major_locator(FixedLocator([0.0, *LEVELS]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    _ticks(axes, found)


def _ticks(axes: Axes, found: Adaptation) -> None:
    axes.xaxis.set_major_locator(FixedLocator(np.arange(len(found.counts)).tolist()))
    names = [str(count) for count in found.counts]
    axes.set_xticklabels(names)


def main() -> None:
    """Measure, print, and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--task", choices=TASKS, help="one task alone")
    parser.add_argument("--quick", action="store_true", help="60 agents, 10 of them unseen")
    parser.add_argument("--method", default="als", choices=("auto", "als", "sgd"))
    parser.add_argument("--seed", type=int, default=11, help="of the population and the data")
    parser.add_argument("--out", type=Path, help="folder of the figure and the numbers")
    options = parser.parse_args()
    agents, unseen = (60, 10) if options.quick else (500, 50)
    results = []
    for task_name in [options.task] if options.task else TASKS:
        found = run(task_name, agents, unseen, options.seed, options.method)
        show(found)
        results.append(found)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps([found.to_json() for found in results], indent=1)
        write_text(options.out / "adaptation.json", text + "\n")
        picture = to_png(adaptation_figure(results))
        print(write_bytes(options.out / "adaptation.png", picture))


if __name__ == "__main__":
    main()
