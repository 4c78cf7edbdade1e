"""How many past observations tell more than the present one: judged by quick regressions.

For every lag each agent's ridge regression, shrunk to that of all, is fitted on the first part of
every trajectory and simulates the last part. It is quadratic in the present and linear in the past:
a cheap stand-in for what is fitted afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.data import Data
from persim_gym.learned.features.ensemble import FrameEnsemble
from persim_gym.learned.features.frame import Frame
from persim_gym.learned.features.ridge import Ridge, present

#: Pasts that are tried, and longer ones where these leave as much of the error after ten steps: an
#: action may act many steps later.
LAGS, LONGER, LOST = (1, 2, 3, 4, 5), (7, 9, 12), 0.1
#: Share of that error that they must take away where a shorter past pays: noise is averaged out by
#: any past, and a little more by a longer one.
LATER = 0.5
#: Steps of the open-loop predictions, and share of every trajectory that is held out.
HORIZON, HELD = 10, 0.25
#: Agents that are compared, and open-loop predictions of each.
AGENTS, WINDOWS = 60, 3
#: Ridges of what is personal, in units of the noise.
RIDGES = (0.01, 1.0, 100.0)
#: Shares of the error of one step, and after ten, that a past must take away: noise is averaged out
#: by a longer past as well, which takes away less of the first. After ten steps these regressions
#: miss a switch that is hidden, as everything that is not smooth: little is asked for there.
GAIN, OPEN_GAIN = 0.3, 0.1
#: Correlation of one error with the next, its least likely value, above which something hidden
#: goes on: process noise hides what it takes away from one step. Share of the error after ten
#: steps that a past must take away then, and standard errors that chance is allowed.
CARRIED, CARRIED_GAIN, CHANCE = 0.05, 0.2, 2.0
#: Errors over their median absolute value at which they are cut in that correlation, pairs of an
#: agent that it needs, and steps between the two of a pair: observation noise makes neighbours
#: differ, and nothing more.
CUT, PAIRS, APART = 8.0, 5, (1, 2)
#: By how much a shorter past may be worse than the best after ten steps, and after one, and an
#: error after ten steps below which nothing is hidden.
SLACK, STEP_SLACK, SMALL = 1.15, 1.25, 0.02
#: Share of the error after ten steps that a longer past takes away from that of the chosen one,
#: above which both are compared by what is fitted: noise hides what the longer one is worth.
FURTHER = 0.05


@dataclass(frozen=True, slots=True)
class LagTrial:
    """What a past of ``lag`` observations is worth.

    Attributes:
        lag: Observations of a state.
        one_step: Error of held-out single steps, in units of the changes' standard deviation; the
            root mean square, of agents the median.
        open_loop: Error after ten steps of held-out stretches, in units of the observations'
            standard deviation; of stretches the median.
        carried: Correlation of errors of one step with those one or two steps later, less its
            standard errors; the largest of both, and of coordinates. What is hidden makes it
            positive, and noise of observations does not.
        tail: Ninth decile of the stretches' errors after ten steps: of a few agents an action may
            act later than of the others.
    """

    lag: int
    one_step: float
    open_loop: float
    carried: float = 0.0
    tail: float = 0.0

    def takes_away(self, share: float, other: LagTrial) -> bool:
        """Whether this past takes a share away from what another leaves, of all or of the tail."""
        mine, its = (max(trial.open_loop, SMALL) for trial in (self, other))
        return mine < (1 - share) * its or max(self.tail, SMALL) < (1 - share) * other.tail


@dataclass(frozen=True, slots=True)
class LagChoice:
    """Lags that were tried.

    Attributes:
        trials: One for each, in ascending order.
        best: The one with the least open-loop error.
        chosen: 1 where no past takes away as much as was asked for; else the shortest that is
            nearly as good as the best.
    """

    trials: tuple[LagTrial, ...]
    best: int
    chosen: int

    @property
    def compared(self) -> tuple[int, ...]:
        """Pasts to compare with none: the chosen one, and a longer one that is better."""
        errors = {trial.lag: max(trial.open_loop, SMALL) for trial in self.trials}
        if self.chosen == 1 or self.best <= self.chosen:
            return () if self.chosen == 1 else (self.chosen,)
        better = errors[self.best] < (1 - FURTHER) * errors[self.chosen]
        return (self.chosen, self.best) if better else (self.chosen,)

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return asdict(self)


def judge_lags(data: Data, lags: Sequence[int] = LAGS, gain: float = GAIN) -> LagChoice:
    """Judge how long a past is worth its while, in a second or two.

    Args:
        data: The data.
        lags: Lags to try, beside longer ones where these leave much unexplained; those are left
            out that trajectories are too short for.
        gain: Share of the error of one step that a past must take away.

    Raises:
        ValueError: If no trajectory is long enough for any.
    """
    few = few_of(data)
    typical = int(np.median(few.transitions.lengths))
    possible = [lag for lag in sorted(set(lags)) if lag == 1 or 4 * lag <= typical]
    if not possible:
        raise ValueError(f"trajectories of {typical} steps are too short for lags {list(lags)}")
    found = shortest(trials, gain) if (trials := _trials(few, possible)) else None
    if found is None:
        return LagChoice((), possible[0], possible[0])
    longer = [lag for lag in LONGER if max(possible) < lag <= typical // 4]
    left = next(trial for trial in trials if trial.lag == found.chosen)
    if not longer or trials[0].lag > 1 or max(left.open_loop, left.tail) < LOST:
        return found
    again = _trials(few, [1, *longer])
    # Longer pasts are for actions that act late: those show after ten steps.
    further = shortest(again, gain, rare=False) if again else found
    if further.chosen == 1 or further is found:
        return found
    if found.chosen > 1 and not any(trial.takes_away(LATER, left) for trial in again):
        return found
    return replace(further, trials=(*trials, *again[1:]))


def few_of(data: Data) -> Data:
    """The record of some agents."""
    t = data.transitions
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.permutation(np.unique(t.agent))[:AGENTS])
    return Data(t.select(np.isin(t.agent, chosen)), data.task)


def split(data: Data, lag: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Transitions to fit ``[T]``, and to judge by ``[T]``; ``None`` where either is none."""
    t = data.transitions
    usable = t.step >= lag - 1
    late = t.step >= np.repeat(np.ceil((1 - HELD) * t.lengths), t.lengths)
    early, late = usable & ~late, usable & late
    return (early, late) if early.any() and late.any() else None


def _trials(data: Data, lags: Sequence[int]) -> tuple[LagTrial, ...]:
    """A trial of each lag, on the same transitions; none where nothing is left to judge by."""
    parts = split(data, max(lags))
    return () if parts is None else tuple(judge(data, lag, *parts) for lag in lags)


def shortest(trials: tuple[LagTrial, ...], gain: float = GAIN, rare: bool = True) -> LagChoice:
    """The choice of the shortest past that is nearly as good as any.

    Args:
        trials: Of lags, in ascending order.
        gain: Share of the error of one step that a past must take away.
        rare: Whether that alone may be enough, where the tail after ten steps is no worse.
    """
    errors = [max(trial.open_loop, SMALL) for trial in trials]
    one_step = min(trial.one_step for trial in trials)
    left = min(errors) / errors[0]
    pays = left < 1 - OPEN_GAIN and one_step < (1 - gain) * trials[0].one_step
    goes_on = trials[0].carried > CARRIED and gain < 1
    pays |= left < 1 - CARRIED_GAIN and goes_on
    enough = SLACK * min(errors) if pays else errors[0]
    best = min(trials, key=lambda trial: trial.open_loop)
    near = [trial for trial, error in zip(trials, errors, strict=True) if error <= enough]
    shows = one_step < (1 - gain) * trials[0].one_step and errors[0] > SMALL
    if rare and shows and goes_on and not pays:
        # Where doses are rare, most stretches are at rest after ten steps, and say nothing of a
        # past. The others do.
        pays, near = True, [trial for trial in trials if trial.tail <= trials[0].tail]
    exact = [trial for trial in near if trial.one_step <= STEP_SLACK * one_step]
    # What a last hidden number adds shows in one step first.
    chosen = exact[0] if pays and exact else near[0]
    later = [t for t in trials if t.lag > chosen.lag and t.takes_away(LATER, chosen)]
    if pays and later:  # of some agents there is more hidden
        least = min(trial.tail for trial in later)
        chosen = next(trial for trial in later if trial.tail <= SLACK * max(least, SMALL))
    return LagChoice(trials, best.lag, chosen.lag)


def judge(
    data: Data,
    lag: int,
    early: NDArray[np.bool_],
    late: NDArray[np.bool_],
    seen: Sequence[int] | None = None,
) -> LagTrial:
    """Judge a past.

    Args:
        data: The data.
        lag: Observations of a state.
        early: Transitions to fit ``[T]``.
        late: Transitions to judge by ``[T]``.
        seen: Columns of the past and of the present action that are seen; all by default.
    """
    t = data.transitions
    frame = Frame.of(data, lag, early, geometry=data.geometry, seen=seen)
    states, actions = frame.states(data), torch.as_tensor(t.action)
    features = frame.features(states, actions)
    change = frame.change(torch.as_tensor(t.obs), torch.as_tensor(t.next_obs))
    agents = torch.as_tensor(np.unique(t.agent, return_inverse=True)[1])
    fitted, rows = (torch.as_tensor(np.flatnonzero(part)) for part in (early, late))
    own = features[fitted], change[fitted], agents[fitted], present(frame)
    fits = [Ridge.fitted(*own, ridge) for ridge in RIDGES]
    off = [(model.change(agents[rows], features[rows])[0] - change[rows]).numpy() for model in fits]
    who = agents[rows].numpy()
    one_steps = [_median_by(np.square(error).mean(axis=1), who) for error in off]
    best = int(np.argmin(one_steps))
    model = fits[best]
    space = data.task.observation_space
    low, high = torch.as_tensor(space.low.copy()), torch.as_tensor(space.high.copy())
    ensemble = FrameEnsemble(frame.within(0.5), model, low, high)
    first = _windows(late, t.episode)
    open_loop, tail = _open_loop(ensemble, data, states.double(), agents, first)
    carried = max(_carried(off[best], who, rows.numpy(), t.episode[rows], k) for k in APART)
    return LagTrial(lag, float(min(one_steps)), open_loop, carried, tail)


def _carried(
    off: NDArray[np.float64],
    agents: NDArray[np.int64],
    rows: NDArray[np.int64],
    episode: NDArray[np.int64],
    apart: int,
) -> float:
    """How surely errors of one step go on some steps later: see :class:`LagTrial`.

    Args:
        off: Errors ``[n, c]``.
        agents: Whose they are ``[n]``.
        rows: Rows of the data ``[n]``, ascending.
        episode: Episodes that they are of ``[n]``.
        apart: Steps between the errors of a pair.
    """
    most = CUT * np.median(np.abs(off), axis=0) + 1e-300
    cut = np.clip(off, -most, most)
    follows = (rows[apart:] - rows[:-apart] == apart) & (episode[apart:] == episode[:-apart])
    before, after, own = cut[:-apart][follows], cut[apart:][follows], agents[apart:][follows]
    if not len(own):
        return 0.0
    both, size = np.zeros((2, int(own.max()) + 1, off.shape[1]))
    np.add.at(both, own, before * after)
    np.add.at(size, own, (before**2 + after**2) / 2)
    known = np.bincount(own) >= PAIRS
    if known.sum() < 2:
        return 0.0
    each = both[known] / (size[known] + 1e-300)
    chance = CHANCE * each.std(axis=0, ddof=1) / np.sqrt(len(each))
    return float((each.mean(axis=0) - chance).max())


def _median_by(square: NDArray[np.float64], agents: NDArray[np.int64]) -> float:
    count = np.bincount(agents)
    mean = np.bincount(agents, weights=square)[count > 0] / count[count > 0]
    return float(np.median(np.sqrt(mean)))


def _windows(held: NDArray[np.bool_], episode: NDArray[np.int64]) -> NDArray[np.int64]:
    """First rows of held-out stretches ``[k]``, some of each episode."""
    rows = np.flatnonzero(held)
    ends = np.searchsorted(episode, episode[rows], side="right")
    rows = rows[rows + HORIZON <= ends]
    if not len(rows):
        return rows
    starts = np.flatnonzero(np.append(True, episode[rows][1:] != episode[rows][:-1]))
    counts = np.diff(np.append(starts, len(rows)))
    shifts = np.linspace(0, 1, WINDOWS)[:, None] * (counts - 1)
    return np.unique(rows[(starts + shifts.astype(np.int64)).ravel()])


def _open_loop(
    ensemble: FrameEnsemble, data: Data, states: Tensor, agents: Tensor, first: NDArray[np.int64]
) -> tuple[float, float]:
    """Median and ninth decile of the stretches' errors after ten steps."""
    if not len(first):
        return float("inf"), float("inf")
    t = data.transitions
    rows = first[:, None] + np.arange(HORIZON)
    *_, last = ensemble.unroll(
        agents[first], states[first], torch.as_tensor(t.action[rows])[:, None]
    )
    g = ensemble.frame.geometry
    truth = torch.as_tensor(t.next_obs[rows[:, -1]])
    unit = torch.as_tensor(data.deviation, dtype=torch.float64)
    left = g.between(g.inward(truth.double()), g.inward(last[0, :, 0]))
    columns = list(g.columns)
    scaled = left / unit[columns]
    square = torch.nan_to_num(scaled.square().mean(1), nan=1e6).clamp_max(1e6)
    errors = square.sqrt()
    return float(errors.median()), float(errors.quantile(0.9))
