"""A verdict in words, by stated rules: what may be read off a simulator, and what not."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from persim_gym.evaluation.validation.models import LINEAR, PERSISTENCE, POOLED, SAVED, SIMULATOR
from persim_gym.evaluation.validation.scores import Scores

#: Predictions that a judgement takes.
ENOUGH = 10
#: An error must be below this part of persistence's to count as better, and above that part of a
#: reference's to count as worse.
BETTER, WORSE = 0.95, 1.05
#: R2 from which values may be read off, and share of what was that 95% intervals must hold.
VALUES, HELD = 0.5, 0.85
#: Error, in standard deviations, below which values may be read off whatever the intervals hold.
EXACT = 0.02
#: By what factor the error of an agent that is not to be used is above the median agent's.
FAR = 1.5
#: By what factor the error of an agent whose record is to be checked, by persistence's for it, is
#: above the median agent's, and the least error, in standard deviations, that matters.
ODD, SMALL = 2.5, 0.1
#: By what factor a saved simulator may be worse than one that has seen less.
SPOILT = 1.5
#: Agents that a sentence names.
NAMED = 8

#: The rules as a reader has them; the documentation lists the same.
RULES = (
    f"A coordinate is judged at a number of steps from {ENOUGH} predictions on.",
    f"Values may be read off up to a number of steps at which the error is below {BETTER:.0%} of "
    f"persistence's and R2 is at least {VALUES}. The 95% intervals must hold at least {HELD:.0%} "
    f"of what was, or the error be below {EXACT:.0%} of the standard deviation. Up to there the "
    f"error must nowhere be above {WORSE:.0%} of persistence's or of the pooled model's.",
    f"The rough course may be read off where the error is below {BETTER:.0%} of persistence's, R2 "
    f"is above 0, and the error is not above {WORSE:.0%} of the pooled model's.",
    "Anything else may not be read off.",
    f"An agent is not to be used if its error over all steps and coordinates, in their deviations, "
    f"is above persistence's for it and above {FAR} times the median agent's.",
    "An agent's record is to be checked if that error, divided by persistence's for it, is above "
    f"{ODD:g} times the median agent's, and the error itself is above {SMALL:g}.",
    "The simulator is not for use if its error is above persistence's for more than half of the "
    f"agents. Nor is it if it predicts what it has seen with more than {SPOILT} times the error of "
    "one that was fitted in the same way without.",
)  # fmt: skip


class Grade(enum.StrEnum):
    """How far a simulator may be used."""

    GOOD = "good"
    LIMITED = "limited"
    ROUGH = "rough"
    BAD = "bad"
    UNKNOWN = "unknown"


HEADLINES = {
    Grade.GOOD: "Values may be read off, of every coordinate.",
    Grade.LIMITED: "Values may be read off within limits.",
    Grade.ROUGH: "Only rough courses may be read off.",
    Grade.BAD: "This simulator is not for use.",
    Grade.UNKNOWN: "These data do not allow a judgement.",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """What may be read off one coordinate.

    Attributes:
        coordinate: Its name.
        values: Steps up to which values may be read off, 0 for none.
        course: Steps up to which the rough course may be, 0 for none.
        judged: Whether there was anything to judge.
        text: The same in words, with reasons.
    """

    coordinate: str
    values: int
    course: int
    judged: bool
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one split.

    Attributes:
        grade: In one word.
        headline: In one sentence.
        readings: Of every coordinate.
        warnings: What else must be known.
        not_used: Names of the agents that are not to be used.
    """

    grade: Grade
    headline: str
    readings: tuple[Reading, ...]
    warnings: tuple[str, ...]
    not_used: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As text, a sentence a line."""
        return "\n".join([self.headline, *(r.text for r in self.readings), *self.warnings])


def judge(scores: Scores, coordinates: Sequence[str], agents: Sequence[str]) -> Verdict:
    """The verdict on scores.

    Args:
        scores: What predictions were worth.
        coordinates: Names of the coordinates ``[d]``.
        agents: Names of the agents ``[A]``.
    """
    readings = tuple(_read(scores, place, name) for place, name in enumerate(coordinates))
    not_used, worse = _agents(scores, agents)
    if reason := _unfit(scores, worse):
        readings = tuple(
            replace(
                r, values=0, course=0, text=f"{r.coordinate}: nothing may be read off, {reason}."
            )
            if r.judged
            else r
            for r in readings
        )
    judged = [reading for reading in readings if reading.judged]
    warnings = _spoilt(scores)
    if judged:
        warnings += _crowd(not_used, worse, len(agents))
        warnings += [*_odd(scores, agents, not_used), *_alike(scores)]
    enough = np.flatnonzero(scores.count >= ENOUGH)
    longest = scores.steps[int(enough[-1])] if len(enough) else 0
    if not judged:
        grade = Grade.UNKNOWN
    elif reason:
        grade = Grade.BAD
    elif all(reading.values == longest for reading in judged):
        grade = Grade.GOOD
    elif any(reading.values for reading in judged):
        grade = Grade.LIMITED
    elif any(reading.course for reading in judged):
        grade = Grade.ROUGH
    else:
        grade = Grade.BAD
    headline = HEADLINES[grade]
    if grade is Grade.GOOD:
        headline = f"Values may be read off, of every coordinate, up to {_steps(longest)} ahead."
    return Verdict(grade, headline, readings, tuple(warnings), not_used)


def _unfit(scores: Scores, worse: float) -> str:
    """Why nothing at all may be read off; empty where something may."""
    if _is_spoilt(scores):
        return "for the saved simulator is not what its fit makes of these data"
    if worse > 0.5:
        return "for persistence predicts most agents better"
    return ""


def _read(scores: Scores, place: int, name: str) -> Reading:
    if scores.constant[place]:
        text = f"{name}: constant in the data, so that there is nothing to judge."
        return Reading(name, 0, 0, False, text)
    enough = scores.count >= ENOUGH
    if not enough.any():
        most = int(scores.count.max(initial=0))
        some = "1 prediction is" if most == 1 else f"{most} predictions are"
        text = f"{name}: {some} too few to judge by ({ENOUGH} are needed)."
        return Reading(name, 0, 0, False, text)
    values = course = 0
    spoilt = False  # somewhere on the way a reference was better
    for k, steps in enumerate(scores.steps):
        if not enough[k]:
            break
        spoilt |= _worse(scores, k, place, PERSISTENCE) or _worse(scores, k, place, POOLED)
        better = _ratio(scores, k, place, PERSISTENCE) < BETTER
        if better and scores.r2[k, place] > 0 and not _worse(scores, k, place, POOLED):
            course = steps
            if not spoilt and scores.r2[k, place] >= VALUES and not _narrow(scores, k, place):
                values = steps
    last = int(np.flatnonzero(enough)[-1])
    return Reading(name, values, course, True, _sentence(scores, place, name, values, course, last))


def _sentence(scores: Scores, place: int, name: str, values: int, course: int, last: int) -> str:
    longest = scores.steps[last]
    if values:
        text = f"{name}: values may be read off up to {_steps(values)} ahead"
        at = scores.steps.index(values)
        rest = f"; beyond, up to {_steps(course)}, the rough course only" if course > values else ""
    elif course:
        text = f"{name}: only the rough course may be read off, up to {_steps(course)} ahead"
        at, rest = scores.steps.index(course), ""
    else:
        text, at, rest = f"{name}: nothing may be read off", last, ""
    facts = [f"error {number(scores.rmse[SIMULATOR][at, place])}"]
    facts += [
        f"{model} {number(scores.rmse[model][at, place])}"
        for model in (PERSISTENCE, POOLED)
        if model in scores.rmse
    ]
    if 0.95 in scores.coverage:
        facts.append(f"95% intervals hold {scores.coverage[0.95][at, place]:.0%}")
    text += f" ({', '.join(facts)} at {_steps(scores.steps[at])}){rest}."
    if values < longest:
        why = _reasons(scores, place, last)
        text += f" At {_steps(longest)}: {'; '.join(why)}." if why else ""
    if _worse(scores, at, place, LINEAR):
        text += " Each agent's own linear model predicts better."
    return text


def _reasons(scores: Scores, place: int, k: int) -> list[str]:
    """Why values may not be read off at a number of steps."""
    found = []
    if _worse(scores, k, place, PERSISTENCE):
        found.append("worse than persistence, which repeats the last value")
    elif _ratio(scores, k, place, PERSISTENCE) >= BETTER:
        found.append("hardly better than persistence, which repeats the last value")
    if _worse(scores, k, place, POOLED):
        found.append("worse than the pooled model, which takes all agents for one")
    r2 = scores.r2[k, place]
    if not r2 >= VALUES:
        below = "no better than each agent's own mean" if not r2 > 0 else f"R2 is {r2:.2f} only"
        found.append(below)
    if _narrow(scores, k, place):
        found.append(
            f"intervals are too narrow: those of 95% hold {scores.coverage[0.95][k, place]:.0%}"
        )
    return found


def _agents(scores: Scores, names: Sequence[str]) -> tuple[tuple[str, ...], float]:
    """Agents that are not to be used, and the share of those that persistence predicts better."""
    own, still = scores.scaled(SIMULATOR), scores.scaled(PERSISTENCE)
    there = ~np.isnan(own)
    if not there.any():
        return (), 0.0
    worse = there & (own > still)
    middle = float(np.median(own[there]))
    bad = worse & (own > FAR * middle)
    order = sorted(np.flatnonzero(bad).tolist(), key=lambda k: -own[k])
    return tuple(names[k] for k in order), float(worse[there].mean())


def _crowd(not_used: tuple[str, ...], worse: float, agents: int) -> list[str]:
    found = []
    if worse > 0.5:
        found.append(f"Persistence predicts {worse:.0%} of the agents better.")
    if not_used:
        more = f" and {len(not_used) - NAMED} more" if len(not_used) > NAMED else ""
        found.append(
            f"Not to be used: the simulators of {', '.join(not_used[:NAMED])}{more} "
            f"({len(not_used)} of {agents} agents), whose error is above persistence's and far "
            "above the others'."
        )
    return found


def _odd(scores: Scores, names: Sequence[str], not_used: Sequence[str]) -> list[str]:
    """Agents that fit in badly: something in their records is unlike the others, or has changed."""
    own, still = scores.scaled(SIMULATOR), scores.scaled(PERSISTENCE)
    part = own / np.maximum(still, 1e-12)
    limit = ODD * float(np.nanmedian(part))
    order = np.argsort(-np.nan_to_num(part), kind="stable").tolist()
    bad = (part > limit) & (own > SMALL)
    odd = [names[k] for k in order if bad[k] and names[k] not in not_used]
    if not odd:
        return []
    more = f" and {len(odd) - NAMED} more" if len(odd) > NAMED else ""
    return [
        f"Check the records of {', '.join(odd[:NAMED])}{more}: beside persistence they are "
        f"predicted more than {ODD:g} times worse than the median agent. Something may have "
        "changed in them, such as a device or a way of writing."
    ]


def _alike(scores: Scores) -> list[str]:
    """Whether it takes personal simulators at all."""
    if POOLED not in scores.rmse or len(scores.agents) < 2:
        return []
    own, one = (np.nanmedian(scores.scaled(model)) for model in (SIMULATOR, POOLED))
    if not own > BETTER * one:
        return []
    return [
        "The pooled model predicts as well: these data do not show that the agents differ, or not "
        "enough of it to learn."
    ]


def _is_spoilt(scores: Scores) -> bool:
    if SAVED not in scores.rmse:
        return False
    fresh, saved = (np.nanmedian(scores.scaled(model)) for model in (SIMULATOR, SAVED))
    return bool(saved > SPOILT * fresh and saved > 1e-3)


def _spoilt(scores: Scores) -> list[str]:
    if not _is_spoilt(scores):
        return []
    return [
        "The saved simulator predicts these stretches worse than one that was fitted without them, "
        "although it has seen them: it is not what its way of fitting makes of these data."
    ]


def _ratio(scores: Scores, k: int, place: int, model: str) -> float:
    """Error in units of a reference's; 0 where there is no such reference."""
    if model not in scores.rmse:
        return 0.0
    own, other = scores.rmse[SIMULATOR][k, place], scores.rmse[model][k, place]
    if math.isnan(other) or (own <= 0 and other <= 0):
        return 0.0 if math.isnan(other) else 1.0
    return float(own / other) if other > 0 else math.inf


def _worse(scores: Scores, k: int, place: int, model: str) -> bool:
    # What is left is rounding.
    tiny = scores.rmse[SIMULATOR][k, place] <= 1e-5 * scores.deviation[place]
    return not tiny and _ratio(scores, k, place, model) > WORSE


def _narrow(scores: Scores, k: int, place: int) -> bool:
    exact = scores.rmse[SIMULATOR][k, place] < EXACT * scores.deviation[place]
    return not exact and 0.95 in scores.coverage and bool(scores.coverage[0.95][k, place] < HELD)


def _steps(count: int) -> str:
    return f"{count} step" if count == 1 else f"{count} steps"


def number(value: float) -> str:
    """Three significant digits, or all of them up to ten million: 4,230 and not 4.23e+03."""
    return f"{value:,.0f}" if 999.5 <= abs(value) < 1e7 else f"{value:.3g}"
