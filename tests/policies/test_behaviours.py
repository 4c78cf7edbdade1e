"""Behaviour policies: what is random in them and what is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary

from persim_gym.envs.populations import Population
from persim_gym.envs.suites import find_suite
from persim_gym.offline import EpsilonMixture, FunctionPolicy, RandomPolicy, as_policy
from persim_gym.policies.behaviours import behaviour_name, draw_actions
from persim_gym.rollout import EpisodeBatch, start_episodes

pytestmark = pytest.mark.usefixtures("root")

THREE = Discrete(3)


def batch_of(
    task: str = "mountain-car", agents: int = 40, horizon: int = 500, **changes: Any
) -> EpisodeBatch:
    suite = find_suite(task)
    return EpisodeBatch(
        task=suite.task(),
        agents=np.arange(agents),
        episodes=np.zeros(agents, dtype=np.int64),
        horizon=horizon,
        seed=3,
        population=suite.population(),
        **changes,
    )


def choices(policy: Any, batch: EpisodeBatch) -> np.ndarray:
    """What a policy chooses in every lane and step ``[n, h(, a)]``, seeing zeros."""
    choose = start_episodes(as_policy(policy), batch)
    lanes = np.arange(len(batch))
    obs = np.zeros((len(batch), *batch.task.observation_space.shape), dtype=np.float32)
    return np.stack([choose(step, lanes, obs) for step in range(batch.horizon)], axis=1)


def always(action: Any) -> FunctionPolicy:
    return FunctionPolicy(lambda obs: np.tile(action, (len(obs), *[1] * np.ndim(action))))


# -- frequencies -----------------------------------------------------------------------------------


def near(share: float, expected: float, n: int) -> bool:
    """Within five standard deviations of a share of ``n`` draws."""
    return abs(share - expected) < 5 * np.sqrt(0.25 / n)


def test_random_actions_are_uniform() -> None:
    drawn = choices("random", batch_of())
    assert drawn.shape == (40, 500)
    for action in range(3):
        assert near((drawn == action).mean(), 1 / 3, drawn.size)


def test_random_continuous_actions_are_uniform_and_float32() -> None:
    drawn = choices("random", batch_of("half-cheetah", horizon=200))
    assert drawn.shape == (40, 200, 6)
    assert drawn.dtype == np.float32
    assert drawn.min() >= -1
    assert drawn.max() <= 1
    for coordinate in range(6):
        for edge in (-0.5, 0.0, 0.5):
            share = (drawn[..., coordinate] < edge).mean()
            assert near(share, (edge + 1) / 2, drawn[..., 0].size)


def test_random_lanes_and_agents_differ() -> None:
    drawn = choices("random", batch_of(agents=200))
    assert len(np.unique(drawn, axis=0)) == 200


@pytest.mark.parametrize("epsilon", [0.2, 0.4, 0.9])
def test_epsilon_is_the_share_of_random_actions(epsilon: float) -> None:
    drawn = choices(EpsilonMixture(always(0), epsilon), batch_of())
    for action in (1, 2):  # a third of the random actions is the policy's by chance
        assert near((drawn == action).mean(), epsilon / 3, drawn.size)


def test_epsilon_zero_is_the_policy_and_one_is_random() -> None:
    batch = batch_of("half-cheetah", horizon=50)
    own = np.full(6, 0.25)
    assert (choices(EpsilonMixture(always(own), 0), batch) == 0.25).all()
    assert not (choices(EpsilonMixture(always(own), 1.0), batch) == 0.25).any()


def test_nested_mixtures_are_independent() -> None:
    """Shared coins would make it 0.5 instead of 0.75."""
    twice = EpsilonMixture(EpsilonMixture(always(0), 0.5), 0.5)
    drawn = choices(twice, batch_of())
    assert near((drawn != 0).mean(), 0.75 * 2 / 3, drawn.size)


def test_random_actions_do_not_depend_on_the_coins() -> None:
    drawn = choices(EpsilonMixture(always(0), 0.3), batch_of())
    ones, twos = (drawn == 1).sum(), (drawn == 2).sum()
    assert near(ones / (ones + twos), 0.5, ones + twos)


def test_integer_actions_of_a_policy_do_not_cut_the_random_ones() -> None:
    drawn = choices(EpsilonMixture(always(np.zeros(6, dtype=int)), 0.5), batch_of("half-cheetah"))
    assert (drawn != np.round(drawn)).mean() > 0.4


# -- on what an episode depends --------------------------------------------------------------------


@pytest.mark.parametrize("task", ["mountain-car", "half-cheetah"])
@pytest.mark.parametrize("policy", ["random", EpsilonMixture("random", 0.5)])
def test_a_lane_depends_on_its_own_episode_alone(task: str, policy: Any) -> None:
    whole = choices(policy, batch_of(task, horizon=30))
    batch = batch_of(task, horizon=20)
    part = EpisodeBatch(
        task=batch.task,
        agents=np.array([31, 7]),
        episodes=np.array([0, 0]),
        horizon=20,
        seed=3,
    )
    np.testing.assert_array_equal(choices(policy, part), whole[[31, 7], :20])


@pytest.mark.parametrize("policy", ["random", EpsilonMixture(always(0), 0.5)])
def test_seed_agent_and_episode_all_matter(policy: Any) -> None:
    def drawn(seed: int, agent: int, episode: int) -> list[int]:
        batch = EpisodeBatch(
            task=find_suite("mountain-car").task(),
            agents=np.array([agent]),
            episodes=np.array([episode]),
            horizon=100,
            seed=seed,
        )
        return choices(policy, batch)[0].tolist()

    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**40, 0, 0)]
    assert len({tuple(drawn(*key)) for key in keys}) == len(keys)
    assert drawn(0, 1, 0) == drawn(0, 1, 0)


def test_a_behaviour_knows_the_agents_and_their_population() -> None:
    class ByCovariates:
        def predict(self, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError("the hook comes first")

        def begin_episodes(self, batch: EpisodeBatch) -> Any:
            assert isinstance(batch.population, Population)
            strong = batch.population.column("force")[batch.agents] > 10
            return lambda step, lanes, obs: strong[lanes].astype(np.int64)

    batch = batch_of("cartpole", agents=9, horizon=2)
    assert batch.population is not None
    expected = batch.population.column("force")[:9] > 10
    assert 0 < expected.sum() < 9
    np.testing.assert_array_equal(choices(ByCovariates(), batch)[:, 0], expected)


# -- policies known by predict alone ---------------------------------------------------------------


class Recurrent:
    """Acts on a state of its own, and remembers how it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        self.asked.append(
            {"rows": observation.copy(), "start": episode_start, "deterministic": deterministic}
        )
        state = np.where(episode_start, 0, 0 if state is None else state)
        return state % 3, state + 1


def test_a_recurrent_policy_gets_its_state_back_row_by_row() -> None:
    policy = Recurrent()
    batch = batch_of(agents=3, deterministic=False)
    choose = start_episodes(policy, batch)
    obs = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert choose(0, np.arange(3), obs).tolist() == [0, 0, 0]
    assert choose(1, np.array([0, 2]), obs[[0, 2]] + 10).tolist() == [1, 1]
    assert choose(2, np.array([2]), obs[[2]] + 20).tolist() == [2]
    assert [asked["start"].tolist() for asked in policy.asked] == [
        [True] * 3,
        [False] * 3,
        [False] * 3,
    ]
    # Those that are over keep their last observation, so that rows stay what they are.
    np.testing.assert_array_equal(policy.asked[2]["rows"], [[10, 11], [2, 3], [24, 25]])
    assert not any(asked["deterministic"] for asked in policy.asked)


def test_predict_without_a_state_is_refused() -> None:
    class Bare:
        def predict(self, observation: Any, **kwargs: Any) -> Any:
            return np.zeros(len(observation), dtype=np.int64)

    with pytest.raises(TypeError, match=r"\(actions, state\)"):
        choices(Bare(), batch_of(agents=2, horizon=1))


@pytest.mark.parametrize("epsilon", [None, 0.0])
def test_actions_of_another_shape_are_refused(epsilon: float | None) -> None:
    policy: Any = FunctionPolicy(lambda obs: np.zeros((len(obs), 1), dtype=int))
    if epsilon is not None:
        policy = EpsilonMixture(policy, epsilon)
        with pytest.raises(ValueError, match=r"shape \(4, 1\) for 4 observations, expected \(4,\)"):
            choices(policy, batch_of(agents=4, horizon=1))
        policy.action_space = THREE
        with pytest.raises(ValueError, match=r"shape \(4, 1\) for 4 observations, expected \(4,\)"):
            policy.predict(np.zeros((4, 2)))


# -- predict ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "policy",
    [
        RandomPolicy(THREE),
        FunctionPolicy(lambda obs: np.zeros(len(obs), dtype=np.int64)),
        EpsilonMixture(lambda obs: np.zeros(len(obs), dtype=np.int64), 0.5, action_space=THREE),
    ],
)
def test_predict_serves_one_observation_and_many(policy: Any) -> None:
    one, state = policy.predict(np.zeros(2, dtype=np.float32), state="kept")
    assert state == "kept"
    assert THREE.contains(one)
    many, _ = policy.predict(np.zeros((5, 2), dtype=np.float32))
    assert many.shape == (5,)
    assert many.dtype == np.int64


def test_predict_of_continuous_actions() -> None:
    space = Box(-1, 1, (6,), dtype=np.float32)
    for policy in (RandomPolicy(space), EpsilonMixture(RandomPolicy(space), 0.5)):
        assert policy.predict(np.zeros(18))[0].shape == (6,)
        assert policy.predict(np.zeros((4, 18)))[0].shape == (4, 6)


def test_predict_mixes_with_epsilon_and_has_its_own_seed() -> None:
    obs = np.zeros((20_000, 2))

    def mixture(epsilon: float, seed: int = 0) -> np.ndarray:
        policy = EpsilonMixture(always(0), epsilon, action_space=THREE, seed=seed)
        return policy.predict(obs)[0]

    assert not mixture(0).any()
    assert near((mixture(0.4) != 0).mean(), 0.4 * 2 / 3, len(obs))
    assert near((mixture(1) != 0).mean(), 2 / 3, len(obs))
    np.testing.assert_array_equal(mixture(0.4), mixture(0.4))
    assert (mixture(0.4) != mixture(0.4, seed=1)).any()
    random = [RandomPolicy(THREE, seed=seed).predict(obs)[0] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(random[0], random[1])
    assert (random[0] != random[2]).any()


def test_a_mixture_passes_deterministic_on_and_takes_the_policys_space() -> None:
    class Model(Recurrent):
        action_space = THREE

    model = Model()
    mixture = EpsilonMixture(model, 0.5)
    assert mixture.action_space is THREE
    mixture.predict(np.zeros((2, 2)), None, np.array([True, True]), deterministic=True)
    assert model.asked[0]["deterministic"] is True


@pytest.mark.parametrize("policy", [RandomPolicy(), EpsilonMixture(always(0), 0.5)])
def test_predict_needs_an_action_space_and_as_policy_gives_it(policy: Any) -> None:
    with pytest.raises(ValueError, match="action_space="):
        policy.predict(np.zeros((1, 2)))
    task = find_suite("mountain-car").task()
    bound = as_policy(policy, task)
    assert bound.action_space == task.action_space  # type: ignore[attr-defined]
    assert bound.predict(np.zeros((3, 2)))[0].shape == (3,)


# -- what may be a policy --------------------------------------------------------------------------


def test_as_policy_takes_names_functions_and_policies() -> None:
    def full_throttle(obs: Any) -> Any:
        return np.full(len(obs), 2)

    model = Recurrent()
    assert as_policy(model) is model
    assert isinstance(as_policy("random"), RandomPolicy)
    policy = as_policy(full_throttle)
    assert isinstance(policy, FunctionPolicy)
    assert policy.predict(np.zeros((2, 2)))[0].tolist() == [2, 2]


def test_a_policy_that_can_also_be_called_is_asked_by_predict() -> None:
    class Both(Recurrent):
        def __call__(self, obs: Any) -> Any:
            raise AssertionError("predict comes first")

    both = Both()
    assert as_policy(both) is both


@pytest.mark.parametrize(
    ("policy", "error", "words"),
    [
        ("expert", ValueError, "'expert'.*'random'"),
        (RandomPolicy, TypeError, "class RandomPolicy"),
        (7, TypeError, "got 7"),
        (None, TypeError, "got None"),
    ],
)
def test_what_is_no_policy_is_refused(policy: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        as_policy(policy)
    with pytest.raises(error, match=words):
        EpsilonMixture(policy, 0.5)


@pytest.mark.parametrize(
    ("epsilon", "error"),
    [
        (-0.1, ValueError),
        (1.1, ValueError),
        (float("nan"), ValueError),
        ("0.5", TypeError),
        (True, TypeError),
    ],
)
def test_epsilon_is_a_probability(epsilon: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="epsilon"):
        EpsilonMixture("random", epsilon)


def test_a_function_policy_needs_a_function() -> None:
    for wrong in (3, Recurrent):
        with pytest.raises(TypeError, match="function"):
            FunctionPolicy(wrong)  # type: ignore[arg-type]


def test_names() -> None:
    def Bang_Bang(obs: Any) -> Any:
        return obs

    assert behaviour_name(as_policy("random")) == "random"
    assert behaviour_name(FunctionPolicy(Bang_Bang)) == "bang-bang"
    assert behaviour_name(FunctionPolicy(Bang_Bang, name="Pure")) == "pure"
    assert behaviour_name(FunctionPolicy(lambda obs: obs)) == "lambda"
    assert behaviour_name(Recurrent()) == "recurrent"
    assert (
        behaviour_name(EpsilonMixture(FunctionPolicy(Bang_Bang, name="pure"), 0.2)) == "pure-eps-20"
    )
    assert behaviour_name(EpsilonMixture("random", 0.125)) == "random-eps-12-5"


@pytest.mark.parametrize("space", [Box(-np.inf, np.inf, (2,)), MultiBinary(3)])
def test_uniform_actions_need_bounds(space: Any) -> None:
    with pytest.raises(ValueError, match="bounded"):
        draw_actions(space, np.random.default_rng(0), 1)


def test_uniform_actions_begin_where_the_space_begins() -> None:
    drawn = draw_actions(Discrete(2, start=5), np.random.default_rng(0), 100)
    assert set(drawn.tolist()) == {5, 6}
