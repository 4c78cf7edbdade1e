"""Agents that were not in training: worlds in which the right answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from persim_gym.learned import PerSim
from persim_gym.learned.posterior import calibration
from persim_gym.learned.posterior.adaptation import AgentPosterior
from persim_gym.learned.posterior.prior import COUNTS, FactorModel
from persim_gym.offline.transitions import Transitions
from persim_gym.planning import MPC
from tests.learned.worlds import PlainTask, RankTwoWorld, random_simulator, transitions

Rows = tuple[NDArray[np.float32], NDArray[Any], NDArray[np.float32]]


class GaussianWorld:
    """Quadratic laws of two coordinates; agents have standard normal shares in two of them.

    Three actions. With ``hidden``, agents also have a share in a law that no model of rank three
    can tell apart from noise. Noise may be Gaussian, or rarely large.
    """

    def __init__(
        self, noise: float = 0.0, hidden: float = 0.0, rare: bool = False, lag: int = 1
    ) -> None:
        rng = np.random.default_rng(3)
        self.weights = 0.1 * rng.normal(size=(3, 3, 6 * lag, 2))
        self.secret = rng.normal(size=(6 * lag, 2))
        self.noise, self.hidden, self.rare, self.lag = noise, hidden, rare, lag
        self.task = PlainTask.of(2, actions=3)

    def shares(self, agents: int, seed: int) -> NDArray[np.float64]:
        drawn = np.random.default_rng([seed, 1]).normal(size=(agents, 3))
        return np.concatenate([np.ones((agents, 1)), drawn], axis=1)

    def rows(self, shares: NDArray[np.float64], seed: int, slow: bool = False) -> Rows:
        """A transition of each row of ``shares [n, 4]``, in a state of its own.

        If ``slow``, states go around in circles instead, once in a hundred steps.
        """
        rng = np.random.default_rng([seed, 2])
        n = len(shares)
        states = rng.uniform(-1, 1, size=(n, self.lag, 2)).astype(np.float32)
        if slow:
            turn = np.arange(n) / 100
            circle = 0.9 * np.stack([np.sin(2 * np.pi * turn), np.cos(2 * np.pi * turn)], axis=1)
            states = (circle[:, None] + 0.1 * states).astype(np.float32)
        actions = rng.integers(3, size=n)
        phi = []
        for past in range(self.lag):
            x, y = states[:, past].astype(np.float64).T
            phi += [np.ones(n), x, y, x * x, x * y, y * y]
        basis = np.stack(phi, axis=1)
        change = np.einsum("nr,np,nrpd->nd", shares[:, :3], basis, self.weights[actions])
        change += self.hidden * shares[:, 3:] * np.sin(basis @ self.secret)
        size = np.where(rng.random((n, 2)) < 0.1, 5.0, 0.2) if self.rare else 1.0
        following = states[:, -1] + change + self.noise * size * rng.normal(size=(n, 2))
        shown = states[:, 0] if self.lag == 1 else states
        return shown, actions, following.astype(np.float32)

    def record(
        self, agents: int = 80, steps: int = 40, seed: int = 0, slow: bool = False
    ) -> Transitions:
        """Transitions of agents, each in a state of its own."""
        shares = np.repeat(self.shares(agents, seed), steps, axis=0)
        obs, actions, following = self.rows(shares, seed, slow)
        whose = np.repeat(np.arange(agents), steps)
        return transitions(whose, obs, actions, following, episode=np.arange(len(whose)))

    def fit(self, data: Transitions | None = None, **options: Any) -> PerSim:
        settings: dict[str, Any] = {"degree": 2, "rank": 3, "threshold": 0.0, "ensemble_size": 3}
        data = self.record() if data is None else data
        return PerSim.fit(data, task=self.task, method="als", **{**settings, **options})

    def new_agent(self, steps: int, seed: int = 50) -> Rows:
        return self.rows(np.repeat(self.shares(1, seed), steps, axis=0), seed)


def part(rows: Rows, first: int, end: int) -> Rows:
    obs, actions, following = rows
    return obs[first:end], actions[first:end], following[first:end]


def error(sim: PerSim, agent: int, rows: Rows) -> float:
    predicted = sim.predict(agent, *rows[:2])
    return float(np.sqrt(np.mean((predicted - rows[2]) ** 2)))


@pytest.fixture(scope="module")
def exact() -> GaussianWorld:
    return GaussianWorld()


@pytest.fixture(scope="module")
def fitted(exact: GaussianWorld) -> PerSim:
    return exact.fit()


@pytest.fixture
def sim(fitted: PerSim) -> PerSim:
    """A copy, which may be changed."""
    return fitted.to("cpu")


# -- what is found ---------------------------------------------------------------------------------


def test_without_noise_two_transitions_are_an_agent(exact: GaussianWorld, sim: PerSim) -> None:
    """Each transition is two equations, and two numbers are personal."""
    rows = exact.new_agent(60)
    nobody = sim.adapt()
    agent = sim.adapt(*part(rows, 0, 2))
    assert (nobody, agent, sim.num_agents) == (80, 81, 82)
    assert error(sim, agent, part(rows, 2, 60)) < 1e-5
    assert error(sim, nobody, part(rows, 2, 60)) > 0.05


def test_an_agent_of_training_is_found_again(exact: GaussianWorld, sim: PerSim) -> None:
    data = exact.record()
    own = data.select(data.agent == 7)
    agent = sim.adapt(own.obs, own.action, own.next_obs)
    np.testing.assert_allclose(
        sim.latent_factors[:, agent], sim.latent_factors[:, 7], rtol=0, atol=1e-4
    )
    np.testing.assert_allclose(sim.posterior(agent).mean, sim.posterior(7).mean, atol=1e-9)


def test_nobody_is_the_population(sim: PerSim) -> None:
    known = sim.posterior(sim.adapt())
    root = sim.prior.root.numpy()
    np.testing.assert_array_equal(known.mean, sim.prior.mean.numpy())
    np.testing.assert_allclose(known.covariance, root @ root.swapaxes(1, 2), atol=1e-12)
    assert known.count == 0
    assert known.spread == pytest.approx(1.0)
    # Members draw from the population; their mean stays where it was.
    drawn = sim.latent_factors[:, -1]
    np.testing.assert_allclose(drawn.mean(0), sim.prior.mean.mean(0), atol=1e-5)
    assert drawn[:, 1:].std(axis=0).min() > 0.1


def test_the_prior_is_the_populations(exact: GaussianWorld, fitted: PerSim) -> None:
    """The world's agents have standard normal shares; so have the fitted ones, on average."""
    personal = np.stack([fitted.posterior(k).personal[0] for k in range(80)], axis=1)
    # Members see agents with importance of their own.
    np.testing.assert_allclose(personal.mean(axis=(0, 1)), 0.0, atol=0.2)
    np.testing.assert_allclose(personal.var(axis=(0, 1)), 1.0, atol=0.2)


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


def test_copies_are_independent(exact: GaussianWorld, sim: PerSim) -> None:
    copy = sim.to("cpu")
    copy.update(3, *exact.new_agent(5))
    copy.adapt()
    assert (sim.num_agents, sim.posterior(3).count) == (80, 40)


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
    with pytest.raises(ValueError, match=r"shape \(n, 2\) or \(n, 2, \d\)"):
        sim.adapt(shown[:, 0], acts, ends)
    with pytest.raises(ValueError, match=r"states\(obs, actions\)"):
        sim.adapt(shown, acts, ends)


# -- is what it says of itself true? ---------------------------------------------------------------


def coverage(world: GaussianWorld, sim: PerSim, count: int, level: float) -> float:
    """Share of next observations of 150 new agents inside their intervals."""
    inside = []
    for seed in range(150):
        rows = world.new_agent(count + 10, 100 + seed)
        known = sim.new_posterior().update(*part(rows, 0, count))
        obs, actions, following = part(rows, count, count + 10)
        low, high = known.interval(obs, actions, level)
        inside.append((low <= following) & (following <= high))
    return float(np.mean(inside))


@pytest.fixture(scope="module")
def noisy() -> tuple[GaussianWorld, PerSim]:
    world = GaussianWorld(noise=0.1)
    return world, world.fit(world.record(200))


@pytest.mark.parametrize("count", [0, 1, 3, 10, 30])
@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_intervals_hold_what_they_say(
    noisy: tuple[GaussianWorld, PerSim], count: int, level: float
) -> None:
    assert coverage(*noisy, count, level) == pytest.approx(level, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3, 10, 30])
def test_factors_lie_in_their_posteriors(noisy: tuple[GaussianWorld, PerSim], count: int) -> None:
    """Noise is known to be white: neither temperature nor correlation are made up."""
    world, sim = noisy
    assert (sim.prior.temperature, sim.prior.correlation) in [(1.0, 0.0), (1.0, 0.01)]
    z = []
    for seed in range(150):
        rows = world.new_agent(count, 300 + seed)
        long = world.rows(np.repeat(world.shares(1, 300 + seed), 3000, axis=0), 9)
        truth = sim.new_posterior().update(*long).personal[0]
        mean, deviation = sim.new_posterior().update(*rows).personal
        z.append((mean - truth) / deviation)
    shares = [(np.abs(z) < bound).mean() for bound in (0.6745, 1.2816, 1.96)]
    np.testing.assert_allclose(shares, [0.5, 0.8, 0.95], atol=0.07)


def test_noise_has_the_size_that_it_has(noisy: tuple[GaussianWorld, PerSim]) -> None:
    np.testing.assert_allclose(noisy[1].prior.noise, 0.01, rtol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("slow", [False, True])
def test_errors_that_are_alike_count_for_less(slow: bool) -> None:
    """What a model lacks is like white noise in states all over, and unlike it in a stretch."""
    world = GaussianWorld(noise=0.02, hidden=0.1)
    sim = world.fit(world.record(200, 100, slow=slow))
    if not slow:
        assert (sim.prior.temperature, sim.prior.correlation) == (1.0, 0.0)
        return
    plain = replace(sim.prior, temperature=1.0, correlation=0.0)
    misses = []
    for prior in (sim.prior, plain):
        model = FactorModel(sim.ensemble, prior)
        z = []
        for seed in range(80):
            rows = world.rows(np.repeat(world.shares(1, 300 + seed), 400, axis=0), seed, slow=True)
            truth = AgentPosterior(model, sim.task).update(*rows).personal[0]
            mean, deviation = AgentPosterior(model, sim.task).update(*part(rows, 0, 50)).personal
            z.append((mean - truth) / deviation)
        shares = [(np.abs(z) < bound).mean() for bound in (0.6745, 1.2816, 1.96)]
        misses.append(np.abs(np.array(shares) - [0.5, 0.8, 0.95]).mean())
    assert misses[0] < 0.12
    assert misses[0] < misses[1] - 0.1


@pytest.mark.slow
def test_rare_large_errors_do_not_widen_the_middle() -> None:
    world = GaussianWorld(noise=0.1, rare=True)
    sim = world.fit(world.record(200))
    knowledge = replace(sim.knowledge, prior=replace(sim.prior, quantiles=None))
    gaussian = PerSim(sim.ensemble, sim.task, sim.experience, sim.card, knowledge)
    assert coverage(world, sim, 10, 0.5) == pytest.approx(0.5, abs=0.06)
    assert coverage(world, gaussian, 10, 0.5) > 0.7


def test_intervals_grow_with_the_level_and_shrink_with_data(
    noisy: tuple[GaussianWorld, PerSim],
) -> None:
    world, sim = noisy
    rows = world.new_agent(60)
    widths = [
        [
            float(np.subtract(*known.interval(*part(rows, 50, 60)[:2], level)[::-1]).mean())
            for level in (0.05, 0.3, 0.6, 0.9, 0.97, 0.995)
        ]
        for known in (sim.new_posterior().update(*part(rows, 0, count)) for count in (0, 1, 7, 50))
    ]
    table = np.array(widths)
    assert (np.diff(table, axis=1) > 0).all()
    assert (np.diff(table[:, 3]) < 0).all()
    assert sim.prior.quantiles is not None
    assert sim.prior.quantiles.shape == (len(COUNTS), 2, 13)


def test_few_agents_are_not_calibrated() -> None:
    world = GaussianWorld(noise=0.1)
    sim = world.fit(world.record(calibration.LEAST - 1))
    assert sim.prior.quantiles is None
    assert (sim.prior.temperature, sim.prior.correlation) == (1.0, 0.0)


# -- networks --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def networks() -> tuple[RankTwoWorld, PerSim]:
    world = RankTwoWorld(agents=60)
    data = world.record(100)
    known = replace(data.select(data.agent < 50), num_agents=50)
    task = PlainTask.of(2, actions=world.actions)
    sim = PerSim.fit(
        known, task=task, method="sgd", rank=2, ensemble_size=3, spare_members=2,
        state_hidden=(32, 32), batch_size=64, epochs=40, learning_rate=1e-2,
        normalise_targets=False,
    )  # fmt: skip
    return world, sim


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


def test_networks_have_the_factors_as_prior(networks: tuple[RankTwoWorld, PerSim]) -> None:
    _, sim = networks
    factors = sim.latent_factors.astype(np.float64)
    np.testing.assert_allclose(sim.prior.mean, factors.mean(axis=1), atol=1e-6)
    root = sim.prior.root.numpy()
    for member in range(3):
        covariance = np.cov(factors[member].T, bias=True)
        np.testing.assert_allclose(root[member] @ root[member].T, covariance, atol=1e-6)


def test_members_mean_the_same_agent_by_the_same_numbers(
    networks: tuple[RankTwoWorld, PerSim],
) -> None:
    """Each knows factors up to a map of its own; the prior's roots undo that."""
    _, sim = networks
    factors = torch.as_tensor(sim.latent_factors).double() - sim.prior.mean[:, None]
    numbers = torch.linalg.solve(sim.prior.root, factors.mT).mT.numpy()
    for member in (1, 2):
        agreed = np.corrcoef(numbers[0].ravel(), numbers[member].ravel())[0, 1]
        assert agreed > 0.95


# -- several, and with names -----------------------------------------------------------------------


def test_transitions_of_several_agents(exact: GaussianWorld, sim: PerSim) -> None:
    data = exact.record(5, 10, seed=4)
    found = sim.adapt(data.select(data.agent > 1))
    assert found == [80, 81, 82]
    for agent, index in zip((2, 3, 4), found, strict=True):
        own = data.select(data.agent == agent)
        assert error(sim, index, (own.obs, own.action, own.next_obs)) < 1e-5
    assert sim.card["adapted"]["81"] == {"transitions": 10, "dataset": "test/plain", "of": 3}
    assert sim.adapt(data.select(data.agent == 0)) == 83


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


def test_an_agent_without_transitions_is_seen_when_some_arrive(exact: GaussianWorld) -> None:
    data = exact.record(40)
    sim = exact.fit(data.select(data.agent != 11))
    own = data.select(data.agent == 11)
    with pytest.raises(ValueError, match="no transitions of agent 11"):
        sim.predict(11, own.obs, own.action)
    sim.adapt()
    sim.update(11, own.obs, own.action, own.next_obs)
    assert error(sim, 11, (own.obs, own.action, own.next_obs)) < 1e-5


# -- every face, and files -------------------------------------------------------------------------


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


@pytest.mark.parametrize("method", ["als", "sgd"])
def test_save_and_load(
    method: str,
    exact: GaussianWorld,
    sim: PerSim,
    networks: tuple[RankTwoWorld, PerSim],
    tmp_path: Path,
) -> None:
    if method == "sgd":
        sim = networks[1].to("cpu")
    rows = exact.new_agent(6)
    agent = sim.adapt(*part(rows, 0, 3), name="Ada")
    sim.save(tmp_path)
    back = PerSim.load(tmp_path, task=sim.task)
    assert back.num_agents == sim.num_agents
    assert back.agent_index("Ada") == agent
    np.testing.assert_array_equal(back.latent_factors, sim.latent_factors)
    assert back.prior.to_json() == sim.prior.to_json()
    for other in (sim, back):
        other.update("Ada", *part(rows, 3, 6))
    np.testing.assert_array_equal(back.latent_factors, sim.latent_factors)
    for one, two in zip(*(s.posterior(2).interval(*rows[:2]) for s in (sim, back)), strict=True):
        np.testing.assert_array_equal(one, two)
    assert back.card["adapted"] == sim.card["adapted"]


@pytest.mark.slow
def test_too_many_agents_to_keep_what_was_said(
    exact: GaussianWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "MOST_KEPT", 100)
    sim = exact.fit()
    agent = sim.adapt(*exact.new_agent(2))
    sim.save(tmp_path)
    for kept in (sim, PerSim.load(tmp_path, task=exact.task)):
        assert kept.update(agent, *exact.new_agent(3)).count == 5
        with pytest.raises(ValueError, match="was not kept"):
            kept.update(3, *exact.new_agent(2))
        with pytest.raises(ValueError, match="was not kept"):
            kept.map_covariates(np.zeros((80, 1)))


def test_rank_one_has_nothing_personal(exact: GaussianWorld) -> None:
    sim = exact.fit(rank=1)
    agent = sim.adapt(*exact.new_agent(5))
    obs, actions, _ = exact.new_agent(5)
    np.testing.assert_array_equal(sim.predict(agent, obs, actions), sim.predict(0, obs, actions))
    assert sim.posterior(agent).spread == 0.0


# -- covariates ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mapped() -> tuple[GaussianWorld, PerSim, NDArray[np.float64]]:
    """Shares are smooth functions of two covariates."""
    world = GaussianWorld(noise=1e-6)
    covariates = np.random.default_rng(8).uniform([1, 10], [3, 40], size=(40, 2))
    shares = np.repeat(_shares(covariates), 20, axis=0)
    obs, actions, following = world.rows(shares, 0)
    data = transitions(np.repeat(np.arange(40), 20), obs, actions, following)
    return world, world.fit(data), covariates


def _shares(covariates: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b = covariates[:, 0] - 2, (covariates[:, 1] - 25) / 15
    one = np.ones(len(a))
    return np.stack([one, 1.5 * a + 0.5 * a * b, np.sin(2 * b), one], axis=1)


def test_covariates_alone_make_an_agent(
    mapped: tuple[GaussianWorld, PerSim, NDArray[np.float64]],
) -> None:
    world, fitted, covariates = mapped
    sim = fitted.to("cpu")
    covariates.flags.writeable = False  # as a population's are
    mapping = sim.map_covariates(covariates)
    assert mapping.r2.min() > 0.99
    new = np.array([[1.4, 31.0], [2.7, 15.0]])
    assert mapping.factors(new).shape == (3, 2, 3)
    found = sim.adapt_covariates(mapping, new, names=["Ada", "Eve"])
    assert found == [40, 41]
    nobody = sim.adapt()
    for place, index in enumerate(found):
        np.testing.assert_allclose(
            sim.posterior(index).mean, mapping.factors(new)[:, place], atol=1e-9
        )
        rows = world.rows(np.repeat(_shares(new[place : place + 1]), 50, axis=0), 4)
        alone = error(sim, index, rows)
        assert alone < 0.05 * error(sim, nobody, rows)
        known = sim.update(index, *rows)  # transitions are added to what covariates say
        assert known.count == 50
        assert error(sim, index, rows) < max(0.5 * alone, 2e-6)
    assert sim.posterior(nobody).spread - sim.posterior(found[0]).spread > 0


def test_what_covariates_say_is_saved(
    mapped: tuple[GaussianWorld, PerSim, NDArray[np.float64]], tmp_path: Path
) -> None:
    world, fitted, covariates = mapped
    sim = fitted.to("cpu")
    (agent,) = sim.adapt_covariates(sim.map_covariates(covariates), [[1.4, 31.0]])
    sim.save(tmp_path)
    back = PerSim.load(tmp_path, task=sim.task)
    for other in (sim, back):
        other.update(agent, *world.new_agent(1))
    np.testing.assert_array_equal(back.posterior(agent).mean, sim.posterior(agent).mean)
    assert back.posterior(agent).spread < back.new_posterior().update(*world.new_agent(1)).spread


def test_a_map_knows_when_covariates_say_nothing(
    mapped: tuple[GaussianWorld, PerSim, NDArray[np.float64]],
) -> None:
    _, fitted, _ = mapped
    mapping = fitted.map_covariates(np.random.default_rng(1).normal(size=(40, 2)))
    assert mapping.r2.max() < 0.3
    sim = fitted.to("cpu")
    (agent,) = sim.adapt_covariates(mapping, [[0.0, 0.0]])
    assert sim.posterior(agent).spread > 0.8


def test_some_covariates_may_be_unknown(
    mapped: tuple[GaussianWorld, PerSim, NDArray[np.float64]],
) -> None:
    _, sim, covariates = mapped
    partly = covariates.copy()
    partly[::2] = np.nan
    mapping = sim.map_covariates(partly)
    assert len(mapping.known) == 20
    whole = sim.map_covariates(covariates)
    np.testing.assert_allclose(
        mapping.factors([[2.0, 20.0]]), whole.factors([[2.0, 20.0]]), atol=0.1
    )


def test_refused_covariates(
    mapped: tuple[GaussianWorld, PerSim, NDArray[np.float64]], sim: PerSim
) -> None:
    _, fitted, covariates = mapped
    mapping = fitted.map_covariates(covariates)
    with pytest.raises(ValueError, match=r"shape \(n, 2\)"):
        mapping.factors([1.0, 2.0])
    with pytest.raises(ValueError, match="finite"):
        mapping.factors([[1.0, np.nan]])
    with pytest.raises(ValueError, match="a row for each agent"):
        fitted.map_covariates(covariates[0])
    with pytest.raises(ValueError, match="at least 5"):
        fitted.map_covariates(covariates[:4])
    with pytest.raises(ValueError, match="one for each of 1"):
        fitted.to("cpu").adapt_covariates(mapping, [[2.0, 20.0]], names=["a", "b"])
    other = exact_with_members(sim)
    with pytest.raises(ValueError, match="another simulator"):
        other.adapt_covariates(mapping, [[2.0, 20.0]])


def exact_with_members(sim: PerSim) -> PerSim:
    prior = replace(sim.prior, root=2 * sim.prior.root)
    knowledge = replace(sim.knowledge, prior=prior)
    return PerSim(sim.ensemble, sim.task, sim.experience, sim.card, knowledge)


# -- what is refused -------------------------------------------------------------------------------


def test_refused_rows(exact: GaussianWorld, sim: PerSim) -> None:
    obs, actions, following = exact.new_agent(4)
    wrong: list[tuple[Any, Any, Any, str]] = [
        (obs[:, :1], actions, following, r"obs must have shape \(n, 2\)"),
        (obs, actions[:3], following, r"actions must have shape \(4,\)"),
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
