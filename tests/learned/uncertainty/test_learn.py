"""Sampled steps: the world's variance, the same by every face, and kept in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from persim_gym.learned import PerSim
from persim_gym.learned.environments.guard import GuardedSimulator
from persim_gym.planning import MPC, RandomShooting
from persim_gym.planning.objective import Objective
from persim_gym.store import SIMULATOR
from tests.learned.noisy_worlds import PROCESS, TASK, WORLDS, fitted
from tests.learned.worlds import PlainTask, random_simulator, random_walks

WORLD = WORLDS["process"]


@pytest.fixture(scope="module")
def sim() -> PerSim:
    return fitted("process")


def test_samples_have_the_world_s_variance(sim: PerSim) -> None:
    n, h = 2000, 12
    agents, obs = np.full(n, 3), np.zeros((n, 2), dtype=np.float32)
    actions = np.zeros((n, h, 1), dtype=np.float32)
    drawn = sim.rollout(agents, obs, actions, propagation="sample", seed=5)
    assert drawn.shape == (sim.members, n, h, 2)
    rng = np.random.default_rng(2)
    turn = 0.3 + 0.3 * np.random.default_rng(0).random(WORLD.agents)[3]
    a = 0.9 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    x, true = np.zeros((n, 2)), []
    for _ in range(h):
        x = x @ a.T + rng.multivariate_normal(np.zeros(2), PROCESS, n)
        true.append(np.cov(x.T))
    for t in (0, 3, h - 1):
        np.testing.assert_allclose(np.cov(drawn[0, :, t].T), true[t], rtol=0.35, atol=5e-4)
    mean = sim.rollout(agents[:1], obs[:1], actions[:1])
    np.testing.assert_allclose(drawn.mean(1), mean[:, 0], atol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("process", {0.95: 0.03, 0.5: 0.07}),
        pytest.param("by agent", {0.95: 0.03, 0.5: 0.07}, marks=pytest.mark.slow),
        # Draws are Gaussian, and the size of what grows is learned: only the ends are right.
        pytest.param("heavy tails", {0.95: 0.03}, marks=pytest.mark.slow),
        pytest.param("growing", {0.95: 0.05}, marks=pytest.mark.slow),
    ],
)
def test_draws_are_spread_as_fresh_episodes_are(name: str, levels: dict[float, float]) -> None:
    """Quantiles of draws hold as many fresh states as they claim, near and far."""
    world, known = WORLDS[name], fitted(name)
    agents, draws = np.repeat(np.arange(world.agents), 8), 40
    states, _, actions = world.play(agents, 50, seed=17)
    each = [np.repeat(values, draws, axis=0) for values in (agents, states[:, 0], actions)]
    drawn = known.rollout(*each, propagation="sample", seed=3)  # [m, n * draws, 50, 2]
    apart = drawn.reshape(known.members, len(agents), draws, 50, 2)
    for steps in (1, 10, 50):
        at, truth = apart[..., steps - 1, :], states[:, steps]
        for level, off in levels.items():
            low, high = np.quantile(at, [0.5 - level / 2, 0.5 + level / 2], axis=(0, 2))
            held = ((truth >= low) & (truth <= high)).mean()
            assert held == pytest.approx(level, abs=off), (steps, level)


def test_a_seed_decides(sim: PerSim) -> None:
    given: Any = [0, 1], np.zeros((2, 2), dtype=np.float32), np.zeros((2, 4, 1), dtype=np.float32)
    one, same, other = (sim.rollout(*given, propagation="sample", seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.allclose(one, other)
    with pytest.raises(ValueError, match="propagation must be"):
        sim.rollout(*given, propagation="noise")


def test_scalar_vector_and_parallel_sample_alike(sim: PerSim) -> None:
    state = np.zeros(2)
    rows = {}
    scalar = sim.env(3, propagation="sample")
    obs, _ = scalar.reset(seed=4, options={"state": state})
    rows["scalar"] = [scalar.step(np.zeros(1, np.float32))[0] for _ in range(5)]
    obs, _ = scalar.reset(seed=4, options={"state": state})
    again = [scalar.step(np.zeros(1, np.float32))[0] for _ in range(5)]
    assert np.array_equal(rows["scalar"], again)
    lanes = sim.vector_env(1, agents=[3], propagation="sample")
    lanes.reset(seed=4, options={"state": state[None]})
    rows["vector"] = [lanes.step(np.zeros((1, 1), np.float32))[0][0] for _ in range(5)]
    penv = sim.parallel_env([3], propagation="sample")
    name = penv.possible_agents[0]
    penv.reset(seed=4, options={"state": {name: state}})
    steps = [penv.step({name: np.zeros(1, np.float32)})[0] for _ in range(5)]
    rows["parallel"] = [step[name] for step in steps]
    assert np.ptp(rows["scalar"], axis=0).max() > 0.01
    np.testing.assert_allclose(rows["vector"], rows["scalar"], atol=1e-6)
    np.testing.assert_allclose(rows["parallel"], rows["scalar"], atol=1e-6)


def test_lanes_have_noise_of_their_own_with_the_world_s_variance(sim: PerSim) -> None:
    lanes = sim.vector_env(1000, agents=3, propagation="sample", guard=False)
    lanes.reset(seed=0, options={"state": np.zeros((1000, 2))})
    obs = lanes.step(np.zeros((1000, 1), np.float32))[0]
    np.testing.assert_allclose(np.cov(obs.T), PROCESS, rtol=0.35)


@pytest.mark.parametrize("lag", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_samples_stay_in_the_space(lag: int) -> None:
    task = PlainTask.of(2, actions=3, low=-1.0)
    sim = PerSim.fit(
        random_walks(task, agents=6, steps=60), task=task, method="hierarchical", degree=1,
        lag=lag, progress=False,
    )  # fmt: skip
    env = sim.vector_env(4, propagation="sample", guard=False)
    env.reset(seed=0)
    for _ in range(20):
        obs = env.step(np.full(4, 2))[0]
        assert task.observation_space.contains(obs[0])
        assert (np.abs(obs) <= 1).all()
    drawn = sim.rollout([0], np.zeros((1, 2)), np.full((1, 20), 2), propagation="sample")
    assert (np.abs(drawn) <= 1).all()
    low, high = sim.rollout_interval([0], np.zeros((1, 2)), np.full((1, 20), 2))
    assert (low >= -1).all()
    assert (high <= 1).all()


def test_files_keep_noise_and_intervals(sim: PerSim, tmp_path: Path) -> None:
    loaded = PerSim.load(sim.save(tmp_path), task=TASK)
    given: Any = [0, 1], np.zeros((2, 2), dtype=np.float32), np.zeros((2, 4, 1), dtype=np.float32)
    for one in (loaded, sim.view(), sim.to("cpu")):
        assert np.array_equal(sim.rollout_interval(*given), one.rollout_interval(*given))
        drawn = [s.rollout(*given, propagation="sample", seed=3) for s in (sim, one)]
        assert np.array_equal(*drawn)
    tensors = load_file(tmp_path / SIMULATOR)
    assert tensors["noise.process"].shape == (2, 2)
    as_tensors = sim.rollout_interval([0], torch.zeros(1, 2), torch.zeros(1, 4, 1))
    assert all(isinstance(end, torch.Tensor) for end in as_tensors)


def test_a_simulator_without_noise_cannot_be_sampled() -> None:
    with pytest.raises(ValueError, match="fit it again"):
        GuardedSimulator(random_simulator(PlainTask.of(2, actions=3)), propagation="sample")


# -- planners --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_planner_s_return_holds_what_noise_costs(sim: PerSim) -> None:
    """The mean of squares grows with the noise's variance; without noise it does not."""

    class Squares(type(sim.task)):  # type: ignore[misc]
        def reward(self, obs: Any, action: Any, next_obs: Any) -> Any:
            return -(next_obs**2).sum(-1)

        def terminated(self, obs: Any) -> Any:
            return obs[..., 0] > 1e9

    task = Squares.__new__(Squares)
    task.__dict__.update(sim.task.__dict__)
    agents, states = torch.tensor([3, 3]), torch.zeros(2, 2)
    actions = torch.zeros(2, 5, 8, 1)
    still = Objective(task, sim, "members")(agents, states, actions)
    returns = torch.stack(
        [Objective(task, sim, "sample", seed=seed)(agents, states, actions) for seed in range(300)]
    )
    torch.testing.assert_close(returns, returns[:, :, :1].expand_as(returns))  # alike for all
    assert not torch.allclose(returns[:, 0], returns[:, 1])
    drawn = sim.rollout(
        np.full(600, 3), np.zeros((600, 2)), np.zeros((600, 8, 1)), propagation="sample", seed=1
    )
    expected = -np.square(drawn).sum((2, 3)).mean()
    assert float(returns.mean()) == pytest.approx(expected, rel=0.15)
    assert float(returns.mean()) < float(still.mean()) - 0.5 * abs(expected)


def test_mpc_draws_other_noise_in_each_decision(sim: PerSim) -> None:
    mpc = MPC(sim, 3, planner=RandomShooting(horizon=3, candidates=8), propagation="sample")
    seeds: list[int] = []
    unroll = sim.unroll_noisy
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            type(sim), "unroll_noisy", lambda self, *a: (seeds.append(a[3]), unroll(*a))[1]
        )
        for _ in range(2):
            action, _ = mpc.predict(np.zeros(2, dtype=np.float32))
            assert sim.task.action_space.contains(action)
    assert len(set(seeds)) == 2


def test_true_physics_has_no_noise_to_draw() -> None:
    with pytest.raises(ValueError, match="needs a simulator that knows the noise"):
        MPC("PerSim-CartPole-v0", propagation="sample")
    with pytest.raises(ValueError, match="needs a simulator that knows the noise"):
        MPC(random_simulator(PlainTask.of(2, actions=3)), propagation="sample")
