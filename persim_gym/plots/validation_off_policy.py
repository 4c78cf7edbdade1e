"""A policy's value on the page of a validation: a figure, and a table of all agents."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from persim_gym.plots.numbers import number
from persim_gym.plots.style import LIGHT, Theme, label_axes, new_figure, pngs, style_axes

WIDTH, HEIGHT = 7.0, 3.2
#: Agents of the figure, and rows of the table.
SHOWN, LISTED = 40, 400


def value_panel(found: Mapping[str, Any], *, theme: Theme = LIGHT) -> Figure:
    """Each agent's value: simulated with its interval, by fitted-Q evaluation, and as recorded.

    Args:
        found: As :meth:`~persim_gym.evaluation.off_policy.OffPolicy.to_json` gives it.
        theme: Colours.
    """
    agents = sorted(found["agents"], key=lambda own: own["simulated"])
    kept = np.unique(np.linspace(0, len(agents) - 1, min(len(agents), SHOWN)).astype(int))
    agents = [agents[k] for k in kept.tolist()]
    of = {name: np.array([own[name] for own in agents], float) for name in _COLUMNS}
    figure = new_figure(WIDTH, HEIGHT, theme)
    axes = figure.add_axes((0.1, 0.15, 0.87, 0.8))
    style_axes(axes, theme)
    x = np.arange(len(agents))
    axes.vlines(x, of["low"], of["high"], color=theme.learned, alpha=0.35, lw=5)
    for name, (colour, mark, _) in _marks(theme).items():
        axes.plot(x, of[name], mark, color=colour, ms=5)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    label_axes(axes, "agents, by simulated value", "sum of rewards", theme)
    return figure


def value_legend(*, theme: Theme = LIGHT) -> Figure:
    """The marks of the figure and their names."""
    figure = new_figure(WIDTH, 0.4, theme)
    handles = [
        Line2D([], [], color=colour, marker=mark, lw=0, ms=5, label=text)
        for colour, mark, text in _marks(theme).values()
    ]
    handles.append(Line2D([], [], color=theme.learned, alpha=0.35, lw=5, label="95% of episodes"))
    figure.legend(
        handles=handles, loc="center", frameon=False, ncols=4, fontsize=8.5, labelcolor=theme.ink
    )
    return figure


def off_policy_context(found: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows of a policy's value."""
    if "failed" in found:
        return dict(found)
    rows = [
        [
            own["agent"],
            number(own["recorded"]),
            number(own["simulated"]),
            f"{number(own['low'])} to {number(own['high'])}",
            number(own["fitted_q"]),
            "yes" if own["agrees"] else "no",
            number(own["importance"]),
            f"{own['effective']:.1f}",
        ]
        for own in found["agents"][:LISTED]
    ]
    head = [
        "agent", "recorded", "simulated", "interval", "fitted-Q", "agree", "importance",
        "effective",
    ]  # fmt: skip
    return {
        **found,
        "agents": {"head": head, "rows": rows},
        "figure": pngs(functools.partial(value_panel, found)),
        "legend": pngs(value_legend),
    }


_COLUMNS = ("simulated", "low", "high", "fitted_q", "recorded")


def _marks(theme: Theme) -> dict[str, tuple[str, str, str]]:
    return {
        "simulated": (theme.learned, "o", "simulated"),
        "fitted_q": (theme.trained, "D", "fitted-Q evaluation"),
        "recorded": (theme.true, "_", "recorded"),
    }
