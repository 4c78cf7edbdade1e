"""Latent networks made ready for stepping: their features, and environments of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from persim_gym.learned import PerSim
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.features.ensemble import answered
from persim_gym.learned.geometry.geometry import Circle, Geometry
from persim_gym.learned.latent.network import LatentNetwork
from persim_gym.learned.stepping import lane_calls
from persim_gym.learned.stepping.compile import compile_ensemble
from persim_gym.learned.stepping.lane_calls import WIDE
from persim_gym.learned.stepping.latent import CompiledLatent, Features
from tests.learned.ensembles import ENSEMBLES, expected, following, rows
from tests.learned.latent_ensembles import random_latents
from tests.learned.worlds import PlainTask, random_simulator

DISCRETE = PlainTask.of(3, actions=3)
CONTINUOUS = PlainTask.of(3, action_dim=2)
KINDS: list[dict[str, Any]] = [
    {},
    {"angles": (1,), "left_out": (0, 4)},
    {"choices": 0, "action_dim": 2, "hold": 0.6},
]


def simulator(**kind: Any) -> PerSim:
    task = DISCRETE if kind.get("choices", 3) else CONTINUOUS
    sim = random_simulator(task)
    sim._hold(replace(sim._parts, ensemble=random_latents(**kind)))
    return sim


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_features_are_the_frame_s(kind: dict[str, Any]) -> None:
    ensemble = random_latents(**kind)
    frame, model = ensemble.frame, ensemble.model
    assert isinstance(model, LatentNetwork)
    rng = np.random.default_rng(0)
    states = (3 * rng.normal(size=(20, 3))).astype(np.float32)
    actions = rng.integers(3, size=20) if frame.choices else rng.uniform(-1, 1, (20, 2))
    out = np.empty((frame.size, 20), dtype=np.float32)
    beyond = Features(frame, model)(states.T.astype(np.float64), actions, out)
    acted = torch.as_tensor(actions if frame.choices else actions.astype(np.float32))
    features = frame.features(torch.as_tensor(states), acted)
    np.testing.assert_allclose(out.T, model.hold(features), atol=1e-6)
    assert beyond is not None, "some states are beyond the edge"
    agents = torch.as_tensor(rng.integers(model.num_agents, size=20))

    def changes(x: Any) -> Any:
        return model.change(agents, torch.as_tensor(x).T).mT.numpy()

    expected = answered(frame, model, lambda x: model.change(agents, x), features)
    np.testing.assert_allclose(beyond.answered(changes(out), changes), expected.mT, atol=1e-4)
    assert (beyond.free is not None) == bool(frame.free), "some actions are beyond the edge"


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("propagation", ["mean", "fixed_member"])
@pytest.mark.parametrize("reach", [1, 6])
def test_environments_step_as_the_simulator_predicts(
    kind: dict[str, Any], propagation: str, reach: float
) -> None:
    """Within what the network knows, and beyond it."""
    sim = simulator(**kind)
    options: dict[str, Any] = {"guard": False, "propagation": propagation}
    env, lanes = sim.env(agent=1, **options), sim.vector_env(4, agents=1, **options)
    rng = np.random.default_rng(0)
    for _ in range(5):
        state = rng.uniform(-reach, reach, 3).astype(np.float32)
        env.reset(seed=3, options={"state": state})
        lanes.reset(seed=3, options={"state": state})
        action = env.action_space.sample()
        one, many = env.step(action)[0], lanes.step(np.stack([action] * 4))[0]
        every = sim.predict_members(1, state[None], np.asarray(action)[None])[:, 0]
        known = every.mean(0) if propagation == "mean" else every
        for found in (one, *many):
            off = np.abs(known - found).max(axis=-1)
            assert off.min() < 1e-6 * reach


def test_what_is_no_plain_frame_or_wide_is_left_to_torch() -> None:
    plain = random_latents()
    unit = np.ones(3)
    assert isinstance(compile_ensemble(plain, unit), CompiledLatent)
    assert compile_ensemble(random_latents(hidden=(WIDE + 1,)), unit) is None
    turning = random_latents()
    turning.frame = replace(turning.frame, geometry=Geometry(3, circles=(Circle(0, 1),)))
    assert compile_ensemble(turning, unit) is None


LATENT = {name: made for name, made in ENSEMBLES.items() if name.startswith("latent")}


@pytest.mark.parametrize("ensemble", LATENT.values(), ids=LATENT.keys())
def test_rows_a_few_at_a_time(ensemble: Ensemble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_calls, "TOGETHER", 1)
    compiled = compile_ensemble(ensemble, np.ones(ensemble.obs_dim))
    assert compiled is not None
    agents, states, actions = rows(ensemble, 21)  # the last few are fewer
    for who in (agents, agents[::-1].copy()):
        true = expected(ensemble, who, states, actions)
        found = following(compiled, who, states, actions)
        np.testing.assert_allclose(found, true, rtol=1e-5, atol=2e-6 * np.abs(true).max())
