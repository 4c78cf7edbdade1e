"""CaDM's networks beside a slow reference."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from persim_gym.baselines.context.network import Batch, ContextNetwork, ContextShape, loss
from tests.baselines.context_worlds import SHAPE, batch_of


def dense(t: dict[str, Tensor], member: int, stack: str, x: Tensor, activation: str) -> Tensor:
    """One row through one member's layers."""
    depth = sum(name.startswith(f"{stack}.") for name in t) // 2
    for i in range(depth):
        x = x @ t[f"{stack}.{i}.weight"][member] + t[f"{stack}.{i}.bias"][member, 0]
        if i < depth - 1:
            x = torch.clamp(x, min=0) if activation == "relu" else x / (1 + torch.exp(-x))
    return x


def slow_loss(shape: ContextShape, t: dict[str, Tensor], batch: Batch, weight: float) -> Tensor:
    """The loss of all members, number by number."""
    total = torch.zeros((), dtype=torch.float64)
    rows = batch.states.shape[1]
    for m in range(shape.members):
        for n in range(rows):
            c = dense(t, m, "encoder", batch.history[m, n], "relu")
            seen = torch.cat([batch.states[m, n], batch.actions[m, n], c])
            out = dense(t, m, "forward", seen, shape.activation)
            for d in range(shape.obs_dim):
                error = (out[d] - batch.change[m, n, d]) ** 2
                if shape.probabilistic:
                    most = t["most_log_variance"][m, 0, d]
                    least = t["least_log_variance"][m, 0, d]
                    raw = out[shape.obs_dim + d]
                    bounded = most - torch.log(1 + torch.exp(most - raw))
                    log_variance = least + torch.log(1 + torch.exp(bounded - least))
                    error = error / torch.exp(log_variance) + log_variance
                total = total + error / (rows * shape.obs_dim)
            seen = torch.cat([batch.next_states[m, n], batch.actions[m, n], c])
            back = dense(t, m, "backward", seen, shape.activation)
            total = total + weight * ((back - batch.change_back[m, n]) ** 2).mean() / rows
        if shape.probabilistic:
            width = t["most_log_variance"][m] - t["least_log_variance"][m]
            total = total + 0.01 * width.sum()
    return total


@pytest.mark.parametrize("probabilistic", [False, True])
def test_loss_and_gradient_equal_a_slow_reference(probabilistic: bool) -> None:
    plain = SHAPE.to_json() | {"probabilistic": probabilistic}
    shape = ContextShape.from_json(plain)
    vector = ContextNetwork.initial(shape, torch.Generator().manual_seed(1)).double()
    vector += 0.1 * torch.randn(len(vector), generator=torch.Generator().manual_seed(2))
    batch = batch_of(shape, rows=4)
    gradients = []
    for slow in (False, True):
        leaf = vector.clone().requires_grad_()
        network = ContextNetwork.views(shape, leaf)
        value = loss(network, batch, 0.5).sum()
        if slow:
            value = slow_loss(shape, network.tensors, batch, 0.5)
        (gradient,) = torch.autograd.grad(value, leaf)
        gradients.append((float(value.detach()), gradient))
    assert gradients[0][0] == pytest.approx(gradients[1][0], rel=1e-12)
    assert torch.allclose(gradients[0][1], gradients[1][1], rtol=1e-9, atol=1e-12)
    assert float(gradients[0][1].abs().max()) > 0.01


def test_tempering_weighs_by_a_variance_without_a_gradient() -> None:
    vector = ContextNetwork.initial(SHAPE, torch.Generator().manual_seed(1)).double()
    batch = batch_of(SHAPE, rows=5)
    leaf = vector.clone().requires_grad_()
    network = ContextNetwork.views(SHAPE, leaf)
    context = network.encode(batch.history)
    mean, log_variance = network.forward(torch.cat([batch.states, batch.actions, context], -1))
    assert log_variance is not None
    weights = log_variance.detach().exp()
    each = weights * ((mean - batch.change) ** 2 / log_variance.exp() + log_variance)
    seen = torch.cat([batch.next_states, batch.actions, context], -1)
    back = 0.5 * ((network.backward(seen) - batch.change_back) ** 2).mean((1, 2))
    t = network.tensors
    width = 0.01 * (t["most_log_variance"] - t["least_log_variance"]).sum((1, 2))
    expected = (each.mean((1, 2)) + back + width).sum()
    found = loss(network, batch, 0.5, tempering=1.0).sum()
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)
    own, other = (torch.autograd.grad(v, leaf, retain_graph=True)[0] for v in (found, expected))
    assert torch.allclose(own, other, rtol=1e-9, atol=1e-12)


def test_first_weights_and_their_decay_are_the_authors() -> None:
    shape = ContextShape(members=1, obs_dim=3, inputs=3, acts=2)
    vector = ContextNetwork.initial(shape, torch.Generator().manual_seed(0))
    network = ContextNetwork.views(shape, vector)
    decay = ContextNetwork.views(shape, ContextNetwork.decay(shape)).tensors
    weights = network.tensors["forward.1.weight"]
    sd = 1 / (2 * math.sqrt(200))
    assert float(weights.abs().max()) <= 2 * sd
    assert 0.8 * sd < float(weights.std()) < 0.95 * sd  # of a normal cut at two deviations
    assert not network.tensors["forward.1.bias"].any()
    own = [float(decay[f"forward.{i}.weight"].max()) for i in range(5)]
    assert own == pytest.approx([2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4])
    own = [float(decay[f"encoder.{i}.weight"].max()) for i in range(4)]
    assert own == pytest.approx([2.5e-5, 5e-5, 7.5e-5, 7.5e-5])
    assert not any(bool(t.any()) for name, t in decay.items() if not name.endswith("weight"))
