"""Transitions as a closed-form fit sees them: scaled changes, units of a basis, and the records."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.core import Task
from persim_gym.learned.closed_form.agent_sums import Rows
from persim_gym.learned.closed_form.alternation import LowRankFit
from persim_gym.learned.closed_form.basis import Inputs, Monomials, angles_of
from persim_gym.learned.closed_form.ensemble import PolynomialEnsemble
from persim_gym.learned.closed_form.weights import ROWS_PER_WEIGHT
from persim_gym.learned.geometry.geometry import TURN
from persim_gym.learned.history import width_of
from persim_gym.learned.moments import blocks, measure
from persim_gym.learned.regression.orthonormal import independent, some
from persim_gym.offline.transitions import Transitions

#: Terms of a basis beyond which nothing is fitted.
MAX_MONOMIALS = 400
#: What a term must add to the ones before it, as a share of its size: less is rounding.
ADDED = 1e-5


@dataclass(frozen=True, slots=True)
class Problem:
    """Everything of the data that a closed-form fit sees.

    Attributes:
        rows: The transitions, targets in units of ``scale``.
        episode: Episode of each ``[T]``.
        states: States ``[T, in]``; actions ``[T]`` or ``[T, a]``.
        actions: Actions as recorded.
        next_obs: Observations after them ``[T, d]``.
        inputs: Units of the basis's inputs.
        scale: Deviation of the changes ``[d]``.
        deviation: Deviation of the observations ``[d]``: the unit of errors.
        low: Lower bounds of the observation space ``[d]``.
        high: Upper bounds ``[d]``.
        recorded: Recorded range of observations ``[2, d]``.
        turning: Coordinates that are angles: they have no range.
        discrete: Whether actions are discrete.
        lag: Observations that a state holds.
        past: Numbers of the past action that it holds with each.
        terminated: The task's test of next observations.
    """

    rows: Rows
    episode: Tensor
    states: Tensor
    actions: Tensor
    next_obs: Tensor
    inputs: Inputs
    scale: Tensor
    deviation: Tensor
    low: Tensor
    high: Tensor
    recorded: Tensor
    turning: tuple[int, ...]
    discrete: bool
    lag: int
    past: int
    terminated: Callable[[Any], Any]
    _bases: dict[int, Monomials] = field(default_factory=dict, repr=False, compare=False)

    def basis(self, degree: int) -> Monomials:
        """Monomials up to a degree; cosines of angles to the first power.

        What the record makes a combination of others is left out: the square of a sine beside
        that of its cosine, a copied column, a high power of an input of few values.
        """
        if degree not in self._bases:
            plain = len(self.inputs.centre)
            whole = Monomials.up_to(degree, self.inputs.size, range(plain, self.inputs.size))
            if whole.size <= MAX_MONOMIALS:
                values = some(self.rows.inputs).to(self.inputs.centre.dtype)
                phi = whole(self.inputs(values))
                kept = independent(phi @ phi.mT / phi.shape[1], ADDED)
                whole = whole.without_others(kept.cpu().numpy())
            self._bases[degree] = whole
        return self._bases[degree]

    def basis_size(self, degree: int) -> int:
        """How many monomials :meth:`basis` would give, without making them."""
        return Monomials.count(degree, self.inputs.size, len(self.inputs.angles))

    def widened(self, margin: float) -> tuple[Tensor, Tensor]:
        """The recorded range of observations, and ``margin`` widths of it ``[d]``, ``[d]``."""
        low, high = self.recorded
        width = margin * (high - low)
        width[list(self.turning)] = math.inf
        return low - width, high + width

    def features(self, monomials: Monomials) -> Callable[[Tensor], Tensor]:
        """Inputs ``[n, in]`` -> monomials ``[P, n]``."""
        return lambda values: monomials(self.inputs(values))

    def ensemble(self, monomials: Monomials, fit: LowRankFit) -> PolynomialEnsemble:
        """A fit as a transition function."""
        return PolynomialEnsemble(
            self.inputs,
            monomials,
            fit.weights,
            fit.factors.mean,
            self.scale,
            self.low,
            self.high,
            discrete=self.discrete,
            lag=self.lag,
            past=self.past,
        )

    def left(self, predicted: Tensor, truth: Tensor) -> Tensor:
        """What predictions ``[..., d]`` miss, of angles the shorter way round."""
        left = predicted - truth
        if self.turning:
            turned = left[..., list(self.turning)]
            left[..., list(self.turning)] = turned - TURN * torch.round(turned / TURN)
        return left


def pose(
    transitions: Transitions,
    task: Task,
    states: NDArray[np.float32],
    used: NDArray[np.bool_],
    lag: int,
    device: torch.device,
) -> Problem:
    """What a closed-form fit sees of transitions, on a device.

    What is of the data's size stays in single precision, as it was recorded, and is not copied
    where all transitions are used; sums over it are in double precision.

    Args:
        transitions: The data.
        task: Their task.
        states: ``[T, l * w]``.
        used: Transitions to learn from ``[T]``.
        lag: Observations that a state holds.
        device: Where to compute.
    """
    space = task.action_space
    discrete = hasattr(space, "n")
    used = _telling(transitions, used, states.shape[1], int(getattr(space, "n", 0)), lag)
    everything = bool(used.all())

    def kept(array: NDArray[Any]) -> NDArray[Any]:
        return array if everything else array[used]

    next_obs, values = kept(transitions.next_obs), kept(states)
    actions = kept(transitions.action)
    n, d = next_obs.shape
    target, scale = _scaled_changes(transitions, None if everything else np.flatnonzero(used))
    low = np.minimum(transitions.obs.min(0), transitions.next_obs.min(0)).astype(np.float64)
    high = np.maximum(transitions.obs.max(0), transitions.next_obs.max(0)).astype(np.float64)
    past, turning = width_of(lag, space), tuple(getattr(task, "angles", ()))
    inputs = values[:, past:] if past else values
    if not discrete:
        inputs = np.concatenate([inputs, actions.astype(np.float32)], axis=1)
    choice = actions if discrete else np.zeros(n, dtype=np.int64)

    def double(array: NDArray[Any]) -> Tensor:
        return torch.as_tensor(np.asarray(array, dtype=np.float64), device=device)

    units = Inputs.of(inputs, angles_of(task, lag, past + d)).to(device, torch.float64)
    rows = Rows(
        torch.as_tensor(kept(transitions.agent), device=device),
        torch.as_tensor(inputs, device=device),
        torch.as_tensor(choice, device=device),
        torch.as_tensor(target, device=device),
        transitions.num_agents,
        int(getattr(space, "n", 1)),
    )
    bounds = task.observation_space
    episodes = transitions.episode if everything else _unbroken(transitions.episode, used)
    return Problem(
        rows,
        torch.as_tensor(episodes),
        torch.as_tensor(values, device=device),
        torch.as_tensor(actions, device=device),
        torch.as_tensor(next_obs, device=device),
        units,
        double(scale),
        double(measure(n, lambda rows: next_obs[rows]).unit),
        double(bounds.low),
        double(bounds.high),
        torch.stack([double(low), double(high)]),
        turning,
        discrete,
        lag,
        past,
        task.terminated,
    )


def _scaled_changes(
    transitions: Transitions, places: NDArray[np.int64] | None
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Changes of all transitions or of those at some places ``[n, d]``, and their units ``[d]``."""
    n = len(transitions) if places is None else len(places)

    def change(rows: slice) -> NDArray[np.float64]:
        return transitions.change(rows if places is None else places[rows])

    scale = measure(n, change).unit
    # Rounding to single precision is here a tenth of the least noise that a fit assumes.
    target = np.empty((n, transitions.obs.shape[1]), dtype=np.float32)
    for block in blocks(n):
        target[block] = change(block) / scale
    return target, scale


def _telling(
    transitions: Transitions, used: NDArray[np.bool_], width: int, choices: int, lag: int
) -> NDArray[np.bool_]:
    """Which of the transitions ``[T]`` say something of the law."""
    if choices:
        used = used & ~rare(transitions.action, used, width, choices)
    if lag > 1:  # what began with a made-up past says nothing
        whole = used & (transitions.step >= lag - 1)
        used = whole if whole.any() else used
    return used


def rare(
    action: NDArray[np.int64], used: NDArray[np.bool_], inputs: int, choices: int
) -> NDArray[np.bool_]:
    """Transitions of actions that were taken too rarely to learn even a linear law of them ``[T]``.

    What is left unexplained of these few would pass for noise of all, and mislead the factors of
    the agents that took them.
    """
    count = np.bincount(action[used], minlength=choices)
    few = (count < ROWS_PER_WEIGHT * (inputs + 1)) & (count < 0.5 * count.max())
    return np.asarray(few[action])


def _unbroken(episode: NDArray[np.int64], used: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Numbers of the stretches without a gap, of the transitions that are used."""
    new = np.ones(len(episode), dtype=np.bool_)
    new[1:] = (episode[1:] != episode[:-1]) | ~used[:-1]
    return np.asarray(np.cumsum(new)[used])
