"""The MPC policy: plans carried over, rows and agents, and control that works."""

from __future__ import annotations

import random
import warnings
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from stable_baselines3.common.evaluation import evaluate_policy
from torch import Tensor

from persim_gym.learned import to_sb3
from persim_gym.planning import CEM, MPC, Plan, Planner, RandomShooting, Shaping
from tests.learned.worlds import PlainTask, random_simulator, walker
from tests.planning.worlds import Line, LineTask, Memory

SMALL = RandomShooting(candidates=60, horizon=4)


@dataclass
class Witness:
    """A planner that keeps what it is given, and plans 0, 1, 2, .. from its number of calls on."""

    horizon: int = 4
    seen: list[tuple[Tensor | None, Tensor]] = field(default_factory=list)
    score: Any = None

    def plan(
        self,
        score: Any,
        space: Discrete | Box,
        problems: int,
        previous: Tensor | None,
        fresh: Tensor,
        generator: torch.Generator,
    ) -> Plan:
        self.seen.append((None if previous is None else previous.clone(), fresh.clone()))
        self.score = score
        row = torch.arange(problems)[:, None] + 10 * len(self.seen) + torch.arange(self.horizon)
        return Plan(row, row[:, 0] % 3, torch.zeros(problems))


def watched(agents: Any = 0, dynamics: Any = None) -> tuple[MPC, Witness]:
    witness = Witness()
    mpc = MPC(dynamics or Line(), agents, task=LineTask(), planner=witness)
    return mpc, witness


def fresh(witness: Witness) -> list[bool]:
    return witness.seen[-1][1].tolist()


# -- what is carried over --------------------------------------------------------------------------


def test_a_plan_is_carried_to_the_next_step() -> None:
    mpc, witness = watched()
    mpc.predict(np.zeros(1))
    previous, begins = witness.seen[0]
    assert previous is None
    assert begins.tolist() == [True]
    mpc.predict(np.zeros(1))
    mpc.predict(np.zeros(1))
    assert witness.seen[1][0].tolist() == [[10, 11, 12, 13]]  # type: ignore[union-attr]
    assert witness.seen[2][0].tolist() == [[20, 21, 22, 23]]  # type: ignore[union-attr]
    assert witness.seen[1][1].tolist() == witness.seen[2][1].tolist() == [False]


def test_reset_forgets() -> None:
    mpc, witness = watched()
    mpc.predict(np.zeros(1))
    mpc.reset()
    mpc.predict(np.zeros(1))
    assert witness.seen[1][0] is None
    assert fresh(witness) == [True]


def test_after_a_reset_a_seed_gives_the_same_plans_again() -> None:
    def run(mpc: MPC) -> list[int]:
        actions = []
        x = np.array([0.8])
        for _ in range(6):
            action, _ = mpc.predict(x)
            actions.append(int(action))
            x = x + 0.3 * (action - 1)
        return actions

    planner = RandomShooting(candidates=3, horizon=6)  # few enough to be wrong now and then
    mpc = MPC(Line((0.3,)), task=LineTask(), planner=planner, seed=3)
    first = run(mpc)
    mpc.reset()
    mpc._generator.manual_seed(3)
    assert run(mpc) == first
    assert run(MPC(Line((0.3,)), task=LineTask(), planner=planner, seed=3)) == first
    others = [run(MPC(Line((0.3,)), task=LineTask(), planner=planner, seed=s)) for s in range(4, 9)]
    assert any(other != first for other in others)


def test_rows_whose_episode_begins() -> None:
    mpc, witness = watched()
    _, state = mpc.predict(np.zeros((3, 1)))
    mpc.predict(np.zeros((3, 1)), state, episode_start=np.array([False, True, False]))
    assert fresh(witness) == [False, True, False]
    mpc.predict(np.zeros((3, 1)), episode_start=True)
    assert fresh(witness) == [True] * 3
    mpc.predict(np.zeros((3, 1)), episode_start=np.zeros(3, dtype=np.bool_))
    assert fresh(witness) == [False] * 3
    mpc.predict(np.zeros((3, 1)))
    assert fresh(witness) == [False] * 3


def test_rows_may_be_dropped_from_the_state() -> None:
    mpc, witness = watched()
    _, (plans, *rest) = mpc.predict(np.zeros((3, 1)))
    assert plans.tolist() == [[10, 11, 12, 13], [11, 12, 13, 14], [12, 13, 14, 15]]
    keep = [0, 2]
    mpc.predict(np.zeros((2, 1)), tuple(part[keep] for part in (plans, *rest)))
    assert witness.seen[-1][0].tolist() == [[10, 11, 12, 13], [12, 13, 14, 15]]  # type: ignore[union-attr]
    assert fresh(witness) == [False, False]
    # Without a state the last call's is used, which had two rows: nothing of it fits three.
    mpc.predict(np.zeros((3, 1)))
    assert witness.seen[-1][0] is None
    assert fresh(witness) == [True] * 3


def test_a_state_that_is_given_wins_over_the_last_one() -> None:
    mpc, witness = watched()
    _, state = mpc.predict(np.zeros(1))
    mpc.predict(np.zeros(1))
    mpc.predict(np.zeros(1), state)
    assert witness.seen[-1][0].tolist() == [[10, 11, 12, 13]]  # type: ignore[union-attr]


def test_planning_without_a_memory() -> None:
    mpc, witness = watched((0, 1))
    mpc.predict(np.zeros((2, 1)))
    before = mpc._memory
    agents = np.array([2])
    mpc.plan(agents, np.ones((1, 1), dtype=np.float32))
    assert fresh(witness) == [True]
    assert mpc._memory is before


class Seen(Memory):
    """A dynamics that keeps the states it was asked about."""

    def __init__(self, lag: int) -> None:
        self.lag = lag
        self.states: list[NDArray[Any]] = []

    def step(self, agents: Any, states: Any, actions: Any) -> NDArray[np.float64]:
        self.states.append(np.array(states))
        following: NDArray[np.float64] = states[:, -1] if self.lag > 1 else states
        return following + 0.0


@pytest.mark.parametrize("lag", [1, 2, 3])
def test_past_observations_are_remembered(lag: int) -> None:
    dynamics, witness = Seen(lag), Witness()
    mpc = MPC(dynamics, task=PlainTask.of(2, actions=3), planner=witness)
    obs = np.arange(20, dtype=np.float32).reshape(5, 2, 2)  # five steps of two rows
    starts = [None, None, None, np.array([False, True]), None]
    for now, start in zip(obs, starts, strict=True):
        mpc.predict(now, episode_start=start)
        witness.score(torch.ones((2, 1, 1), dtype=torch.long))
    first, second = obs[:, 0], obs[:, 1]
    windows = [
        [first[[0, 0, 0]], second[[0, 0, 0]]],
        [first[[0, 0, 1]], second[[0, 0, 1]]],
        [first[[0, 1, 2]], second[[0, 1, 2]]],
        [first[[1, 2, 3]], second[[3, 3, 3]]],
        [first[[2, 3, 4]], second[[3, 3, 4]]],
    ]
    assert len(dynamics.states) == 5
    for seen, window in zip(dynamics.states, windows, strict=True):
        expected = np.stack(window)[:, 3 - lag :]
        np.testing.assert_array_equal(seen, expected if lag > 1 else expected[:, 0])


# -- rows, agents, kinds ---------------------------------------------------------------------------


def test_one_observation_and_many() -> None:
    mpc = MPC(walker(), agent=0, planner=SMALL)
    single, _ = mpc.predict(np.array([0.5]))
    assert np.ndim(single) == 0
    assert mpc.task.action_space.contains(single)
    many, _ = mpc.predict(np.array([[0.5], [-0.5], [0.0]]))
    assert many.shape == (3,)
    assert many.dtype == np.int64
    assert many.tolist() == [0, 2, 1]
    assert mpc.predict([0.5])[0] == 0


def test_continuous_actions_lie_in_their_space() -> None:
    sim = random_simulator(PlainTask.of(3, action_dim=2))
    for planner in (CEM(30, 3, elites=5, rounds=2), RandomShooting(30, 3)):
        mpc = MPC(sim, agent=1, planner=planner)
        action, _ = mpc.predict(np.zeros(3))
        assert sim.task.action_space.contains(action)
        actions, _ = mpc.predict(np.zeros((4, 3)))
        assert actions.shape == (4, 2)
        assert all(sim.task.action_space.contains(row) for row in actions)


def test_agents_are_planned_for_each_in_its_own_dynamics() -> None:
    sim = walker()  # agent 1 goes left where agent 0 goes right
    mpc = MPC(sim, agent=[0, 1, 2, 3], planner=SMALL)
    actions, _ = mpc.predict(np.full((4, 1), 0.5))
    assert actions.tolist() == [0, 2, 0, 0]
    for agent in (0, np.int64(1), np.array(2)):
        action, _ = MPC(sim, agent=agent, planner=SMALL).predict(np.array([0.5]))
        assert action == [0, 2, 0][int(agent)]


def test_a_lag_of_a_simulator() -> None:
    sim = random_simulator(PlainTask.of(2, actions=3), lag=2)
    mpc = MPC(sim, agent=0, planner=SMALL)
    for _ in range(3):
        actions, (plans, states, taken) = mpc.predict(np.random.default_rng(0).normal(size=(5, 2)))
    assert actions.shape == (5,)
    assert plans.shape == (5, 4)
    assert states.shape == (5, *np.shape(sim.recall(np.zeros((1, 2))))[1:])
    assert taken.tolist() == actions.tolist()


def test_a_planner_of_ones_own_has_the_papers_objective() -> None:
    cases = {
        "mountain-car": (RandomShooting(1000, 50), "members", Shaping(0, 0.5)),
        "cartpole": (RandomShooting(1000, 50), "members", None),
        "half-cheetah": (CEM(200, 30, 50, 6, 0.1), "mean", None),
    }
    planner: Planner
    for name, (planner, propagation, shaping) in cases.items():
        mpc = MPC(name, planner=planner)
        assert mpc.planner == planner
        assert mpc.objective.propagation == propagation
        assert mpc.objective.shaping == shaping
        assert mpc.task.name == name
    changed = MPC("mountain-car", planner="paper", propagation="mean", shaping=None)
    assert changed.objective.propagation == "mean"
    assert changed.objective.shaping is None
    # Random shooting follows members, whatever the actions.
    assert MPC("half-cheetah", planner=RandomShooting()).objective.propagation == "members"


def test_shaping_and_propagation_reach_the_objective() -> None:
    # Rewards are the same whatever is done, until a bonus asks for what is furthest right.
    class Flat(LineTask):
        def reward(self, obs: Any, action: Any, next_obs: Any) -> Any:
            return 0.0 * next_obs[..., 0]

    task = Flat(goal=1e9)
    mpc = MPC(Line(), task=task, planner=SMALL, shaping=Shaping(0, 1.0))
    returns = mpc.objective(torch.tensor([0]), torch.zeros(1, 1), torch.tensor([[[2, 2], [0, 0]]]))
    assert returns.tolist() == [[0.5, -0.25]]
    assert mpc.predict(np.zeros(1))[0] == 2


def test_a_population_of_ones_own() -> None:
    mpc = MPC("cartpole", agent=7, population={"size": 8, "seed": 3})
    assert mpc.dynamics.num_agents == 8
    with pytest.raises(ValueError, match="agent 7 does not exist"):
        MPC("cartpole", agent=7, population=7)
    with pytest.raises(TypeError, match="population= is for true environments"):
        MPC(walker(), population=8)


def test_global_random_state_is_left_alone() -> None:
    def everything() -> tuple[Any, ...]:
        numpy_state = np.random.get_state()  # noqa: NPY002
        return (
            torch.get_rng_state().tolist(),
            [np.asarray(part).tolist() for part in numpy_state],
            random.getstate(),
        )

    before = everything()
    mpc = MPC(walker(), agent=[0, 1], planner=SMALL)
    mpc.predict(np.zeros((2, 1)))
    sim = random_simulator(PlainTask.of(3, action_dim=2))
    MPC(sim, planner=CEM(20, 3, elites=4, rounds=2)).predict(np.zeros(3))
    assert everything() == before


# -- refusals --------------------------------------------------------------------------------------


def test_models_that_are_none() -> None:
    with pytest.raises(ValueError, match=r"unknown task 'CartPole-v1' .*: there are mountain-car"):
        MPC("CartPole-v1")
    for model in (3, None, LineTask(), gym.make("CartPole-v1")):
        with pytest.raises(TypeError, match="plans in a simulator, a dynamics or a true env"):
            MPC(model)
    with pytest.raises(TypeError, match="needs task="):
        MPC(Line())


def test_agents_that_are_none() -> None:
    for agent in (4, -1, [0, 1, 9]):
        with pytest.raises(ValueError, match="does not exist: this population has 4 agents"):
            MPC(walker(), agent=agent)
    for agent in (1.5, True, [0.0, 1.0]):
        with pytest.raises(TypeError, match=r"agents? must be"):
            MPC(walker(), agent=agent)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="agent '1' is not known by name"):
        MPC(walker(), agent="1")
    with pytest.raises(TypeError, match=r"agents? must be"):
        MPC("cartpole", agent="1")


def test_agents_by_name() -> None:
    sim = walker()
    sim.rename(["ann", "bob", "cy", "di"])
    assert MPC(sim, agent="bob", planner=SMALL).predict(np.array([0.5]))[0] == 2
    mpc = MPC(sim, agent=["ann", "bob", 2], planner=SMALL)
    assert mpc.agents.tolist() == [0, 1, 2]
    assert mpc.predict(np.full((3, 1), 0.5))[0].tolist() == [0, 2, 0]
    with pytest.raises(ValueError, match="there is no agent 'bobb' among the 4"):
        MPC(sim, agent="bobb")


def test_observations_that_do_not_fit() -> None:
    mpc = MPC(walker(), agent=[0, 1], planner=SMALL)
    for shape in ((2,), (2, 2), (2, 1, 1), ()):
        with pytest.raises(ValueError, match=r"must have shape \(1,\) or \(n, 1\), got"):
            mpc.predict(np.zeros(shape))
    for n in (1, 3):
        with pytest.raises(ValueError, match=f"plans for 2 agents, got {n} observations"):
            mpc.predict(np.zeros((n, 1)))
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match="observations must be finite, got"):
            mpc.predict(np.array([[0.0], [value]]))


def test_settings_that_do_not_fit() -> None:
    with pytest.raises(
        TypeError, match="shaping must be a Shaping, an Upright or None, got 'none'"
    ):
        MPC(walker(), shaping="none")
    with pytest.raises(ValueError, match="propagation must be one of members, mean"):
        MPC(walker(), propagation="median")  # type: ignore[arg-type]
    mpc = MPC(walker(), planner=CEM())
    with pytest.raises(TypeError, match="use RandomShooting for discrete"):
        mpc.predict(np.zeros(1))


# -- control ---------------------------------------------------------------------------------------


def episode_return(env: gym.Env[Any, Any], mpc: MPC, seed: int) -> tuple[float, int]:
    mpc.reset()
    obs, _ = env.reset(seed=seed)
    total, steps, over = 0.0, 0, False
    while not over:
        action, _ = mpc.predict(obs)
        obs, reward, terminated, truncated, _ = env.step(action)
        total += float(reward)
        steps += 1
        over = terminated or truncated
    return total, steps


@pytest.mark.slow
def test_the_true_pole_is_balanced() -> None:
    name, agent = "PerSim-CartPole-v0", 3
    mpc = MPC(name, agent=agent, planner=RandomShooting(candidates=50, horizon=15), seed=0)
    assert episode_return(gym.make(name, agent=agent), mpc, seed=1) == (200.0, 200)
    # It takes a plan: the same search that looks but one step ahead drops it.
    blind = MPC(name, agent=agent, planner=RandomShooting(candidates=50, horizon=1), seed=0)
    assert episode_return(gym.make(name, agent=agent), blind, seed=1)[0] < 100


@pytest.mark.slow
def test_sb3_evaluates_it() -> None:
    name = "PerSim-CartPole-v0"
    planner = RandomShooting(candidates=50, horizon=15)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Evaluation environment is not wrapped")
        envs = to_sb3(gym.make_vec(name, num_envs=4, agents=3, max_episode_steps=60))
        mean, _ = evaluate_policy(MPC(name, agent=3, planner=planner), envs, n_eval_episodes=6)
        assert mean == 60.0
        scalar = gym.make(name, agent=3, max_episode_steps=30)
        mean, _ = evaluate_policy(MPC(name, agent=3, planner=planner), scalar, n_eval_episodes=1)
        assert mean == 30.0


@pytest.mark.slow
def test_the_cheetah_runs_further_than_by_chance() -> None:
    name = "PerSim-HalfCheetah-v0"
    planner = CEM(candidates=40, horizon=8, elites=8, rounds=2)
    mpc = MPC(name, agent=4, planner=planner)
    env = gym.make(name, agent=4, max_episode_steps=15)
    planned, _ = episode_return(env, mpc, seed=0)
    by_chance = MPC(name, agent=4, planner=CEM(candidates=1, horizon=1, elites=1, rounds=1))
    random_returns = [episode_return(env, by_chance, seed=s)[0] for s in range(3)]
    assert planned > max(random_returns) + 3


def test_a_walker_is_brought_home_in_its_simulator_and_in_truth() -> None:
    sim = walker()
    for agent in range(4):
        mpc = MPC(sim, agent=agent, planner=SMALL)
        total, steps = episode_return(sim.env(agent=agent), mpc, seed=4)
        assert steps == 12
        assert total > -4
