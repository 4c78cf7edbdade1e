"""Thresholds that all agents share, found in data before a fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from persim_gym.learned import PerSim
from persim_gym.learned.config import Latent
from persim_gym.learned.features.ensemble import FrameEnsemble
from persim_gym.learned.latent.data import LatentData
from persim_gym.learned.latent.fit import fit_latent, initial_network
from persim_gym.learned.latent.gradients import Response
from persim_gym.learned.latent.jumps import find_jumps
from persim_gym.learned.latent.network import STEEP, LatentNetwork, LatentShape

Array = NDArray[np.float64]
#: Changes by state, action, and a number of the agent's own ``[T]`` each.
Rule = Callable[[Array, Array, Array], Array]
AGENTS, STEPS = 24, 60


def made(rule: Rule, *, noise: float = 0.0, hold: float = 0.5, seed: int = 0) -> LatentData:
    """Transitions from anywhere under held actions; changes have deviation 1."""
    rng = np.random.default_rng(seed)
    agents = np.repeat(np.arange(AGENTS), STEPS)
    states, actions = rng.uniform(-1.7, 1.7, (2, len(agents)))
    for row in range(1, len(agents)):
        if agents[row] == agents[row - 1] and rng.random() < hold:
            actions[row] = actions[row - 1]
    own = np.repeat(rng.uniform(0.5, 1.5, AGENTS), STEPS)
    changes = rule(states, actions, own)
    changes = changes / changes.std() + noise * rng.standard_normal(len(agents))
    features = np.stack([states, actions], axis=1)
    return LatentData(features, changes[:, None], agents, agents, AGENTS)


def reset(states: Array, actions: Array, own: Array) -> Array:
    """An action beyond 1.4 takes most of the state away."""
    return np.where(actions > 1.4, -0.6 * own * states, 0.1 * own * (actions - states))


def pushed(states: Array, actions: Array, own: Array) -> Array:
    """Below a level something pushes."""
    return own * np.sin(states) + 0.3 * actions + np.where(states < -0.5, own, 0.0)


def bent(states: Array, actions: Array, own: Array) -> Array:
    return own * np.sin(2 * states) + 0.2 * own * states**3 - actions * states


def kinked(states: Array, actions: Array, own: Array) -> Array:
    return actions - 2 * own * np.maximum(0.0, states - 0.5)


def own_level(states: Array, actions: Array, own: Array) -> Array:
    return actions + np.where(states > 3 * (own - 1), 1.0, 0.0)


def alike(states: Array, actions: Array, own: Array) -> Array:
    """Each agent's effect of an action its own: under held actions a few agents decide a place."""
    return np.sin(7 * own) * np.exp(actions) + states


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize(("rule", "column", "where"), [(reset, 1, 1.4), (pushed, 0, -0.5)])
def test_a_threshold_that_agents_share_is_found(
    rule: Rule, column: int, where: float, noise: float
) -> None:
    data = made(rule, noise=noise)
    (jump,) = find_jumps(data)
    values = np.sort(data.features[:, column])
    assert jump.column == column
    if not noise:
        between = values[values < where].max(), values[values >= where].min()
        assert between == pytest.approx((jump.at - jump.gap / 2, jump.at + jump.gap / 2))
    assert jump.at == pytest.approx(where, abs=0.02)


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("rule", [bent, kinked, own_level, alike])
def test_what_is_no_jump_of_all_is_not_taken_for_one(rule: Rule, noise: float) -> None:
    for seed in range(3):
        assert find_jumps(made(rule, noise=noise, hold=0.9, seed=seed)) == []


def test_what_a_bound_has_cut_says_nothing_of_jumps() -> None:
    data = made(reset)
    beyond = (data.features[:, 1:] > 1.4).astype(np.int8)
    assert find_jumps(data)
    assert find_jumps(replace(data, cut=beyond)) == []


def test_no_more_thresholds_than_asked_for_and_none_in_few_transitions() -> None:
    data = made(lambda s, a, own: pushed(s, a, own) + np.where(a > 0.8, own, 0.0))
    found = sorted((jump.column, round(jump.at, 1)) for jump in find_jumps(data))
    assert found == [(0, -0.5), (1, 0.8)]
    assert len(find_jumps(data, most=1)) == 1
    assert find_jumps(data.select(np.arange(len(data)) < 400)) == []


@pytest.mark.parametrize(("most", "found"), [(10 * STEPS, 1), (5 * STEPS, 0)])
def test_of_many_agents_some_are_looked_at(
    most: int, found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("persim_gym.learned.latent.jumps.MOST_ROWS", most)
    jumps = find_jumps(made(reset))
    assert [round(jump.at, 1) for jump in jumps] == [1.4] * found


QUICK = Latent(ensemble_size=2, latent=2, hidden=(16, 16), batch_size=128, first_steps=60, steps=0)


def test_a_gate_divides_the_data_and_stays_where_it_was_put() -> None:
    data = made(reset)
    begun = initial_network(data, QUICK)
    fitted = fit_latent(data, QUICK)
    assert (begun.shape.gates, begun.shape.placed) == (QUICK.gates + 1, 1)
    for name in ("head.weight", "head.bias"):
        first, last = (n.tensors()[name][..., n.shape.fixed] for n in (begun, fitted))
        assert torch.equal(first, last)
    mixed = torch.tensor(data.features, dtype=torch.float32) @ fitted.tensors()["mix"]
    inputs = slice(QUICK.hidden[-1], QUICK.hidden[-1] + 2)
    weight = fitted.tensors()["head.weight"][0, inputs, fitted.shape.fixed]
    gate = STEEP * (mixed @ weight + fitted.tensors()["head.bias"][0, :, fitted.shape.fixed])
    beyond = torch.as_tensor(data.features[:, 1] > 1.4)
    assert float(gate[beyond].min()) > 2
    assert float(gate[~beyond].max()) < -2
    assert initial_network(data, replace(QUICK, jumps=0)).shape.placed == 0


def test_a_state_beside_a_placed_gate_is_not_all_that_counts() -> None:
    slopes = []
    for placed in (0, 1):
        shape = LatentShape(1, 1, 1, 1, 1, (4,), 1, placed)
        network = LatentNetwork.initial(
            shape, torch.zeros(1, 1, 1), torch.Generator().manual_seed(0)
        )
        layers = {name: network.tensors()[name].clone() for name in shape.layers()}
        layers["head.weight"][:, 4, 1] = 500.0
        gradients = {name: torch.empty_like(own) for name, own in layers.items()}
        answer = Response(shape, layers, gradients, 1)
        answer.features.zero_()
        answer.latents.zero_()
        answer.forward()
        slopes.append(abs(float(answer.backward(torch.ones(1, 1, 1), slice(1)))))
    assert slopes[1] < 2 < slopes[0]


@pytest.mark.slow
def test_a_shared_threshold_is_where_it_is_for_agents_that_have_seldom_been_beyond() -> None:
    data = made(reset)
    near = np.abs(data.features[:, 1] - 1.4) < 0.4
    # Of half of the agents nothing is known beside the threshold.
    known = data.select(~(near & (data.agents % 2 == 1)))
    edges = []
    for jumps in (4, 0):
        config = replace(QUICK, first_steps=300, steps=1200, jumps=jumps)
        network = fit_latent(known, config)
        odd = torch.arange(1, AGENTS, 2)
        below, above = (
            network.change(odd, torch.tensor([[1.5, action]]).expand(len(odd), -1))
            for action in (1.36, 1.44)
        )
        edges.append(float((below - above).mean(0).abs().min()))
    assert edges[0] > 2 * edges[1]


@pytest.mark.slow
def test_placed_gates_are_saved_stepped_and_exported(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    level, actions = np.zeros((AGENTS, STEPS)), rng.uniform(-1.7, 1.7, (AGENTS, STEPS))
    own = rng.uniform(0.5, 1.5, AGENTS)
    for t in range(STEPS - 1):
        level[:, t + 1] = level[:, t] + reset(level[:, t], actions[:, t], own)
    table = pd.DataFrame(
        {
            "agent": np.repeat(np.arange(AGENTS), STEPS),
            "time": np.tile(np.arange(STEPS), AGENTS),
            "level": level.ravel(),
            "valve": actions.ravel(),
        }
    )
    columns = {"agent": "agent", "time": "time", "state": ["level"], "action": ["valve"]}
    sim = PerSim.fit(table, columns=columns, config=replace(QUICK, gates=2), progress=False)
    assert isinstance(sim.ensemble, FrameEnsemble)
    assert isinstance(sim.ensemble.model, LatentNetwork)
    assert sim.ensemble.model.shape.placed >= 1
    agents, states = np.arange(8) % AGENTS, np.linspace(-1, 1, 8, dtype=np.float32)[:, None]
    acted = np.linspace(-1.6, 1.6, 8, dtype=np.float32)[:, None]
    expected = sim.predict(agents, states, acted)
    sim.save(tmp_path / "sim")
    again = PerSim.load(tmp_path / "sim")
    assert np.array_equal(again.predict(agents, states, acted), expected)
    program = torch.export.load(again.export(tmp_path / "step.pt2")).module()
    mean, _ = program(*map(torch.as_tensor, (agents, states, acted)))
    np.testing.assert_allclose(mean.numpy(), expected, atol=1e-5)
    env = again.env(agent=3)
    obs, _ = env.reset(seed=0)
    for action in acted:
        predicted = again.predict(np.array([3]), obs[None], action[None])[0]
        obs, *_ = env.step(action)
        np.testing.assert_allclose(obs, predicted, atol=1e-4)
