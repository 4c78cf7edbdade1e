"""The posterior of one agent, in worlds in which the right answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from persim_gym.learned import PerSim
from tests.learned.posterior.worlds import GaussianWorld, error, part
from tests.learned.worlds import PlainTask, transitions


def test_without_noise_two_transitions_are_an_agent(exact: GaussianWorld, sim: PerSim) -> None:
    """Each transition is two equations, and two numbers are personal."""
    rows = exact.new_agent(60)
    unknown = sim.adapt()
    agent = sim.adapt(*part(rows, 0, 2))
    assert (unknown, agent, sim.num_agents) == (80, 81, 82)
    assert error(sim, agent, part(rows, 2, 60)) < 1e-5
    assert error(sim, unknown, part(rows, 2, 60)) > 0.05


def test_an_agent_of_training_is_found_again(exact: GaussianWorld, sim: PerSim) -> None:
    data = exact.record()
    own = data.select(data.agent == 7)
    agent = sim.adapt(own.obs, own.action, own.next_obs)
    np.testing.assert_allclose(
        sim.latent_factors[:, agent], sim.latent_factors[:, 7], rtol=0, atol=1e-4
    )
    np.testing.assert_allclose(sim.posterior(agent).mean, sim.posterior(7).mean, atol=1e-9)


def test_an_unknown_agent_is_the_population(sim: PerSim) -> None:
    known = sim.posterior(sim.adapt())
    root = sim.prior.root.numpy()
    np.testing.assert_array_equal(known.mean, sim.prior.mean.numpy())
    np.testing.assert_allclose(known.covariance, root @ root.swapaxes(1, 2), atol=1e-12)
    assert known.count == 0
    assert known.deviation == pytest.approx(1.0)
    # Members draw from the population; their mean stays where it was.
    drawn = sim.latent_factors[:, -1]
    np.testing.assert_allclose(drawn.mean(0), sim.prior.mean.mean(0), atol=1e-5)
    assert drawn[:, 1:].std(axis=0).min() > 0.1


@pytest.mark.parametrize("sizes", [[1] * 20, [5, 0, 15], [19, 1]])
def test_transitions_add_up_in_any_order(
    sizes: list[int], exact: GaussianWorld, sim: PerSim
) -> None:
    rows = exact.new_agent(20)
    order = np.random.default_rng(0).permutation(20)
    agent = sim.adapt(*rows)
    at_once, factor = sim.posterior(agent), sim.latent_factors[:, agent]
    recursive = sim.new_posterior()
    first = 0
    for size in sizes:
        places = order[first : first + size]
        recursive.update(rows[0][places], rows[1][places], rows[2][places])
        first += size
    assert recursive.count == at_once.count == 20
    np.testing.assert_allclose(recursive.mean, at_once.mean, rtol=1e-9)
    np.testing.assert_allclose(recursive.covariance, at_once.covariance, rtol=1e-6, atol=1e-18)
    drawn = recursive.draw(agent).numpy()
    np.testing.assert_allclose(drawn, factor, atol=1e-6)


def test_updates_of_a_simulator_are_those_of_one_go(exact: GaussianWorld, sim: PerSim) -> None:
    rows = exact.new_agent(8)
    other = sim.to("cpu")
    agent = sim.adapt()
    for t in range(8):
        known = sim.update(agent, *part(rows, t, t + 1))
        assert known.count == t + 1
    assert other.adapt(*rows) == agent
    np.testing.assert_allclose(sim.latent_factors, other.latent_factors, atol=1e-6)
    assert sim.card["adapted"] == {"80": {"transitions": 8}}


def test_an_agent_of_training_goes_on(exact: GaussianWorld, sim: PerSim) -> None:
    data = exact.record()
    before, others = sim.posterior(5), np.delete(sim.latent_factors, 5, axis=1)
    assert before.count == 40
    own = data.select(data.agent == 6)
    after = sim.update(5, own.obs, own.action, own.next_obs)  # from now on it is as agent 6
    assert after.count == 80
    np.testing.assert_array_equal(np.delete(sim.latent_factors, 5, axis=1), others)
    moved = np.abs(after.personal[0] - before.personal[0])
    apart = np.abs(sim.posterior(6).personal[0] - before.personal[0])
    assert (moved > 0.2 * apart).any()
    assert "adapted" not in sim.card


def test_a_posterior_on_its_own_changes_no_simulator(exact: GaussianWorld, sim: PerSim) -> None:
    before = sim.latent_factors
    sim.posterior(3).update(*exact.new_agent(5))
    assert sim.posterior(3).count == 40
    np.testing.assert_array_equal(sim.latent_factors, before)


@pytest.mark.slow
def test_what_ends_on_a_bound_is_left_out(exact: GaussianWorld) -> None:
    task = PlainTask.of(2, actions=3, low=-1.2)
    data = exact.record(40)
    data = replace(data, next_obs=np.clip(data.next_obs, -1.2, 1.2))
    sim = PerSim.fit(data, task=task, method="als", degree=2, rank=3, threshold=0.0)
    obs, actions, following = exact.new_agent(200)
    cut = np.clip(following, -1.2, 1.2)
    inside = (np.abs(cut) < 1.2).all(axis=1)
    assert 0.3 < inside.mean() < 0.97
    known = sim.posterior(sim.adapt(obs, actions, cut))
    free = sim.posterior(sim.adapt(obs[inside], actions[inside], following[inside]))
    assert known.count == inside.sum()
    np.testing.assert_array_equal(known.mean, free.mean)
    low, high = known.interval(obs, actions, 0.99)
    assert low.min() >= -1.2 - 1e-6
    assert high.max() <= 1.2 + 1e-6


@pytest.mark.slow
def test_with_a_lag(tmp_path: Path) -> None:
    world = GaussianWorld(lag=2)
    # Episodes of two steps: the first shows the past of the second, which is of the world.
    shares = np.repeat(world.shares(60, 0), 40, axis=0)
    obs, actions, following = world.rows(shares, 0)
    whose = np.repeat(np.arange(60), 80)
    shown = obs.reshape(-1, 2)
    after = np.stack([obs[:, 1], following], axis=1).reshape(-1, 2)
    acted = np.repeat(actions, 2)
    episode = np.repeat(np.arange(len(obs)), 2)
    data = transitions(whose, shown, acted, after, episode=episode)
    keep = np.arange(len(data)) % 2 == 1
    sim = world.fit(data, lag=2)
    assert sim.lag == 2
    shown, acts, ends = world.new_agent(40)
    states = sim.states(shown, acts[:, None])
    agent = sim.adapt(states, acts, ends)
    flat = sim.adapt(states.reshape(40, -1), acts, ends)
    np.testing.assert_array_equal(sim.posterior(agent).mean, sim.posterior(flat).mean)
    one = data.select(data.agent == 3)
    again = sim.adapt(replace(one, agent=np.zeros_like(one.agent), num_agents=1))
    np.testing.assert_allclose(sim.posterior(again).mean, sim.posterior(3).mean, atol=1e-9)
    assert keep.sum() == 2400
    with pytest.raises(ValueError, match=r"a past of 2 .* obs of shape \(n, 2, \d\)"):
        sim.adapt(shown[:, 0], acts, ends)
    with pytest.raises(ValueError, match=r"states\(obs, actions\)"):
        sim.adapt(shown, acts, ends)


def test_rank_one_has_nothing_personal(exact: GaussianWorld) -> None:
    sim = exact.fit(rank=1)
    agent = sim.adapt(*exact.new_agent(5))
    obs, actions, _ = exact.new_agent(5)
    np.testing.assert_array_equal(sim.predict(agent, obs, actions), sim.predict(0, obs, actions))
    assert sim.posterior(agent).deviation == 0.0


def test_refused_rows(exact: GaussianWorld, sim: PerSim) -> None:
    obs, actions, following = exact.new_agent(4)
    wrong: list[tuple[Any, Any, Any, str]] = [
        (obs[:, :1], actions, following, r"obs must have shape \(n, 2\)"),
        (obs, actions[:3], following, r"actions must have shape \('n',\) with n = 4"),
        (obs, actions, following[:3], r"next_obs must have shape \(4, 2\)"),
        (obs, actions + 3, following, "actions must be 0 to 2"),
        (obs * np.nan, actions, following, "obs must be finite"),
        (obs, actions, following * np.inf, "next_obs must be finite"),
    ]
    for *rows, says in wrong:
        with pytest.raises(ValueError, match=says):
            sim.adapt(*rows)
    with pytest.raises(TypeError, match="integers"):
        sim.adapt(obs, actions.astype(float), following)
    with pytest.raises(TypeError, match="come as three"):
        sim.adapt(obs, actions)
    with pytest.raises(ValueError, match="agent 80 does not exist"):
        sim.update(80, obs, actions, following)
    with pytest.raises(ValueError, match="level"):
        sim.posterior(0).interval(obs, actions, 1.0)
    with pytest.raises(TypeError, match="name must be text"):
        sim.adapt(name=3)  # type: ignore[arg-type]
    assert sim.num_agents == 80
    assert sim.latent_factors.shape[1] == 80


@pytest.mark.parametrize("kind", ["read-only", "lists", "tensors"])
def test_rows_of_any_kind(kind: str, exact: GaussianWorld, sim: PerSim) -> None:
    rows = exact.new_agent(4)
    expected = sim.posterior(sim.adapt(*rows)).mean
    other: Any = [part.tolist() for part in rows]
    if kind == "tensors":
        other = [torch.as_tensor(part) for part in rows]
    elif kind == "read-only":
        for part in rows:
            part.flags.writeable = False
        other = rows
    np.testing.assert_array_equal(sim.posterior(sim.adapt(*other)).mean, expected)
