"""What came of a validation: a value with a verdict, a table, and files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.evaluation.validation.models import PERSISTENCE, REFERENCES, SIMULATOR
from persim_gym.evaluation.validation.rules import EVERY, Rule
from persim_gym.evaluation.validation.scores import Scores
from persim_gym.evaluation.validation.splits import SPLITS
from persim_gym.evaluation.validation.verdict import ENOUGH, HEADLINES, RULES, Grade, Verdict
from persim_gym.writing import finite, write_json

Floats = NDArray[np.float64]

#: Grades from the best to the worst; what is not known says nothing.
WORST_LAST = (Grade.UNKNOWN, Grade.GOOD, Grade.LIMITED, Grade.ROUGH, Grade.BAD)
#: Version of the JSON.
FORMAT = 1
#: Names of the files that a folder gets.
JSON, PAGE = "validation.json", "index.html"


@dataclass(frozen=True, slots=True)
class Shown:
    """One predicted course of an agent, for figures.

    Attributes:
        agent: The agent's name.
        error: Its error over all coordinates, in their standard deviations.
        true: What was, the observation that the prediction begins at first ``[h + 1, d]``.
        predicted: The same of the prediction ``[h + 1, d]``.
        low: Lower ends of 95 % intervals ``[h, d]``; ``None`` where there are none.
        high: Upper ends.
    """

    agent: str
    error: float
    true: Floats
    predicted: Floats
    low: Floats | None
    high: Floats | None


@dataclass(frozen=True, slots=True)
class SplitResult:
    """What came of one split.

    Attributes:
        name: Of the split.
        fitted: Transitions that were fitted.
        agents: Names of the agents that were judged ``[A]``.
        scores: What predictions were worth; ``None`` where there are none.
        verdict: The verdict.
        notes: What a reader should know.
        failed: Why there are no scores; empty where there are.
        worst: The agents with the largest errors, the worst first.
    """

    name: str
    fitted: int
    agents: tuple[str, ...]
    scores: Scores | None
    verdict: Verdict
    notes: tuple[str, ...] = ()
    failed: str = ""
    worst: tuple[Shown, ...] = ()

    @classmethod
    def without(cls, name: str, why: str) -> SplitResult:
        """A split that could not be judged."""
        verdict = Verdict(Grade.UNKNOWN, HEADLINES[Grade.UNKNOWN], (), (why,))
        return cls(name, 0, (), None, verdict, failed=why)


@dataclass(frozen=True, slots=True)
class Validation:
    """How far a simulator, or a way of fitting data, can be trusted.

    Attributes:
        title: What was validated.
        columns: Names of the coordinates ``[d]``.
        units: Their units, where declared ``[d]``; empty text where not.
        facts: Names and values of what is known of data and fit.
        splits: What came of each split, in the order that was asked for.
        notes: What a reader should know of the data.
        support: What the data cover and identify, in plain types: what
            :func:`~persim_gym.evaluation.validation.support.support_of` returns.
        off_policy: The value of a policy, where one was given, in plain types: what
            :func:`~persim_gym.evaluation.off_policy.off_policy` returns.
    """

    title: str
    columns: tuple[str, ...]
    units: tuple[str, ...]
    facts: Mapping[str, Any]
    splits: tuple[SplitResult, ...]
    notes: tuple[str, ...] = ()
    support: Mapping[str, Any] | None = field(default=None)
    off_policy: Mapping[str, Any] | None = field(default=None)

    @classmethod
    def unreadable(cls, title: str, why: str) -> Validation:
        """Of data that could not even be read."""
        return cls(title, (), (), {"data": title}, (SplitResult.without("ends", why),))

    @property
    def judged(self) -> tuple[SplitResult, ...]:
        """The splits that have scores."""
        return tuple(split for split in self.splits if split.scores is not None)

    @property
    def grade(self) -> Grade:
        """The worst grade of the splits that could be judged."""
        found = [split.verdict.grade for split in self.judged]
        return max(found, key=WORST_LAST.index, default=Grade.UNKNOWN)

    @property
    def headline(self) -> str:
        """The verdict in one sentence."""
        first = next((s.verdict for s in self.judged if s.verdict.grade is self.grade), None)
        return HEADLINES[self.grade] if first is None else first.headline

    @property
    def verdict(self) -> str:
        """What may be read off and what not, in words: a sentence a line."""
        lines = [self.headline]
        for split in self.splits:
            if len(self.splits) > 1:
                lines.append(f"Split {split.name}: {split.verdict.headline}")
            own = split.verdict
            lines += [*(reading.text for reading in own.readings), *own.warnings]
        for part in (self.support, self.off_policy):
            lines += [] if part is None else part["sentences"]
        return "\n".join(lines)

    def table(self) -> list[dict[str, Any]]:
        """A row for each split, coordinate and number of steps, as plain types.

        ``pandas.DataFrame(validation.table())`` makes a table of it.
        """
        rows = []
        for split in self.judged:
            scores = split.scores
            assert scores is not None
            for place, (name, unit) in enumerate(zip(self.columns, self.units, strict=True)):
                for k in range(len(scores.steps)):
                    rows.append(
                        {"split": split.name, "coordinate": name, "unit": unit}
                        | _row(scores, k, place)
                    )
        return rows

    def meets(self, rule: str) -> bool:
        """Whether a rule such as ``"rmse(glucose)<persistence"`` holds in every split.

        What could not be judged meets no rule.

        Raises:
            ValueError: If it is no rule, or names a column that does not exist.
        """
        return not self.failing(rule)

    def failing(self, rule: str) -> str:
        """Why a rule does not hold; empty where it does. See :meth:`meets`."""
        asked = Rule.parse(rule)
        asked.check_column(self.columns)
        for split in self.splits:
            if split.scores is None:
                return f"{asked.text}: split {split.name} could not be judged: {split.failed}"
            for place, name in enumerate(self.columns):
                if asked.column not in (EVERY, name):
                    continue
                if asked.column == EVERY and split.scores.constant[place]:
                    continue
                if why := _failing(asked, split.scores, place):
                    return f"{asked.text}: {name} in split {split.name}: {why}"
        return ""

    def to_json(self) -> dict[str, Any]:
        """Everything but courses as plain types; what is not finite becomes ``None``."""
        plain: dict[str, Any] = finite(
            {
                "format": FORMAT,
                "title": self.title,
                "grade": str(self.grade),
                "verdict": self.verdict.split("\n"),
                "rules": list(RULES),
                "facts": dict(self.facts),
                "columns": list(self.columns),
                "units": list(self.units),
                "notes": list(self.notes),
                "splits": [self._plain(split) for split in self.splits],
                "support": self.support,
                "off_policy": self.off_policy,
            }
        )
        return plain

    def _plain(self, split: SplitResult) -> dict[str, Any]:
        verdict = split.verdict
        plain: dict[str, Any] = {
            "name": split.name,
            "asks": SPLITS[split.name],
            "failed": split.failed or None,
            "notes": list(split.notes),
            "fitted_transitions": split.fitted,
            "grade": str(verdict.grade),
            "warnings": list(verdict.warnings),
            "not_to_be_used": list(verdict.not_used),
            "read_off": {
                r.coordinate: {"values": r.values, "course": r.course, "text": r.text}
                for r in verdict.readings
            },
        }
        if split.scores is not None:
            plain["coordinates"] = {
                name: _coordinate(split, split.scores, place)
                for place, name in enumerate(self.columns)
            }
            plain["worst"] = [{"agent": own.agent, "error": own.error} for own in split.worst]
        return plain

    def save(self, folder: str | Path) -> Path:
        """Write a page that needs nothing beside it, ``index.html``, and ``validation.json``.

        Returns:
            The page.
        """
        from persim_gym.plots.validation_page import write_page

        folder = checks.output_folder("folder", folder)
        write_json(folder / JSON, self.to_json())
        return write_page(self, folder / PAGE)


def _row(scores: Scores, k: int, place: int) -> dict[str, Any]:
    """All numbers of a coordinate at a number of steps."""
    row: dict[str, Any] = {"steps": scores.steps[k], "predictions": int(scores.count[k])}
    row["rmse"] = float(scores.rmse[SIMULATOR][k, place])
    row |= {name: float(own[k, place]) for name, own in scores.rmse.items() if name != SIMULATOR}
    row |= {
        f"skill over {name}": float(scores.skill(name)[k, place])
        for name in REFERENCES
        if name in scores.rmse
    }
    row["r2"] = float(scores.r2[k, place])
    for level, share in scores.coverage.items():
        row[f"coverage of {level:.0%}"] = float(share[k, place])
        row[f"width of {level:.0%}"] = float(scores.width[level][k, place])
    return row


def _coordinate(split: SplitResult, scores: Scores, place: int) -> dict[str, Any]:
    return {
        "standard_deviation": float(scores.deviation[place]),
        "range": [float(scores.low[place]), float(scores.high[place])],
        "constant": bool(scores.constant[place]),
        "predicted_outside_range": float(scores.outside[place]),
        "recorded_outside_range": float(scores.true_outside[place]),
        "at": [_row(scores, k, place) for k in range(len(scores.steps))],
        "rmse_by_agent": {
            name: {model: own[k, :, place].tolist() for model, own in scores.agent_rmse.items()}
            for k, name in enumerate(split.agents)
        },
    }


def _failing(rule: Rule, scores: Scores, place: int) -> str:
    """Why a coordinate fails a rule; empty where it does not."""
    judged = np.flatnonzero(scores.count >= ENOUGH)
    if rule.steps is None and len(judged):
        k = int(judged[-1])
    elif rule.steps in scores.steps:
        k = scores.steps.index(rule.steps)
    else:
        k = len(scores.steps) - 1
        if rule.steps is not None:
            return (
                f"the records are too short for {rule.steps} steps, {scores.steps[k]} is the most"
            )
    steps = scores.steps[k]
    if scores.count[k] < ENOUGH:
        return f"{scores.count[k]} predictions of {steps} steps are too few ({ENOUGH} are needed)"
    value = rule.value
    if isinstance(value, str):
        if value not in scores.rmse:
            return f"there is no {value} model to compare with"
        value = float(scores.rmse[value][k, place])
    found = _quantity(rule.quantity, scores, k, place)
    if rule.holds(found, value):
        return ""
    shown = "not known" if np.isnan(found) else f"{found:.4g}"
    return f"{rule.quantity} at {steps} steps is {shown}, asked for is {rule.relation} {value:.4g}"


def _quantity(name: str, scores: Scores, k: int, place: int) -> float:
    nothing = np.full_like(scores.r2, np.nan)
    found = {
        "rmse": scores.rmse[SIMULATOR],
        "skill": scores.skill(PERSISTENCE),
        "r2": scores.r2,
        "coverage": scores.coverage.get(0.95, nothing),
        "width": scores.width.get(0.95, nothing),
    }
    return float(found[name][k, place])
