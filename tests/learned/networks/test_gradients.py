"""The gradient written out by hand against torch's automatic differentiation; Adam; step sizes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from persim_gym.learned.adam import Adam
from persim_gym.learned.config import Networks
from persim_gym.learned.networks.gradients import Batch, SquaredError
from persim_gym.learned.networks.network import LowRankNetwork, NetworkShape
from persim_gym.learned.networks.optimise import learning_rate
from tests.learned.worlds import network_shape, random_network

SHAPES: dict[str, dict[str, Any]] = {
    "discrete": {},
    "discrete, two layers": {"state_hidden": (7, 6)},
    "discrete, three layers, lag 2": {"state_hidden": (7, 6, 5), "lag": 2},
    "one member, rank 1": {"members": 1, "rank": 1},
    "continuous": {"num_actions": 0, "action_dim": 3, "action_hidden": (6,)},
    "continuous, no hidden layer": {"num_actions": 0, "action_dim": 1, "action_hidden": ()},
    "continuous, deep, lag 2": {
        "num_actions": 0,
        "action_dim": 2,
        "action_hidden": (6, 5),
        "state_hidden": (7, 6, 5, 4),
        "lag": 2,
        "rank": 4,
        "obs_dim": 3,
    },
    "discrete, skip": {"skip": True},
    "continuous, skip": {"num_actions": 0, "action_dim": 2, "skip": True},
    "joint": {"num_actions": 0, "action_dim": 3, "joint": True, "state_hidden": (7, 6)},
    "joint, skip, an angle": {
        "num_actions": 0,
        "action_dim": 2,
        "joint": True,
        "skip": True,
        "angles": (1,),
        "state_hidden": (7, 6),
        "rank": 3,
    },
}


def encode(
    network: LowRankNetwork, member: int, name: str, x: Tensor, *, last_linear: bool
) -> Tensor:
    """One encoder of one member, as plainly as torch can say it."""
    act = torch.relu if network.shape.activation == "relu" else torch.nn.functional.silu
    stack = network.stack(name)
    for i, (weight, bias) in enumerate(stack):
        x = x @ network.tensors[weight][member] + network.tensors[bias][member]
        if not (last_linear and i == len(stack) - 1):
            x = act(x)
    return x


def member_loss(network: LowRankNetwork, member: int, data: dict[str, Tensor]) -> Tensor:
    """Mean squared error of one member, by the formula of the paper."""
    t, s = network.tensors, network.shape
    u = t["agent.factors"][member][data["agents"][member]] + t["agent.bias"][member]
    f = torch.ones_like(u)
    if s.num_actions:
        f = t["action.factors"][member][data["actions"][member]] + t["action.bias"][member]
    elif not s.joint:
        f = encode(network, member, "action", data["actions"][member], last_linear=True)
    hidden = encode(network, member, "state", data["states"][member], last_linear=False)
    if s.skip:
        hidden = torch.cat([hidden, data["states"][member]], dim=-1)
    g = hidden @ t["head.weight"][member].T + t["head.bias"][member][:, 0]
    change = torch.einsum("br,br,bdr->bd", u, f, g.view(len(u), s.obs_dim, s.rank))
    return (change - data["targets"][member]).square().mean()


def make_data(shape: NetworkShape, rows: int = 11, seed: int = 3) -> dict[str, Tensor]:
    """Rows of each member; with more rows than agents, agents repeat."""
    generator = torch.Generator().manual_seed(seed)
    m = shape.members

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, dtype=torch.float64)

    def integers(high: int) -> Tensor:
        return torch.randint(high, (m, rows), generator=generator)

    return {
        "agents": integers(shape.num_agents),
        "actions": integers(shape.num_actions)
        if shape.num_actions
        else normal(m, rows, shape.action_dim),
        "states": normal(m, rows, shape.input_dim),
        "targets": normal(m, rows, shape.obs_dim),
    }


def as_batch(shape: NetworkShape, data: dict[str, Tensor]) -> Batch:
    """The same rows in the layout that the fit uses."""
    offset = torch.arange(shape.members)[:, None]
    actions = data["actions"]
    return Batch(
        agents=data["agents"] + offset * shape.num_agents,
        states=data["states"],
        actions=actions + offset * shape.num_actions if shape.num_actions else actions,
        targets=data["targets"].mT.contiguous(),
    )


def by_hand(network: LowRankNetwork, data: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Norms and gradients of :class:`SquaredError`."""
    # What stands in the buffers before must not matter.
    gradients = {n: torch.full_like(t, torch.nan) for n, t in network.tensors.items()}
    norms = SquaredError(network, gradients)(as_batch(network.shape, data))
    return norms, gradients


@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES.keys())
def test_gradient_equals_automatic_differentiation(
    changes: dict[str, Any], activation: str
) -> None:
    shape = network_shape(**changes, activation=activation)
    network = random_network(shape, dtype=torch.float64)
    data = make_data(shape)
    before = {name: tensor.clone() for name, tensor in network.tensors.items()}
    norms, gradients = by_hand(network, data)

    leaves = {name: t.clone().requires_grad_() for name, t in before.items()}
    reference = LowRankNetwork(shape, leaves)
    losses = torch.stack([member_loss(reference, i, data) for i in range(shape.members)])
    losses.sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(
        norms.square() / data["targets"][0].numel(), losses.detach(), rtol=1e-10, atol=1e-12
    )
    assert set(gradients) == set(leaves)
    for name, leaf in leaves.items():
        assert leaf.grad is not None
        assert leaf.grad.abs().max() > 1e-6, f"{name} does not matter in this test"
        torch.testing.assert_close(gradients[name], leaf.grad, rtol=1e-9, atol=1e-12, msg=name)
        assert torch.equal(network.tensors[name], before[name]), "a parameter was changed"


def test_gradient_in_single_precision_is_that_of_double_precision() -> None:
    shape = network_shape(state_hidden=(16, 16), members=2)
    data = make_data(shape, rows=32)
    _, exact = by_hand(random_network(shape, dtype=torch.float64), data)
    single = {k: t.float() if t.is_floating_point() else t for k, t in data.items()}
    _, gradients = by_hand(random_network(shape), single)
    for name, gradient in gradients.items():
        assert gradient.dtype == torch.float32
        torch.testing.assert_close(gradient.double(), exact[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("kind", ["discrete", "continuous, skip", "joint, skip, an angle"])
def test_gradient_in_mixed_precision_is_near_that_of_single_precision(
    kind: str, activation: str
) -> None:
    shape = network_shape(**SHAPES[kind] | {"state_hidden": (32, 32)}, activation=activation)
    network = random_network(shape)
    data = make_data(shape, rows=256)
    single = {k: t.float() if t.is_floating_point() else t for k, t in data.items()}
    norms, exact = by_hand(network, single)
    gradients = {n: torch.full_like(t, torch.nan) for n, t in network.tensors.items()}
    loss = SquaredError(network, gradients, mixed=True)
    mixed_norms = loss(as_batch(shape, single))
    torch.testing.assert_close(mixed_norms, norms, rtol=5e-3, atol=0)
    for name, gradient in gradients.items():
        assert gradient.dtype == torch.float32
        assert not torch.equal(gradient, exact[name]), "nothing was rounded"
        # Eight bits round a number by at most 0.4%; what cancels is off by more.
        assert (gradient - exact[name]).norm() < 0.1 * exact[name].norm(), name


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_batches_may_be_views_of_a_larger_block(kind: str) -> None:
    shape = network_shape(**SHAPES[kind], activation="relu")
    network = random_network(shape, dtype=torch.float64)
    block = make_data(shape, rows=30)
    whole = as_batch(shape, block)
    part = slice(10, 21)
    view = Batch(
        whole.agents[:, part],
        whole.states[:, part],
        whole.actions[:, part],
        whole.targets[..., part],
    )
    gradients = {n: torch.zeros_like(t) for n, t in network.tensors.items()}
    norms = SquaredError(network, gradients)(view)
    expected_norms, expected = by_hand(network, {k: v[:, part] for k, v in block.items()})
    torch.testing.assert_close(norms, expected_norms, rtol=1e-12, atol=0)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_a_members_gradient_does_not_see_the_other_members(kind: str) -> None:
    shape = network_shape(**SHAPES[kind])
    network = random_network(shape)
    data = {k: t.float() if t.is_floating_point() else t for k, t in make_data(shape).items()}
    norms, gradients = by_hand(network, data)
    for part in ("data", "weights"):
        if part == "data":
            other = {k: t.clone() for k, t in data.items()}
            other["targets"][0] += 1e3
            other["states"][0] *= -2
            other["agents"][0] = (other["agents"][0] + 1) % shape.num_agents
            changed_norms, changed = by_hand(network, other)
        else:
            tensors = {n: t.clone() for n, t in network.tensors.items()}
            for tensor in tensors.values():
                tensor[0] += 1.0
            changed_norms, changed = by_hand(LowRankNetwork(shape, tensors), data)
        assert changed_norms[0] != norms[0]
        assert torch.equal(changed_norms[1:], norms[1:])
        for name, gradient in gradients.items():
            assert not torch.equal(changed[name][0], gradient[0]), name
            assert torch.equal(changed[name][1:], gradient[1:]), name


def test_no_graph_is_kept() -> None:
    shape = network_shape()
    network = random_network(shape, dtype=torch.float64)
    norms, gradients = by_hand(network, make_data(shape))
    for tensor in (norms, *gradients.values(), *network.tensors.values()):
        assert not tensor.requires_grad
        assert tensor.grad_fn is None


def test_adam_is_torchs() -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(50, generator=generator, dtype=torch.float64)
    ours, theirs = start.clone(), start.clone().requires_grad_()
    adam, reference = Adam(ours), torch.optim.Adam([theirs], lr=1.0)
    for step in range(25):
        gradient = torch.randn(50, generator=generator, dtype=torch.float64) * 10.0 ** (step % 4)
        rate = 0.1 / (1 + step)
        adam.step(gradient, rate)
        theirs.grad = gradient.clone()
        reference.param_groups[0]["lr"] = rate
        reference.step()
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-10, atol=1e-12)
    assert not torch.equal(ours, start)


def test_step_sizes_of_the_schedules() -> None:
    constant = Networks(schedule="constant", learning_rate=0.01)
    assert {learning_rate(constant, s, 100, s // 10) for s in range(100)} == {0.01}
    # Paper: 1e-3, halved every 150 epochs, whatever the number of steps.
    halving = Networks(schedule="halving", learning_rate=1e-3, halve_every=150)
    rates = [learning_rate(halving, 0, 1, epoch) for epoch in (0, 149, 150, 299, 300)]
    assert rates == [1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4]
    cycle = Networks(schedule="one-cycle", learning_rate=0.02)
    rates = [learning_rate(cycle, s, 1000, 0) for s in range(1000)]
    assert rates[0] == pytest.approx(0.002)  # a tenth of the peak
    assert max(rates) == rates[100] == 0.02  # after a tenth of the steps
    assert all(a < b for a, b in itertools.pairwise(rates[:101]))
    assert all(a > b for a, b in itertools.pairwise(rates[100:]))
    assert 0 < rates[-1] < 1e-5 * 0.02 * 10
