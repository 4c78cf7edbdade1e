"""Latents of agents from their transitions, under the population's prior."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.features.ensemble import answered
from persim_gym.learned.features.frame import Frame
from persim_gym.learned.latent.data import LatentData, LatentSource, beyond, missed
from persim_gym.learned.latent.network import LatentNetwork

#: Transitions that are worked on at a time.
MOST_ROWS = 100_000
#: Half the squares that a search leaves, over those of noise, from which others are begun.
POOR = 2.0
#: Places that a search for a new agent is begun from at the most.
STARTS = 6


@torch.no_grad()
def posterior(
    network: LatentNetwork,
    data: LatentSource,
    *,
    chosen: NDArray[np.int64] | None = None,
    noise: Tensor | None = None,
    rounds: int = 20,
    frame: Frame | None = None,
    starts: int = 1,
) -> tuple[Tensor, Tensor]:
    """Most likely latents of agents, and how far they are known.

    Gauss-Newton steps with damping of each agent's own, all agents and members at once, from the
    best of some members of the population: where an agent moves a threshold, the nearest optimum
    is not always the one. At the end the model is linear in the latent (Laplace).

    Args:
        network: The fitted network; its own agents play no part, but as places to begin.
        data: Transitions of the agents, in the network's units. An agent without any gets the
            population's mean and deviation.
        chosen: Which agents ``[N']``, in ascending order; all ``N`` without it.
        noise: Variance of a change ``[m, c]`` that the transitions are weighed by; the network's
            own, if none is given.
        rounds: Most steps.
        frame: Which features are the present state, and which may go on beyond what the network
            was fitted on, as in its predictions; without it all are held there.
        starts: Places that the search begins from, of those agents of whom the first one leaves
            more than :data:`POOR` times what the noise would.

    Returns:
        Mean ``[m, N', r]`` and deviation ``[m, N', r]``.
    """
    noise = network.noise if noise is None else noise
    wanted = np.arange(data.num_agents) if chosen is None else chosen
    ends = np.cumsum(np.bincount(data.agents, minlength=data.num_agents)[wanted])
    groups = np.split(wanted, np.flatnonzero(np.diff(ends // MOST_ROWS)) + 1)
    parts = []
    for group in groups:
        problem = _Problem(network, data.of_agents(group), noise, frame)
        parts.append(_best(problem, problem.first(starts), rounds))
    means, deviations = zip(*parts, strict=True)
    return torch.cat(means, 1), torch.cat(deviations, 1)


def tangent(
    network: LatentNetwork, latents: Tensor, features: Tensor, frame: Frame | None
) -> tuple[Tensor, Tensor]:
    """Predicted changes ``[m, n, c]``, and their derivatives by the latents ``[m, n, c, r]``.

    Args:
        network: The network.
        latents: ``[m, n, r]``.
        features: The same for all members ``[n, q]``.
        frame: As in :func:`posterior`.
    """

    def both(x: Tensor) -> Tensor:
        change, slope = network.jacobian(latents, x)
        return torch.cat([change[None], slope.movedim(-1, 0)])

    found = _answered(network, both, features, frame, slopes=True)
    return found[0], found[1:].movedim(0, -1)


def _answered(
    network: LatentNetwork,
    response: Callable[[Tensor], Tensor],
    features: Tensor,
    frame: Frame | None,
    *,
    slopes: bool = False,
) -> Tensor:
    """What a function of features ``[m, n, q]`` gives for those of all members ``[n, q]``."""

    def held(x: Tensor) -> Tensor:
        return response(network.hold(x).expand(network.members, -1, -1))

    if frame is None:
        return held(features)
    return answered(frame, network, held, features, slopes=slopes)


def _best(problem: _Problem, places: Tensor, rounds: int) -> tuple[Tensor, Tensor]:
    """The best of what searches from some places ``[s, m, N', r]`` come to."""
    found, known = _solve(problem, places[0], rounds)
    if len(places) == 1:
        return found, known
    price = problem.expand(found)[0]
    expected = 0.5 * problem.changes.shape[1] * problem.counts
    poor = torch.nonzero((price > POOR * (expected + 1)).any(0))[:, 0]
    if not len(poor):
        return found, known
    part = problem.only(poor)
    for place in places[1:, :, poor].unbind(0):
        tried = _solve(part, place, rounds)
        new = part.expand(tried[0])[0]
        better = (new < price[:, poor])[..., None]
        price[:, poor] = torch.minimum(new, price[:, poor])
        for kept, other in zip((found, known), tried, strict=True):
            kept[:, poor] = torch.where(better, other, kept[:, poor])
    return found, known


def _solve(problem: _Problem, latents: Tensor, rounds: int) -> tuple[Tensor, Tensor]:
    """Where Gauss-Newton steps from latents ``[m, N', r]`` come to, and how far it is known."""
    found, known = latents.clone(), torch.zeros_like(latents)
    live = torch.arange(problem.count, device=latents.device)
    price, gradient, curvature = problem.expand(latents)
    damping = torch.full_like(price, 1e-3)
    for round_ in range(rounds):
        scale = curvature.diagonal(dim1=-2, dim2=-1)
        damped = curvature + torch.diag_embed(damping[..., None] * scale)
        tried = latents - torch.linalg.solve(damped, gradient[..., None])[..., 0]
        new = problem.expand(tried)
        better = new[0] < price
        gained = price - new[0]
        latents = torch.where(better[..., None], tried, latents)
        gradient = torch.where(better[..., None], new[1], gradient)
        curvature = torch.where(better[..., None, None], new[2], curvature)
        price = torch.where(better, new[0], price)
        damping = torch.where(better, damping * 0.2, damping * 8)
        over = (better & (gained <= 1e-4 * (1 + price.abs()))) | (damping > 1e3)
        done = over.all(0)
        if 2 * int(done.sum()) < len(live) and round_ + 1 < rounds:
            continue  # to go on with a part pays where it is a small one
        found[:, live] = latents
        known[:, live] = torch.linalg.inv(curvature).diagonal(dim1=-2, dim2=-1)
        rest = torch.nonzero(~done)[:, 0]
        if not len(rest):
            break
        live, problem = live[rest], problem.only(rest)
        latents, price, damping = latents[:, rest], price[:, rest], damping[:, rest]
        gradient, curvature = gradient[:, rest], curvature[:, rest]
    return found, known.clamp_min(0.0).sqrt()


class _Problem:
    """Half the squares of all transitions over their variance, and of latents over the prior's."""

    #: Members of the population that are tried as places to begin, and transitions they are tried
    #: on.
    PLACES, TRIED = 64, 64

    def __init__(
        self, network: LatentNetwork, data: LatentData, noise: Tensor, frame: Frame | None
    ) -> None:
        kind = network.factors
        self.network, self.frame = network, frame
        self.count = data.num_agents
        self.agents = torch.as_tensor(data.agents, device=kind.device)
        self.features = torch.as_tensor(data.features).to(kind)
        self.changes = torch.as_tensor(data.changes).to(kind)
        self.cut = None if data.cut is None else torch.as_tensor(data.cut, device=kind.device)
        self.weight = (1 / noise)[:, None]  # [m, 1, c]
        self.mean, covariance = network.prior
        self.precision = torch.linalg.inv(covariance)[:, None]  # [m, 1, r, r]

    def only(self, chosen: Tensor) -> _Problem:
        """The same of some agents, which are numbered anew."""
        part = copy.copy(self)
        number = torch.full((self.count,), -1, device=chosen.device)
        number[chosen] = torch.arange(len(chosen), device=chosen.device)
        rows = torch.nonzero(number[self.agents] >= 0)[:, 0]
        part.count, part.agents = len(chosen), number[self.agents[rows]]
        part.features, part.changes = self.features[rows], self.changes[rows]
        part.cut = None if self.cut is None else self.cut[rows]
        return part

    @property
    def counts(self) -> Tensor:
        """Transitions of each agent ``[N']``."""
        return torch.bincount(self.agents, minlength=self.count)

    def first(self, starts: int) -> Tensor:
        """Places to begin ``[s, m, N', r]``: the best of the population's mean and members."""
        m, r = self.mean.shape
        known = self.network.factors
        most = min(self.PLACES, known.shape[1])
        picked = torch.linspace(0, known.shape[1] - 1, most, dtype=torch.float32)
        places = torch.cat([self.mean[:, None], known[:, picked.long()]], dim=1)
        rows = torch.as_tensor(self._some(), device=self.agents.device)
        x, y = self.features[rows], self.changes[rows]
        cut = None if self.cut is None else self.cut[rows]
        prices = []
        for place in places.unbind(1):
            latents = place[:, None].expand(m, len(rows), r)
            response = partial(self.network.response, latents)
            found = _answered(self.network, response, x, self.frame)
            each = 0.5 * (missed(found - y, cut).square() * self.weight).sum(2)
            apart = (place - self.mean)[:, None]
            prior = 0.5 * ((apart @ self.precision[:, 0]) * apart).sum(2)
            prices.append(self._sum(each, self.agents[rows]) + prior)
        order = torch.stack(prices, 2).argsort(stable=True, dim=2)[..., :starts]  # [m, N', s]
        best = (places.gather(1, own[..., None].expand(-1, -1, r)) for own in order.unbind(2))
        return torch.stack(list(best))

    def expand(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Price ``[m, N']``, gradient ``[.., r]`` and curvature ``[.., r, r]`` at latents."""
        own = latents.index_select(1, self.agents)
        found, slope = tangent(self.network, own, self.features, self.frame)
        apart, weight = found - self.changes, self.weight
        error = missed(apart, self.cut)
        if self.cut is not None:
            weight = weight * ~beyond(apart, self.cut)
        weighed = slope * weight[..., None]
        off = latents - self.mean[:, None]
        pull = (self.precision @ off[..., None])[..., 0]
        price = self._sum(0.5 * (error.square() * self.weight).sum(2), self.agents)
        gradient = self._sum((weighed * error[..., None]).sum(2), self.agents)
        curvature = self._sum(weighed.mT @ slope, self.agents)
        return price + 0.5 * (off * pull).sum(2), gradient + pull, curvature + self.precision

    def _sum(self, values: Tensor, agents: Tensor) -> Tensor:
        """Sums over each agent's rows: ``[m, n, ..]`` -> ``[m, N', ..]``."""
        out = values.new_zeros(values.shape[0], self.count, *values.shape[2:])
        return out.index_add_(1, agents, values)

    def _some(self) -> NDArray[np.int64]:
        """Some rows of every agent, at even distances."""
        agents = self.agents.cpu().numpy()
        order = np.argsort(agents, kind="stable")
        counts = np.bincount(agents, minlength=self.count)
        first = np.cumsum(counts) - counts
        place = np.arange(len(agents)) - first[agents[order]]
        stride = np.maximum(1, -(-counts // self.TRIED))[agents[order]]
        return np.sort(order[place % stride == 0])
