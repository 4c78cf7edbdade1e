"""Planners by name: what a name stands for, what suits a task, and what MPC makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from persim_gym.envs import find_suite
from persim_gym.planning import (
    CEM,
    ICEM,
    MPC,
    MPPI,
    PLANNER_NAMES,
    CategoricalCEM,
    PlannerChoice,
    RandomShooting,
    Shaping,
    choose_planner,
    planner_choice,
)
from tests.learned.worlds import PlainTask, random_simulator, walker

TASKS = ("mountain-car", "cartpole", "half-cheetah")


def task(name: str) -> Any:
    return find_suite(name).task()


def test_the_papers_planner_to_the_letter() -> None:
    expected = {
        "mountain-car": PlannerChoice(RandomShooting(1000, 50), "members", Shaping(0, 0.5)),
        "cartpole": PlannerChoice(RandomShooting(1000, 50), "members", None),
        "half-cheetah": PlannerChoice(CEM(200, 30, 50, 6, 0.1, 0.3), "mean", None),
    }
    for name, choice in expected.items():
        assert choose_planner(task(name), "paper") == choice
        assert choice.penalty == 0


@pytest.mark.parametrize("name", TASKS)
def test_every_name_that_suits_a_task_plans_in_it(name: str) -> None:
    kinds = {
        "shooting": RandomShooting, "cem": CEM, "icem": ICEM, "mppi": MPPI,
        "categorical-cem": CategoricalCEM,
    }  # fmt: skip
    names = planner_choice.planner_names(task(name))
    assert set(names) <= set(PLANNER_NAMES)
    sim = random_simulator(task(name))
    obs = sim.task.sample_start(np.random.default_rng(0), 2)
    for planner in names:
        choice = choose_planner(sim.task, planner)
        if planner in kinds:
            assert type(choice.planner) is kinds[planner]
        sizes = {"candidates": 4, "horizon": 3}
        small = choose_planner(sim.task, planner, **sizes).planner
        assert (small.candidates, small.horizon) == (4, 3)  # type: ignore[attr-defined]
        mpc = MPC(sim, [0, 1], planner=planner)
        assert mpc.planner == choice.planner
        mpc.planner = small
        actions, _ = mpc.predict(obs)
        assert all(sim.task.action_space.contains(row) for row in actions)


def test_the_defaults_are_the_planners_that_were_measured() -> None:
    car, pole = choose_planner(task("mountain-car")), choose_planner(task("cartpole"))
    assert car == choose_planner(task("mountain-car"), "shooting")
    # What the tuned planners owe their returns to; see planner_choice.py.
    assert isinstance(car.planner, RandomShooting)
    assert car.planner.sticky == 0.97
    assert car.planner.horizon > 121
    assert isinstance(pole.planner, RandomShooting)
    assert pole.planner.decide == "mean"


def test_a_task_that_nobody_measured_has_the_papers_planner() -> None:
    assert choose_planner(PlainTask.of(3, actions=3)).planner == RandomShooting()
    assert choose_planner(PlainTask.of(3, action_dim=2)) == PlannerChoice(CEM(), "mean", None)


def test_sizes_change_what_they_name_and_nothing_else() -> None:
    car = task("mountain-car")
    before = choose_planner(car, "categorical-cem").planner
    after = choose_planner(car, "categorical-cem", rounds=7).planner
    assert isinstance(before, CategoricalCEM)
    assert isinstance(after, CategoricalCEM)
    assert after.rounds == 7
    for name in ("candidates", "horizon", "elites", "sticky"):
        assert getattr(after, name) == getattr(before, name)
    cheetah = task("half-cheetah")
    # A fourth of the candidates are elites, as in the default, unless they are named.
    for candidates, elites in ((200, 50), (40, 10), (2, 1), (1, 1)):
        planner = choose_planner(cheetah, "cem", candidates=candidates).planner
        assert planner == CEM(candidates, elites=elites)
    assert choose_planner(cheetah, "cem", candidates=40, elites=3).planner == CEM(40, elites=3)


def test_names_that_are_none_or_do_not_suit() -> None:
    car, cheetah = task("mountain-car"), task("half-cheetah")
    listed = "default, paper, shooting, categorical-cem"
    with pytest.raises(ValueError, match=f"unknown planner 'dqn': for mountain-car .* {listed}"):
        choose_planner(car, "dqn")
    for name in ("cem", "icem", "mppi"):
        with pytest.raises(ValueError, match=f"{name} does not plan discrete .* {listed}"):
            choose_planner(car, name)
    listed = "default, paper, shooting, cem, icem, mppi"
    with pytest.raises(ValueError, match=f"categorical-cem does not plan continuous .* {listed}$"):
        choose_planner(cheetah, "categorical-cem")
    with pytest.raises(TypeError, match="a planner's name must be text, got 3"):
        choose_planner(car, 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="RandomShooting has no rounds: its settings are cand"):
        choose_planner(car, "shooting", rounds=3)
    with pytest.raises(ValueError, match="candidates must be a positive integer, got 0"):
        choose_planner(car, "shooting", candidates=0)
    for name in ("dqn", "cem"):
        with pytest.raises(ValueError, match="default, paper, shooting, categorical-cem"):
            MPC("mountain-car", planner=name)


# -- what MPC makes of a choice --------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_mpc_takes_over_the_whole_choice(name: str) -> None:
    for planner in planner_choice.planner_names(task(name)):
        choice, mpc = choose_planner(task(name), planner), MPC(name, planner=planner)
        assert mpc.planner == choice.planner
        assert mpc.objective.propagation == choice.propagation
        assert mpc.objective.shaping == choice.shaping
    assert MPC(name).planner == choose_planner(task(name)).planner


def test_a_choice_with_other_sizes_is_taken_as_it_is() -> None:
    choice = choose_planner(task("mountain-car"), "paper", candidates=7)
    mpc = MPC("mountain-car", planner=choice)
    assert mpc.planner == RandomShooting(7, 50)
    assert mpc.objective.shaping == Shaping(0, 0.5)
    bare = MPC("mountain-car", planner=PlannerChoice(RandomShooting(7), "mean", None))
    assert bare.objective.shaping is None
    assert bare.objective.propagation == "mean"


def test_what_is_given_wins_over_the_choice() -> None:
    own = MPC("mountain-car", propagation="mean", shaping=Shaping(1, 2.0))
    assert own.objective.propagation == "mean"
    assert own.objective.shaping == Shaping(1, 2.0)
    paper = MPC("mountain-car", planner="paper")
    assert paper.objective.shaping == Shaping(0, 0.5)
    assert MPC("mountain-car", planner="paper", shaping=None).objective.shaping is None


def test_a_penalty_reaches_the_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = walker()
    assert sim.ensemble.members > 1
    planner = RandomShooting(20, 3)
    assert MPC(sim, planner=planner).objective.penalty == 0
    assert MPC(sim, planner=planner, penalty=2.5).objective.penalty == 2.5
    chosen = PlannerChoice(planner, "members", None, penalty=1.5)
    monkeypatch.setattr(planner_choice, "settings_for", lambda *_: chosen)
    assert MPC(sim, planner="paper").objective.penalty == 1.5
    assert MPC(sim, planner="paper", penalty=0.0).objective.penalty == 0
    # Sampled members are not compared: with a penalty all are followed, unless told otherwise.
    sampled = PlannerChoice(planner, "sampled", None)
    assert MPC(sim, planner=sampled).objective.propagation == "sampled"
    assert MPC(sim, planner=sampled, penalty=1.0).objective.propagation == "members"
    with pytest.raises(ValueError, match="sampled"):
        MPC(sim, planner=sampled, penalty=1.0, propagation="sampled")
    # In truth there is nobody to disagree: a choice's penalty is void, one of one's own refused.
    assert MPC("cartpole", planner="paper").objective.penalty == 0
    with pytest.raises(ValueError, match="needs a dynamics of several members"):
        MPC("cartpole", planner="paper", penalty=1.5)


# -- what the defaults do --------------------------------------------------------------------------


def steps_to_goal(agent: int, planner: Any, limit: int) -> int:
    """Steps in which MPC drives a true car to the goal, from a start at rest."""
    suite = find_suite("mountain-car")
    dynamics = suite.dynamics(suite.population())
    mpc = MPC("mountain-car", agent, planner=planner)
    obs = np.array([[-0.5, 0.0]])
    for step in range(1, limit + 1):
        action, _ = mpc.predict(obs)
        obs = np.asarray(dynamics.step(np.array([agent]), obs, action))
        if suite.task().terminated(obs)[0]:
            return step
    return limit + 1


@pytest.mark.slow
def test_the_default_drives_up_where_the_papers_planner_rocks() -> None:
    # Agent 9 (gravity 0.0029): the optimum from here is 104 steps, found by exhaustive search.
    assert 104 <= steps_to_goal(9, "default", 125) <= 125
    few = choose_planner(task("mountain-car"), "paper", candidates=100).planner
    assert steps_to_goal(9, few, 125) == 126


@pytest.mark.slow
def test_the_default_balances_the_hardest_pole() -> None:
    # Agent 103 is pushed with 2.1 N; the same number of candidates falls where the best decides.
    agents = np.full(4, 103)
    suite = find_suite("cartpole")
    dynamics = suite.dynamics(suite.population())
    start = suite.task().sample_start(np.random.default_rng(0), 4)
    lasted = {}
    for name, planner in (("mean", "default"), ("best", RandomShooting(50, 35))):
        mpc, obs = MPC("cartpole", agents, planner=planner), start
        stands, lasted[name] = np.ones(4, dtype=bool), np.zeros(4)
        for _ in range(200):
            obs = np.asarray(dynamics.step(agents, obs, mpc.predict(obs)[0]))
            stands &= ~suite.task().terminated(obs)
            lasted[name] += stands
    assert lasted["mean"].tolist() == [200] * 4
    assert lasted["best"].min() < 200
