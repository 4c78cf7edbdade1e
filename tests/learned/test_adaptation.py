"""Agents added to a simulator: several, with names, and served by every face."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from persim_gym.learned import PerSim
from persim_gym.planning import MPC
from tests.learned.posterior.worlds import GaussianWorld, error
from tests.learned.worlds import PlainTask, RankTwoWorld, random_simulator, transitions


@pytest.mark.slow
def test_networks_adapt_too(networks: tuple[RankTwoWorld, PerSim]) -> None:
    world, fitted = networks
    sim = fitted.to("cpu")
    fresh = world.record(100, seed=7)

    def errors(agents: list[int], indices: list[int]) -> float:
        squares = []
        for agent, index in zip(agents, indices, strict=True):
            own = fresh.select(fresh.agent == agent)
            squares.append(error(sim, index, (own.obs, own.action, own.next_obs)) ** 2)
        return float(np.sqrt(np.mean(squares)))

    unseen = list(range(50, 60))
    data = world.record(100)
    by_count = {}
    for count in (0, 1, 30):
        rows = [data.select(np.flatnonzero(data.agent == k)[:count]) for k in unseen if count]
        found = [sim.adapt(r.obs, r.action, r.next_obs) for r in rows]
        by_count[count] = errors(unseen, found or [sim.adapt() for _ in unseen])
    trained = errors(list(range(50)), list(range(50)))
    assert by_count[30] < 1.5 * trained
    assert trained < 0.15
    assert by_count[0] > 5 * trained
    assert by_count[1] < 0.8 * by_count[0]


def test_transitions_of_several_agents(exact: GaussianWorld, sim: PerSim) -> None:
    data = exact.record(5, 10, seed=4)
    found = sim.adapt(data.select(data.agent > 1))
    assert found == [80, 81, 82]
    for agent, index in zip((2, 3, 4), found, strict=True):
        own = data.select(data.agent == agent)
        assert error(sim, index, (own.obs, own.action, own.next_obs)) < 1e-5
    assert sim.card["adapted"]["81"] == {"transitions": 10, "dataset": "test/plain", "of": 3}
    assert sim.adapt(data.select(data.agent == 0)) == 83


@pytest.mark.slow
def test_names(exact: GaussianWorld) -> None:
    data = replace(exact.record(30), agent_names=tuple(f"p{k}" for k in range(30)))
    sim = exact.fit(data)
    new = replace(exact.record(2, 5, seed=4), agent_names=("p90", "p91"))
    assert sim.adapt(new) == [30, 31]
    assert sim.agent_index("p91") == 31
    assert sim.adapt(*exact.new_agent(3), name="Ada") == 32
    assert sim.adapt() == 33
    assert sim.agent_names is not None
    assert sim.agent_names[-2:] == ("Ada", "33")
    assert sim.update("Ada", *exact.new_agent(3)).count == 6
    before = sim.num_agents
    for again in (new, replace(new, agent_names=("p92", "p5"))):
        with pytest.raises(ValueError, match="already"):
            sim.adapt(again)
    assert sim.num_agents == before == len(sim.agent_names)
    with pytest.raises(ValueError, match="one agent, the data are of 2"):
        sim.adapt(replace(new, agent_names=None), name="Eve")


def test_names_where_there_were_none(exact: GaussianWorld, sim: PerSim) -> None:
    assert sim.adapt(*exact.new_agent(3)) == 80
    assert sim.agent_names is None
    assert sim.adapt(*exact.new_agent(3), name="Ada") == 81
    assert sim.agent_index("Ada") == 81
    assert sim.agent_index("7") == sim.agent_index(7) == 7


@pytest.mark.slow
def test_an_agent_without_transitions_is_seen_when_some_arrive(exact: GaussianWorld) -> None:
    data = exact.record(40)
    sim = exact.fit(data.select(data.agent != 11))
    own = data.select(data.agent == 11)
    with pytest.raises(ValueError, match="no transitions of agent 11"):
        sim.predict(11, own.obs, own.action)
    sim.adapt()
    sim.update(11, own.obs, own.action, own.next_obs)
    assert error(sim, 11, (own.obs, own.action, own.next_obs)) < 1e-5


def test_copies_are_independent(exact: GaussianWorld, sim: PerSim) -> None:
    copy = sim.to("cpu")
    copy.update(3, *exact.new_agent(5))
    copy.adapt()
    assert (sim.num_agents, sim.posterior(3).count) == (80, 40)


def test_every_face_serves_a_new_agent(exact: GaussianWorld, sim: PerSim, tmp_path: Path) -> None:
    agent = sim.adapt(*exact.new_agent(20))
    action = 1
    env = sim.env(agent=agent, guard=False)
    obs, _ = env.reset(seed=3)
    following, *_ = env.step(action)
    expected = sim.predict(agent, obs[None], np.array([action]))[0]
    np.testing.assert_allclose(following, expected, atol=1e-6)

    envs = sim.vector_env(2, agents=[agent, 0], guard=False)
    start, _ = envs.reset(seed=3)
    moved, *_ = envs.step(np.array([action, action]))
    np.testing.assert_allclose(moved[0], expected, atol=1e-6)
    assert not np.allclose(moved[1], sim.predict(agent, start[1:], np.array([action]))[0])

    penv = sim.parallel_env([agent], guard=False)
    penv.reset(seed=3)
    (name,) = penv.agents
    after, *_ = penv.step({name: action})
    np.testing.assert_allclose(after[name], expected, atol=1e-6)

    mpc = MPC(sim, agent=agent, seed=0)
    chosen, _ = mpc.predict(obs)
    assert chosen in range(3)


@pytest.mark.slow
def test_gym_make_serves_a_new_agent(tmp_path: Path) -> None:
    from persim_gym.envs.suites import find_suite

    task = find_suite("cartpole").task()
    rng = np.random.default_rng(0)
    obs = rng.uniform(-0.1, 0.1, size=(600, 4)).astype(np.float32)
    actions = rng.integers(2, size=600)
    agents = np.repeat(np.arange(30), 20)
    push = np.array([0.02, 0.2, 0.02, -0.3]) * (2 * actions - 1)[:, None]
    after = obs + push * (1 + 0.5 * rng.normal(size=30)[agents, None])
    data = transitions(agents, obs, actions, after, task_name="cartpole")
    sim = PerSim.fit(data, task=task, method="als", degree=1, rank=2)
    agent = sim.adapt(obs[:1], actions[:1], obs[:1] + 2.0 * push[:1])
    sim.save(tmp_path / "sim")
    env = gym.make("PerSim-Learned-v0", simulator=str(tmp_path / "sim"), agent=agent, guard=False)
    first, _ = env.reset(seed=0)
    second, *_ = env.step(1)
    np.testing.assert_allclose(second - first, [0.04, 0.4, 0.04, -0.6], atol=0.02)


def test_an_environment_follows_updates(exact: GaussianWorld, sim: PerSim) -> None:
    agent = sim.adapt()
    env = sim.env(agent=agent, guard=False)
    obs, _ = env.reset(seed=3)
    before, *_ = env.step(1)
    sim.update(agent, *exact.new_agent(20))
    env.reset(seed=3)
    after, *_ = env.step(1)
    assert not np.allclose(before, after, atol=1e-3)
    np.testing.assert_allclose(after, sim.predict(agent, obs[None], np.array([1]))[0], atol=1e-6)


def test_data_of_another_task_are_refused(sim: PerSim) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3, 2))
    with pytest.raises(ValueError, match="of task 'mountain-car'"):
        sim.adapt(transitions([0, 0, 0], rows, [0, 1, 2], rows, task_name="mountain-car"))
    with pytest.raises(ValueError, match="2 coordinates, the data have 3"):
        sim.adapt(transitions([0], rng.normal(size=(1, 3)), [0], rng.normal(size=(1, 3))))


def test_simulators_made_otherwise_have_no_prior() -> None:
    sim = random_simulator(PlainTask.of(2, actions=3))
    for ask in (sim.adapt, lambda: sim.posterior(0), lambda: sim.prior):
        with pytest.raises(ValueError, match="fit it again"):
            ask()
