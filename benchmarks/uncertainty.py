"""Does a simulator know how wrong it is? Disagreement of the members beside true error.

    python benchmarks/uncertainty.py [TASK...] [--methods als sgd] [--plots FOLDER]

For each task, 500 agents are recorded under random actions (seed 0) and fitted by each method.
Open loop: 10 episodes of each of 40 agents (5 to 44) under scripted controllers. Single steps: 200
steps of the simulator's own rollouts from 300 agents, which leave the data.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from latent import recorded
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterMathtext, LogLocator, NullFormatter

from persim_gym.envs.suites import SUITES
from persim_gym.evaluation.episodes import follow
from persim_gym.evaluation.uncertainty import (
    BAD,
    OpenLoopUncertainty,
    StepUncertainty,
    open_loop_uncertainty,
    step_uncertainty,
)
from persim_gym.learned import PerSim
from persim_gym.plots.style import LIGHT, Theme, new_figure, save, style_axes
from persim_gym.policies.scripted import scripted_policy


def uncertainty_figure(
    found: dict[str, OpenLoopUncertainty], steps: dict[str, StepUncertainty], theme: Theme = LIGHT
) -> Figure:
    """Rank correlation by step, calibration, and single steps anywhere; a colour a simulator."""
    figure = new_figure(6.4, 5.8, theme)
    places = ((0.11, 0.6, 0.37, 0.33), (0.62, 0.6, 0.37, 0.33), (0.11, 0.1, 0.37, 0.33))
    left, middle, right = (figure.add_axes(place) for place in places)
    colors = (theme.learned, theme.true, theme.pooled, theme.trained)
    marks = ("o-", "s--", "D-.", "^:")
    for color, mark, (name, open_loop) in zip(colors, marks, found.items(), strict=False):
        correlation = open_loop.rank_correlation()
        left.plot(
            np.arange(1, len(correlation) + 1), correlation, mark, color=color, label=name, ms=4,
            markevery=7,
        )  # fmt: skip
        middle.loglog(*open_loop.calibration(), mark, color=color, ms=4)
        one = steps[name]
        order = np.argsort(one.disagreement)
        parts = [part for part in np.array_split(order, 25) if len(part)]
        right.loglog(
            [np.median(one.disagreement[part]) for part in parts],
            [np.median(one.error[part]) for part in parts],
            mark, color=color, ms=4,
        )  # fmt: skip
    ends = np.array([*middle.get_xlim(), *middle.get_ylim()])
    span = [ends.min(), ends.max()]
    middle.plot(span, span, color=theme.faint, lw=0.8, ls=":")
    right.axhline(BAD, color=theme.faint, lw=0.8, ls=":")
    left.set(
        title="Does disagreement rank errors?", xlabel="steps ahead", ylabel="rank correlation"
    )
    left.set_ylim(-0.1, 1.02)
    middle.set(
        title="Open loop: as large as the error?", xlabel="standard deviation of members",
        ylabel="error of their mean",
    )  # fmt: skip
    right.set(
        title="Single steps, off the data too", xlabel="disagreement",
        ylabel="error, deviations of changes",
    )  # fmt: skip
    for axes in (left, middle, right):
        style_axes(axes, theme)
        axes.title.set_fontsize(10)
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
            text.set_color(theme.ink)
    for axes in (middle, right):
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(numticks=5))
            axis.set_major_formatter(LogFormatterMathtext())
            axis.set_minor_formatter(NullFormatter())
    figure.legend(
        handles=left.get_lines(), loc="center", bbox_to_anchor=(0.8, 0.27), frameon=False,
        fontsize=10, labelcolor=theme.ink, handlelength=2.6,
    )  # fmt: skip
    return figure


def main() -> None:
    """Fit, compare and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tasks", nargs="*", default=["mountain-car", "cartpole"])
    parser.add_argument("--methods", nargs="+", default=["als", "sgd"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plots", type=Path, help="folder for the figures")
    options = parser.parse_args()
    for task in options.tasks:
        suite = SUITES[task]
        data = recorded(task, 500, 0)
        true = suite.dynamics(suite.population())
        episodes = follow(
            suite.task(), true, range(5, 45), scripted_policy(task, options.seed),
            episodes=10, seed=options.seed,
        )  # fmt: skip
        open_loop: dict[str, OpenLoopUncertainty] = {}
        single: dict[str, StepUncertainty] = {}
        for method in options.methods:
            sim = PerSim.fit(data, method=method, seed=options.seed, progress=False)
            name = {"als": "closed form", "sgd": "networks"}[method]
            open_loop[name] = found = open_loop_uncertainty(sim, episodes)
            single[name] = one = step_uncertainty(sim, true, np.arange(5, 305), seed=options.seed)
            at = [0, 4, 9, 24, 49]
            print(f"{task}, {name}: limit of the guard {sim.experience.disagreement_limit:.3g}")
            ranks, ratios = found.rank_correlation(), found.ratio()
            print("  step                     " + "".join(f"{t + 1:9d}" for t in at))
            print("  rank correlation         " + "".join(f"{ranks[t]:9.2f}" for t in at))
            print("  error over deviation, median" + "".join(f"{ratios[t]:9.2f}" for t in at))
            for label, limit in (
                ("guard", sim.experience.disagreement_limit), ("best", one.best_limit())
            ):  # fmt: skip
                caught, vain = one.caught(limit)
                print(f"  {label} limit {limit:.3g}: stops {caught:.1%} of bad, {vain:.2%} of good")
            print(f"  bad single steps: {(one.error > 0.5).mean():.1%} of {len(one.error):,}")
        if options.plots is not None:
            save(uncertainty_figure(open_loop, single), options.plots / f"uncertainty-{task}.png")


if __name__ == "__main__":
    main()
