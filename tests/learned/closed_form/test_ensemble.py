from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from persim_gym.learned.closed_form.ensemble import PolynomialEnsemble
from persim_gym.learned.ensemble import before_bounds
from tests.learned.closed_form.polynomials import AGENTS, KINDS, MEMBERS, RANK, A, D, some


def some_actions(ensemble: PolynomialEnsemble, *shape: int) -> torch.Tensor:
    rng = np.random.default_rng(1)
    if ensemble.discrete:
        return torch.as_tensor(rng.integers(3, size=shape))
    return torch.as_tensor(rng.normal(size=(*shape, A)))


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("mode", ["members", "mean"])
def test_unrolling_is_step_after_step(kind: dict[str, Any], mode: Any) -> None:
    ensemble = some(**kind)
    p, k, h = 2, 7, 4
    agents = torch.tensor([5, 1])
    states = torch.as_tensor(np.random.default_rng(2).normal(size=(p, D * ensemble.lag)))
    actions = some_actions(ensemble, p, k, h)
    state = states[None, :, None].expand(MEMBERS, p, k, -1).reshape(MEMBERS, p * k, -1)
    rows = agents.repeat_interleave(k)
    for t, found in enumerate(ensemble.unroll(agents, states, actions, mode)):
        acted = actions[:, :, t].reshape(p * k, *actions.shape[3:])
        obs = ensemble.step(rows, state, acted)
        torch.testing.assert_close(found.reshape(MEMBERS, p * k, D), obs, atol=1e-12, rtol=0)
        if mode == "mean":
            obs = obs.mean(0, keepdim=True).expand_as(obs)
        state = torch.cat([state[..., D:], obs], -1) if ensemble.lag > 1 else obs
    assert t == h - 1


@pytest.mark.parametrize("discrete", [True, False])
def test_candidates_can_be_dropped_on_the_way(discrete: bool) -> None:
    ensemble = some(discrete)
    actions = some_actions(ensemble, 1, 9, 5)
    states = torch.full((1, D), 0.1, dtype=torch.float64)
    whole = [obs.clone() for obs in ensemble.unroll(torch.tensor([3]), states, actions)]
    kept = torch.tensor([[0, 4, 8]])
    steps = ensemble.unroll(torch.tensor([3]), states, actions)
    next(steps)
    found = [next(steps), steps.send(kept)]
    torch.testing.assert_close(found[0], whole[1])
    torch.testing.assert_close(found[1], whole[2][:, :, kept[0]])
    torch.testing.assert_close(next(steps), whole[3][:, :, kept[0]])


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_candidates_shared_out_among_members(kind: dict[str, Any]) -> None:
    ensemble = some(**kind)
    actions = some_actions(ensemble, 2, 7, 5)
    states = torch.as_tensor(np.random.default_rng(2).normal(size=(2, D * ensemble.lag)))
    agents = torch.tensor([5, 1])
    whole = [obs.clone() for obs in ensemble.unroll(agents, states, actions)]
    member = torch.arange(7) % MEMBERS
    whole = [obs[member, :, torch.arange(7)].transpose(0, 1)[None] for obs in whole]
    steps = ensemble.unroll(agents, states, actions, "sampled")
    kept = torch.tensor([[0, 3, 6], [1, 2, 3]])
    found = [next(steps), next(steps), steps.send(kept), next(steps), steps.send(kept[:, 1:] % 3)]
    torch.testing.assert_close(found[:2], whole[:2])
    chosen = kept[None, :, :, None]
    torch.testing.assert_close(found[2], torch.take_along_dim(whole[2], chosen, 2))
    torch.testing.assert_close(found[3], torch.take_along_dim(whole[3], chosen, 2))
    chosen = kept.gather(1, kept[:, 1:] % 3)[None, :, :, None]
    torch.testing.assert_close(found[4], torch.take_along_dim(whole[4], chosen, 2))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_step_is_design_times_factor(kind: dict[str, Any]) -> None:
    ensemble = some(**kind)
    rng = np.random.default_rng(3)
    states = torch.as_tensor(rng.normal(size=(8, D * ensemble.lag)))
    actions = some_actions(ensemble, 8)
    agents = torch.arange(8) % AGENTS
    design = ensemble.design(states, actions)
    assert design.shape == (MEMBERS, 8, D, RANK)
    change = torch.einsum("mndr,mnr->mnd", design, ensemble.factors[:, agents])
    expected = states[:, -D:] + change + ensemble.offset()
    torch.testing.assert_close(before_bounds(ensemble, agents, states, actions), expected)
    # By hand.
    values = states.numpy()
    if not ensemble.discrete:
        values = np.concatenate([values, actions.numpy()], 1)
    units = ensemble.inputs
    z = np.clip(
        (values - units.centre.numpy()) / units.scale.numpy(), units.low.numpy(), units.high.numpy()
    )
    for column in units.angles:
        z[:, column] = np.sin(values[:, column])
    z = np.concatenate([z, np.cos(values[:, list(units.angles)])], 1)
    phi = np.prod(z[:, None] ** ensemble.monomials.exponents, axis=2)
    chosen = actions.numpy() if ensemble.discrete else np.zeros(8, dtype=int)
    for member in range(MEMBERS):
        weights = ensemble.weights[member].numpy()[chosen]
        by_hand = np.einsum("np,nrpd->ndr", phi, weights) * ensemble.scale.numpy()[:, None]
        np.testing.assert_allclose(design[member].numpy(), by_hand, atol=1e-12)


def test_single_precision_stays_close_to_double() -> None:
    double, single = some(), some().to("cpu", torch.float32)
    actions = some_actions(double, 1, 20, 25)
    states = torch.full((1, D), 0.1, dtype=torch.float64)
    *_, exact = double.unroll(torch.tensor([0]), states, actions)
    *_, found = single.unroll(torch.tensor([0]), states.float(), actions)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, atol=1e-4, rtol=1e-4)


def test_a_lost_state_is_lost_alone() -> None:
    ensemble = some(effects=True)
    states = torch.tensor([[0.1, 0.1], [float("nan"), 0.1], [float("inf"), 0.1]]).double()
    actions = some_actions(ensemble, 3, 1, 3)
    for obs in ensemble.unroll(torch.tensor([0, 1, 2]), states, actions):
        assert torch.isfinite(obs[:, 0]).all()
        assert torch.isnan(obs[:, 1]).any(-1).all()
        assert torch.isnan(obs[:, 2]).any(-1).all()


def test_other_factors_are_other_agents() -> None:
    ensemble = some()
    other = ensemble.with_factors(ensemble.factors[:, [4, 2]])
    assert other.num_agents == 2
    states = torch.zeros(2, D, dtype=torch.float64)
    actions = torch.tensor([0, 2])
    torch.testing.assert_close(
        other.step(torch.tensor([0, 1]), states, actions),
        ensemble.step(torch.tensor([4, 2]), states, actions),
    )


@pytest.mark.parametrize("kind", KINDS[:4], ids=str)
def test_a_file_s_parts_make_it_again(kind: dict[str, Any]) -> None:
    ensemble = some(**kind)
    shape = json.loads(json.dumps(ensemble.to_json()))
    parts: dict[str, dict[str, torch.Tensor]] = {"polynomial": {}, "inputs": {}}
    for name, tensor in ensemble.tensors().items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    again = PolynomialEnsemble.from_file(shape, parts["polynomial"], parts["inputs"])
    states = torch.full((4, D * ensemble.lag), 0.3, dtype=torch.float64)
    actions, agents = some_actions(ensemble, 4), torch.arange(4)
    torch.testing.assert_close(
        again.step(agents, states, actions), ensemble.step(agents, states, actions)
    )
    shape["monomials"] = shape["monomials"][:-1]
    with pytest.raises(ValueError, match="not of the same model"):
        PolynomialEnsemble.from_file(shape, parts["polynomial"], parts["inputs"])
