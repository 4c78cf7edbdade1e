"""The report's figures: scarcity, unseen agents, latent factors, horizons, returns, planners.

Lines and dots are interquartile means, bands and bars their 95 % intervals over seeds; with one
seed there are none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
)

from persim_gym.envs.suites import SUITES
from persim_gym.evaluation.latent_factors import LatentProbe
from persim_gym.experiments.quantities import ALL, Quantity
from persim_gym.experiments.report.panels import (
    DASHES,
    MARKERS,
    at_least,
    colours,
    draw_curve,
    is_drawn,
    line_style,
    new_panels,
    set_ticks,
    tick_subs,
    usual_range,
    write_beyond,
)
from persim_gym.experiments.report.side_tables import (
    known_of,
    scarce_slots,
    unseen_slots,
)
from persim_gym.experiments.report.tables import STEPS, agents_of, blocks, places
from persim_gym.experiments.results import Findings, Slot, variants_of
from persim_gym.experiments.statistics import Summary
from persim_gym.plots.style import (
    LIGHT,
    Theme,
    label_axes,
    legend_above,
    log_scale,
    new_figure,
    number,
    style_axes,
)

# -- error by horizon ------------------------------------------------------------------------------


def horizon_figure(findings: Findings, task: str, theme: Theme = LIGHT) -> Figure:
    """RMSE after a number of open-loop steps, a panel for each data set."""
    slots = findings.main_slots("prediction", task)
    variants, datasets = variants_of(slots), blocks(slots)
    figure, panels = new_panels(len(datasets), theme)
    tints = colours(variants, theme)
    styles = {variant: line_style(i) for i, variant in enumerate(variants)}
    for axes, dataset in zip(panels, datasets, strict=True):
        for variant, slot in zip(variants, places(slots, dataset, variants), strict=True):
            names = [Quantity(f"rmse after {k} steps", ALL, "test-policy") for k in STEPS]
            points = [(k, findings.summary(slot, n)) for k, n in zip(STEPS, names, strict=True)]
            draw_curve(axes, points, tints[variant], **styles[variant])
        axes.set_xscale("log")
        set_ticks(axes, STEPS)
        log_scale(axes)
        axes.set_title(dataset or "", fontsize=10.5, color=theme.ink, pad=6)
        label_axes(
            axes, "open-loop steps", "RMSE, all (paper's)" if axes in panels[::2] else "", theme
        )
    handles = [
        Line2D([], [], color=tints[e], lw=2.2, ms=5, label=e.title, **styles[e]) for e in variants
    ]
    legend_above(figure, handles, theme)
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
    figure = new_figure(6.4, 3.9, theme)
    axes = figure.add_axes((0.13, 0.14, 0.85, 0.83))
    style_axes(axes, theme)
    tints = dict(zip(SUITES, (theme.trained, theme.learned, theme.true), strict=True))
    several = {task for task, *_ in lines if sum(other[0] == task for other in lines) > 1}
    counts: set[int] = set()
    for i, (task, variant, dataset, slots) in enumerate(lines):
        points = [(slot.train_agents or 0, findings.summary(slot, quantity)) for slot in slots]
        name = SUITES[task].title
        if task in several:
            name += f", {variant.title}, {dataset}"
        draw_curve(axes, points, tints[task], **line_style(i))
        _name_line(axes, points, name, tints[task])
        counts |= {count for count, _ in points}
    axes.set_xscale("log")
    set_ticks(axes, sorted(counts))
    log_scale(axes)
    label_axes(axes, "agents in the data", "RMSE of the test agents, all (paper's)", theme)
    return figure


def _name_line(
    axes: Axes, points: Sequence[tuple[float, Summary | None]], name: str, colour: str
) -> None:
    """Write a line's name above its last point, within the axes."""
    known = [(x, own.iqm) for x, own in points if own is not None and is_drawn(own)]
    if known:
        axes.annotate(
            name, known[-1], xytext=(0, 9), textcoords="offset points", ha="right", va="bottom",
            fontsize=10, weight="bold", color=colour,
        )  # fmt: skip


# -- unseen agents ---------------------------------------------------------------------------------


def unseen_figure(findings: Findings, theme: Theme = LIGHT) -> Figure:
    """RMSE against transitions of the unseen agent, a panel for each task, data set and method."""
    slots = [slot for slot in unseen_slots(findings) if slot in findings.by_slot]
    figure, panels = new_panels(len(slots), theme)
    for axes, slot in zip(panels, slots, strict=True):
        known = known_of(findings, [slot])
        found = {k: findings.summary(slot, Quantity("median rmse", ALL, None, k)) for k in known}
        counts = [int(name) for name in known if name.isdigit()]
        draw_curve(axes, [(count, found[str(count)]) for count in counts], theme.learned)
        for name, colour, ls in (
            ("mean", theme.nothing, DASHES[1]),
            ("covariates", theme.true, DASHES[3]),
        ):
            own = found.get(name)
            if own is not None and is_drawn(own):
                axes.axhline(own.iqm, color=colour, lw=1.8, ls=ls)
                if not math.isnan(own.low) and math.isfinite(own.high):
                    axes.axhspan(own.low, own.high, color=colour, alpha=0.14, lw=0)
        axes.set_xscale("log")
        set_ticks(axes, counts)
        log_scale(axes)
        title = f"{SUITES[slot.task].title}, {slot.dataset}"
        several = sum((s.task, s.dataset) == (slot.task, slot.dataset) for s in slots) > 1
        title += f"\n{slot.variant.title}" if several else ""
        axes.set_title(title, fontsize=10.5, color=theme.ink, pad=6)
        label = "RMSE, all (paper's)" if axes in panels[::2] else ""
        label_axes(axes, "transitions of the unseen agent", label, theme)
    handles = [
        Line2D([], [], color=theme.nothing, lw=1.8, ls=DASHES[1], label="the mean agent"),
        Line2D([], [], color=theme.true, lw=1.8, ls=DASHES[3], label="covariates known"),
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
    top = 0.45 + 0.24 * math.ceil(len(variants) / 3)
    height = top + 0.45 + 2.1 * len(datasets)
    figure = new_figure(6.4, height, theme)
    grid = figure.add_gridspec(
        len(datasets), 1, left=0.13, right=0.99, top=1 - top / height, bottom=0.36 / height,
        hspace=0.32,
    )  # fmt: skip
    judged: list[int | str] = [*agents, ALL]
    slot_width = min(0.16, 0.8 / max(len(variants), 1))
    for row, dataset in enumerate(datasets):
        axes = figure.add_subplot(grid[row, 0])
        style_axes(axes, theme)
        own_slots = places(slots, dataset, variants)
        found = {
            (a, i): own
            for a, agent in enumerate(judged)
            for i, slot in enumerate(own_slots)
            if (own := findings.summary(slot, Quantity("return", agent))) and is_drawn(own)
        }
        ends = usual_range([own.iqm for own in found.values()])
        for a in range(1, len(judged), 2):
            axes.axvspan(a - 0.5, a + 0.5, color=theme.grid, alpha=0.35, lw=0)
        for (a, i), own in found.items():
            x = a + (i - (len(variants) - 1) / 2) * slot_width
            _dot(axes, x, own, ends, tints[variants[i]], MARKERS[i % len(MARKERS)])
        axes.set_xlim(-0.5, len(judged) - 0.5)
        last = row == len(datasets) - 1
        axes.set_xticks(range(len(judged)))
        names = [f"agent {k}" if k != ALL else "mean" for k in judged]
        axes.set_xticklabels(names if last else [""] * len(judged), fontsize=9, color=theme.ink)
        axes.tick_params(axis="x", length=0, pad=6)
        axes.grid(visible=False, axis="x")
        axes.yaxis.set_major_locator(MaxNLocator(5))
        label_axes(axes, "", "return", theme)
        axes.set_title(f"data set {dataset}" if dataset else "", fontsize=10.5, color=theme.ink)
    handles = [
        Line2D([], [], color=tints[e], lw=0, marker=MARKERS[i % len(MARKERS)], ms=6, label=e.title)
        for i, e in enumerate(variants)
    ]
    legend_above(figure, handles, theme)
    return figure


def _dot(
    axes: Axes, x: float, own: Summary, ends: tuple[float, float], colour: str, marker: str
) -> None:
    height = min(max(own.iqm, ends[0]), ends[1])
    if height != own.iqm:
        write_beyond(axes, (x, height), own.iqm, colour)
    elif not math.isnan(own.low):
        axes.plot([x, x], [own.low, own.high], color=colour, lw=2, solid_capstyle="round")
    axes.plot([x], [height], color=colour, marker=marker, ms=6, lw=0, zorder=3)


# -- planners --------------------------------------------------------------------------------------


def planners_figure(
    findings: Findings, planned: Mapping[str, Sequence[Slot]], theme: Theme = LIGHT
) -> Figure:
    """Return against decisions a second, a panel for each task."""
    names = list(dict.fromkeys(str(slot.planner) for slots in planned.values() for slot in slots))
    variants = variants_of(slot for slots in planned.values() for slot in slots)
    markers = {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(names)}
    tints = colours(variants, theme)
    figure, panels = new_panels(len(planned), theme)
    for axes, (task, slots) in zip(panels, planned.items(), strict=True):
        rates = [findings.summary(slot, Quantity("decisions per second")) for slot in slots]
        returns = [findings.summary(slot, Quantity("return")) for slot in slots]
        low, high = usual_range([own.iqm for own in returns if own is not None])
        for slot, rate, own in zip(slots, rates, returns, strict=True):
            if rate is None or own is None:
                continue
            colour = tints[slot.variant]
            inside = low <= own.iqm <= high
            if inside and not math.isnan(own.low):
                axes.plot([rate.iqm] * 2, [own.low, own.high], color=colour, lw=1.6)
            height = min(max(own.iqm, low), high)
            axes.plot(
                [rate.iqm], [height], marker=markers[str(slot.planner)], ms=7.5, lw=0, mew=1.6,
                mec=colour, mfc=theme.paper if slot.variant.method == "true" else colour, zorder=3,
            )  # fmt: skip
            if not inside:
                write_beyond(axes, (rate.iqm, height), own.iqm, colour)
        axes.set_xscale("log")
        axes.margins(x=0.18, y=0.16)
        axes.set_ylim(at_least(axes.get_ylim()))
        axes.xaxis.set_major_locator(LogLocator(subs=tick_subs(axes.get_xlim())))
        axes.xaxis.set_major_formatter(FuncFormatter(number))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_title(SUITES[task].title, fontsize=10.5, color=theme.ink, pad=6)
        label_axes(axes, "decisions a second", "return" if axes in panels[::2] else "", theme)
    handles = [
        Line2D([], [], lw=0, marker=markers[name], ms=6.5, color=theme.faint, label=name)
        for name in names
    ]
    handles += [Line2D([], [], color=tints[e], lw=3, label=e.title) for e in variants]
    legend_above(figure, handles, theme)
    return figure
