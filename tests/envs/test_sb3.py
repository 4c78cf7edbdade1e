"""The adapter to Stable-Baselines3, against SB3's own; and SB3 learning in a simulator."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.wrappers import RecordEpisodeStatistics
from gymnasium.wrappers import vector as V
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor

from persim_gym.envs.sb3 import SB3VecEnv
from persim_gym.learned import PerSim, to_sb3
from persim_gym.planning import MPC, RandomShooting
from tests.learned.worlds import STRIDES, walker


@pytest.fixture(scope="module")
def sim() -> PerSim:
    return walker()


def adapted(sim: PerSim, agents: Any = (0, 1, 2, 3), **options: Any) -> SB3VecEnv:
    return to_sb3(sim.vector_env(len(agents), agents=agents, **options))


def assert_alike(ours: VecEnv, reference: VecEnv, steps: int, seed: int = 3) -> tuple[int, int]:
    """Two environments that are one, step by step; counts of ends and of cut-offs."""
    ended = cut_off = 0
    rng = np.random.default_rng(seed)
    assert ours.num_envs == reference.num_envs
    assert ours.observation_space == reference.observation_space
    assert ours.action_space == reference.action_space
    ours.seed(seed)
    reference.seed(seed)
    np.testing.assert_array_equal(ours.reset(), reference.reset())
    for _ in range(steps):
        actions = rng.integers(ours.action_space.n, size=ours.num_envs)  # type: ignore[attr-defined]
        obs, rewards, dones, infos = ours.step(actions)
        expected = reference.step(actions)
        np.testing.assert_array_equal(obs, expected[0])
        assert obs.dtype == expected[0].dtype == np.float32
        np.testing.assert_array_equal(rewards, expected[1])
        assert rewards.dtype == expected[1].dtype == np.float32
        np.testing.assert_array_equal(dones, expected[2])
        assert dones.dtype == np.bool_
        for done, info, other in zip(dones, infos, expected[3], strict=True):
            info, other = dict(info), dict(other)
            # SB3's own writes False into the info of every step, and reads a missing key so.
            truncated = other.pop("TimeLimit.truncated", False)
            assert info.pop("TimeLimit.truncated", False) is bool(truncated)
            assert ("terminal_observation" in info) == ("terminal_observation" in other) == done
            if done:
                last = info.pop("terminal_observation")
                np.testing.assert_array_equal(last, other.pop("terminal_observation"))
                assert last.shape == ours.observation_space.shape
            info.pop("episode", None)
            other.pop("episode", None)
            assert info == other
            ended += bool(done and not truncated)
            cut_off += bool(truncated)
    return ended, cut_off


def test_it_is_what_sb3_makes_of_scalar_environments(sim: PerSim) -> None:
    reference = DummyVecEnv([lambda k=k: sim.env(agent=k) for k in range(4)])  # type: ignore[misc]
    ended, cut_off = assert_alike(adapted(sim), reference, steps=200)
    assert ended > 5
    assert cut_off > 5


def test_true_environments_too() -> None:
    name = "PerSim-CartPole-v0"
    reference = DummyVecEnv([lambda k=k: gym.make(name, agent=k) for k in range(3)])  # type: ignore[misc]
    ended, _ = assert_alike(to_sb3(gym.make_vec(name, num_envs=3)), reference, steps=120)
    assert ended > 3


def test_foreign_environments_in_same_step_mode() -> None:
    def make() -> gym.Env[Any, Any]:
        return gym.make("CartPole-v1", max_episode_steps=15)

    envs = SyncVectorEnv([make] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    ended, cut_off = assert_alike(to_sb3(envs), DummyVecEnv([make] * 3), steps=100)
    assert ended > 1
    assert cut_off > 1


def test_foreign_environments_in_other_modes_are_refused() -> None:
    for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED):
        envs = SyncVectorEnv([lambda: gym.make("CartPole-v1")], autoreset_mode=mode)
        with pytest.raises(ValueError, match=r"autoreset in the same step.*SAME_STEP"):
            to_sb3(envs)


def test_a_scalar_environment_is_refused(sim: PerSim) -> None:
    with pytest.raises(TypeError, match="takes a gymnasium VectorEnv, got LearnedSimEnv"):
        to_sb3(sim.env())  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_our_environments_are_switched_to_same_step_mode(sim: PerSim, mode: Any) -> None:
    envs = sim.vector_env(4, autoreset_mode=mode)
    ours = to_sb3(envs)
    # What the environment says of itself is what wrappers go by.
    assert envs.autoreset_mode is AutoresetMode.SAME_STEP
    assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert_alike(ours, adapted(sim, autoreset_mode="same_step"), steps=30)


def test_infos_within_infos() -> None:
    def make() -> gym.Env[Any, Any]:
        return RecordEpisodeStatistics(gym.make("CartPole-v1", max_episode_steps=15))

    envs = SyncVectorEnv([make] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    ours = to_sb3(envs)
    ours.seed(0)
    ours.reset()
    length, seen = np.zeros(3), 0
    for _ in range(40):
        _, _, dones, infos = ours.step(np.ones(3, dtype=np.int64))
        length += 1
        for lane in np.flatnonzero(dones):
            assert infos[lane]["episode"]["l"] == length[lane]
            seen += 1
        length[dones] = 0
    assert seen > 5


def test_vec_monitor(sim: PerSim) -> None:
    ours = VecMonitor(adapted(sim))
    ours.seed(0)
    ours.reset()
    total, seen = np.zeros(4), 0
    for _ in range(40):
        _, rewards, dones, infos = ours.step(np.full(4, 2))
        total += rewards
        for lane in np.flatnonzero(dones):
            assert infos[lane]["episode"]["r"] == pytest.approx(total[lane], abs=1e-5)
            seen += 1
        total[dones] = 0
    assert seen > 5


# -- seeds and options -----------------------------------------------------------------------------


def test_seeds(sim: PerSim) -> None:
    ours = adapted(sim)
    assert ours.seed(5) == [5, 6, 7, 8]
    first = ours.reset()
    again = ours.reset()  # a seed is for one reset
    assert not np.array_equal(first, again)
    ours.seed(5)
    np.testing.assert_array_equal(ours.reset(), first)
    np.testing.assert_array_equal(ours.reset(), again)
    for lane in range(4):
        scalar, _ = sim.env().reset(seed=5 + lane)
        np.testing.assert_array_equal(first[lane], scalar)
    seeds = {ours.seed()[0] for _ in range(3)}
    assert len(seeds) == 3, "no seed asks for a fresh one"


def test_options_for_all_lanes(sim: PerSim) -> None:
    ours = adapted(sim)
    ours.set_options({"agent": 3})
    ours.reset()
    assert [info["agent"] for info in ours.reset_infos] == [3, 3, 3, 3]
    ours.reset()  # sticky
    assert [info["agent"] for info in ours.reset_infos] == [3, 3, 3, 3]
    ours.set_options({"state": np.array([0.5])})
    np.testing.assert_array_equal(ours.reset(), np.full((4, 1), 0.5))
    assert not (ours.reset() == 0.5).all()  # options are for one reset
    ours.set_options({"state": [0.25], "agent": 0})
    np.testing.assert_array_equal(ours.reset(), np.full((4, 1), 0.25))
    obs, *_ = ours.step(np.full(4, 2))
    np.testing.assert_array_equal(obs, np.full((4, 1), 0.25 + STRIDES[0]))


def test_options_lane_by_lane(sim: PerSim) -> None:
    ours = adapted(sim, agents=(0, 0, 0))
    ours.set_options([{"agent": k, "state": np.array([k / 4])} for k in (3, 1, 2)])
    np.testing.assert_array_equal(ours.reset(), [[0.75], [0.25], [0.5]])
    assert [info["agent"] for info in ours.reset_infos] == [3, 1, 2]
    for options in ([{"agent": 1}, {}, {}], [{"agent": 1}, {"agent": 1}, {"state": [0.0]}]):
        ours.set_options(options)
        with pytest.raises(ValueError, match="same keys for every lane"):
            ours.reset()
    wide = to_sb3(gym.make_vec("PerSim-CartPole-v0", num_envs=2))
    states = np.array([[0.1, 0.2, 0.0, -0.1], [0.0, -0.2, 0.1, 0.3]], dtype=np.float32)
    wide.set_options([{"state": state} for state in states])
    np.testing.assert_array_equal(wide.reset(), states)
    ours.set_options({})
    ours.reset()
    ours.set_options({"agent": 9})
    with pytest.raises(ValueError, match="agent 9 does not exist"):
        ours.reset()


# -- the rest of the interface ---------------------------------------------------------------------


def test_attributes_of_lanes(sim: PerSim) -> None:
    ours = adapted(sim, agents=(3, 1, 2, 0))
    assert ours.get_attr("agent") == [3, 1, 2, 0]
    assert ours.get_attr("agent", indices=[2, -1]) == [2, 0]
    assert ours.get_attr("num_envs") == [4] * 4, "what belongs to all is the same for each"
    assert ours.get_attr("task", indices=0) == [sim.task]
    assert ours.get_attr("observation_space", 1) == [ours.observation_space]
    ours.reset()
    states = ours.get_attr("state")
    assert [state.shape for state in states] == [(1,)] * 4
    assert len(np.unique(states)) == 4
    assert ours.has_attr("agent")
    assert not ours.has_attr("colour")
    ours.set_attr("colour", "red")
    assert ours.envs.colour == "red"  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="colour can be set for all only"):
        ours.set_attr("colour", "blue", indices=[1])
    ours.set_attr("note", 7, indices=[1])
    assert ours.get_attr("note", indices=1) == [7]
    with pytest.raises(AttributeError, match="note"):
        ours.get_attr("note")
    with pytest.raises(AttributeError, match="agents are set at a reset"):
        ours.set_attr("agent", 2, indices=[1])
    with pytest.raises(ValueError, match=r"there are 4 lanes, from 0 on: got indices=\[4\]"):
        ours.get_attr("agent", indices=[4])
    assert ours.render_mode is None
    assert ours.get_images() == [None] * 4
    ours.close()


def test_methods_of_lanes(sim: PerSim) -> None:
    ours = adapted(sim)
    ((first, info),) = ours.env_method("reset", seed=3, indices=0)
    assert info["agent"] == 0
    ours.seed(3)
    before = ours.reset()
    np.testing.assert_array_equal(first, before[0])
    ((obs, info),) = ours.env_method("reset", options={"agent": 2, "state": [0.25]}, indices=[1])
    assert (obs.tolist(), info["agent"], ours.reset_infos[1]["agent"]) == ([0.25], 2, 2)
    assert ours.get_attr("agent") == [0, 2, 2, 3], "the other lanes keep their agents"
    states = np.stack(ours.get_attr("state")).astype(np.float32)
    np.testing.assert_array_equal(states[[0, 2, 3]], before[[0, 2, 3]])
    both = ours.env_method("reset", seed=5, indices=[0, 3])
    np.testing.assert_array_equal(both[0][0], both[1][0], "each as if it were called alone")
    assert ours.env_method("get_wrapper_attr", "agent", indices=[1]) == [2]
    assert ours.env_method("has_wrapper_attr", "colour", indices=[1]) == [False]
    assert ours.env_method("render") == [None] * 4
    with pytest.raises(ValueError, match="close can be called for all of them only"):
        ours.env_method("close", indices=[1])
    with pytest.raises(AttributeError, match="no method jump"):
        ours.env_method("jump")


def test_lanes_that_are_environments_of_their_own() -> None:
    def make(length: int) -> gym.Env[Any, Any]:
        env = gym.make("CartPole-v1", max_episode_steps=length)
        return RecordEpisodeStatistics(env) if length == 9 else env

    makers = [lambda k=k: make(k) for k in (7, 8, 9)]
    ours = to_sb3(SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP))
    reference = DummyVecEnv(makers)
    for each in (ours, reference):
        each.seed(0)
        each.reset()
        each.set_attr("note", "all")
        each.set_attr("note", "one", indices=[1])
        assert each.get_attr("note") == ["all", "one", "all"]
        assert each.env_is_wrapped(RecordEpisodeStatistics) == [False, False, True]
        assert each.env_is_wrapped(RecordEpisodeStatistics, indices=2) == [True]
        (result,) = each.env_method("reset", seed=4, indices=[1])
        assert result[0].shape == (4,)
    np.testing.assert_array_equal(
        ours.env_method("reset", seed=4, indices=[1])[0][0],
        reference.env_method("reset", seed=4, indices=[1])[0][0],
    )


# -- wrapped vector environments -------------------------------------------------------------------


def same_step(sim: PerSim, agents: Any = (0, 1, 2, 3)) -> VectorEnv[Any, Any, Any]:
    return sim.vector_env(len(agents), agents=agents, autoreset_mode=AutoresetMode.SAME_STEP)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_a_wrapped_environment_in_another_mode_is_refused(sim: PerSim, mode: Any) -> None:
    for wrap in (V.RecordEpisodeStatistics, V.DictInfoToList, lambda e: scaled(e, 1000.0)):
        envs = wrap(sim.vector_env(2, autoreset_mode=mode))
        with pytest.raises(ValueError, match=r"SAME_STEP first, then wrap it"):
            to_sb3(envs)
        assert envs.unwrapped.autoreset_mode is mode, "what is refused is left as it was"


def scaled(envs: VectorEnv[Any, Any, Any], factor: float) -> VectorEnv[Any, Any, Any]:
    space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    return V.TransformObservation(envs, lambda obs: obs * factor, single_observation_space=space)


class Scaled(VectorWrapper[Any, Any, Any, Any, Any]):
    """A wrapper of observations that knows of same-step autoreset, as Gymnasium's do not."""

    def reset(self, **kwargs: Any) -> Any:
        obs, infos = self.env.reset(**kwargs)
        return obs * 1000, infos

    def step(self, actions: Any) -> Any:
        obs, *rest, infos = self.env.step(actions)
        for lane in np.flatnonzero(infos.get("_final_obs", [])):
            infos["final_obs"][lane] = infos["final_obs"][lane] * 1000
        return obs * 1000, *rest, infos


@pytest.mark.parametrize("as_list", [False, True])
def test_statistics_of_wrappers_reach_sb3(sim: PerSim, as_list: bool) -> None:
    envs = V.RecordEpisodeStatistics(same_step(sim))
    ours = to_sb3(V.DictInfoToList(envs) if as_list else envs)
    reference = DummyVecEnv(
        [lambda k=k: RecordEpisodeStatistics(sim.env(agent=k)) for k in range(4)]
    )
    rng = np.random.default_rng(0)
    for each in (ours, reference):
        each.seed(0)
        each.reset()
    seen = 0
    for _ in range(60):
        actions = rng.integers(3, size=4)
        _, _, dones, infos = ours.step(actions)
        expected = reference.step(actions)[3]
        np.testing.assert_array_equal([info["agent"] for info in ours.reset_infos], range(4))
        for lane in np.flatnonzero(dones):
            assert set(infos[lane]) == set(expected[lane])
            assert infos[lane]["episode"]["l"] == expected[lane]["episode"]["l"]
            assert infos[lane]["episode"]["r"] == pytest.approx(expected[lane]["episode"]["r"])
            np.testing.assert_array_equal(
                infos[lane]["terminal_observation"], expected[lane]["terminal_observation"]
            )
            seen += 1
    assert seen > 8
    assert ours.env_is_wrapped(V.RecordEpisodeStatistics) == [True] * 4
    assert ours.env_is_wrapped(RecordEpisodeStatistics) == [False] * 4
    assert len(ours.get_attr("return_queue")) == 4
    assert ours.get_attr("agent") == [0, 1, 2, 3], "lanes are found under wrappers"
    ((obs, _),) = ours.env_method("reset", options={"agent": 2}, indices=[1])
    assert obs.shape == (1,)
    assert ours.get_attr("agent") == [0, 2, 2, 3]


def test_what_was_seen_last_is_what_a_wrapper_makes_of_it(sim: PerSim) -> None:
    plain, ours = to_sb3(same_step(sim)), to_sb3(Scaled(same_step(sim)))
    seen = 0
    for each in (plain, ours):
        each.seed(0)
        each.reset()
    for _ in range(40):
        actions = np.full(4, 2)
        *_, dones, expected = plain.step(actions)
        infos = ours.step(actions)[3]
        for lane in np.flatnonzero(dones):
            last = infos[lane]["terminal_observation"]
            np.testing.assert_allclose(last, expected[lane]["terminal_observation"] * 1000)
            seen += 1
    assert seen > 5


def test_frames(opengl: None) -> None:
    envs = gym.make_vec("PerSim-CartPole-v0", num_envs=2, render_mode="rgb_array")
    ours = to_sb3(envs)
    ours.reset()
    frames = ours.get_images()
    assert len(frames) == 2
    assert all(frame is not None and frame.dtype == np.uint8 for frame in frames)
    assert ours.render("rgb_array") is not None
    ours.close()


# -- learning --------------------------------------------------------------------------------------


def returns(sim: PerSim, model: Any, agent: int) -> float:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Evaluation environment is not wrapped")
        mean, _ = evaluate_policy(model, adapted(sim, agents=(agent,) * 10), n_eval_episodes=20)
    return float(np.mean(mean))


class AtRandom:
    """The policy to beat."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def predict(self, observation: Any, *args: Any, **kwargs: Any) -> tuple[Any, None]:
        return self.rng.integers(3, size=len(observation)), None


@pytest.mark.slow
def test_dqn_learns_in_a_simulator(sim: PerSim) -> None:
    agent = 1
    model = DQN(
        "MlpPolicy",
        adapted(sim, agents=(agent,) * 8),
        seed=0,
        learning_rate=3e-3,
        learning_starts=200,
        train_freq=1,
        gradient_steps=1,
        target_update_interval=200,
        exploration_fraction=0.5,
        gamma=0.9,
        policy_kwargs={"net_arch": [32]},
        device="cpu",
    )
    model.learn(3200)
    # The best policy goes to the origin and stays: at most 4 steps on the way, of 12.
    learned, random = returns(sim, model, agent), returns(sim, AtRandom(), agent)
    assert random < -4
    assert learned > 0.5 * random
    # The other walker's left is this one's right: what was learned is this agent's own.
    assert returns(sim, model, 1 - agent) < learned - 2


@pytest.mark.slow
def test_ppo_takes_a_scalar_environment(sim: PerSim) -> None:
    model = PPO("MlpPolicy", sim.env(agent=2), n_steps=32, batch_size=32, n_epochs=1, device="cpu")
    model.learn(64)
    assert model.num_timesteps == 64


def test_mpc_is_evaluated_by_sb3(sim: PerSim) -> None:
    mpc = MPC(sim, agent=1, planner=RandomShooting(candidates=60, horizon=4), seed=0)
    assert returns(sim, mpc, 1) > -3
    scalar = sim.env(agent=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Evaluation environment is not wrapped")
        mean, _ = evaluate_policy(mpc, scalar, n_eval_episodes=3)
    assert float(np.mean(mean)) > -3
