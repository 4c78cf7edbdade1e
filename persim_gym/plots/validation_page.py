"""The page of a validation: one HTML file that needs nothing beside it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from persim_gym.evaluation.validation.models import PERSISTENCE, REFERENCES, SAVED, SIMULATOR
from persim_gym.evaluation.validation.result import Shown, SplitResult, Validation
from persim_gym.evaluation.validation.scores import Scores
from persim_gym.evaluation.validation.splits import SPLITS
from persim_gym.evaluation.validation.verdict import RULES, Grade, Reading
from persim_gym.pages import Bold, render
from persim_gym.plots import validation as figures
from persim_gym.plots.numbers import number, r2_text
from persim_gym.plots.style import pngs
from persim_gym.plots.validation_support import off_policy_context, support_context
from persim_gym.writing import write_bytes

#: Coordinates that have figures, agents whose courses are shown, and coordinates of each.
PANELS, AGENTS, COURSES = 24, 3, 4
#: Rows of the table of agents that are not folded away.
LISTED = 400


def write_page(validation: Validation, path: Path) -> Path:
    """Write the page of a validation."""
    return write_bytes(path, render_page(validation).encode())


def render_page(validation: Validation) -> str:
    """The page of a validation as text."""
    return render(
        "validation.html.jinja",
        title=validation.title,
        headline=validation.headline,
        grade=str(validation.grade),
        facts=[(name, _plain(value)) for name, value in validation.facts.items()],
        notes=validation.notes,
        splits=[_split(validation, split) for split in validation.splits],
        rules=RULES,
        support=validation.support and support_context(validation.support),
        off_policy=validation.off_policy and off_policy_context(validation.off_policy),
    )


def _plain(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _split(validation: Validation, split: SplitResult) -> dict[str, Any]:
    verdict, scores = split.verdict, split.scores
    shown: dict[str, Any] = {
        "name": split.name,
        "asks": SPLITS[split.name],
        "failed": split.failed,
        "notes": split.notes,
        "headline": verdict.headline,
        "bad": verdict.grade is Grade.BAD,
        "warnings": verdict.warnings,
        "readings": [
            [r.coordinate, _reach(r.values), _reach(r.course), _without_name(r)]
            for r in verdict.readings
        ],
        "scores": None,
    }
    if scores is not None:
        shown["scores"] = _scores(validation, split, scores)
    return shown


def _without_name(reading: Reading) -> str:
    """A reading's words, which begin with the coordinate's name elsewhere."""
    text = reading.text.removeprefix(f"{reading.coordinate}: ")
    return text[:1].upper() + text[1:]


def _reach(steps: int) -> str:
    return f"{steps} steps" if steps > 1 else "1 step" if steps else "none"


def _scores(validation: Validation, split: SplitResult, scores: Scores) -> dict[str, Any]:
    vary = np.flatnonzero(~scores.constant).tolist()
    labels = [
        f"{name} ({unit})" if unit else name
        for name, unit in zip(validation.columns, validation.units, strict=True)
    ]
    drawn = vary[:PANELS]
    used = [name for name in figures.NAMES if name in scores.rmse]
    return {
        "predictions": int(scores.count.max(initial=0)),
        "agents": len(split.agents),
        "fitted": split.fitted,
        "errors": _errors(scores, labels, vary),
        "intervals": _intervals(scores, labels, vary),
        "range": _range(scores, labels, vary),
        "legend": pngs(functools.partial(figures.legend, used)),
        "panels": [
            {
                "title": validation.columns[place],
                "of": pngs(
                    functools.partial(figures.error_panel, scores, place, validation.units[place])
                ),
            }
            for place in drawn
        ],
        "left_out": len(vary) - len(drawn),
        "calibration": [
            {
                "title": _reach(steps) + " ahead",
                "of": pngs(
                    functools.partial(figures.calibration_panel, scores, k, validation.columns)
                ),
            }
            for k, steps in enumerate(scores.steps)
            if scores.coverage and vary and scores.count[k]
        ],
        "course_legend": pngs(figures.course_legend),
        "worst": [_course(validation, scores, own, vary) for own in split.worst[:AGENTS]],
        "by_agent": _by_agent(validation, split, scores, vary),
    }


def _errors(scores: Scores, labels: Sequence[str], vary: Sequence[int]) -> dict[str, Any]:
    names = [name for name in (SIMULATOR, *REFERENCES) if name in scores.rmse]
    head = ["coordinate", "steps", "predictions", *(figures.NAMES[name] for name in names)]
    saved = scores.rmse.get(SAVED)
    head += [f"skill over {figures.NAMES[name]}" for name in names[1:]] + ["R²"]
    head += ["as saved, has seen this"] * (saved is not None)
    rows = []
    for place in vary:
        for k, steps in enumerate(scores.steps):
            own = [float(scores.rmse[name][k, place]) for name in names]
            least = np.nanmin(own) if not np.isnan(own).all() else np.nan
            cells = [Bold(number(v)) if v == least else number(v) for v in own]
            skills = [_skill(float(scores.skill(name)[k, place])) for name in names[1:]]
            r2 = _known(float(scores.r2[k, place]))
            row = [labels[place], steps, int(scores.count[k]), *cells, *skills, r2_text(r2)]
            rows.append(row if saved is None else [*row, number(float(saved[k, place]))])
    return {"head": head, "rows": rows}


def _intervals(scores: Scores, labels: Sequence[str], vary: Sequence[int]) -> dict[str, Any]:
    levels = [level for level in (0.8, 0.95) if level in scores.coverage]
    head = ["coordinate", "steps"]
    for level in levels:
        head += [f"{level:.0%} intervals hold", "their width"]
    rows = []
    for place in vary if levels else []:
        for k, steps in enumerate(scores.steps):
            cells = []
            for level in levels:
                share, width = scores.coverage[level][k, place], scores.width[level][k, place]
                cells += ["–" if np.isnan(share) else f"{share:.0%}", number(float(width))]
            rows.append([labels[place], steps, *cells])
    return {"head": head, "rows": rows}


def _range(scores: Scores, labels: Sequence[str], vary: Sequence[int]) -> dict[str, Any]:
    rows = [
        [
            labels[place],
            f"{number(float(scores.low[place]))} to {number(float(scores.high[place]))}",
            f"{scores.outside[place]:.1%}",
            f"{scores.true_outside[place]:.1%}",
        ]
        for place in vary
    ]
    head = ["coordinate", "fitted range", "predictions outside", "recorded outside"]
    return {"head": head, "rows": rows}


def _course(
    validation: Validation, scores: Scores, shown: Shown, vary: Sequence[int]
) -> dict[str, Any]:
    """An agent's course in the coordinates in which it is furthest off."""
    away = np.abs(shown.predicted - shown.true)[1:]
    off = np.nan_to_num(away, nan=np.inf).mean(0) / np.maximum(scores.deviation, 1e-30)
    chosen = sorted(sorted(vary, key=lambda place: -off[place])[:COURSES])
    return {
        "agent": shown.agent,
        "error": number(shown.error),
        "panels": [
            {
                "title": validation.columns[place],
                "of": pngs(
                    functools.partial(figures.course_panel, shown, place, validation.units[place])
                ),
            }
            for place in chosen
        ],
    }


def _by_agent(
    validation: Validation, split: SplitResult, scores: Scores, vary: Sequence[int]
) -> dict[str, Any]:
    """Error of every agent over all steps, the worst first."""
    own, still = (scores.scaled(name) for name in (SIMULATOR, PERSISTENCE))
    order = np.argsort(-np.nan_to_num(own, nan=-1.0), kind="stable")[:LISTED].tolist()
    rows = []
    for k in order:
        name = split.agents[k]
        called = f"{name} (not to be used)" if name in split.verdict.not_used else name
        cells = [number(float(scores.course_rmse[SIMULATOR][k, place])) for place in vary]
        rows.append([called, number(float(own[k])), number(float(still[k])), *cells])
    head = ["agent", "over all, in deviations", "persistence, the same"]
    return {
        "head": [*head, *(validation.columns[place] for place in vary)],
        "rows": rows,
    }


def _skill(value: float) -> str:
    if np.isnan(value):
        return "–"
    return f"{value:.2f}" if value > -10 else "< −10"


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
