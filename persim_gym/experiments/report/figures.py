"""The report's figures: scarcity, unseen agents, latent factors, horizons, returns, planners.

Lines and dots are interquartile means, bands and bars their 95 % intervals over seeds; with one
seed there are none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
)

from persim_gym.envs.suites import SUITES
from persim_gym.evaluation.latent_factors import LatentProbe
from persim_gym.experiments.quantities import ALL, Quantity
from persim_gym.experiments.report.side_tables import (
    known_of,
    scarce_slots,
    unseen_slots,
)
from persim_gym.experiments.report.tables import STEPS, agents_of, blocks, places
from persim_gym.experiments.results import Findings, Slot, Variant, variants_of
from persim_gym.experiments.statistics import Summary
from persim_gym.plots.style import (
    DARK,
    LIGHT,
    Theme,
    label_axes,
    legend_above,
    log_scale,
    new_figure,
    number,
    style_axes,
)

#: Further colours, on light and on dark, for methods without one of their own.
_FURTHER = {
    LIGHT.paper: ("#7b5ea7", "#2f8f8b", "#b04a76", "#7d8a2e", "#8a5a3c", "#4b59b0"),
    DARK.paper: ("#b59be0", "#63c2bd", "#e083ad", "#b7c46a", "#c99878", "#96a2ee"),
}
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">")


# -- colours ---------------------------------------------------------------------------------------


def colours(variants: Sequence[Variant], theme: Theme) -> dict[Variant, str]:
    """A colour for each method: well-known ones have their own in all figures."""
    own = {
        "persim": theme.learned, "true": theme.true, "one-for-all": theme.pooled,
        "persistence": theme.nothing, "random": theme.nothing, "test-policy": theme.trained,
    }  # fmt: skip
    further = iter(_FURTHER[theme.paper] * (1 + len(variants)))
    taken: set[str] = set()
    found = {}
    for variant in variants:
        colour = own.get(variant.method)
        if colour is None or colour in taken:
            colour = next(further)
        taken.add(colour)
        found[variant] = colour
    return found


# -- error by horizon ------------------------------------------------------------------------------


def horizon_figure(findings: Findings, task: str, theme: Theme = LIGHT) -> Figure:
    """RMSE after a number of open-loop steps, a panel for each data set."""
    slots = findings.main_slots("prediction", task)
    variants, datasets = variants_of(slots), blocks(slots)
    figure, panels = _panels(len(datasets), theme)
    tints = colours(variants, theme)
    for axes, dataset in zip(panels, datasets, strict=True):
        for variant, slot in zip(variants, places(slots, dataset, variants), strict=True):
            names = [Quantity(f"rmse after {k} steps", ALL, "test-policy") for k in STEPS]
            points = [(k, findings.summary(slot, n)) for k, n in zip(STEPS, names, strict=True)]
            _curve(axes, points, tints[variant])
        axes.set_xscale("log")
        _ticks(axes, STEPS)
        log_scale(axes)
        axes.set_title(dataset or "", fontsize=9.5, color=theme.ink, pad=6)
        label_axes(axes, "open-loop steps", "RMSE" if axes is panels[0] else "", theme)
    legend_above(
        figure, [Line2D([], [], color=tints[e], lw=2.2, label=e.title) for e in variants], theme
    )
    return figure


# -- scarcity --------------------------------------------------------------------------------------


def scarcity_figure(findings: Findings, theme: Theme = LIGHT) -> Figure:
    """RMSE against the number of agents in the data, both logarithmic; a line for each task."""
    quantity = Quantity("rmse", ALL, "test-policy")
    lines = [
        (task, variant, dataset, slots)
        for task in findings.tasks("prediction")
        for (variant, dataset), slots in scarce_slots(findings, task).items()
    ]
    figure = new_figure(7.2, 4.0, theme)
    axes = figure.add_axes((0.11, 0.14, 0.6, 0.81))
    style_axes(axes, theme)
    tints = dict(zip(SUITES, (theme.trained, theme.learned, theme.true), strict=True))
    several = {task for task, *_ in lines if sum(other[0] == task for other in lines) > 1}
    counts: set[int] = set()
    handles = []
    seen: dict[str, int] = {}
    for task, variant, dataset, slots in lines:
        points = [(slot.train_agents or 0, findings.summary(slot, quantity)) for slot in slots]
        nth = seen[task] = seen.get(task, -1) + 1
        label = SUITES[task].title
        if task in several:
            label += f"\n{variant.title}, {dataset}"
        style: dict[str, Any] = {
            "marker": _MARKERS[nth % len(_MARKERS)],
            "ls": ("-", "--", ":")[nth % 3],
        }
        _curve(axes, points, tints[task], **style)
        handles.append(Line2D([], [], color=tints[task], lw=2, ms=5, label=label, **style))
        counts |= {count for count, _ in points}
    axes.set_xscale("log")
    _ticks(axes, sorted(counts))
    log_scale(axes)
    label_axes(axes, "agents in the data", "RMSE of the test agents", theme)
    figure.legend(
        handles=handles, loc="center left", bbox_to_anchor=(0.73, 0.55), frameon=False,
        fontsize=9, labelcolor=theme.ink,
    )  # fmt: skip
    return figure


# -- unseen agents ---------------------------------------------------------------------------------


def unseen_figure(findings: Findings, theme: Theme = LIGHT) -> Figure:
    """RMSE against transitions of the unseen agent, a panel for each task, data set and method."""
    slots = [slot for slot in unseen_slots(findings) if slot in findings.by_slot]
    figure, panels = _panels(len(slots), theme)
    for axes, slot in zip(panels, slots, strict=True):
        known = known_of(findings, [slot])
        found = {k: findings.summary(slot, Quantity("median rmse", ALL, None, k)) for k in known}
        counts = [int(name) for name in known if name.isdigit()]
        _curve(axes, [(count, found[str(count)]) for count in counts], theme.learned)
        for name, colour in (("mean", theme.nothing), ("covariates", theme.true)):
            own = found.get(name)
            if own is not None and _is_drawn(own):
                axes.axhline(own.iqm, color=colour, lw=1.8, dashes=(4, 2))
                if not math.isnan(own.low) and math.isfinite(own.high):
                    axes.axhspan(own.low, own.high, color=colour, alpha=0.14, lw=0)
        axes.set_xscale("log")
        _ticks(axes, counts)
        log_scale(axes)
        title = f"{SUITES[slot.task].title}, {slot.dataset}"
        several = sum((s.task, s.dataset) == (slot.task, slot.dataset) for s in slots) > 1
        title += f"\n{slot.variant.title}" if several else ""
        axes.set_title(title, fontsize=9.5, color=theme.ink, pad=6)
        label = "RMSE, median over agents" if axes is panels[0] else ""
        label_axes(axes, "transitions of the unseen agent", label, theme)
    handles = [
        Line2D([], [], color=theme.nothing, lw=1.8, dashes=(4, 2), label="the mean agent"),
        Line2D([], [], color=theme.true, lw=1.8, dashes=(4, 2), label="covariates known"),
        Line2D([], [], color=theme.learned, lw=2.2, marker="o", ms=4, label="transitions known"),
    ]
    legend_above(figure, handles, theme)
    return figure


# -- latent factors --------------------------------------------------------------------------------


def probe_of(findings: Findings, slot: Slot) -> LatentProbe:
    """The probe of the first seed of a place."""
    results = findings.by_slot[slot].rows[0].results
    names = tuple(results["names"])
    return LatentProbe(
        names=names,
        true=np.array(results["covariates"], dtype=np.float64),
        predicted=np.array(results["predicted"], dtype=np.float64),
        r2=np.array([results["r2"][name] for name in names], dtype=np.float64),
        components=np.array(results["components"], dtype=np.float64),
        explained=np.array(results["explained_by_components"], dtype=np.float64),
    )


# -- returns ---------------------------------------------------------------------------------------


def returns_figure(findings: Findings, task: str, theme: Theme = LIGHT) -> Figure:
    """Return of each agent by method, a row of the figure for each data set."""
    slots = findings.main_slots("reward", task)
    datasets = blocks(slots)
    there = [slot for slot in slots if slot in findings.by_slot]
    variants, agents = variants_of(there), agents_of(findings, there)
    tints = colours(variants, theme)
    top = 0.45 + 0.22 * math.ceil(len(variants) / 5)
    height = top + 0.45 + 2.1 * len(datasets)
    figure = new_figure(10.0, height, theme)
    grid = figure.add_gridspec(
        len(datasets), 1, left=0.085, right=0.99, top=1 - top / height, bottom=0.36 / height,
        hspace=0.32,
    )  # fmt: skip
    judged: list[int | str] = [*agents, ALL]
    slot_width = min(0.16, 0.8 / max(len(variants), 1))
    for row, dataset in enumerate(datasets):
        axes = figure.add_subplot(grid[row, 0])
        style_axes(axes, theme)
        for a, agent in enumerate(judged):
            if a % 2:
                axes.axvspan(a - 0.5, a + 0.5, color=theme.grid, alpha=0.35, lw=0)
            for i, slot in enumerate(places(slots, dataset, variants)):
                own = findings.summary(slot, Quantity("return", agent))
                if own is not None and _is_drawn(own):
                    x = a + (i - (len(variants) - 1) / 2) * slot_width
                    _dot(axes, x, own, tints[variants[i]], _MARKERS[i % len(_MARKERS)])
        axes.set_xlim(-0.5, len(judged) - 0.5)
        last = row == len(datasets) - 1
        axes.set_xticks(range(len(judged)))
        names = [f"agent {k}" if k != ALL else "mean" for k in judged]
        axes.set_xticklabels(names if last else [""] * len(judged), fontsize=8.5, color=theme.ink)
        axes.tick_params(axis="x", length=0, pad=6)
        axes.grid(visible=False, axis="x")
        axes.yaxis.set_major_locator(MaxNLocator(5))
        label_axes(axes, "", "return", theme)
        axes.set_title(f"data set {dataset}" if dataset else "", fontsize=9.5, color=theme.ink)
    handles = [
        Line2D(
            [], [], color=tints[e], lw=0, marker=_MARKERS[i % len(_MARKERS)], ms=6, label=e.title
        )
        for i, e in enumerate(variants)
    ]
    legend_above(figure, handles, theme)
    return figure


def _dot(axes: Axes, x: float, own: Summary, colour: str, marker: str) -> None:
    if not math.isnan(own.low):
        axes.plot([x, x], [own.low, own.high], color=colour, lw=2, solid_capstyle="round")
    axes.plot([x], [own.iqm], color=colour, marker=marker, ms=6, lw=0, zorder=3)


# -- planners --------------------------------------------------------------------------------------


def planners_figure(
    findings: Findings, planned: Mapping[str, Sequence[Slot]], theme: Theme = LIGHT
) -> Figure:
    """Return against decisions a second, a panel for each task."""
    names = list(dict.fromkeys(str(slot.planner) for slots in planned.values() for slot in slots))
    variants = variants_of(slot for slots in planned.values() for slot in slots)
    markers = {name: _MARKERS[i % len(_MARKERS)] for i, name in enumerate(names)}
    tints = colours(variants, theme)
    figure, panels = _panels(len(planned), theme)
    for axes, (task, slots) in zip(panels, planned.items(), strict=True):
        for slot in slots:
            rate = findings.summary(slot, Quantity("decisions per second"))
            own = findings.summary(slot, Quantity("return"))
            if rate is None or own is None:
                continue
            colour = tints[slot.variant]
            if not math.isnan(own.low):
                axes.plot([rate.iqm] * 2, [own.low, own.high], color=colour, lw=1.6)
            axes.plot(
                [rate.iqm], [own.iqm], marker=markers[str(slot.planner)], ms=7.5, lw=0, mew=1.6,
                mec=colour, mfc=theme.paper if slot.variant.method == "true" else colour, zorder=3,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.margins(x=0.18, y=0.16)
        axes.xaxis.set_major_locator(LogLocator(subs=_subs(axes.get_xlim())))
        axes.xaxis.set_major_formatter(FuncFormatter(number))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_title(SUITES[task].title, fontsize=9.5, color=theme.ink, pad=6)
        label_axes(axes, "decisions a second", "return" if axes is panels[0] else "", theme)
    handles = [
        Line2D([], [], lw=0, marker=markers[name], ms=6.5, color=theme.faint, label=name)
        for name in names
    ]
    handles += [Line2D([], [], color=tints[e], lw=3, label=e.title) for e in variants]
    legend_above(figure, handles, theme)
    return figure


# -- parts -----------------------------------------------------------------------------------------


def _panels(count: int, theme: Theme) -> tuple[Figure, list[Axes]]:
    """Panels of one size, three in a row, with room for a legend above."""
    columns = min(count, 3) if count != 4 else 2
    rows = math.ceil(count / columns)
    width = {1: 6.4, 2: 8.6}.get(columns, 10.4)
    height = 0.6 + 2.95 * rows
    figure = new_figure(width, height, theme)
    grid = figure.add_gridspec(
        rows, columns, left=0.72 / width, right=1 - 0.15 / width, top=1 - 0.78 / height,
        bottom=0.5 / height, hspace=0.42, wspace=0.26,
    )  # fmt: skip
    axes = [figure.add_subplot(grid[k // columns, k % columns]) for k in range(count)]
    for own in axes:
        style_axes(own, theme)
    return figure, axes


def _is_drawn(own: Summary) -> bool:
    return math.isfinite(own.iqm)


def _curve(
    axes: Axes,
    points: Iterable[tuple[float, Summary | None]],
    colour: str,
    marker: str = "o",
    ls: str = "-",
) -> None:
    """A line of interquartile means in the band of their intervals; logarithms need more than 0."""
    known = [(x, own) for x, own in points if own is not None and _is_drawn(own) and own.iqm > 0]
    if not known:
        return
    x = [place for place, _ in known]
    axes.plot(x, [own.iqm for _, own in known], color=colour, lw=2, marker=marker, ms=4, ls=ls)
    inside = [(place, own) for place, own in known if own.low > 0 and math.isfinite(own.high)]
    if inside:
        axes.fill_between(
            [place for place, _ in inside], [own.low for _, own in inside],
            [own.high for _, own in inside], color=colour, alpha=0.18, lw=0,
        )  # fmt: skip


def _ticks(axes: Axes, values: Sequence[float]) -> None:
    axes.xaxis.set_major_locator(FixedLocator(list(values)))
    axes.xaxis.set_minor_locator(FixedLocator([]))
    axes.xaxis.set_major_formatter(FuncFormatter(number))


def _subs(ends: tuple[float, float]) -> tuple[float, ...]:
    return (1.0,) if ends[1] / ends[0] > 300 else (1.0, 2.0, 5.0)
