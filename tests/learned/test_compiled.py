"""Ensembles made ready for stepping compute what ensembles compute, for one row and for many."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from persim_gym.learned.bounds import BoundEffects
from persim_gym.learned.closed_form.basis import Inputs, Monomials
from persim_gym.learned.closed_form.evaluation import Evaluation
from persim_gym.learned.compiled import CompiledPolynomial, compile_ensemble, settle
from persim_gym.learned.ensemble import Ensemble
from tests.learned.closed_form.test_ensemble import some
from tests.learned.ensembles import DISCRETE, ENSEMBLES, expected, following, rows
from tests.learned.worlds import random_simulator

ensembles = pytest.mark.parametrize("ensemble", ENSEMBLES.values(), ids=ENSEMBLES.keys())


@ensembles
@pytest.mark.parametrize("n", [1, 33])
def test_many_rows(ensemble: Ensemble, n: int) -> None:
    d = ensemble.obs_dim
    unit = np.linspace(0.5, 1.5, d)
    compiled = compile_ensemble(ensemble, unit)
    assert compiled is not None
    agents, states, actions = rows(ensemble, n)
    # The same rows again, of other agents, of one agent, and of other actions.
    for who in (agents, agents, agents[::-1].copy(), np.full(n, 2), agents):
        actions = np.roll(actions, 1, axis=0)
        found = following(compiled, who, states, actions)
        true = expected(ensemble, who, states, actions)
        np.testing.assert_allclose(found, true, rtol=1e-5, atol=2e-6 * np.abs(true).max())


@ensembles
def test_single_rows(ensemble: Ensemble) -> None:
    d, m = ensemble.obs_dim, ensemble.members
    unit = np.linspace(0.5, 1.5, d)
    compiled = compile_ensemble(ensemble, unit)
    assert compiled is not None
    agents, states, actions = rows(ensemble, 25)
    true = expected(ensemble, agents, states, actions)
    for row, agent in enumerate(agents.tolist()):
        action = actions[row] if actions.ndim > 1 else int(actions[row])
        mean, apart, spread = compiled.row(agent)(states[row].tolist(), action)
        members = true[:, row]
        np.testing.assert_allclose(mean, members.mean(0), rtol=1e-5, atol=1e-5)
        own = (members - members.mean(0)) / unit
        assert spread == pytest.approx(np.sqrt(np.square(own).mean()), rel=1e-4, abs=1e-6)
        np.testing.assert_allclose(
            np.asarray(apart).reshape(m, d) * np.sqrt(m * d), own, rtol=1e-4, atol=1e-5
        )


def test_what_all_agents_share_is_shared_and_rounding_is_not_personal() -> None:
    ensemble = some()
    weights = ensemble.weights.clone()
    weights[:, :, 1:, :, 0] = 1e-12  # of the second factor, in the first coordinate
    ensemble.factors[:, :, 0] = 1.0
    ensemble.weights = weights
    compiled = compile_ensemble(ensemble, np.ones(2))
    assert isinstance(compiled, CompiledPolynomial)
    assert not compiled.weights[:, :, 1:, :, 0].any()
    assert compiled.weights[:, :, 1:, :, 1].any()
    agents, states, actions = rows(ensemble, 12)
    found = following(compiled, agents, states, actions)
    np.testing.assert_allclose(found, expected(ensemble, agents, states, actions), atol=2e-6)


def test_an_agents_slow_drift_far_from_zero_is_its_own() -> None:
    ensemble, offset = some(), np.array([1e6, 0.0])
    ensemble.weights[:, :, 1:, :, 0] *= 1e-3
    ensemble.factors[:, :, 0] = 1.0
    agents, states, actions = rows(ensemble, 12)
    true = expected(ensemble, agents, states, actions)
    centre = ensemble.inputs.centre + torch.as_tensor(offset)
    ensemble.inputs = replace(ensemble.inputs, centre=centre)
    compiled = compile_ensemble(ensemble, np.ones(2))
    assert compiled is not None
    found = following(compiled, agents, states + offset, actions) - offset
    np.testing.assert_allclose(found, true, atol=2e-6)


def test_other_factors_are_other_agents_of_the_same_weights() -> None:
    ensemble = some()
    compiled = compile_ensemble(ensemble, np.ones(2))
    assert compiled is not None
    agents, states, actions = rows(ensemble, 9)
    compiled.row(0)(states[0].tolist(), 1)
    other = ensemble.with_factors(ensemble.factors * 2 + 1)
    again = compile_ensemble(other, np.ones(2), compiled)
    assert isinstance(again, CompiledPolynomial)
    assert again.weights is compiled.weights  # type: ignore[attr-defined]
    true = expected(other, agents, states, actions)
    found = following(again, agents, states, actions)
    np.testing.assert_allclose(found, true, atol=1e-5)
    mean = again.row(0)(states[0].tolist(), 1)[0]
    np.testing.assert_allclose(
        mean, expected(other, np.array([0]), states[:1], np.array([1])).mean(0)[0]
    )


def test_an_environment_follows_what_is_learned_of_its_agent() -> None:
    sim = random_simulator(DISCRETE)
    env, lanes = sim.env(agent=1, guard=False), sim.vector_env(2, agents=1, guard=False)
    state = np.array([0.1, -0.2, 0.3], dtype=np.float32)

    def step() -> Any:
        env.reset(options={"state": state})
        lanes.reset(options={"state": state})
        seen = env.step(2)[0], lanes.step(np.array([2, 2]))[0][1]
        np.testing.assert_allclose(seen[0], seen[1], atol=1e-6)
        np.testing.assert_allclose(seen[0], sim.predict(1, state[None], [2])[0], atol=1e-6)
        return seen[0]

    before = step()
    factors = sim.ensemble.agent_factors().clone()
    factors[:, 1] += 0.5
    sim._hold(replace(sim._parts, ensemble=sim.ensemble.with_factors(factors)))
    assert np.abs(step() - before).max() > 1e-3


@pytest.mark.parametrize("how", [copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_a_copy_is_compiled_anew(how: Any) -> None:
    env = random_simulator(DISCRETE).env(agent=1)
    env.reset(seed=0)
    env.step(0)
    np.testing.assert_array_equal(how(env).step(1)[0], env.step(1)[0])


def test_settling_is_the_ensemble_s() -> None:
    effect = torch.tensor([[[0.1, 0.0, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 2.0]]])
    wall = BoundEffects(torch.tensor([0]), torch.tensor([1.0]), torch.tensor([1.0]), effect)
    ensemble = random_simulator(DISCRETE).ensemble.with_effects(wall)
    obs = np.random.default_rng(0).normal(size=(4, 3, 50))
    obs[0, 0, 0], obs[1, 1, 1], obs[2, 2, 2] = np.nan, np.inf, -np.inf
    low, high = (bound.numpy()[:, None] for bound in (ensemble.low, ensemble.high))
    with np.errstate(invalid="ignore"):
        found = settle(obs, ensemble, low, high)
    true = ensemble.settle(torch.as_tensor(obs).float().mT).mT.numpy()
    np.testing.assert_allclose(found, true, atol=1e-6)
    assert np.isnan(found).sum() >= 3


def test_a_run_of_monomials_reads_what_is_there_before_it() -> None:
    # A chain of powers, of which each is made of the one before.
    order = Monomials(np.array([[0], [1], [2], [3], [4], [5]])).order
    for first, parent, length, _ in order.runs:
        assert parent + length <= first


def test_a_chain_of_powers_is_unrolled_with_one_member_as_well() -> None:
    z = torch.linspace(-1.0, 1.0, 9)
    inputs = Inputs(*(torch.tensor([value]) for value in (0.0, 1.0, -9.0, 9.0)))
    powers = Evaluation(inputs, Monomials(np.arange(6)[:, None]), 1, 9)(z[None, None])
    torch.testing.assert_close(powers[0], z ** torch.arange(6)[:, None])
