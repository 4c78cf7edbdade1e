"""Scores of predicted courses: by coordinate, number of steps and agent, in the data's units.

Numbers of different units are never put together. Where one number of an agent is needed, it is the
root of the mean over coordinates of the squared error in units of each coordinate's standard
deviation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from persim_gym.evaluation.validation.courses import Courses
from persim_gym.evaluation.validation.models import SIMULATOR
from persim_gym.learned.circular import short_way

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Known:
    """What was known before anything was predicted.

    Attributes:
        mean: Mean of each agent's observations that were fitted ``[N, d]``.
        deviation: Standard deviation of all that were fitted ``[d]``.
        low: Their range ``[d]``.
        high: Its upper end ``[d]``.
    """

    mean: Floats
    deviation: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, agent: NDArray[np.int64], obs: NDArray[np.float32], agents: int) -> Known:
        """Of observations ``[T, d]`` of ``agents`` agents; one without any has the common mean."""
        wide = obs.astype(np.float64)
        count = np.bincount(agent, minlength=agents)
        sums = np.stack([np.bincount(agent, column, agents) for column in wide.T], axis=1)
        mean = np.where(count[:, None] > 0, sums / np.maximum(count, 1)[:, None], wide.mean(0))
        return cls(mean, wide.std(0), wide.min(0), wide.max(0))


@dataclass(frozen=True, slots=True)
class Scores:
    """What predictions were worth, at ``K`` numbers of steps.

    Attributes:
        steps: Numbers of steps ``[K]``.
        agents: Whose, as indices of the data ``[A]``.
        count: Predictions ``[K]``.
        agent_count: The same of each agent ``[A, K]``.
        rmse: By model, root of the mean squared error over all predictions ``[K, d]``.
        agent_rmse: By model, of each agent ``[A, K, d]``.
        course_rmse: By model, of each agent over all steps ``[A, d]``.
        curve: By model, the same as ``rmse`` at every step ``[H, d]``.
        r2: Share by which the squared error is below that of each agent's own mean ``[K, d]``.
        coverage: By level, share of what was that its interval holds ``[K, d]``.
        width: By level, mean width of intervals ``[K, d]``.
        outside: Share of predicted values outside the fitted range, over all steps ``[d]``.
        true_outside: The same share of what was ``[d]``.
        deviation: The unit of scaled errors: standard deviation of what was fitted ``[d]``.
        low: Range of what was fitted ``[d]``.
        high: Its upper end ``[d]``.
    """

    steps: tuple[int, ...]
    agents: NDArray[np.int64]
    count: NDArray[np.int64]
    agent_count: NDArray[np.int64]
    rmse: Mapping[str, Floats]
    agent_rmse: Mapping[str, Floats]
    course_rmse: Mapping[str, Floats]
    curve: Mapping[str, Floats]
    r2: Floats
    coverage: Mapping[float, Floats]
    width: Mapping[float, Floats]
    outside: Floats
    true_outside: Floats
    deviation: Floats
    low: Floats
    high: Floats

    @property
    def constant(self) -> NDArray[np.bool_]:
        """Coordinates that never changed in what was fitted ``[d]``: there is nothing to judge."""
        return self.deviation <= 1e-6 * np.maximum(1e-30, np.maximum(abs(self.low), abs(self.high)))

    def skill(self, reference: str) -> Floats:
        """Skill score beside a reference ``[K, d]``: 1 less the ratio of mean squared errors.

        1 is perfect, 0 as good as the reference, below 0 worse; ``nan`` where the reference makes
        no error.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.square(self.rmse[SIMULATOR]) / np.square(self.rmse[reference])
        return np.where(self.rmse[reference] > 0, 1 - ratio, np.nan)

    def scaled(self, model: str) -> Floats:
        """Error of each agent over all steps and all coordinates that vary ``[A]``.

        In units of the coordinates' standard deviations.
        """
        vary = ~self.constant
        if not vary.any():
            return np.zeros(len(self.agents))
        unit = self.course_rmse[model][:, vary] / self.deviation[vary]
        return np.asarray(np.sqrt(np.square(unit).mean(-1)))


def score(courses: Courses, steps: Sequence[int], known: Known) -> Scores:
    """Score courses at some numbers of steps.

    Args:
        courses: What was predicted and what was.
        steps: Numbers of steps ``[K]``.
        known: What was known before.
    """
    at = np.array(steps) - 1
    valid = courses.valid[:, at]
    agents, own = np.unique(courses.agent, return_inverse=True)
    own = own.reshape(-1)
    squares = {name: np.square(courses.error(name)) for name in courses.predicted}
    rmse = {name: _root(square[:, at], valid) for name, square in squares.items()}
    by_agent = {
        name: _by_agent(square[:, at], valid, own, len(agents)) for name, square in squares.items()
    }
    over_all = {
        name: _by_agent(square, courses.valid, own, len(agents), over_steps=True)
        for name, square in squares.items()
    }
    away = np.square(short_way(courses.true - known.mean[courses.agent][:, None], courses.turn))
    with np.errstate(divide="ignore", invalid="ignore"):
        baseline = np.square(_root(away[:, at], valid))
        r2 = np.where(baseline > 0, 1 - np.square(rmse[SIMULATOR]) / baseline, np.nan)
    inside = {level: courses.inside(level)[:, at] for level in courses.intervals}
    width = {level: (high - low)[:, at] for level, (low, high) in courses.intervals.items()}
    every = courses.valid
    return Scores(
        steps=tuple(int(h) for h in steps),
        agents=agents,
        count=valid.sum(0),
        agent_count=np.stack(
            [np.bincount(own, column, len(agents)).astype(np.int64) for column in valid.T], axis=1
        ),
        rmse=rmse,
        agent_rmse=by_agent,
        course_rmse=over_all,
        curve={name: _root(square, every) for name, square in squares.items()},
        r2=r2,
        coverage={level: _mean(hit, valid) for level, hit in inside.items()},
        width={level: _mean(own_width, valid) for level, own_width in width.items()},
        outside=_outside(courses.predicted[SIMULATOR], every, known),
        true_outside=_outside(courses.true, every, known),
        deviation=known.deviation,
        low=known.low,
        high=known.high,
    )


def _mean(values: NDArray[np.generic], valid: NDArray[np.bool_]) -> Floats:
    """Means ``[K, d]`` of values ``[n, K, d]`` over what is valid ``[n, K]`` and known."""
    wide = values.astype(np.float64)
    used = valid[..., None] & ~np.isnan(wide)
    count = used.sum(0)
    total = np.where(used, wide, 0.0).sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _root(square: Floats, valid: NDArray[np.bool_]) -> Floats:
    return np.sqrt(_mean(square, valid))


def _by_agent(
    square: Floats,
    valid: NDArray[np.bool_],
    own: NDArray[np.int64],
    agents: int,
    *,
    over_steps: bool = False,
) -> Floats:
    """Root mean squares ``[A, K, d]``, or over all steps ``[A, d]``, of squares ``[n, K, d]``.

    ``own`` says whose each is ``[n]``.
    """
    used = valid[..., None] & ~np.isnan(square)
    kept, number = np.where(used, square, 0.0), used.astype(np.float64)
    if over_steps:
        kept, number = kept.sum(1), number.sum(1)
    total, count = np.zeros((2, agents, *kept.shape[1:]))
    np.add.at(total, own, kept)
    np.add.at(count, own, number)
    return np.sqrt(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def _outside(values: Floats, valid: NDArray[np.bool_], known: Known) -> Floats:
    """Share of values ``[n, H, d]`` outside the fitted range, where valid ``[d]``."""
    slack = 1e-6 * (known.high - known.low)
    out = ~((values >= known.low - slack) & (values <= known.high + slack))
    return np.asarray(out[valid].mean(0)) if valid.any() else np.full(values.shape[2], np.nan)
