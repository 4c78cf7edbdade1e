"""The two objectives of a latent network's fit, and their gradients: one step, and several steps.

Both are that of a variational fit, in units of one transition: the logarithm of each coordinate's
likelihood with the variance that it has at the moment, plus priors of latents and weights. Where
data explain themselves, priors count for nothing; where they are few or noisy, agents are drawn to
each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.latent.data import LatentData, missed
from persim_gym.learned.latent.feature_map import FeatureMap
from persim_gym.learned.latent.gradients import Motion, Response, places
from persim_gym.learned.latent.network import LatentNetwork

#: Parts of a vector of parameters by name, see :meth:`Parameters.views`.
Views = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Ground:
    """What both kinds of fit begin with.

    Attributes:
        network: Where the fit begins.
        parameters: What is fitted, by name, changed in place; see
            :class:`~persim_gym.learned.latent.data.Parameters`.
        gradients: Memory for its gradients.
        data: The transitions.
        decay: Weight of the weights' prior.
    """

    network: LatentNetwork
    parameters: Views
    gradients: Views
    data: LatentData
    decay: float


@dataclass(frozen=True, slots=True)
class _Draw:
    """Latents that were drawn ``[m, b, r]``, by how far from their means, and whose rows."""

    rows: Tensor
    apart: Tensor
    latents: Tensor


class _Objective:
    """What both share: latents drawn, priors priced, variances followed."""

    #: Share of a batch in the running variances.
    FOLLOW = 0.05

    def __init__(self, ground: Ground) -> None:
        network, data, device = ground.network, ground.data, ground.network.device
        self.network, self.p, self.gradients = network, ground.parameters, ground.gradients
        self.features = torch.tensor(data.features, dtype=torch.float32, device=device)
        self.changes = torch.tensor(data.changes, dtype=torch.float32, device=device)
        self.agents = torch.tensor(data.agents, device=device)
        reached = data.cut is not None and data.cut.any()
        self.cut = torch.tensor(data.cut, device=device) if reached else None
        self.decay = ground.decay
        self.running: Tensor | None = None
        shape = network.shape
        self.mix = network.tensors()["mix"]
        self._offset = torch.arange(shape.members, device=device)[:, None] * shape.num_agents

    def draw(self, agents: Tensor, generator: torch.Generator) -> _Draw:
        """A draw of the latents of agents ``[m, b]``."""
        r = self.network.shape.latent
        rows = (agents + self._offset).reshape(-1)
        mean, logarithm = (
            self.p[name].view(-1, r).index_select(0, rows)
            for name in ("latent.mean", "latent.log_deviation")
        )
        noise = torch.randn(mean.shape, generator=generator, dtype=torch.float32).to(mean)
        apart = logarithm.exp_().mul_(noise)
        return _Draw(rows, apart, mean.add_(apart).view(*agents.shape, r))

    def write_priors(self, count: int) -> None:
        """Begin the gradients of latents, and add that of the weights' price to theirs."""
        p, gradients = self.p, self.gradients
        torch.mul(p["latent.mean"], 1 / count, out=gradients["latent.mean"])
        logarithm = gradients["latent.log_deviation"]
        torch.exp(2 * p["latent.log_deviation"], out=logarithm).sub_(1.0).mul_(1 / count)
        if self.decay:
            for name, size in self.network.shape.layers().items():
                if name.endswith("weight"):
                    gradients[name].add_(p[name], alpha=self.decay * size[1] / count)
        for name in ("head.weight", "head.bias"):
            gradients[name][..., self.network.shape.fixed] = 0.0

    def write_latents(self, drawn: _Draw, by_latents: Tensor) -> None:
        """Add the gradient by drawn latents ``[m, r, b]`` to that of their means and deviations."""
        r = by_latents.shape[1]
        flat = by_latents.mT.reshape(-1, r)
        self.gradients["latent.mean"].view(-1, r).index_add_(0, drawn.rows, flat)
        apart = flat * drawn.apart
        self.gradients["latent.log_deviation"].view(-1, r).index_add_(0, drawn.rows, apart)

    def weights(self, squares: Tensor) -> Tensor:
        """What half the squares ``[m, .., c]`` are multiplied with: over their running variance."""
        self.running = squares if self.running is None else self.running.lerp_(squares, self.FOLLOW)
        floor = FLOOR * self.running.mean(-1, keepdim=True) + 1e-12
        return 1 / (self.running + floor)

    def rows(self, source: Tensor, index: Tensor) -> Tensor:
        """Rows ``[.., b]`` of a table ``[T, k]``, turned: ``[.., k, b]``."""
        return source.index_select(0, index.reshape(-1)).view(*index.shape, -1).mT


#: A coordinate that is explained better than this share of the coordinates' mean variance counts
#: as if it were not: the others would have no part in the fit.
FLOOR = 0.05


class OneStep(_Objective):
    """One step ahead. What is indexed are transitions.

    Args:
        ground: What it begins with.
        batch: Transitions in a batch.
        weight: How much each transition counts for each coordinate ``[T, c]``; all alike by
            default.
    """

    def __init__(self, ground: Ground, batch: int, weight: Tensor | None = None) -> None:
        super().__init__(ground)
        self.weight = weight
        self.answer = Response(self.network.shape, self.p, self.gradients, batch)
        self.features = self.features @ self.mix

    @property
    def count(self) -> int:
        """Number of transitions."""
        return len(self.features)

    @torch.no_grad()
    def __call__(self, rows: Tensor, draw: torch.Generator) -> None:
        """Write the gradients of the objective on transitions ``[m, b]``."""
        answer, q = self.answer, self.features.shape[1]
        drawn = self.draw(self.agents[rows], draw)
        answer.features[0].copy_(self.rows(self.features, rows))
        answer.latents[0].copy_(drawn.latents.mT)
        left = answer.forward() - self.rows(self.changes, rows)
        if self.cut is not None:
            left = missed(left, self.rows(self.cut, rows))
        square = left.square()
        if self.weight is not None:
            weight = self.rows(self.weight, rows)
            square, left = square * weight, left * weight
        each = self.weights(square.mean(2)) / rows.shape[1]
        by_latents = answer.backward(left * each[..., None], slice(q, None))
        answer.write()
        self.write_priors(self.count)
        self.write_latents(drawn, by_latents)


class SeveralSteps(_Objective):
    """Open loop over windows, the first state of each fitted as well. What is indexed are windows.

    One step ahead, noise of observations stands on both sides of the equation and biases what is
    learned. Over several steps the same few parameters have to explain a whole window, and its
    first state is free within the noise.

    Args:
        ground: What it begins with.
        batch: Windows in a batch.
        frame: How features move with the state.
        starts: First rows of the windows ``[W]``.
        steps: Length of a window.
        noise: Variance of observations' noise ``[c]``, in units of the changes.
    """

    def __init__(
        self,
        ground: Ground,
        batch: int,
        frame: FeatureMap,
        starts: NDArray[np.int64],
        steps: int,
        noise: Tensor,
    ) -> None:
        super().__init__(ground)
        self.steps, self.motion = steps, Motion(frame)
        self.noise = noise.repeat(frame.observations)
        # Layers that take features as they are: what these are multiplied with is in them.
        self._layers = {name: self.p[name] for name in self.network.shape.layers()}
        q, last = self.network.shape.features, self.network.shape.hidden[-1]
        self._inputs = {"0.weight": slice(q), "head.weight": slice(last, last + q)}
        for name in self._inputs:
            self._layers[name] = self.p[name].clone()
        self.answer = Response(self.network.shape, self._layers, self.gradients, batch, steps)
        self.starts = torch.as_tensor(starts, device=self.network.device)
        self.state, self.moving = places(frame.state), places(frame.moving)
        self.after = frame.moved(self.features, self.changes)[:, self.state]
        self.ended = None if self.cut is None else frame.of_changes(self.cut)
        ends = self.network.held
        self._held = tuple(end[:, None] for end in ends)
        walls = None if self.ended is None else frame.walls
        self._walls = None if walls is None else tuple(w.float()[:, None] for w in walls)

    @property
    def count(self) -> int:
        """Number of windows."""
        return len(self.starts)

    @torch.no_grad()
    def __call__(self, rows: Tensor, draw: torch.Generator) -> None:
        """Write the gradients of the objective on windows ``[m, b]``, a member's all different."""
        first = self.starts[rows]
        drawn = self.draw(self.agents[first], draw)
        index = rows[..., None].expand(-1, -1, self.p["starts"].shape[-1])
        moved = self.p["starts"].gather(1, index).mT
        self.answer.latents.copy_(drawn.latents.mT)
        for name, part in self._inputs.items():
            mixed = self.mix @ self.p[name][:, part]
            self._layers[name].copy_(self.p[name])[:, part] = mixed
        path = self._forward(first, moved)
        at = first + torch.arange(self.steps, device=first.device)[:, None, None]
        left = path.after[:, :, self.state] - self.rows(self.after, at)  # [S, m, k, b]
        if self.ended is not None:
            left = missed(left, self.rows(self.ended, at))
        weights = self.weights(left.square().mean(3).transpose(0, 1))
        left *= weights.transpose(0, 1)[..., None] / (rows.shape[1] * self.steps)
        by_start, by_latents = self._backward(path, left, torch.zeros_like(moved))
        self.answer.write()
        for name, part in self._inputs.items():
            own = self.gradients[name][:, part]
            own.copy_(self.mix.mT @ own)
        self.write_priors(len(self.features))
        self.write_latents(drawn, by_latents)
        by_start += moved / (self.noise[:, None] * (rows.shape[1] * self.steps))
        self.gradients["starts"].zero_().scatter_(1, index, by_start.mT)

    def _forward(self, first: Tensor, moved: Tensor) -> _Path:
        """Follow windows that begin in rows ``[m, b]``, displaced by ``[m, l * c, b]``."""
        # What the state does not decide, actions for example, is recorded.
        at = first + torch.arange(self.steps, device=first.device)[:, None, None]
        now = self.rows(self.features, at).contiguous()  # [S, m, q, b]
        after = torch.empty_like(now)
        turns = [self.motion.displace(now[0].clone(), moved, now[0])]
        for k in range(self.steps):
            torch.clamp(now[k], *self._held, out=self.answer.features[k])
            turns.append(self.motion.forward(now[k], self.answer.forward(k), after[k]))
            if k + 1 < self.steps:
                state = after[k][:, self.moving]
                if self._walls is not None:
                    low, high = (wall[self.moving] for wall in self._walls)
                    state = state.clamp(low, high)
                now[k + 1][:, self.moving] = state
        return _Path(now, after, turns)

    def _backward(self, path: _Path, left: Tensor, by_start: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients by where windows begin ``[m, l * c, b]`` and by latents ``[m, r, b]``.

        Args:
            path: Where windows went.
            left: Gradient by the states after each step ``[S, m, k, b]``.
            by_start: Memory for the first of these, 0 where a start moves nothing.
        """
        q = len(self.mix)
        low, high = self._held
        free = (path.now >= low) & (path.now <= high)
        inside = None
        if self._walls is not None:
            inside = (path.after >= self._walls[0]) & (path.after <= self._walls[1])
        gradient = torch.zeros_like(path.now[0])
        by_latents = torch.zeros_like(self.answer.latents[0])
        by_change = torch.zeros_like(by_start[:, : self.network.shape.outputs])
        for k in reversed(range(self.steps)):
            if inside is not None:
                gradient *= inside[k]
            gradient[:, self.state] += left[k]
            by_change.zero_()
            self.motion.backward(gradient, path.after[k], path.turns[k + 1], by_change)
            found = self.answer.backward(by_change, slice(None), k)
            gradient.addcmul_(found[:, :q], free[k])
            by_latents += found[:, q:]
        self.motion.back_displaced(gradient, path.now[0], path.turns[0], by_start)
        return by_start, by_latents


@dataclass(frozen=True, slots=True)
class _Path:
    """Where windows went.

    Attributes:
        now: Features before each step ``[S, m, q, n]``.
        after: Those after it, of which only the state is written.
        turns: What :meth:`Motion.backward` needs of the beginning and of each step.
    """

    now: Tensor
    after: Tensor
    turns: list[list[tuple[Tensor, Tensor]]]
