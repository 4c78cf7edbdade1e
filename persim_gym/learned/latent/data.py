"""What a latent network is fitted to, in its units, with its noise; and all that is fitted."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.latent.feature_map import FeatureMap
from persim_gym.learned.latent.network import LatentNetwork, LatentShape
from persim_gym.learned.transition_weights import precisions


class LatentSource(Protocol):
    """Transitions in the network's units, to be had of some agents at a time.

    Of those of all agents there may be too many to hold.
    """

    @property
    def num_agents(self) -> int:
        """Number of agents ``N``; some may have no transition."""

    @property
    def agents(self) -> NDArray[np.int64]:
        """Whose each transition is ``[T]``."""

    def of_agents(self, chosen: NDArray[np.int64]) -> LatentData:
        """Transitions of some agents, which are numbered anew, in the order given."""


@dataclass(frozen=True, slots=True)
class LatentData:
    """Transitions in the network's units, in the order they were recorded in.

    Attributes:
        features: States with actions ``[T, q]``, of mean 0 and deviation 1: discrete actions
            one-hot without the first, angles as cosine and sine.
        changes: What the transition changes ``[T, c]``, of deviation 1.
        agents: ``[T]``.
        episodes: ``[T]``.
        num_agents: Number of agents ``N``; some may have no transition.
        states: Present coordinates in units of the changes ``[T, c]``, 0 for angles; without them
            all transitions count alike.
        cut: Where a coordinate ended on a bound ``[T, c]``: 1 on an upper one, -1 on a lower one,
            else 0. The change would have been at least so large; what is missed is one-sided.
            2 where another coordinate's bound set this one: it says nothing of the dynamics.
    """

    features: NDArray[np.float64]
    changes: NDArray[np.float64]
    agents: NDArray[np.int64]
    episodes: NDArray[np.int64]
    num_agents: int
    states: NDArray[np.float64] | None = None
    cut: NDArray[np.int8] | None = None

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together, or are not finite."""
        n = len(self.features)
        for name in ("features", "changes", "agents", "episodes"):
            array = getattr(self, name)
            wanted = 2 if name in ("features", "changes") else 1
            if array.ndim != wanted or len(array) != n:
                raise ValueError(f"{name} must have {wanted} axes and {n} rows, got {array.shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite: leave out rows with nan or infinity")
        if n and (self.agents.min() < 0 or self.agents.max() >= self.num_agents):
            raise ValueError(
                f"agents must be in [0, {self.num_agents}), got "
                f"{self.agents.min()} to {self.agents.max()}"
            )

    def __len__(self) -> int:
        """Number of transitions ``T``."""
        return len(self.features)

    def select(self, rows: NDArray[Any]) -> LatentData:
        """Some of the transitions, by their places ``[k]`` or a mask ``[T]``."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "num_agents"}
        return replace(self, **{n: a[rows] for n, a in arrays.items() if a is not None})

    def of_agents(self, chosen: NDArray[np.int64]) -> LatentData:
        """Transitions of some agents, which are numbered anew, in the order given."""
        if np.array_equal(chosen, np.arange(self.num_agents)):
            return self
        number = np.full(self.num_agents, -1)
        number[chosen] = np.arange(len(chosen))
        part = self.select(number[self.agents] >= 0)
        return replace(part, agents=number[part.agents], num_agents=len(chosen))


def missed(error: Tensor, cut: Tensor | None) -> Tensor:
    """Errors ``[..., c]`` without what a bound cut off: beyond it, nothing is known to be wrong.

    Args:
        error: Predicted less recorded.
        cut: As in :class:`LatentData`; ``None`` where no bound was reached.
    """
    return error if cut is None else error.masked_fill(beyond(error, cut), 0.0)


def beyond(error: Tensor, cut: Tensor) -> Tensor:
    """Where errors ``[..., c]`` are none, because of a bound."""
    return (cut * error > 0) | (cut > 1)


def _left(network: LatentNetwork, data: LatentData) -> tuple[Tensor, Tensor]:
    """Predictions of all members ``[m, T, c]``, and what their mean leaves over ``[T, c]``."""
    agents = torch.as_tensor(data.agents)
    features = torch.as_tensor(data.features, dtype=torch.float32)
    changes = torch.as_tensor(data.changes, dtype=torch.float32)
    rows = zip(agents.split(_ROWS), features.split(_ROWS), strict=True)
    predicted = torch.cat([network.change(a, x) for a, x in rows], dim=1)
    cut = None if data.cut is None else torch.as_tensor(data.cut)
    return predicted, missed(predicted.mean(0) - changes, cut)


class Parameters:
    """All that is fitted, as one vector: layers, latents, their deviations, and start states.

    Args:
        shape: Sizes of the network.
        starts: Number of windows whose first state is fitted.
        observations: Observations ``l`` of a state.
    """

    def __init__(self, shape: LatentShape, starts: int, observations: int = 1) -> None:
        m = shape.members
        latent = (m, shape.num_agents, shape.latent)
        self.shape = shape
        self.sizes = shape.layers() | {
            "latent.mean": latent,
            "latent.log_deviation": latent,
            "starts": (m, starts, observations * shape.outputs),
        }
        self._lengths = [math.prod(size) for size in self.sizes.values()]

    def views(self, vector: Tensor) -> dict[str, Tensor]:
        """The parts of a vector ``[P]`` by name."""
        parts = vector.split(self._lengths)
        return {n: p.view(size) for (n, size), p in zip(self.sizes.items(), parts, strict=True)}

    def vector(self, network: LatentNetwork) -> Tensor:
        """A network's parameters ``[P]``, with start states as they were recorded."""
        vector = torch.zeros(sum(self._lengths), dtype=torch.float32, device=network.device)
        views, found = self.views(vector), network.tensors()
        for name in self.shape.layers():
            views[name].copy_(found[name])
        views["latent.mean"].copy_(network.factors)
        views["latent.log_deviation"].copy_(network.deviations.log())
        return vector

    def network(self, vector: Tensor, before: LatentNetwork) -> LatentNetwork:
        """The network that a vector describes; what is not fitted is taken from another."""
        views = self.views(vector.clone())
        fitted = {name: views[name] for name in self.shape.layers()}
        fitted["latent.mean"] = views["latent.mean"]
        fitted["latent.deviation"] = views["latent.log_deviation"].exp()
        return LatentNetwork(self.shape, before.tensors() | fitted)


def window_starts(
    data: LatentData, frame: FeatureMap, steps: int, stride: int
) -> NDArray[np.int64]:
    """First rows ``[W]`` of windows of transitions that follow each other.

    Two rows follow each other where the second begins in the state that the first ends in: where
    a transition was left out between them, they do not.
    """
    state = frame.moving
    features, changes = torch.as_tensor(data.features), torch.as_tensor(data.changes)
    gap = (frame.moved(features, changes)[:-1, state] - features[1:, state]).abs().amax(1).numpy()
    linked = (gap < FOLLOWS) & (data.episodes[1:] == data.episodes[:-1])
    if data.cut is not None:  # what a bound has set is not predicted, and nothing after it
        linked &= ~(data.cut[:-1] > 1).any(axis=1)
    begins = np.flatnonzero(np.concatenate([[True], ~linked]))
    lengths = np.diff(np.append(begins, len(data)))
    place = np.arange(len(data)) - np.repeat(begins, lengths)
    left = np.repeat(lengths, lengths) - place
    return np.flatnonzero((left >= steps) & (place % stride == 0))


#: Difference of features, in deviations, under which two states are the same: arrays may have gone
#: through single precision.
FOLLOWS = 1e-3


@torch.no_grad()
def noise_of_observations(network: LatentNetwork, data: LatentData) -> tuple[Tensor, Tensor]:
    """Variance of observations' noise ``[c]``, and of all that one step leaves over ``[c]``.

    Noise of an observation enters the change before it and, turned round, the one after it:
    neighbouring residuals are correlated by the negative of its variance. What the dynamics
    themselves add is not, and what a model misses is alike from one step to the next.
    """
    left = _left(network, data)[1]
    same = torch.as_tensor(data.episodes[1:] == data.episodes[:-1])
    pairs = (left[1:] * left[:-1])[same]
    together = pairs.mean(0) if len(pairs) else left.new_zeros(left.shape[1])
    return (-together).clamp_min(0.0), left.square().mean(0)


@torch.no_grad()
def weights_of(network: LatentNetwork, data: LatentData) -> Tensor:
    """How much each transition counts for each coordinate ``[T, c]``, or nothing if all alike.

    Members that were begun differently miss different things, but the same noise: where they do
    not agree on what is left, it is no noise.
    """
    if data.states is None or network.members < 2:
        return torch.empty(0)
    predicted, beside = _left(network, data)
    mean, left = predicted.double().mean(0).numpy(), beside.double().numpy()
    apart = predicted.double().var(0).mean(0).numpy()
    found = precisions(left, np.concatenate([data.states + mean, mean], axis=1), data.agents)
    if found is None:
        return torch.empty(0)
    found[:, apart > APART * np.square(left).mean(0)] = 1.0
    if bool((found == 1.0).all()):
        return torch.empty(0)
    return torch.as_tensor(found, dtype=torch.float32)


#: Variance of members around their mean, as a share of what they leave, up to which that is noise.
APART = 0.05
_ROWS = 65_536
