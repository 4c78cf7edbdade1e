"""Angles in disguise: what is fitted on them simulates, adapts and is saved like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from persim_gym.learned import PerSim
from persim_gym.learned.features.charted import ChartedEnsemble
from persim_gym.planning import CEM, MPC
from tests.learned.features.swings import AGENTS, SEEN, Swing, data_of


@pytest.fixture(scope="module", params=SEEN)
def fitted(request: pytest.FixtureRequest) -> tuple[str, Swing, PerSim]:
    seen, task = SEEN[request.param]
    world = Swing(AGENTS)
    data = data_of(seen, world)
    options = {"method": "als", "degree": 2, "rank": 3, "progress": False, "ensemble_size": 3}
    return request.param, world, PerSim.fit(data, task=task, **options)


@pytest.mark.slow
def test_the_law_is_found_in_angles(fitted: tuple[str, Swing, PerSim]) -> None:
    """As polynomials of cosine and sine it is collinear, and of an angle that jumps none at all."""
    name, world, sim = fitted
    seen = SEEN[name][0]
    walk, actions = world.record(40, seed=5)
    agents = np.arange(AGENTS)
    predicted = np.asarray(sim.rollout(agents, seen(walk[:, 0]), actions)).mean(0)
    truth = seen(walk[:, 1:])
    off = predicted - truth
    if name == "circle":
        assert np.allclose(np.hypot(predicted[..., 0], predicted[..., 2]), 1, atol=1e-6)
    else:
        off[..., 0] = np.deg2rad((off[..., 0] + 180) % 360 - 180)
        assert (predicted[..., 0] >= 0).all()
        assert (predicted[..., 0] <= 360).all()
    assert np.abs(off).max() < 0.01
    assert isinstance(sim.ensemble, ChartedEnsemble)
    assert sim.card["metrics"]["geometry"]["obs_dim"] == seen(walk).shape[2]
    one = sim.predict_members(agents, seen(walk[:, 0]), actions[:, 0])
    members = sim.rollout(agents, seen(walk[:, 0]), actions[:, :1])[:, :, 0]
    assert np.allclose(one, members, atol=1e-4)
    assert sim.disagreement(agents, seen(walk[:, 0]), actions[:, 0]).max() < 0.01


@pytest.mark.slow
def test_new_agents_intervals_and_updates(fitted: tuple[str, Swing, PerSim]) -> None:
    name, _, sim = fitted
    seen = SEEN[name][0]
    before = sim.num_agents
    other = Swing(4, seed=9)
    added = sim.adapt(data_of(seen, other, steps=30, seed=3))
    assert added == list(range(before, before + 4))
    walk, actions = other.record(20, seed=4)
    predicted = np.asarray(sim.rollout(added, seen(walk[:, 0]), actions)).mean(0)
    off = predicted - seen(walk[:, 1:])
    if name == "compass":
        off[..., 0] = np.deg2rad((off[..., 0] + 180) % 360 - 180)
    assert np.abs(off).max() < 0.05
    inside = []
    for place, agent in enumerate(added):
        known = sim.posterior(agent)
        low, high = known.interval(seen(walk[place, :-1]), actions[place], 0.99)
        truth = seen(walk[place, 1:])
        inside.append(((low <= truth) & (truth <= high)).mean())
        assert known.deviation < 0.5
        assert (high - low).min() >= 0
    assert np.mean(inside) > 0.8
    sim.update(added[0], seen(walk[0, :-1]), actions[0], seen(walk[0, 1:]))


@pytest.mark.slow
def test_files_equations_environments_and_plans(
    fitted: tuple[str, Swing, PerSim], tmp_path: Path
) -> None:
    name, world, sim = fitted
    seen, task = SEEN[name]
    sim.save(tmp_path)
    again = PerSim.load(tmp_path, task=task)
    walk, actions = world.record(10, seed=7)
    agents = np.arange(AGENTS)
    rolled = [s.rollout(agents, seen(walk[:, 0]), actions) for s in (sim, again)]
    assert np.array_equal(*rolled)
    text = str(again.equations(0))
    assert ("angle(x0, x2)" in text) == (name == "circle")
    env = again.env(0, start="data", guard=False)
    obs, _ = env.reset(seed=0)
    action = env.action_space.sample()
    following, *_ = env.step(action)
    expected = again.predict(0, obs[None], action[None])[0]
    assert np.allclose(following, expected, atol=1e-4)
    mpc = MPC(again, agent=[0, 1], planner=CEM(40, 5, elites=5, rounds=2))
    plan, _ = mpc.predict(seen(walk[:2, 0]).astype(np.float32))
    assert plan.shape == (2, 1)


def test_networks_see_angles_as_they_are() -> None:
    seen, task = SEEN["circle"]
    data = data_of(seen, Swing(6))
    sim = PerSim.fit(
        data, task=task, method="sgd", epochs=2, ensemble_size=2, rank=2, progress=False
    )
    assert isinstance(sim.ensemble, ChartedEnsemble)
    assert sim.ensemble.inner.to_json()["angles"] == [0]
    actions = torch.zeros(2, 4, 1)
    steps = sim.rollout(torch.arange(2), torch.tensor(data.obs[:2]), actions)
    assert torch.allclose(steps[..., [0, 2]].square().sum(-1), torch.ones(2, 2, 4), atol=1e-5)
