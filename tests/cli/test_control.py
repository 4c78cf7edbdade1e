"""The commands plan and train."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persim_gym.envs.suites import find_suite
from persim_gym.evaluation import returns as playing
from persim_gym.training import load_policy
from tests.cli.commands import refuse, run

pytestmark = pytest.mark.usefixtures("shared_store")


def _plan(*args: str) -> Any:
    return json.loads(run("plan", *args, "--threads", "1", "--json").stdout)


@pytest.mark.slow
def test_plan_in_a_simulator_acts_in_truth(simulator: str) -> None:
    """What is planned with is seen from the outcome: planning in truth is better than in a model
    that was hardly fitted, and both last longer than nothing at all."""
    args = ["--agent", "2,5", "--candidates", "40", "--horizon", "12", "--max-steps", "40"]
    model = _plan(simulator, *args, "--episodes", "2", "--seed", "3")
    truth = _plan("cartpole", *args, "--episodes", "2", "--seed", "3")
    assert [row["agent"] for row in model["agents"]] == [2, 5]
    assert [len(row["returns"]) for row in model["agents"]] == [2, 2]
    assert (model["planner"], model["candidates"], model["horizon"]) == ("RandomShooting", 40, 12)
    assert model["ms_per_decision"] > 0
    assert truth["agents"][0]["returns"] == [40, 40]
    assert np.mean(model["agents"][0]["returns"]) < 40


@pytest.mark.slow
def test_plan_with_planners_by_name(simulator: str) -> None:
    brief = ["--agent", "0", "--episodes", "1", "--max-steps", "2", "--horizon", "3"]
    args = ["half-cheetah", *brief]
    kinds = {"cem": "CEM", "icem": "ICEM", "mppi": "MPPI", "shooting": "RandomShooting"}
    for name, kind in kinds.items():
        plan = _plan(*args, "--candidates", "8", "--planner", name)
        assert (plan["planner"], plan["candidates"], plan["horizon"]) == (kind, 8, 3)
    assert _plan(*args, "--candidates", "8", "--planner", "paper")["planner"] == "CEM"
    # Fewer candidates than the usual number of elites.
    plan = _plan(*args, "--planner", "cem", "--candidates", "2", "--rounds", "5")
    assert (plan["candidates"], plan["elites"], plan["rounds"]) == (2, 1, 5)
    plan = _plan(simulator, *brief, "--planner", "categorical-cem", "--candidates", "8")
    assert (plan["planner"], plan["horizon"]) == ("CategoricalCEM", 3)
    plan = _plan(simulator, *brief, "--candidates", "8")
    assert (plan["planner"], plan["decide"], plan["penalty"]) == ("RandomShooting", "mean", 0)
    plan = _plan(simulator, *brief, "--candidates", "8", "--penalty", "0.5")
    assert (plan["penalty"], plan["propagation"]) == (0.5, "members")


def test_plan_refuses_planners_that_do_not_suit(simulator: str) -> None:
    listed = "default, paper, shooting, categorical-cem"
    refuse("plan", simulator, "--agent", "0", "--planner", "cem", says=listed)
    refuse("plan", simulator, "--agent", "0", "--planner", "dqn", says=listed)
    args = ["plan", "cartpole", "--agent", "0"]
    refuse(*args, "--rounds", "2", says="RandomShooting has no rounds")
    refuse(*args, "--penalty", "1", says="needs a dynamics of several members")
    refuse(*args, "--penalty", "-1", says="penalty must be finite and not negative")
    args = ["plan", "half-cheetah", "--agent", "0", "--planner"]
    refuse(*args, "categorical-cem", says="default, paper, shooting, cem, icem, mppi")


def test_plan_table(simulator: str) -> None:
    args = ["--agent", "0", "--candidates", "8", "--horizon", "3", "--max-steps", "4"]
    text = run("plan", simulator, *args).stdout
    # Nobody falls in four steps: five episodes of four.
    assert re.search(r"^0 +5 +4 +0 +4 +4 +4$", text, re.MULTILINE)
    assert re.search(r"ms per decision \(RandomShooting, 8 candidates of 3 steps\)\n$", text)


def test_train_writes_a_policy_and_says_how_it_came_about(policy: str, simulator: str) -> None:
    card = load_policy(policy).card
    assert (card["task"], card["agent"], card["steps"], card["seed"]) == ("cartpole", 3, 80, 1)
    assert card["simulator"] == simulator
    assert load_policy(policy).name == "dqn"


@pytest.mark.slow
def test_train_judges_in_the_true_environment_of_the_agent(policy: str, simulator: str) -> None:
    args = ["train", simulator, "--agent", "3", "--steps", "80", "--episodes", "2", "--seed", "1"]
    refuse(*args, "--out", policy, says="--force")
    content = json.loads(run(*args, "--out", policy, "--force", "--json").stdout)
    suite = find_suite("cartpole")
    true = suite.dynamics(suite.population({"size": 8, "seed": 3}))
    expected = playing.episode_returns(suite.task(), true, [3], load_policy(policy), 2, 1)
    assert content["returns"]["true_environment"] == expected[0].tolist()
    assert len(content["returns"]["in_the_simulator"]) == 2


@pytest.mark.slow
def test_train_with_another_algorithm(simulator: str, tmp_path: Path) -> None:
    args = ["train", simulator, "--agent", "0", "--episodes", "1", "--out", str(tmp_path)]
    refuse(*args, "--algorithm", "sac", says="sac cannot act in task 'cartpole'")
    refuse(*args, "--algorithm", "magic", says="unknown algorithm 'magic'")
    run(*args, "--algorithm", "ppo", "--steps", "512")
    assert load_policy(tmp_path).name == "ppo"
