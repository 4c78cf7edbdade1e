"""Where HalfCheetah's physics breaks: the episode ends, planners rank it last, tables count it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

import persim_gym
from persim_gym.envs import SUITES
from persim_gym.envs.guard import Reason
from persim_gym.envs.tasks import half_cheetah
from persim_gym.evaluation.returns import episode_outcomes, episode_returns
from persim_gym.experiments.quantities import STOPPED, Quantity
from persim_gym.experiments.report import main_tables as tables
from persim_gym.offline import record
from persim_gym.planning import ICEM, MPC, MPPI, RandomShooting
from persim_gym.planning.objective import Objective

NAME = "PerSim-HalfCheetah-v0"
SUITE = SUITES["half-cheetah"]
# Agent 1 is so heavy that MuJoCo's solver gives up in its first steps.
PEOPLE: dict[str, Any] = {"covariates": {"mass": [1.0, 1e8, 0.3]}}
# High above the ground and as fast as can be: the next step is faster.
FALLING = np.zeros(18)
FALLING[[1, 10]] = 1e4, -49.9


def dynamics(population: Any = PEOPLE) -> half_cheetah.HalfCheetahDynamics:
    return half_cheetah.HalfCheetahDynamics(SUITE.population(population))


def actions(n: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).uniform(-1, 1, (n, 6)).astype(np.float32)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MuJoCo would write of its warnings into the current folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize("size", [10.0, 100.0, 1e3, 1e4, 1e11])
def test_after_mujoco_has_warned_there_is_no_observation(size: float) -> None:
    states = np.vstack([np.full(18, size), np.zeros(18)])
    after = dynamics().rollout(np.array([0, 0]), states, np.zeros((2, 3, 6)))
    assert np.isnan(after[0]).all()
    assert np.isfinite(after[1]).all()


@pytest.mark.parametrize(
    ("coordinate", "fine", "broken"),
    [(9, 45.0, 51.0), (9, -45.0, -51.0), (10, 45.0, 51.0), (11, 60.0, 500.0), (14, 30.0, 1e3)],
)
def test_speeds_that_no_body_has_are_no_observations(
    coordinate: int, fine: float, broken: float
) -> None:
    states = np.zeros((2, 18))
    states[:, 1] = 100.0
    states[:, coordinate] = fine, broken
    after = dynamics().step(np.array([0, 0]), states, np.zeros((2, 6)))
    assert np.isfinite(after[0]).all()
    assert np.isnan(after[1]).all()


def test_a_rollout_breaks_where_its_steps_do() -> None:
    agents, h = np.array([0, 1, 2]), 12
    states = np.stack([np.zeros(18), np.zeros(18), FALLING + 1.0 * (np.arange(18) == 10)])
    sequence = np.stack([actions(3, seed) for seed in range(h)], axis=1).astype(np.float64)
    physics = dynamics()
    together = physics.rollout(agents, states, sequence)
    broken = np.isnan(together)
    assert (broken.all(axis=2) == broken.any(axis=2)).all()
    begins = broken[:, :, 0].sum(axis=1)
    assert begins[0] == 0
    assert h >= begins[1] > 0
    assert begins[2] > 0
    for step in range(h):
        states = physics.step(agents, states, sequence[:, step])
        np.testing.assert_array_equal(states, together[:, step])
        if np.isnan(states).any():
            break


def test_a_scalar_episode_is_cut_off_with_the_reason() -> None:
    env = gym.make(NAME, agent=1, population=PEOPLE)
    obs, info = env.reset(seed=0)
    assert (info["guard"], bool(info["guard"])) == ("", False)
    for action in actions(20):
        last, keys = obs, set(info)
        obs, reward, terminated, truncated, info = env.step(action)
        assert set(info) == keys
        assert obs in env.observation_space
        assert np.isfinite(reward)
        assert not terminated
        if truncated:
            break
        assert info["guard"] == ""
    assert (truncated, info["guard"], str(info["guard"])) == (True, "physics", "physics")
    np.testing.assert_array_equal(obs, last, "the last state that was one stays")
    assert reward == pytest.approx(last[0] - 0.1 * np.square(action).sum(), abs=1e-6)


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=str)
def test_a_lane_is_cut_off_alone(mode: AutoresetMode) -> None:
    envs = gym.make_vec(NAME, num_envs=3, population=PEOPLE, autoreset_mode=mode)
    scalars = [gym.make(NAME, agent=k, population=PEOPLE) for k in range(3)]
    obs, _ = envs.reset(seed=5)
    for lane, scalar in enumerate(scalars):
        np.testing.assert_array_equal(obs[lane], scalar.reset(seed=5 + lane)[0])
    for step in range(20):
        acted = actions(3, step)
        obs, reward, terminated, truncated, infos = envs.step(acted)
        expected = [scalar.step(action) for scalar, action in zip(scalars, acted, strict=True)]
        assert reward.tolist() == [of[1] for of in expected]
        assert truncated.tolist() == [of[3] for of in expected]
        assert not terminated.any()
        if truncated.any():
            break
    assert truncated.tolist() == [False, True, False]
    said = infos["final_info"] if mode is AutoresetMode.SAME_STEP else infos
    assert said["guard"].tolist() == [0, Reason("physics"), 0]
    assert said["guard"][1] == "physics"
    last = infos["final_obs"][1] if mode is AutoresetMode.SAME_STEP else obs[1]
    np.testing.assert_array_equal(last, expected[1][0])


def test_an_agent_beside_others_is_cut_off_alone() -> None:
    env = persim_gym.parallel_env(NAME, agents=[0, 1], population=PEOPLE)
    _, infos = env.reset(seed=0)
    assert [info["guard"] for info in infos.values()] == ["", ""]
    for step in range(20):
        acted = dict(zip(env.possible_agents, actions(2, step), strict=True))
        *_, terminations, truncations, infos = env.step(acted)
        if len(env.agents) < 2:
            break
    assert truncations == {"agent_0": False, "agent_1": True}
    assert not any(terminations.values())
    assert (infos["agent_0"]["guard"], infos["agent_1"]["guard"]) == ("", "physics")
    assert env.agents == ["agent_0"]


# Joints bent a thousand times round break MuJoCo's solver, and so do speeds of their own.
@pytest.mark.parametrize(
    "state",
    [np.full(18, 1e4), np.full(18, 100.0), 1e3 * (np.arange(18) == 3), 60.0 * (np.arange(18) == 9)],
    ids=["everything", "less of everything", "a joint", "a speed"],
)
def test_a_start_from_which_physics_cannot_go_on_is_refused(state: Any) -> None:
    message = r"the physics of agent 0 cannot go on from the state .* 50 m/s and 314 rad/s"
    env = gym.make(NAME)
    envs = gym.make_vec(NAME, num_envs=2, agents=0)
    penv = persim_gym.parallel_env(NAME, agents=[0, 1])
    for each in (env, envs, penv):
        before = each.reset(seed=0)[0]
        with pytest.raises(ValueError, match=message):
            each.reset(options={"state": state})
        options: dict[str, Any] = (
            {"state": {"agent_0": state}} if each is penv else {"state": state}
        )
        if each is envs:
            options["reset_mask"] = np.array([True, False])
        with pytest.raises(ValueError, match="cannot go on"):
            each.reset(options=options)
        assert str(each.reset(seed=0)[0]) == str(before), "nothing is spoiled by it"
    envs.reset(options={"state": np.zeros((2, 18))})
    env.reset(options={"state": FALLING})
    *_, truncated, info = env.step(np.zeros(6, dtype=np.float32))
    assert (truncated, info["guard"]) == (True, "physics")


def test_planners_rank_broken_sequences_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(half_cheetah, "MAX_TURN", 8.0)  # which takes some effort
    task, physics = SUITE.task(), dynamics()
    still, wild = torch.zeros(20, 6), torch.ones(20, 6)
    wild[::2] = -1
    candidates = torch.stack([still, wild])[None].double()
    states = torch.zeros(1, 18, dtype=torch.float64)
    returns = Objective(task, physics)(torch.tensor([0]), states, candidates)
    assert torch.isfinite(returns[0, 0])
    assert returns[0, 1] == -torch.inf


@pytest.mark.parametrize("planner", [RandomShooting(8, 3), ICEM(8, 3, elites=2), MPPI(8, 3)])
def test_where_all_is_broken_a_plan_is_an_action_all_the_same(planner: Any) -> None:
    mpc = MPC(dynamics(), agent=1, task=SUITE.task(), planner=planner)
    action, _ = mpc.predict(FALLING.astype(np.float32))
    assert action in SUITE.task().action_space


def test_a_recording_ends_where_physics_breaks_and_can_be_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "data"))
    # From this seed the heavy ones break at once; agents of mass 1 go on to the end.
    data = record(NAME, "random", 3, population=PEOPLE, max_episode_steps=8, seed=3)
    assert any("physics broke in 1 of 3 episodes" in message for message in logged)
    assert data.storage.metadata["persim_gym"]["summary"]["stopped"] == 1
    episodes = list(data.iterate_episodes())
    resets = list(data.storage.get_episode_metadata(range(3)))
    assert [len(episode.actions) for episode in episodes][::2] == [8, 8]
    assert len(episodes[1].actions) < 8
    assert episodes[1].truncations[-1]
    env = data.recover_environment()
    for episode, begun in zip(episodes, resets, strict=True):
        obs, _ = env.reset(seed=int(begun["seed"]), options=begun["options"])
        np.testing.assert_array_equal(obs, episode.observations[0])
        for step, action in enumerate(episode.actions):
            obs, reward, terminated, truncated, info = env.step(action)
            np.testing.assert_array_equal(obs, episode.observations[step + 1])
            assert reward == episode.rewards[step]
            assert (terminated, truncated) == (False, episode.truncations[step])
        assert info["guard"] == ("physics" if episode is episodes[1] else "")


def test_tables_count_what_was_cut_off() -> None:
    outcomes = episode_outcomes(
        SUITE.task(), dynamics(), [0, 1, 2], "random", 2, max_episode_steps=6
    )
    assert outcomes.stopped.tolist() == [[False] * 2, [True] * 2, [False] * 2]
    assert np.isfinite(outcomes.returns).all()
    returns = episode_returns(SUITE.task(), dynamics(), [0, 1, 2], "random", 2, max_episode_steps=6)
    np.testing.assert_array_equal(returns, outcomes.returns)


def test_the_benchmarks_report_says_what_was_cut_off() -> None:
    slot = SimpleNamespace(
        experiment="reward", variant=SimpleNamespace(title="True env + MPC"), dataset=None
    )
    group = SimpleNamespace(
        values={
            Quantity("return", 2): np.array([[1.0], [2.0]]),
            Quantity(STOPPED, 2): np.array([1.0, np.nan]),
        }
    )
    findings: Any = SimpleNamespace(by_slot=SimpleNamespace(get=lambda one: group))
    said = tables._broken(findings, [slot])  # type: ignore[list-item]
    assert said == " Broken physics cut off episodes: 1 of agent 2 (True env + MPC)."
    group.values = {Quantity("return", 2): np.array([[1.0]])}
    assert tables._broken(findings, [slot]) == ""  # type: ignore[list-item]
