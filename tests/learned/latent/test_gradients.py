"""A network and the motion of a state, written out by hand, beside automatic differentiation."""

from __future__ import annotations

import pytest
import torch

from persim_gym.learned.latent.feature_map import AngleColumns, FeatureMap, PastChanges
from persim_gym.learned.latent.gradients import Motion, Response, places
from tests.learned.latent_ensembles import random_network


@pytest.mark.parametrize("gates", [0, 2])
def test_a_response_is_the_networks_with_its_gradient(gates: int) -> None:
    network = random_network(gates)
    rows, times, shape = 7, 2, network.shape
    layers = {name: network.tensors()[name].clone() for name in shape.layers()}
    gradients = {name: torch.empty_like(own) for name, own in layers.items()}
    answer = Response(shape, layers, gradients, rows, times)
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(times, shape.members, shape.features, rows, generator=draw)
    latents = torch.randn(times, shape.members, shape.latent, rows, generator=draw)
    by_change = torch.randn(times, shape.members, shape.outputs, rows, generator=draw)
    answer.features.copy_(features)
    answer.latents.copy_(latents)

    leaves = {name: own.clone().requires_grad_(True) for name, own in layers.items()}
    inputs = [part.clone().requires_grad_(True) for part in (features, latents)]
    total = torch.zeros(())
    for k in range(times):
        expected = network.response(inputs[1][k].mT, inputs[0][k].mT, leaves).mT
        assert torch.allclose(answer.forward(k), expected, atol=1e-6)
        total = total + (expected * by_change[k]).sum()
    total.backward()
    found = [answer.backward(by_change[k], slice(None), k) for k in range(times)]
    answer.write()
    wanted = torch.cat([part.grad for part in inputs if part.grad is not None], 2)
    assert torch.allclose(torch.stack(found), wanted, atol=1e-5)
    for name, leaf in leaves.items():
        assert leaf.grad is not None
        assert torch.allclose(gradients[name], leaf.grad, atol=1e-4), name


#: An angle and a state are moved by two of three coordinates, past changes by the third as well.
PAST = PastChanges(
    (5, 6),
    torch.tensor([[0.0] * 7, [0, 0, 0, 0, 0, 0.8, 0]]),
    torch.tensor([[0.0, 0.3, 0.9], [0, 0, 0]]),
    torch.tensor([0.1, -0.2]),
    torch.tensor([[0.0, 0.3, 0.9, 0, -0.3, -0.9, 0, 0, 0], [0, 0, 0, 0, 0.4, 0, 0, -0.4, 0]]),
)
ANGLE = [AngleColumns(2, 1, 1, 0.5)]
MOVING = [
    FeatureMap(5, [4, 0], [2, 0], [0.7, -0.4], ANGLE),
    FeatureMap(7, [4], [0], [0.7], ANGLE, past=PAST),
]


@pytest.mark.parametrize("frame", MOVING)
def test_a_state_moves_as_its_features_do(frame: FeatureMap) -> None:
    motion, draw = Motion(frame), torch.Generator().manual_seed(0)
    shape = (2, 5 if frame.past is None else 7, 6)
    features = torch.randn(*shape, generator=draw, requires_grad=True)
    change = torch.randn(2, 3, 6, generator=draw, requires_grad=True)
    after = torch.zeros(shape)
    with torch.no_grad():
        turns = motion.forward(features, change, after)
    expected = frame.moved(features.mT, change.mT).mT
    state = places(frame.moving)
    assert torch.allclose(after[:, state], expected[:, state])
    gradient, by_change = torch.randn(shape, generator=draw), torch.zeros(2, 3, 6)
    (expected[:, state] * gradient[:, state]).sum().backward()
    motion.backward(gradient, after, turns, by_change)
    assert features.grad is not None
    assert change.grad is not None
    assert torch.allclose(gradient[:, state], features.grad[:, state], atol=1e-6)
    assert torch.allclose(by_change, change.grad, atol=1e-6)


def test_other_observations_are_other_features() -> None:
    frame, draw = MOVING[1], torch.Generator().manual_seed(0)
    features = torch.randn(2, 7, 6, generator=draw)
    apart = torch.randn(2, 9, 6, generator=draw, requires_grad=True)
    now = torch.zeros(2, 7, 6)
    with torch.no_grad():
        turns = Motion(frame).displace(features, apart, now)
    present = FeatureMap(7, [4], [0], [0.7], ANGLE).moved(features.mT, apart[:, :3].mT).mT
    past = features[:, 5:] + PAST.apart @ apart
    expected = torch.cat([present[:, :5], past], 1)
    assert torch.allclose(now[:, frame.moving], expected[:, frame.moving])
    gradient, by_apart = torch.randn(2, 7, 6, generator=draw), torch.zeros(2, 9, 6)
    (expected[:, frame.moving] * gradient[:, frame.moving]).sum().backward()
    Motion(frame).back_displaced(gradient, now, turns, by_apart)
    assert apart.grad is not None
    assert torch.allclose(by_apart, apart.grad, atol=1e-6)


def test_columns_that_follow_each_other_are_a_slice() -> None:
    assert places([2, 3, 4]) == slice(2, 5)
    assert places([]) == slice(0, 0)
    assert places([2, 4]) == [2, 4]
