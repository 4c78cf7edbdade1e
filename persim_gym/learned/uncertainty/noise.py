"""Noise of observations and noise of the process, separated by what single steps leave over.

What one step leaves is ``e(t) = w(t) + v(t + 1) - F v(t)``: the process's noise ``w``, the noise
``v`` of the observation after it, and that of the one before, which the model passes on with its
slope ``F``. Noise of observations therefore stands in two neighbouring residuals, turned round by
the model, and that of the process in one. What a model misses counts as noise of the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.data import Data
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.history import slots

Floats = NDArray[np.float64]

#: Transitions that noise is estimated on, at the most about, and those of which slopes are taken.
MOST, SLOPES = 50_000, 4000
#: Residuals are cut at this many of their standard deviations, as the middle ones give it.
CUT = 6.0
#: Standard errors below which noise of observations counts as none.
SURE = 3.0
#: Log likelihood a transition that noise of a changing size must gain.
GAIN = 0.05
#: Values of a size below this share of their standard deviation count alike.
NEAR_ZERO = 0.02


@dataclass(frozen=True)
class Noise:
    """Noise of a population's process and of its observations, in inner coordinates ``c``.

    Noise of the process has a covariance, times the squared ``scale`` of an agent, times factors of
    a changing size: its logarithm may be linear in those of the change and of the state.

    Attributes:
        observation: Variances of the observations' noise, independent over coordinates ``[c]``.
        process: Covariance of the process's noise where all factors are 1 ``[c, c]``.
        scale: Factor of each agent ``[V]``; 1 for those that came later.
        slope: Of the logarithm of the variance, by the sizes of change and state ``[2, c]``.
        floor: What is added to the sizes ``[2, c]``.
        most: Largest sizes that are believed ``[2, c]``.
    """

    observation: Floats
    process: Floats
    scale: Floats
    slope: Floats
    floor: Floats
    most: Floats

    @cached_property
    def root(self) -> Floats:
        """A root ``L`` of ``process = L L^T`` ``[c, c]``."""
        values, vectors = np.linalg.eigh(self.process)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))

    @cached_property
    def constant(self) -> bool:
        """Whether its size is the same everywhere."""
        return not self.slope.any()

    def factor(self, change: Floats, state: Floats) -> Floats:
        """Factors of the standard deviation ``[..., c]``.

        Args:
            change: Predicted changes ``[..., c]``.
            state: States after them ``[..., c]``.
        """
        if self.constant:
            return np.ones_like(change)
        sizes = (np.abs(change), np.abs(state))
        logs = [
            slope * np.log(np.minimum(size, most) + floor)
            for slope, size, most, floor in zip(
                self.slope, sizes, self.most, self.floor, strict=True
            )
        ]
        return np.asarray(np.exp(0.5 * (logs[0] + logs[1])))

    def shaped(self, normal: Floats, agents: NDArray[Any], change: Floats, state: Floats) -> Floats:
        """Noise of the process ``[..., n, c]`` from standard normal numbers of that shape."""
        known = np.minimum(agents, len(self.scale) - 1)
        scale = np.where(agents < len(self.scale), self.scale[known], 1.0)
        drawn = normal @ self.root.T * scale[:, None]
        return np.asarray(drawn * self.factor(change, state))

    def tensors(self) -> dict[str, Tensor]:
        """What is kept in a file."""
        names = ("observation", "process", "scale", "slope", "floor", "most")
        return {f"noise.{name}": torch.as_tensor(getattr(self, name)) for name in names}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Noise:
        """What :meth:`tensors` has given, by the rest of the names."""
        return cls(**{name: tensor.double().numpy() for name, tensor in tensors.items()})

    def to_json(self) -> dict[str, Any]:
        """Standard deviations of both kinds, for the card."""
        return {
            "observation": np.sqrt(self.observation).tolist(),
            "process": np.sqrt(np.diag(self.process)).tolist(),
            "varies": bool(not self.constant),
            "agents": [float(self.scale.min()), float(self.scale.max())],
        }


@dataclass(frozen=True, slots=True)
class Residuals:
    """What single steps of the members' mean leave over.

    Attributes:
        rows: Transitions ``[k]``, ascending.
        left: ``[k, c]``.
        change: Predicted changes ``[k, c]``.
        after: Predicted observations ``[k, d]``.
        agent: ``[k]``.
        follows: Pairs of neighbours: places of the first ones ``[q]``.
        states: ``[k, l * w]``.
        actions: ``[k(, a)]``.
    """

    rows: NDArray[np.int64]
    left: Floats
    change: Floats
    after: Floats
    agent: NDArray[np.int64]
    follows: NDArray[np.int64]
    states: Tensor
    actions: Tensor


@torch.no_grad()
def residuals_of(ensemble: Ensemble, data: Data, seed: int) -> Residuals | None:
    """Residuals of single steps, of every agent but where there are very many.

    Returns:
        ``None`` where no transition serves.
    """
    t = data.transitions
    rng = np.random.default_rng([seed, 21])
    whole = ~data.clipped & (t.step >= ensemble.lag - 1)
    if len(t) > MOST:
        length = max(20, MOST // len(t.starts))
        first = rng.integers(0, np.maximum(t.lengths - length, 0) + 1)
        begins = np.repeat(first, t.lengths)
        place = np.arange(len(t)) - np.repeat(t.starts, t.lengths)
        whole &= (place >= begins) & (place < begins + length)
    rows = np.flatnonzero(whole)
    if not len(rows):
        return None
    device = ensemble.device
    states = torch.as_tensor(slots(t, ensemble.lag, ensemble.past)[rows], device=device)
    actions = torch.as_tensor(t.action[rows], device=device)
    agents = torch.as_tensor(t.agent[rows], device=device)
    mean = mean_step(ensemble, agents, states, actions)
    left = ensemble.difference(mean, torch.as_tensor(t.next_obs[rows]).to(mean))
    change = ensemble.difference(states, mean)
    plain = [part.double().cpu().numpy() for part in (left, change, mean)]
    sound = np.isfinite(plain[0]).all(1)
    left_, change_, after = (np.where(sound[:, None], part, 0.0) for part in plain)
    same = (rows[1:] == rows[:-1] + 1) & (t.episode[rows[1:]] == t.episode[rows[:-1]])
    follows = np.flatnonzero(same & sound[1:] & sound[:-1])
    return Residuals(rows, left_, change_, after, t.agent[rows], follows, states, actions)


def mean_step(ensemble: Ensemble, agents: Tensor, states: Tensor, actions: Tensor) -> Tensor:
    """The members' mean after one step ``[n, d]``."""
    parts = zip(agents.split(4096), states.split(4096), actions.split(4096), strict=True)
    return torch.cat([ensemble.step(*part).mean(0) for part in parts])


def estimate_noise(
    ensemble: Ensemble, data: Data, seed: int, optimism: float = 1.0
) -> Noise | None:
    """Estimate both kinds of noise.

    Args:
        ensemble: The members, fitted on the data.
        data: The data.
        seed: Chooses rows where there are very many.
        optimism: Error on transitions that were not fitted over that on those that were.

    Returns:
        ``None`` where no transition serves.
    """
    found = residuals_of(ensemble, data, seed)
    if found is None:
        return None
    unit = _units(found.left)
    left = np.clip(found.left / unit, -CUT, CUT)
    together = left.T @ left / len(left)
    seen, passed = _of_observations(ensemble, found, left, unit)
    process = _positive(together - passed) * min(optimism, 1.5)
    noise = Noise(
        observation=seen * unit**2,
        process=process * np.outer(unit, unit),
        scale=np.ones(data.transitions.num_agents),
        slope=np.zeros((2, len(unit))),
        floor=np.ones((2, len(unit))),
        most=np.ones((2, len(unit))),
    )
    share = np.diag(passed) / np.maximum(np.diag(together), 1e-300)
    return _scaled(_sized(noise, ensemble, found, left, share), ensemble, found, left, share)


def _units(left: Floats) -> Floats:
    """Standard deviations ``[c]`` as the middle residuals give them, and no rare ones."""
    middle = np.quantile(np.abs(left), 0.683, axis=0)
    unit = np.maximum(middle, np.quantile(np.abs(left), 0.99, axis=0) / CUT)
    return np.asarray(np.maximum(unit, 1e-12))


def _positive(matrix: Floats) -> Floats:
    """The nearest symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T)


def _of_observations(
    ensemble: Ensemble, found: Residuals, left: Floats, unit: Floats
) -> tuple[Floats, Floats]:
    """Variances of the observations' noise ``[c]``, and its part of the residuals ``[c, c]``."""
    c, pairs = left.shape[1], found.follows
    if len(pairs) < 2 * c + 8:
        return np.zeros(c), np.zeros((c, c))
    neighbours = left[pairs + 1].T @ left[pairs] / len(pairs)
    chosen = pairs[:: max(1, len(pairs) // SLOPES)]
    first = slopes(ensemble, found, chosen, unit)  # [l, k, c, c], of the present one first
    after = slopes(ensemble, found, chosen + 1, unit)
    each = np.eye(c)
    # By entry and coordinate: how much of its variance is there.
    beside = -np.einsum("kij,bj->ibj", after[0], each) / len(chosen)
    for one, two in zip(after[1:], first[:-1], strict=True):
        beside += np.einsum("kij,kbj->ibj", one, two) / len(chosen)
    own = np.einsum("aj,bj->abj", each, each)
    own = own + sum(np.einsum("kij,kbj->ibj", one, one) for one in first) / len(chosen)
    matrix = beside.reshape(c * c, c)
    variance = _not_negative(matrix, neighbours.ravel(), len(pairs))
    # It cannot be more than all there is.
    diagonal = np.einsum("aaj->aj", own)
    total = np.square(left).mean(0)
    most = float(np.min(total / np.maximum(diagonal @ variance, 1e-300)))
    variance = variance * min(1.0, most)
    return variance, np.asarray(own @ variance)


def _not_negative(matrix: Floats, values: Floats, pairs: int) -> Floats:
    """Least squares without negative ones, and without what may be chance."""
    kept = np.ones(matrix.shape[1], dtype=np.bool_)
    solved = np.zeros(matrix.shape[1])
    while kept.any():
        gram = matrix[:, kept].T @ matrix[:, kept]
        inverse = np.linalg.pinv(gram)
        solved[:] = 0.0
        solved[kept] = inverse @ (matrix[:, kept].T @ values)
        error = np.sqrt(np.maximum(np.diag(inverse), 0.0) / pairs)
        surplus = solved[kept] - SURE * error
        if (surplus > 0).all():
            break
        kept[np.flatnonzero(kept)[int(np.argmin(surplus))]] = False
        solved[~kept] = 0.0
    return solved


@torch.no_grad()
def slopes(ensemble: Ensemble, found: Residuals, at: NDArray[np.int64], unit: Floats) -> Floats:
    """How predictions move with each observation of a state ``[l, k, c, c]``, in units.

    Args:
        ensemble: The members.
        found: Transitions.
        at: Places of some of them ``[k]``.
        unit: Of inner coordinates ``[c]``.
    """
    agents = torch.as_tensor(found.agent[at], device=ensemble.device)
    states, actions = found.states[at], found.actions[at]
    base = mean_step(ensemble, agents, states, actions)
    d, width = ensemble.obs_dim, ensemble.past + ensemble.obs_dim
    size = np.maximum(unit, 1e-3 * np.abs(found.change).max(0) + 1e-6)
    rows = []
    for back in range(ensemble.lag):
        end = states.shape[1] - back * width
        columns = []
        for k, step in enumerate(size):
            change = torch.zeros(len(at), len(unit)).to(base)
            change[:, k] = float(step)
            moved = states.clone()
            moved[:, end - d : end] = ensemble.following(states[:, end - d : end], change)
            away = ensemble.difference(base, mean_step(ensemble, agents, moved, actions))
            columns.append(away.double().cpu().numpy() / step * unit[k] / unit)
        rows.append(np.stack(columns, axis=2))
    return np.nan_to_num(np.stack(rows), nan=0.0, posinf=0.0, neginf=0.0)


def _sizes(ensemble: Ensemble, found: Residuals) -> list[Floats]:
    """Sizes of changes and of the states after them ``[k, c]``."""
    state = np.zeros_like(found.change) if ensemble.turning else found.after
    return [np.abs(found.change), np.abs(state)]


def _sized(
    noise: Noise, ensemble: Ensemble, found: Residuals, left: Floats, share: Floats
) -> Noise:
    """The noise with a size that goes along with the change's or the state's, where that helps."""
    sizes = _sizes(ensemble, found)
    floor = np.stack([NEAR_ZERO * size.std(0) + 1e-12 for size in sizes])
    most = np.stack([size.max(0) for size in sizes])
    slope = np.zeros_like(noise.slope)
    half = found.agent % 2 if len(np.unique(found.agent % 2)) > 1 else found.rows % 2
    for c in range(left.shape[1]):
        if share[c] > 0.5:
            continue
        gains = []
        for k, size in enumerate(sizes):
            if ensemble.turning and k == 1:
                gains.append((-np.inf, 0.0))
                continue
            gains.append(_gain(np.log(size[:, c] + floor[k, c]), left[:, c], half))
        best = int(np.argmax([gain for gain, _ in gains]))
        if gains[best][0] > GAIN:
            slope[best, c] = gains[best][1]
    if not slope.any():
        return noise
    sized = replace(noise, slope=slope, floor=floor, most=most)
    factor = sized.factor(found.change, sizes[1])
    # The same sum of squares as before.
    ratio = np.square(left).mean(0) / np.maximum(np.square(left / factor).mean(0), 1e-300)
    root = np.sqrt(1.0 / np.where(ratio > 0, ratio, 1.0))  # nothing is left of a constant
    return replace(sized, process=noise.process * np.outer(root, root))


def _gain(logs: Floats, left: Floats, half: NDArray[np.int64]) -> tuple[float, float]:
    """Log likelihood that the other half gains by a size that varies, and the slope."""
    if logs.std() < 1e-9:
        return -np.inf, 0.0
    gains, found = [], []
    target = np.log(np.square(left) + 1e-4)
    for part in (0, 1):
        own, other = half == part, half != part
        if own.sum() < 20 or other.sum() < 20:
            return -np.inf, 0.0
        centre = logs[own].mean()
        slope = np.mean((logs[own] - centre) * target[own]) / logs[own].var()
        slope = float(np.clip(slope, 0.0, 3.0))
        varied = np.exp(slope * (logs - centre))
        varied = varied * np.mean(np.square(left[own]) / varied[own]) + 1e-12
        even = np.mean(np.square(left[own])) + 1e-12
        squares = np.square(left[other])
        plain = np.log(even) + squares / even
        better = np.log(varied[other]) + squares / varied[other]
        gains.append(0.5 * float(np.mean(plain - better)))
        found.append(slope)
    return min(gains), float(np.mean(found))


def _scaled(
    noise: Noise, ensemble: Ensemble, found: Residuals, left: Floats, share: Floats
) -> Noise:
    """The noise with a scale of each agent's own, as far as they differ by more than chance."""
    used = share < 0.5
    if not used.any():
        return noise
    sizes = _sizes(ensemble, found)
    plain = (left / noise.factor(found.change, sizes[1]))[:, used]
    squares = np.square(plain / np.sqrt(np.mean(np.square(plain), axis=0) + 1e-300))
    each = squares.mean(1)
    size = len(noise.scale)
    count = np.bincount(found.agent, minlength=size)
    known = count >= 3
    if known.sum() < 5:
        return noise
    mean = np.bincount(found.agent, each, size)[known] / count[known]
    chance = each.var() / count[known]  # of a mean of squares, relative to 1
    logs = np.log(np.maximum(mean, 1e-6))
    true = max(0.0, float(logs.var() - np.mean(np.minimum(chance, 2.0))))
    shrunk = true / (true + chance)
    centre = float(np.average(logs, weights=shrunk + 1e-9))
    scale = np.ones(size)
    scale[known] = np.exp(0.5 * shrunk * (logs - centre))
    scale /= np.sqrt(np.average(np.square(scale[known]), weights=count[known]))
    return replace(noise, scale=np.clip(scale, 0.1, 10.0))
