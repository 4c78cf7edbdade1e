"""Validation: keep a part of the data, fit the rest, predict what was kept, and judge."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.core import Task
from persim_gym.evaluation.validation.courses import Courses, follow_courses
from persim_gym.evaluation.validation.fitted_data import as_fitted, data_of, fitting, is_of
from persim_gym.evaluation.validation.models import (
    SIMULATOR,
    Refit,
    fit_models,
    models_as_they_are,
)
from persim_gym.evaluation.validation.policies import AskedPolicy, policy_value
from persim_gym.evaluation.validation.result import Shown, SplitResult, Validation
from persim_gym.evaluation.validation.scores import Known, Scores, score
from persim_gym.evaluation.validation.splits import SPLITS, NotPossible, Split, make_split
from persim_gym.evaluation.validation.support import support_of
from persim_gym.evaluation.validation.verdict import judge
from persim_gym.learned.comparison.score import sensible_steps
from persim_gym.learned.data import Data
from persim_gym.learned.outcomes.given_reward import Reward
from persim_gym.learned.preparation import as_transitions, task_for
from persim_gym.learned.simulator import PerSim
from persim_gym.offline.transitions import Transitions

Floats = NDArray[np.float64]

#: Steps ahead that are judged, as far as records are long enough.
HORIZONS = (1, 10, 50)
#: Most steps ahead, and agents whose courses are kept for figures.
MOST, WORST = 1000, 4
#: Parts of a split's work whose end is reported: two fits, and their predictions.
PARTS = 3


def validate(
    model: PerSim | Any,
    data: Any = None,
    *,
    splits: str | Sequence[str] | None = None,
    horizons: Sequence[int] = HORIZONS,
    behaviour: Any = None,
    time: Any = None,
    fitted_on: Any = None,
    columns: Mapping[str, Any] | None = None,
    policy: Any = None,
    reward: Reward | None = None,
    steps: int | None = None,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Validation:
    """How far a simulator can be trusted, or a way of fitting data before it is used.

    A part of the data is kept, the rest is fitted in the simulator's own way, and what was kept is
    predicted open loop, beside persistence, a pooled model of the same kind and each agent's own
    linear model. A simulator on data that it was not fitted on is judged as it is.

    Args:
        model: A simulator; or data, whatever :meth:`PerSim.fit` takes, which are then fitted.
        data: Of a simulator: the data that it was fitted on, by default as its card names them;
            or others of the same agents.
        splits: One or several of ``"ends"``, ``"agents"``, ``"behaviour"``, ``"time"`` and
            ``"new"``; by default ``"ends"``, or ``"new"`` for data that the simulator was not
            fitted on.
        horizons: Steps ahead.
        behaviour: For that split: a label of each transition ``[T]``. Or with ``policy``: how
            likely the recorded actions were, as in
            :func:`~persim_gym.evaluation.off_policy.off_policy`.
        time: For that split: when each transition was ``[T]``; by default its place in its agent's
            record.
        fitted_on: With ``"new"``: what the simulator was fitted on, for the references.
        columns: Of tables, as in :meth:`PerSim.fit`.
        policy: A policy whose value is asked for, as in
            :func:`~persim_gym.evaluation.off_policy.off_policy`: ``"hold"``, ``"random"``, a
            function of the observations or whatever has ``predict``.
        reward: With ``policy``: an expression or a function, see :meth:`PerSim.with_reward`; by
            default the recorded one.
        steps: With ``policy``: over how many steps.
        seed: Chooses agents that are kept whole, and is that of simulated episodes.
        on_progress: Called with the fits and predictions that are done, and their number.
        **options: Without a simulator: of :meth:`PerSim.fit`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is invalid. Data that allow no judgement are no error: the
            verdict says so.
    """
    sim = model if isinstance(model, PerSim) else None
    ahead = _horizons(horizons)
    seed = checks.integer("seed", seed, 0, checks.LARGEST_SEED)
    if sim is None:
        if data is not None:
            raise TypeError("give one of both: a simulator and data, or data alone")
        found = as_transitions(model, columns)
    else:
        if options:
            raise TypeError(
                f"{next(iter(options))!r} is an option of a fit: a simulator is fitted in its own "
                "way; give data alone"
            )
        found = data_of(sim) if data is None else as_transitions(data, columns)
        found = as_fitted(sim, found)
    same = sim is not None and is_of(sim, found)
    names = _splits(splits, sim is not None and not same)
    if sim is None and "new" in names:
        raise ValueError("split 'new' is of a simulator: give one with data that it has not seen")
    asked = None
    if policy is not None:
        chances = behaviour if callable(behaviour) or isinstance(behaviour, str) else None
        asked = AskedPolicy(policy, reward, steps, chances, seed)
        behaviour = None if chances is not None else behaviour
        asked.check(_task(sim, found, seed), found)
    elif reward is not None or steps is not None:
        raise TypeError("reward= and steps= are of a policy's value: give policy=, too")
    labels = None if behaviour is None else _labels("behaviour", behaviour, found)
    when = None if time is None else _labels("time", time, found).astype(np.float64)
    refit = fitting(found, options) if sim is None else sim.refit
    known = None if fitted_on is None else as_transitions(fitted_on, columns)
    if sim is not None and known is not None:
        known = as_fitted(sim, known)
    results = []
    total = PARTS * len(names) + (asked is not None)

    def report(number: int) -> None:
        if on_progress is not None:
            on_progress(number, total)

    for place, name in enumerate(names):
        done = functools.partial(lambda first, number: report(first + number), PARTS * place)
        done(0)
        make = functools.partial(make_split, name, found, seed=seed, behaviour=labels, time=when)
        results.append(_judged(make, found, sim, same, refit, known, ahead, done))
    off = None
    report(PARTS * len(names))
    if asked is not None:
        off = policy_value(sim, found, refit, asked)
    return _validation(sim, found, tuple(results), off)


def _task(sim: PerSim | None, data: Transitions, seed: int) -> Task | None:
    """The task of a simulator or of data; of data that allow none the page says why."""
    if sim is not None:
        return sim.task
    try:
        return task_for(data, seed)
    except ValueError:
        return None


def _judged(
    make: Callable[[], Split],
    data: Transitions,
    sim: PerSim | None,
    same: bool,
    refit: Refit,
    fitted_on: Transitions | None,
    horizons: Sequence[int],
    done: Callable[[int], None],
) -> SplitResult:
    """One split's result; what data do not allow is a result, too."""
    name = make.args[0] if isinstance(make, functools.partial) else ""
    try:
        split = make()
        steps = sensible_steps([split.part], horizons)
        if not steps:
            raise NotPossible("no stretch of a record is left to predict")
        turn = _turns(data, sim)
        if name == "new" and sim is not None:
            models = models_as_they_are(data, sim, fitted_on, turn)
        else:
            models = fit_models(data, split, refit, turn, sim if same else None, done)
        courses = follow_courses(data, split, models, max(steps), turn)
    except (ValueError, FloatingPointError) as error:
        return SplitResult.without(name, str(error))
    used = np.sort(np.concatenate([split.fitted, split.known]))
    notes = (*split.notes, *models.notes, *_short_notes(steps, horizons))
    if name == "new":
        used = np.arange(len(data))
        notes = ("Nothing checks that the simulator has not seen some of these rows.", *notes)
    known = Known.of(data.agent[used], data.obs[used], data.num_agents)
    scores = score(courses, steps, known)
    agents = tuple(agent_name(data, k) for k in scores.agents.tolist())
    verdict = judge(scores, column_names(data), agents)
    return SplitResult(
        name=name,
        fitted=len(split.fitted),
        agents=agents,
        scores=scores,
        verdict=verdict,
        notes=notes,
        worst=_worst(courses, scores, agents),
    )


def _short_notes(steps: Sequence[int], horizons: Sequence[int]) -> tuple[str, ...]:
    lost = [h for h in horizons if h not in steps]
    if not lost:
        return ()
    asked = ", ".join(map(str, lost))
    return (f"The stretches that were kept are too short to predict {asked} steps ahead.",)


def _worst(courses: Courses, scores: Scores, names: Sequence[str]) -> tuple[Shown, ...]:
    """A course of each agent with the largest errors: the longest one, of equals the first."""
    last = scores.scaled(SIMULATOR)
    order = np.argsort(-np.nan_to_num(last, nan=-1.0), kind="stable")[:WORST]
    found = []
    for place in order.tolist():
        own = np.flatnonzero(courses.agent == scores.agents[place])
        row = own[np.argmax(courses.valid[own].sum(1))]
        length = int(courses.valid[row].sum())
        first = courses.first[row][None]
        ends = courses.intervals.get(0.95)
        low, high = (None, None) if ends is None else (e[row, :length] for e in ends)
        found.append(
            Shown(
                agent=names[place],
                error=float(last[place]),
                true=np.concatenate([first, courses.true[row, :length]]),
                predicted=np.concatenate([first, courses.predicted[SIMULATOR][row, :length]]),
                low=low,
                high=high,
            )
        )
    return tuple(found)


def _validation(
    sim: PerSim | None,
    data: Transitions,
    splits: tuple[SplitResult, ...],
    off_policy: Mapping[str, Any] | None,
) -> Validation:
    names = column_names(data)
    fitted_by = sim.card.get("fitted_by") if sim is not None else "as asked for, by PerSim.fit"
    count = np.bincount(data.agent, minlength=data.num_agents)
    count = count[count > 0]
    return Validation(
        title=data.task_name,
        columns=names,
        units=getattr(data, "obs_units", None) or ("",) * len(names),
        facts={
            "data": data.dataset_id or data.task_name,
            "agents": len(count),
            "transitions": len(data),
            "transitions of an agent": f"{count.min()} to {count.max()}",
            "fitted by": fitted_by,
        },
        splits=splits,
        notes=_notes(data, names),
        support=support_of(data),
        off_policy=off_policy,
    )


def _notes(data: Transitions, names: Sequence[str]) -> tuple[str, ...]:
    """What is wrong with the data themselves."""
    notes = []
    count = np.bincount(data.agent, minlength=data.num_agents)
    if (count > 0).sum() == 1:
        notes.append("There is one agent: nothing can be learned from others, or of them.")
    deviation = data.obs.std(0, dtype=np.float64)
    flat = deviation <= 1e-6 * np.maximum(np.abs(data.obs).max(0), 1e-30)
    if flat.any():
        shown = ", ".join(names[k] for k in np.flatnonzero(flat).tolist())
        notes.append(f"Constant in the data: {shown}.")
    return tuple(notes)


def column_names(data: Transitions) -> tuple[str, ...]:
    """Names of the coordinates, numbers where they have none."""
    return data.obs_names or tuple(f"obs {k}" for k in range(data.obs.shape[1]))


def agent_name(data: Transitions, agent: int) -> str:
    """What an agent is called."""
    return str(agent) if data.agent_names is None else data.agent_names[agent]


def _turns(data: Transitions, sim: PerSim | None) -> Floats:
    """Full turns of coordinates that go round, and 0 of the others ``[d]``."""
    task = sim.task if sim is not None else task_for(data, 0)
    turn = np.zeros(data.obs.shape[1])
    for angle in Data(data, task).geometry.angles:
        turn[angle.column] = angle.period
    return turn


def _horizons(horizons: Any) -> list[int]:
    found = {
        checks.integer("horizons", h, 1, MOST) for h in checks.a_sequence("horizons", horizons)
    }
    if not found:
        raise ValueError("horizons must name numbers of steps such as (1, 10), got none")
    return sorted(found)


def _splits(splits: Any, new: bool) -> list[str]:
    if splits is None:
        return ["new"] if new else ["ends"]
    given = [splits] if isinstance(splits, str) else checks.a_sequence("splits", splits)
    names = list(dict.fromkeys(checks.one_of("splits", name, SPLITS) for name in given))
    if not names:
        raise ValueError(f"splits must name one of {', '.join(SPLITS)}, got none")
    return names


def _labels(name: str, values: Any, data: Transitions) -> NDArray[Any]:
    found = np.asarray(values)
    if found.shape != (len(data),):
        raise ValueError(
            f"{name} must be one value for each of {len(data)} transitions, got the shape "
            f"{found.shape}"
        )
    if name == "time" and (found.dtype.kind not in "iuf" or not np.isfinite(found).all()):
        raise ValueError(f"time must be finite numbers, got an array of type {found.dtype}")
    return found
