"""Layers by whichever library is quicker: the same numbers, whichever it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from persim_gym.learned.closed_form.basis import Monomials
from persim_gym.learned.networks import linear
from tests.learned.worlds import PlainTask, network_shape, random_network, random_simulator


@pytest.mark.parametrize("large", [1, 10**12])
@pytest.mark.parametrize("relu", [True, False])
def test_a_layer_by_hand(relu: bool, large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "LARGE", large)
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(s, generator=generator) for s in ((7, 3), (3, 5), (1, 5)))
    z = x.double() @ weight.double() + bias.double()
    expected = z.clamp_min(0) if relu else z / (1 + (-z).exp())
    torch.testing.assert_close(linear.dense(x, weight, bias, relu).double(), expected)


@pytest.mark.parametrize("large", [1, 10**12])
@pytest.mark.parametrize("p", [1, 3])
def test_a_last_layer_by_hand(p: int, large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "LARGE", large)
    generator = torch.Generator().manual_seed(0)
    shapes = (p, linear.MANY, 6), (p, 4, 6), (p, linear.MANY, 1)
    weight, hidden, bias = (torch.randn(s, generator=generator) for s in shapes)
    found = linear.product(weight, hidden, bias)
    expected = torch.einsum("poh,pkh->pok", weight.double(), hidden.double()) + bias.double()
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_without_onednn_it_is_torchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "LARGE", 1)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    linear._fused.cache_clear()
    try:
        assert linear._fused() is None
        x, weight, bias = torch.ones(2, 3), torch.ones(3, 4), torch.full((1, 4), -4.0)
        assert linear.dense(x, weight, bias, relu=True).tolist() == [[0.0] * 4] * 2
        # It is not there either where it does not give what it should.
        monkeypatch.undo()
        linear._fused.cache_clear()
        monkeypatch.setattr(torch, "relu", torch.abs)
        assert linear._fused() is None
    finally:
        linear._fused.cache_clear()


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("apart", [True, False])
def test_members_in_turn_are_members_together(
    apart: bool, skip: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = random_network(network_shape(state_hidden=(8, 6), activation="silu", skip=skip))
    m, p, k, width = network.shape.members, 2, 5, 6 + skip * network.shape.input_dim
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(m if apart else 1, p, k, network.shape.input_dim, generator=generator)
    weight = torch.randn(m, p, 3, width, generator=generator)
    bias = torch.randn(m, p, 3, 1, generator=generator)
    found: list[torch.Tensor] = []
    for wide, large in ((10**12, 10**12), (1, 10**12), (1, 1)):
        monkeypatch.setattr(linear, "WIDE", wide)
        monkeypatch.setattr(linear, "LARGE", large)
        found.append(network.last_layers(states, weight, bias))
    hidden = network.hidden(states.flatten(1, 2).expand(m, -1, -1)).view(m, p, k, width)
    expected = torch.einsum("mpoh,mpkh->mpok", weight, hidden) + bias
    for each in found:
        torch.testing.assert_close(each, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", [{}, {"joint": True}])
@pytest.mark.parametrize("mode", ["members", "mean", "sampled"])
def test_unrolling_is_the_same_with_large_layers(
    mode: Any, form: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = random_simulator(PlainTask.of(3, action_dim=2), **form)
    generator = torch.Generator().manual_seed(0)
    agents, states = torch.tensor([1, 3]), torch.randn(2, 3, generator=generator)
    actions = torch.rand(2, 7, 5, 2, generator=generator)
    found = []
    for value in (10**12, 1):
        monkeypatch.setattr(linear, "WIDE", value)
        monkeypatch.setattr(linear, "LARGE", value)
        found.append(torch.stack(list(sim.unroll(agents, states, actions, mode))))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("degree", "inputs", "cosines"), [(8, 2, ()), (3, 4, ()), (3, 5, (4,))])
def test_an_order_of_monomials(degree: int, inputs: int, cosines: tuple[int, ...]) -> None:
    monomials = Monomials.up_to(degree, inputs, cosines)
    order = monomials.order
    assert sorted(order.order) == list(range(monomials.size))
    assert order.inputs_in_place
    # Of a degree there is a product for each input, where none is missing.
    if not cosines:
        assert len(order.runs) == inputs * degree
    wanted = torch.arange(monomials.size).remainder(3).ne(1).numpy()
    wanted[1] = False  # with the first input, so that none is where it would be written
    for some in (monomials, monomials.subset(wanted)[0]):
        exponents = some.exponents[some.order.order]
        seen = {0}
        for first, parent, length, column in some.order.runs:
            for i in range(length):
                assert parent + i in seen
                without = exponents[first + i].copy()
                without[column] -= 1
                assert (without == exponents[parent + i]).all()
                seen.add(first + i)
        assert len(seen) == some.size
