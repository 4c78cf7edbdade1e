"""Gradients that are written out by hand, beside those of automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from persim_gym.learned.latent.data import LatentData, Parameters, missed
from persim_gym.learned.latent.feature_map import AngleColumns, FeatureMap, PastChanges
from persim_gym.learned.latent.network import LatentNetwork, LatentShape
from persim_gym.learned.latent.objective import FLOOR, Ground, OneStep, SeveralSteps

MEMBERS, AGENTS, STEPS, FEATURES, OUTPUTS, LATENT = 2, 3, 30, 5, 3, 2
DECAY = 0.3


@dataclass(frozen=True)
class Begun:
    """Random data and a random network, with its parameters as a vector."""

    network: LatentNetwork
    parameters: Parameters
    data: LatentData
    vector: Tensor

    def ground(self, gradient: Tensor) -> Ground:
        views = [self.parameters.views(part) for part in (self.vector, gradient)]
        return Ground(self.network, views[0], views[1], self.data, DECAY)


def begin(gates: int, *, cut: bool, observations: int = 1) -> Begun:
    rng, draw = np.random.default_rng(0), torch.Generator().manual_seed(0)
    agents = np.repeat(np.arange(AGENTS), STEPS)
    total = len(agents)
    ends = rng.integers(-1, 3, (total, OUTPUTS)).astype(np.int8) if cut else None
    data = LatentData(
        rng.standard_normal((total, FEATURES)),
        rng.standard_normal((total, OUTPUTS)),
        agents,
        agents,
        AGENTS,
        cut=ends,
    )
    shape = LatentShape(MEMBERS, AGENTS, FEATURES, OUTPUTS, LATENT, (7, 6), gates)
    latents = torch.randn(MEMBERS, AGENTS, LATENT, generator=draw)
    network = LatentNetwork.initial(shape, latents, draw)
    mix = torch.randn(FEATURES, FEATURES, generator=draw)
    ends_of = {"low": torch.full((FEATURES,), -1.5), "high": torch.full((FEATURES,), 1.5)}
    network = network.with_tensors(mix=mix, **ends_of)
    parameters = Parameters(shape, AGENTS * 3, observations)
    vector = parameters.vector(network)
    vector += 0.1 * torch.randn(vector.shape, generator=draw)
    return Begun(network, parameters, data, vector)


def price(begun: Begun, p: Mapping[str, Tensor], count: int) -> Tensor:
    logarithm = p["latent.log_deviation"]
    found = 0.5 * (p["latent.mean"].square() + (2 * logarithm).exp()).sum() - logarithm.sum()
    for name, size in begun.parameters.shape.layers().items():
        if name.endswith("weight"):
            found = found + 0.5 * DECAY * size[1] * p[name].square().sum()
    return found / count


def latents(p: Mapping[str, Tensor], agents: Tensor) -> Tensor:
    """The draw that a generator of seed 1 makes of the latents of agents ``[m, b]``."""
    draw = torch.Generator().manual_seed(1)
    noise = torch.randn((agents.numel(), LATENT), generator=draw).view(*agents.shape, LATENT)
    rows = agents[..., None].expand(-1, -1, LATENT)
    mean, logarithm = p["latent.mean"].gather(1, rows), p["latent.log_deviation"].gather(1, rows)
    return mean + logarithm.exp() * noise


def weighed(squares: Tensor) -> Tensor:
    running = squares.detach()
    return (0.5 * squares / (running + FLOOR * running.mean(-1, keepdim=True) + 1e-12)).sum()


def by_hand(begun: Begun, make: Callable[[Ground], OneStep | SeveralSteps], rows: Tensor) -> Tensor:
    gradient = torch.zeros_like(begun.vector)
    make(begun.ground(gradient))(rows, torch.Generator().manual_seed(1))
    return gradient


@pytest.mark.parametrize(("gates", "cut", "weighted"), [(2, True, False), (0, False, True)])
def test_the_gradient_of_one_step_is_that_of_automatic_differentiation(
    gates: int, cut: bool, weighted: bool
) -> None:
    begun = begin(gates, cut=cut)
    draw = torch.Generator().manual_seed(2)
    weight = torch.rand(AGENTS * STEPS, OUTPUTS, generator=draw) if weighted else None
    rows = torch.randint(0, AGENTS * STEPS, (MEMBERS, 16), generator=draw)
    found = by_hand(begun, lambda own: OneStep(own, 16, weight), rows)

    leaf = begun.vector.clone().requires_grad_(True)
    p, data = begun.parameters.views(leaf), begun.data
    features, changes = (torch.tensor(part).float() for part in (data.features, data.changes))
    own = latents(p, torch.tensor(data.agents)[rows])
    left = begun.network.response(own, features[rows], p) - changes[rows]
    squares = missed(left, None if data.cut is None else torch.tensor(data.cut)[rows]).square()
    squares = squares if weight is None else squares * weight[rows]
    (weighed(squares.mean(1)) + price(begun, p, len(data))).backward()
    assert leaf.grad is not None
    assert torch.allclose(found, leaf.grad, rtol=1e-4, atol=1e-5)


#: Features: a state, cosine and sine, another state, an action. The one coordinate that is not
#: moved by its own column stands between the others.
ANGLE = FeatureMap(FEATURES, [0, 3], [2, 0], [0.7, -0.4], [AngleColumns(1, 2, 1, 0.5)])
WALLS = torch.full((FEATURES,), -0.8), torch.full((FEATURES,), 0.9)
WALLED = FeatureMap(FEATURES, [0, 1, 2], [0, 1, 2], [0.7, 0.4, 0.2], walls=WALLS)

#: A state, changes of it in the last step and in the one before, and two actions.
PAST = FeatureMap(
    FEATURES,
    [0],
    [2],
    [0.7],
    past=PastChanges(
        (1, 2),
        torch.tensor([[0.0] * 5, [0, 0.8, 0, 0, 0]]),
        torch.tensor([[0.0, 0, 0.9], [0, 0, 0]]),
        torch.tensor([0.1, -0.2]),
        torch.tensor([[0.0, 0, 0.9, 0, 0, -0.9, 0, 0, 0], [0, 0, 0, 0, 0, 0.7, 0, 0, -0.7]]),
    ),
)


@pytest.mark.parametrize(("frame", "cut"), [(ANGLE, False), (WALLED, True), (PAST, False)])
def test_the_gradient_over_several_steps_is_that_of_automatic_differentiation(
    frame: FeatureMap, cut: bool
) -> None:
    begun = begin(2, cut=cut, observations=frame.observations)
    starts = np.arange(AGENTS * 3) * 10
    noise = torch.tensor([0.1, 0.2, 0.3])
    rows = torch.stack([torch.tensor([4, 0, 7, 2]), torch.tensor([1, 8, 3, 5])])
    found = by_hand(begun, lambda own: SeveralSteps(own, 4, frame, starts, 5, noise), rows)

    leaf = begun.vector.clone().requires_grad_(True)
    value = several_steps(
        begun, begun.parameters.views(leaf), frame, torch.tensor(starts)[rows], rows
    )
    moved = begun.parameters.views(leaf)["starts"].gather(
        1, rows[..., None].expand(-1, -1, OUTPUTS * frame.observations)
    )
    value = (
        value + (0.5 * moved.square() / noise.repeat(frame.observations)).sum(2).mean(1).sum() / 5
    )
    value.backward()
    assert leaf.grad is not None
    assert torch.allclose(found, leaf.grad, rtol=1e-4, atol=1e-5)


def several_steps(
    begun: Begun, p: Mapping[str, Tensor], frame: FeatureMap, first: Tensor, rows: Tensor
) -> Tensor:
    data, network = begun.data, begun.network
    table, changes = (torch.tensor(part).float() for part in (data.features, data.changes))
    own = latents(p, torch.tensor(data.agents)[first])
    width = OUTPUTS * frame.observations
    moved = p["starts"].gather(1, rows[..., None].expand(-1, -1, width))
    features, squares = frame.moved(table[first], moved[..., :OUTPUTS]), []
    if frame.past is not None:
        columns = list(frame.past.columns)
        features[..., columns] = table[first][..., columns] + moved @ frame.past.apart.mT
    recorded = torch.ones(FEATURES)
    recorded[frame.moving] = 0.0
    after = frame.moved(table, changes)[:, frame.state]
    for k in range(5):
        following = frame.moved(features, network.response(own, network.hold(features), p))
        left = following[..., frame.state] - after[first + k]
        if data.cut is not None:
            left = missed(left, frame.of_changes(torch.tensor(data.cut))[first + k])
            following = following.clamp(*WALLS)
        squares.append(left.square().mean(1))
        if k < 4:
            features = following * (1 - recorded) + table[first + k + 1] * recorded
    return weighed(torch.stack(squares, 1)) / 5 + price(begun, p, len(data))
