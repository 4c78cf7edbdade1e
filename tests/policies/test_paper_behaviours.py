"""The paper's behaviours by name: whose policy acts for whom, and what is random in it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from minari import MinariDataset

from persim_gym.envs import SUITES
from persim_gym.envs.populations import Population
from persim_gym.envs.suites import find_suite
from persim_gym.envs.tasks.cart_pole import CartPoleTask
from persim_gym.envs.tasks.mountain_car import MountainCarTask
from persim_gym.evaluation.returns import episode_returns
from persim_gym.offline import BEHAVIOURS, EpsilonMixture, NearestPolicy, as_policy, record
from persim_gym.policies.behaviours import behaviour_name
from persim_gym.policies.shipped import behaviour_recipes, load_shipped, nearest
from persim_gym.rollout import EpisodeBatch, start_episodes

pytestmark = pytest.mark.usefixtures("root")


def batch_of(task: str, agents: Any, horizon: int = 400, **changes: Any) -> EpisodeBatch:
    suite = find_suite(task)
    fields = {"population": suite.population(), **changes}
    return EpisodeBatch(
        task=suite.task(),
        agents=np.asarray(agents),
        episodes=np.zeros(len(agents), dtype=np.int64),
        horizon=horizon,
        seed=3,
        **fields,
    )


def some_obs(task: str, n: int) -> np.ndarray:
    """Observations at which the policies of a task disagree."""
    scale = {"mountain-car": [0.5, 0.05], "cartpole": [1, 1, 0.15, 1.5], "half-cheetah": 1.0}[task]
    return (np.random.default_rng(4).normal(size=(n, dimension(task))) * scale).astype(np.float32)


def dimension(task: str) -> int:
    return find_suite(task).task().observation_space.shape[0]


# -- names -----------------------------------------------------------------------------------------


def test_the_four_behaviours_of_the_paper() -> None:
    assert BEHAVIOURS == ("pure", "random", "pure-eps-20", "pure-eps-40")
    for name in (*BEHAVIOURS, "test", "pure-eps-0", "pure-eps-100", "pure-eps-12-5"):
        if name != "pure-eps-12-5":
            assert behaviour_name(as_policy(name)) == name
            assert behaviour_name(as_policy(name, CartPoleTask())) == name
    assert behaviour_name(as_policy("pure-eps-12.5")) == "pure-eps-12-5"


@pytest.mark.parametrize(("name", "epsilon"), [("pure-eps-20", 0.2), ("pure-eps-7.5", 0.075)])
def test_the_percentage_is_the_probability(name: str, epsilon: float) -> None:
    policy = as_policy(name)
    assert isinstance(policy, EpsilonMixture)
    assert policy.epsilon == pytest.approx(epsilon)
    assert isinstance(policy.policy, NearestPolicy)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("clever", "unknown behaviour 'clever': there are 'pure', 'random', 'pure-eps-20'"),
        ("pure-eps", "unknown behaviour 'pure-eps'"),
        ("pure-eps--5", "unknown behaviour 'pure-eps--5'"),
        ("pure-eps-101", "random actions are 0 to 100 percent"),
        ("pure-eps-nan", "unknown behaviour 'pure-eps-nan'"),
        ("Pure", "unknown behaviour 'Pure'"),
    ],
)
def test_other_names_are_refused(name: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        as_policy(name)


@pytest.mark.parametrize("name", ["pure", "pure-eps-20", "test"])
def test_a_task_without_policies_is_refused_at_once(name: str) -> None:
    chess = CartPoleTask(name="chess")
    with pytest.raises(ValueError, match="for task 'chess': policies ship for mountain-car"):
        as_policy(name, chess)
    batch = batch_of("cartpole", [0])
    own = EpisodeBatch(chess, batch.agents, batch.episodes, 5, 0, population=batch.population)
    with pytest.raises(ValueError, match="for task 'chess'"):
        start_episodes(as_policy(name), own)


def test_a_policy_of_another_task_is_refused_before_any_work() -> None:
    policy = load_shipped("cartpole", "test")
    assert as_policy(policy, CartPoleTask()) is policy
    with pytest.raises(ValueError, match="observations are not those of mountain-car"):
        as_policy(policy, MountainCarTask())
    with pytest.raises(ValueError, match="observations are not those of mountain-car"):
        record("PerSim-MountainCar-v0", policy, agents=2)


@pytest.mark.slow
def test_nothing_heavy_is_loaded_for_a_name() -> None:
    code = (
        "import sys\nfrom persim_gym.offline import as_policy\n"
        "as_policy('pure-eps-20'), as_policy('test')\n"
        "sys.exit(','.join({'torch', 'mujoco', 'pygame'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# -- who acts for whom -----------------------------------------------------------------------------


@pytest.mark.parametrize("task", SUITES)
def test_each_lane_is_acted_by_the_policy_of_the_nearest_training_agent(task: str) -> None:
    rng = np.random.default_rng(1)
    agents = rng.integers(0, 500, size=60)
    batch = batch_of(task, agents)
    choose = start_episodes(as_policy("pure"), batch)
    names = [recipe.name for recipe in behaviour_recipes(task)]
    whose = nearest(task, batch.population.values)
    # Some lanes have ended: the others must not be taken for them.
    lanes = np.flatnonzero(rng.random(60) < 0.7)
    obs = some_obs(task, len(lanes))
    actions = choose(5, lanes, obs)
    every = {name: load_shipped(task, name).predict(obs)[0] for name in names}
    expected = [every[names[whose[agents[lane]]]][row] for row, lane in enumerate(lanes)]
    np.testing.assert_allclose(actions, expected, atol=1e-5)
    assert actions.dtype == every[names[0]].dtype
    # No one of the policies alone would have passed.
    assert all(np.abs(np.subtract(own, expected)).max() > 0.1 for own in every.values())


def test_an_own_population_is_acted_by_its_own_covariates() -> None:
    table = find_suite("cartpole").covariates
    people = Population.make(table, {"covariates": {"force": [14.0, 6.0], "length": 0.5}})
    batch = batch_of("cartpole", [0, 1, 1, 0], population=people)
    obs = some_obs("cartpole", 4)
    actions = start_episodes(as_policy("pure"), batch)(0, np.arange(4), obs)
    light = load_shipped("cartpole", "force-6-length-0.5").predict(obs)[0]
    strong = load_shipped("cartpole", "force-14-length-0.5").predict(obs)[0]
    assert actions.tolist() == [strong[0], light[1], light[2], strong[3]]


def test_pure_needs_to_know_the_agents() -> None:
    with pytest.raises(ValueError, match="acts by the agents' covariates"):
        start_episodes(as_policy("pure"), batch_of("cartpole", [0], population=None))
    with pytest.raises(ValueError, match="acts by the agent, which an observation does not tell"):
        as_policy("pure", CartPoleTask()).predict(np.zeros(4))


def test_one_agents_policy() -> None:
    pure = NearestPolicy(CartPoleTask())
    assert pure.policy_of({"force": 17.0}).card["name"] == "force-14-length-0.5"
    assert pure.policy_of({"length": 0.8}).card["name"] == "force-10-length-0.675"
    with pytest.raises(ValueError, match="unknown covariate 'mass'"):
        pure.policy_of({"mass": 1.0})
    with pytest.raises(ValueError, match="needs a task"):
        NearestPolicy().policy_of({"force": 17.0})


def test_the_test_policy_is_that_of_the_default_agent_for_all() -> None:
    obs = some_obs("cartpole", 30)
    expected = load_shipped("cartpole", "test").predict(obs)[0]
    batch = batch_of("cartpole", np.arange(30))
    assert start_episodes(as_policy("test"), batch)(0, np.arange(30), obs).tolist() == (
        expected.tolist()
    )
    policy = as_policy("test", CartPoleTask())
    assert policy.predict(obs)[0].tolist() == expected.tolist()
    assert policy.predict(obs[0])[0] == expected[0]
    with pytest.raises(ValueError, match="which test policy"):
        as_policy("test").predict(obs)


# -- epsilon ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("percent", [0, 20, 40, 100])
def test_a_share_of_the_actions_is_random(percent: int) -> None:
    batch = batch_of("mountain-car", np.arange(100), horizon=200)
    lanes, obs = np.arange(100), some_obs("mountain-car", 100)
    pure = start_episodes(as_policy("pure"), batch)(0, lanes, obs)
    mixed = start_episodes(as_policy(f"pure-eps-{percent}"), batch)
    others = np.mean([mixed(step, lanes, obs) != pure for step in range(200)])
    # Of three actions a random one is the policy's own a third of the time.
    expected = percent / 100 * 2 / 3
    assert abs(others - expected) < 5 * np.sqrt(0.25 / 20_000)
    if percent == 0:
        assert others == 0


# -- recorded and played ---------------------------------------------------------------------------


def recorded(data: MinariDataset) -> list[tuple[np.ndarray, float]]:
    return [(episode.observations[0], episode.rewards.sum()) for episode in data]


@pytest.mark.slow
def test_recordings_differ_in_who_acts_and_in_nothing_else() -> None:
    ids = ("PerSim-CartPole-v0", 25)
    data = {name: recorded(record(*ids[:1], name, ids[1])) for name in (*BEHAVIOURS, "test")}
    pure = data["pure"]
    for name, episodes in data.items():
        assert all(np.array_equal(a[0], b[0]) for a, b in zip(episodes, pure, strict=True)), name
    mean = {name: np.mean([reward for _, reward in episodes]) for name, episodes in data.items()}
    assert mean["random"] < 0.5 * mean["pure"]
    assert mean["pure-eps-40"] < mean["pure"]


def test_behaviours_are_played_in_evaluations() -> None:
    suite = find_suite("cartpole")
    true = suite.dynamics(suite.population())
    returns = {
        name: episode_returns(suite.task(), true, range(40), name, 1).mean()
        for name in ("random", "pure-eps-40", "pure")
    }
    assert returns["random"] < returns["pure-eps-40"] < returns["pure"]
