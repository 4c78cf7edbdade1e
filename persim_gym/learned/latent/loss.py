"""What a latent network is fitted by: one step ahead, and several steps open loop."""

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
    """

    def __init__(self, shape: LatentShape, starts: int) -> None:
        m = shape.members
        latent = (m, shape.num_agents, shape.latent)
        self.shape = shape
        self.sizes = shape.layers() | {
            "latent.mean": latent,
            "latent.log_deviation": latent,
            "starts": (m, starts, shape.outputs),
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


@dataclass(frozen=True, eq=False)
class Ground:
    """What both kinds of fit begin with.

    Attributes:
        network: Where the fit begins.
        parameters: Its parameters as a vector.
        data: The transitions.
        decay: Weight of the weights' prior.
    """

    network: LatentNetwork
    parameters: Parameters
    data: LatentData
    decay: float


class _Loss:
    """What both kinds of fit share: latents drawn, priors priced, variances followed.

    The objective is that of a variational fit, in units of one transition: the logarithm of each
    coordinate's likelihood with the variance that it has at the moment, plus priors of latents
    and weights. Where data explain themselves, priors count for nothing; where they are few or
    noisy, agents are drawn to each other.
    """

    #: Share of a batch in the running variances.
    FOLLOW = 0.05

    def __init__(self, ground: Ground) -> None:
        network, data, device = ground.network, ground.data, ground.network.device
        self.network, self.parameters = network, ground.parameters
        self.features = torch.tensor(data.features, dtype=torch.float32, device=device)
        self.changes = torch.tensor(data.changes, dtype=torch.float32, device=device)
        self.agents = torch.tensor(data.agents, device=device)
        reached = data.cut is not None and data.cut.any()
        self.cut = torch.tensor(data.cut, device=device) if reached else None
        self.decay = ground.decay
        self.running: Tensor | None = None
        shape = network.shape
        self._offset = torch.arange(shape.members, device=device)[:, None] * shape.num_agents

    def latents(self, p: dict[str, Tensor], agents: Tensor, draw: torch.Generator) -> Tensor:
        """A draw of the latents of agents ``[m, b]``: ``[m, b, r]``."""
        r = self.parameters.shape.latent
        rows = (agents + self._offset).reshape(-1)
        mean, logarithm = (
            p[name].reshape(-1, r).index_select(0, rows)
            for name in ("latent.mean", "latent.log_deviation")
        )
        noise = torch.randn(mean.shape, generator=draw, dtype=torch.float32).to(mean)
        return (mean + logarithm.exp() * noise).view(*agents.shape, r)

    def priors(self, p: dict[str, Tensor]) -> Tensor:
        """Price of latents and weights, in all, of all members."""
        logarithm = p["latent.log_deviation"]
        price = 0.5 * (p["latent.mean"].square() + (2 * logarithm).exp()).sum() - logarithm.sum()
        if self.decay:
            for name, size in self.parameters.shape.layers().items():
                if name.endswith("weight"):
                    price = price + 0.5 * self.decay * size[1] * p[name].square().sum()
        return price

    def weighed(self, squares: Tensor) -> Tensor:
        """Half the squares ``[m, .., c]`` over their running variance, summed."""
        now = squares.detach()
        self.running = now if self.running is None else self.running.lerp_(now, self.FOLLOW)
        floor = FLOOR * self.running.mean(-1, keepdim=True) + 1e-12
        return (0.5 * squares / (self.running + floor)).sum()

    def rows(self, source: Tensor, index: Tensor) -> Tensor:
        """Rows ``[m, b]`` of a table ``[T, k]``: ``[m, b, k]``."""
        return source.index_select(0, index.reshape(-1)).view(*index.shape, -1)


#: A coordinate that is explained better than this share of the coordinates' mean variance counts
#: as if it were not: the others would have no part in the fit.
FLOOR = 0.05


class OneStep(_Loss):
    """One step ahead. What is indexed are transitions.

    Args:
        ground: What it begins with.
        weight: How much each transition counts for each coordinate ``[T, c]``; all alike by
            default.
    """

    def __init__(self, ground: Ground, weight: Tensor | None = None) -> None:
        super().__init__(ground)
        self.weight = weight

    @property
    def count(self) -> int:
        """Number of transitions."""
        return len(self.features)

    def __call__(self, p: dict[str, Tensor], rows: Tensor, draw: torch.Generator) -> Tensor:
        """The objective on transitions ``[m, b]``."""
        latents = self.latents(p, self.agents[rows], draw)
        predicted = self.network.response(latents, self.rows(self.features, rows), p)
        cut = None if self.cut is None else self.rows(self.cut, rows)
        squares = missed(predicted - self.rows(self.changes, rows), cut).square()
        if self.weight is not None:
            squares = squares * self.rows(self.weight, rows)
        return self.weighed(squares.mean(1)) + self.priors(p) / self.count


class SeveralSteps(_Loss):
    """Open loop over windows, the first state of each fitted as well. What is indexed are windows.

    One step ahead, noise of observations stands on both sides of the equation and biases what is
    learned. Over several steps the same few parameters have to explain a whole window, and its
    first state is free within the noise.

    Args:
        ground: What it begins with.
        frame: How features move with the state.
        starts: First rows of the windows ``[W]``.
        steps: Length of a window.
        noise: Variance of observations' noise ``[c]``, in units of the changes.
    """

    def __init__(
        self,
        ground: Ground,
        frame: FeatureMap,
        starts: NDArray[np.int64],
        steps: int,
        noise: Tensor,
    ) -> None:
        super().__init__(ground)
        self.frame, self.steps, self.noise = frame, steps, noise
        self.starts = torch.as_tensor(starts, device=self.network.device)
        self.given = frame.given(self.features)
        self.after = frame.moved(self.features, self.changes)[:, frame.state]
        self.ended = None if self.cut is None else frame.of_changes(self.cut)

    @property
    def count(self) -> int:
        """Number of windows."""
        return len(self.starts)

    def __call__(self, p: dict[str, Tensor], rows: Tensor, draw: torch.Generator) -> Tensor:
        """The objective on windows ``[m, b]``."""
        first = self.starts[rows]
        latents = self.latents(p, self.agents[first], draw)
        index = rows[..., None].expand(-1, -1, p["starts"].shape[-1])
        moved = p["starts"].gather(1, index)
        features = self.frame.moved(self.rows(self.features, first), moved)
        squares = []
        for k in range(self.steps):
            change = self.network.response(latents, self.network.hold(features), p)
            if k + 1 < self.steps:
                given = self.rows(self.given, first + k + 1)
                features = self.frame.advanced(features, change, given)
            else:
                features = self.frame.moved(features, change)
            error = features[..., self.frame.state] - self.rows(self.after, first + k)
            ended = None if self.ended is None else self.rows(self.ended, first + k)
            squares.append(missed(error, ended).square().mean(1))
            if ended is not None:
                features = self.frame.stopped(features)
        data = self.weighed(torch.stack(squares, 1)) / self.steps
        known = (0.5 * moved.square() / self.noise).sum(2).mean(1).sum() / self.steps
        return data + known + self.priors(p) / len(self.features)


def window_starts(
    data: LatentData, frame: FeatureMap, steps: int, stride: int
) -> NDArray[np.int64]:
    """First rows ``[W]`` of windows of transitions that follow each other.

    Two rows follow each other where the second begins in the state that the first ends in: where
    a transition was left out between them, they do not.
    """
    state = frame.state
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
