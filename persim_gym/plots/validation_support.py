"""Figures of what data cover and of what a policy would earn."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from persim_gym.plots.numbers import number
from persim_gym.plots.style import LIGHT, Theme, label_axes, new_figure, pngs, style_axes
from persim_gym.plots.validation import panel

#: Actions that have figures, agents of a figure of doses and of one of values, and rows of the
#: page's tables.
PANELS, SHOWN, VALUES, LISTED = 8, 60, 40, 400
#: Size of the figure of values, in inches.
WIDTH, HEIGHT = 7.0, 3.2


def dose_panel(doses: Mapping[str, Any], *, theme: Theme = LIGHT) -> Figure:
    """How much of each agent's record each dose is: a row for each agent, the highest doses last.

    Args:
        doses: Of one action, as :func:`~persim_gym.evaluation.validation.support.support_of` has
            them.
        theme: Colours.
    """
    shares = np.array(doses["shares"])
    order = np.argsort(shares @ np.arange(shares.shape[1]), kind="stable")
    order = order[np.unique(np.linspace(0, len(order) - 1, min(len(order), SHOWN)).astype(int))]
    figure, axes = panel(theme)
    edges = doses["edges"]
    extent = (edges[0], edges[-1]) if edges else (-0.5, shares.shape[1] - 0.5)
    colours = LinearSegmentedColormap.from_list("doses", [theme.paper, theme.learned])
    axes.imshow(
        np.sqrt(shares[order]), aspect="auto", origin="lower", cmap=colours, vmin=0, vmax=1,
        extent=(*extent, 0, len(order)), interpolation="nearest",
    )  # fmt: skip
    axes.grid(False)
    if not edges:
        few = len(doses["labels"]) <= 6
        axes.set_xticks(range(len(doses["labels"])))
        names = doses["labels"] if few else range(len(doses["labels"]))
        axes.set_xticklabels([str(name)[-12:] for name in names])
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    label_axes(axes, doses["action"], "agents, by dose", theme)
    return figure


def against_panel(action: Mapping[str, Any], *, theme: Theme = LIGHT) -> Figure:
    """An action against the column that explains it best."""
    figure, axes = panel(theme)
    against = action["against"]
    axes.plot(against["x"], against["y"], "o", color=theme.learned, ms=2.5, alpha=0.5, mew=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    label_axes(axes, against["column"], action["name"], theme)
    return figure


def support_context(support: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows of support."""
    actions = support["actions"]
    agents = list(support["agents"].items())[:LISTED]
    names = [action["name"] for action in actions]
    return {
        "warnings": support["warnings"],
        "rest": [text for text in support["sentences"] if text not in support["warnings"]],
        "rules": support["rules"],
        "actions": {
            "head": ["action", "recorded", "varied by", "R² of the state", "R² with other actions"],
            "rows": [_action_row(action, len(support["agents"])) for action in actions],
        },
        "doses": [
            {"title": doses["action"], "of": pngs(functools.partial(dose_panel, doses))}
            for doses in support["doses"][:PANELS]
        ],
        "against": [
            {
                "title": f"{action['name']} and {action['against']['column']}",
                "of": pngs(functools.partial(against_panel, action)),
            }
            for action in actions[:PANELS]
            if action["against"]
        ],
        "agents": {
            "head": ["agent", "covered by its own record", "own covered by others", *names],
            "rows": [
                [name, f"{own['own']:.0%}", f"{own['others']:.0%}", *own["rests_on"].values()]
                for name, own in agents
            ],
        },
        "regions": {
            "head": ["where", "action", "rows", "varied there by", "through others"],
            "rows": [
                [r["text"], r["action"], r["rows"], r["own"], r["through_others"]]
                for r in support["regions"][:LISTED]
            ],
        },
    }


def _action_row(action: Mapping[str, Any], agents: int) -> list[str]:
    range_ = f"{number(action['low'])} to {number(action['high'])}"
    r2 = [_known(action["r2"][name]) for name in ("state", "state and other actions")]
    return [action["name"], range_, f"{action['varied_by']} of {agents} agents", *r2]


def _known(value: float) -> str:
    return f"{max(value, 0.0):.2f}" if np.isfinite(value) else "–"


def value_panel(found: Mapping[str, Any], *, theme: Theme = LIGHT) -> Figure:
    """Each agent's value: simulated with its interval, by fitted-Q evaluation, and as recorded."""
    agents = sorted(found["agents"], key=lambda own: own["simulated"])
    kept = np.unique(np.linspace(0, len(agents) - 1, min(len(agents), VALUES)).astype(int))
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
