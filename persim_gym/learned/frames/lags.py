"""How many past observations tell more than the present one: judged by quick regressions.

For every lag each agent's ridge regression, shrunk to that of all, is fitted on the first part of
every trajectory and simulates the last part. It is quadratic in the present and linear in the past:
a cheap stand-in for what is fitted afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.frames.ensemble import FrameEnsemble, register
from persim_gym.learned.frames.frame import Frame
from persim_gym.learned.preparation import Data

#: Pasts that are tried, and longer ones where these leave as much of the error after ten steps: an
#: action may act many steps later.
LAGS, LONGER, LOST = (1, 2, 3, 4, 5), (7, 9), 0.1
#: Share of that error that they must take away where a shorter past pays: noise is averaged out by
#: any past, and a little more by a longer one.
LATER = 0.5
#: Steps of the open-loop predictions, and share of every trajectory that is held out.
HORIZON, HELD = 10, 0.25
#: Agents that are looked at, and open-loop predictions of each.
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
    """

    lag: int
    one_step: float
    open_loop: float
    carried: float = 0.0


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
    t = data.transitions
    rng = np.random.default_rng(0)
    present = np.unique(t.agent)
    chosen = np.sort(rng.permutation(present)[:AGENTS])
    part = t.select(np.isin(t.agent, chosen))
    few = Data(part, data.task)
    typical = int(np.median(part.lengths))
    possible = [lag for lag in sorted(set(lags)) if lag == 1 or 4 * lag <= typical]
    if not possible:
        raise ValueError(f"trajectories of {typical} steps are too short for lags {list(lags)}")
    found = shortest(trials, gain) if (trials := _trials(few, possible)) else None
    if found is None:
        return LagChoice((), possible[0], possible[0])
    longer = [lag for lag in LONGER if max(possible) < lag <= typical // 4]
    left = {trial.lag: trial.open_loop for trial in trials}
    if not longer or trials[0].lag > 1 or left[found.chosen] < LOST:
        return found
    again = _trials(few, [1, *longer])
    further = shortest(again, gain) if again else found
    if further.chosen == 1 or further is found:
        return found
    least = min(trial.open_loop for trial in again)
    if found.chosen > 1 and least > (1 - LATER) * left[found.chosen]:
        return found
    return replace(further, trials=(*trials, *again[1:]))


def _trials(data: Data, lags: Sequence[int]) -> tuple[LagTrial, ...]:
    """A trial of each lag, on the same transitions; none where nothing is left to judge by."""
    t = data.transitions
    usable = t.step >= max(lags) - 1
    late = t.step >= np.repeat(np.ceil((1 - HELD) * t.lengths), t.lengths)
    if not (usable & late).any() or not (usable & ~late).any():
        return ()
    return tuple(_judge(data, lag, usable, late) for lag in lags)


def shortest(trials: tuple[LagTrial, ...], gain: float = GAIN) -> LagChoice:
    """The choice of the shortest past that is nearly as good as any.

    Args:
        trials: Of lags, in ascending order.
        gain: Share of the error of one step that a past must take away.
    """
    errors = [max(trial.open_loop, SMALL) for trial in trials]
    one_step = min(trial.one_step for trial in trials)
    left = min(errors) / errors[0]
    pays = left < 1 - OPEN_GAIN and one_step < (1 - gain) * trials[0].one_step
    pays |= left < 1 - CARRIED_GAIN and trials[0].carried > CARRIED and gain < 1
    enough = SLACK * min(errors) if pays else errors[0]
    best = min(trials, key=lambda trial: trial.open_loop)
    near = [trial for trial, error in zip(trials, errors, strict=True) if error <= enough]
    exact = [trial for trial in near if trial.one_step <= STEP_SLACK * one_step]
    # What a last hidden number adds shows in one step first.
    chosen = exact[0] if pays and exact else near[0]
    return LagChoice(trials, best.lag, chosen.lag)


def _judge(data: Data, lag: int, usable: NDArray[np.bool_], late: NDArray[np.bool_]) -> LagTrial:
    t = data.transitions
    frame = Frame.of(data, lag, usable & ~late, geometry=data.geometry)
    states, actions = frame.states(data), torch.as_tensor(t.action)
    features = frame.features(states, actions)
    change = frame.change(torch.as_tensor(t.obs), torch.as_tensor(t.next_obs))
    agents = torch.as_tensor(np.unique(t.agent, return_inverse=True)[1])
    early, rows = (torch.as_tensor(np.flatnonzero(usable & part)) for part in (~late, late))
    present = _present(frame)
    fits = [
        Ridge.fitted(features[early], change[early], agents[early], present, ridge)
        for ridge in RIDGES
    ]
    off = [(model.change(agents[rows], features[rows])[0] - change[rows]).numpy() for model in fits]
    own = agents[rows].numpy()
    one_steps = [_median_by(np.square(error).mean(axis=1), own) for error in off]
    best = int(np.argmin(one_steps))
    model = fits[best]
    space = data.task.observation_space
    low, high = torch.as_tensor(space.low.copy()), torch.as_tensor(space.high.copy())
    ensemble = FrameEnsemble(frame.within(0.5), model, low, high)
    first = _windows(usable & late, t.episode)
    open_loop = _open_loop(ensemble, data, states.double(), agents, first)
    carried = max(_carried(off[best], own, rows.numpy(), t.episode[rows], k) for k in APART)
    return LagTrial(lag, float(min(one_steps)), open_loop, carried)


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
) -> float:
    if not len(first):
        return float("inf")
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
    return float(square.sqrt().median())


def _present(frame: Frame) -> list[int]:
    """Features of the present, actions included: those of which products are taken."""
    g, lag = frame.geometry, frame.lag
    now = len(g.plain) + 2 * len(g.periodic)
    past = (lag - 1) * (g.size + frame.past)
    return [k for k, column in enumerate(frame.kept) if column < now or column >= now + past]


@register
class Ridge:
    """Each agent's ridge regression, shrunk to that of all: the model by which lags are judged.

    Args:
        factors: Weights of the basis ``[1, N, P * c]``.
        present: Features of which products are taken.
        targets: Number of changes ``c``.
    """

    kind: ClassVar[str] = "ridge"

    def __init__(self, factors: Tensor, present: Sequence[int], targets: int) -> None:
        self.factors, self.present, self.targets = factors, list(present), targets

    @classmethod
    def fitted(
        cls, features: Tensor, change: Tensor, agents: Tensor, present: Sequence[int], ridge: float
    ) -> Ridge:
        """Fit: what is personal is as large as the noise allows, times a ridge."""
        count, c = int(agents.max()) + 1, change.shape[1]
        basis = _basis(features, present)
        size = basis.shape[1]
        gram = basis.T @ basis
        eye = torch.eye(size, dtype=gram.dtype, device=gram.device)
        common = torch.linalg.solve(gram + 1e-9 * len(basis) * eye, basis.T @ change)
        left = change - basis @ common
        own = basis.new_zeros(count, size, size)
        moment = basis.new_zeros(count, size, c)
        for agent in range(count):
            rows = agents == agent
            own[agent] = basis[rows].T @ basis[rows]
            moment[agent] = basis[rows].T @ left[rows]
        scaled = ridge * 1e-2 * eye
        personal = torch.linalg.solve(own + scaled, moment)
        return cls((common + personal).reshape(1, count, size * c), present, c)

    @property
    def members(self) -> int:
        """One."""
        return len(self.factors)

    @property
    def num_agents(self) -> int:
        """Number of agents ``N``."""
        return self.factors.shape[1]

    @property
    def widths(self) -> Sequence[int]:
        """Size of the basis, and changes."""
        return (self.factors.shape[2] // self.targets, self.targets)

    def change(self, agents: Tensor, features: Tensor) -> Tensor:
        """Scaled changes ``[1, n, c]``."""
        basis = _basis(features, self.present)
        weights = self.factors[0, agents].unflatten(1, (-1, self.targets))
        found = torch.einsum("...np,npc->...nc", basis, weights)
        return found if features.ndim == 3 else found[None]

    def bind(self, agents: Tensor) -> Any:
        """The regressions of agents ``[p]``."""
        weights = self.factors[:, agents].unflatten(2, (-1, self.targets))
        return lambda features: _basis(features, self.present) @ weights

    def design(self, features: Tensor) -> Tensor:
        """What the weights are multiplied to, ``[1, n, c, P * c]``."""
        basis = _basis(features, self.present)
        eye = torch.eye(self.targets, dtype=basis.dtype, device=basis.device)
        return torch.einsum("np,ce->ncpe", basis, eye).flatten(2)[None]

    def offset(self) -> Tensor:
        """None ``[c]``."""
        return self.factors.new_zeros(self.targets)

    def with_factors(self, factors: Tensor) -> Ridge:
        """The same for agents of other weights."""
        return Ridge(factors, self.present, self.targets)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Ridge:
        """The same on a device, in a precision."""
        return self.with_factors(self.factors.to(device, dtype or self.factors.dtype))

    def tensors(self) -> dict[str, Tensor]:
        """The weights."""
        return {"factors": self.factors}

    def meta(self) -> dict[str, Any]:
        """Everything else."""
        return {"present": self.present, "targets": self.targets}

    @classmethod
    def from_parts(cls, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> Ridge:
        """What :meth:`tensors` and :meth:`meta` have given."""
        return cls(tensors["factors"], meta["present"], int(meta["targets"]))


def _basis(features: Tensor, present: Sequence[int]) -> Tensor:
    """A constant, the features ``[..., q]``, and products of two present ones ``[..., P]``."""
    now = features[..., list(present)]
    left, right = torch.triu_indices(len(present), len(present))
    one = torch.ones_like(features[..., :1])
    return torch.cat([one, features, now[..., left] * now[..., right]], dim=-1)
