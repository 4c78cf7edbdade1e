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
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.stepping.compile import compile_ensemble, settle
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
