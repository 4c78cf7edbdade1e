"""`persim-gym policies`: what is shown, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from persim_gym.policies import recipes
from persim_gym.policies.recipes import all_recipes, find_recipe
from persim_gym.policies.saved import load_policy
from persim_gym.policies.shipped import load_shipped
from tests.cli import commands

run = partial(commands.run, "policies")
refuse = partial(commands.refuse, "policies")


@pytest.fixture(autouse=True)
def _columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def test_list_shows_every_policy() -> None:
    text = run("list").stdout
    for recipe in all_recipes():
        assert f"{recipe.name} " in text
    for word in ("covariates", "steps", "seed", "target", "return", "sd", "gravity-0.0003", "td3"):
        assert word in text
    assert max(map(len, text.splitlines())) <= 100
    cards = json.loads(run("list", "cartpole", "--json").stdout)
    assert [card["name"] for card in cards] == [r.name for r in recipes.recipes("cartpole")]
    assert cards[0] == load_shipped("cartpole", cards[0]["name"]).card


@pytest.mark.slow
def test_evaluate_repeats_the_card_and_counts_every_agent_once() -> None:
    rows = json.loads(run("evaluate", "cartpole", "--json").stdout)["policies"]
    for row in rows:
        card = load_shipped("cartpole", row["policy"]).card
        assert row["mean"] == pytest.approx(card["mean_return"], rel=0.03)
        assert (row["target"], row["episodes"]) == (card["target"], 100)
        assert 5 < row["group_mean"] < 200
    assert [row["policy"] for row in rows][-1] == "test"
    assert sum(row["agents"] for row in rows[:-1]) == rows[-1]["agents"] == 500


def test_evaluate_one_policy_with_few_episodes() -> None:
    text = run("evaluate", "cartpole", "--policy", "test", "--episodes", "3").stdout
    assert "3 episodes on their own covariates" in text
    assert "force-6" not in text
    one = json.loads(
        run("evaluate", "cartpole", "--policy", "test", "--episodes", "1", "--json").stdout
    )
    assert one["policies"][0]["sd"] is None


def small(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Recipes of little work in place of CartPole's."""
    own = {
        "section_steps": 200,
        "evaluate_every": 100,
        "evaluation_episodes": 4,
        "tolerance": 0.99,
        **changes,
    }
    made = [dataclasses.replace(r, **own) for r in recipes.recipes("cartpole")]
    monkeypatch.setattr(recipes, "recipes", lambda task: tuple(made))


def test_train_makes_policies_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    name = "force-6-length-0.5"
    text = run("train", "cartpole", "--policy", name, "--out", str(tmp_path), "--seed", "4").stdout
    assert name in text
    card = load_policy(tmp_path / "cartpole" / f"{name}.safetensors").card
    assert (card["seed"], card["name"], card["reached"]) == (4, name, True)
    again = ("train", "cartpole", "--policy", name, "--out", tmp_path, "--seed", "5")
    refuse(*again, says="is there already, made with another seed")


def test_train_says_where_a_target_was_not_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(monkeypatch, tolerance=1e-6)
    result = run("train", "cartpole", "--policy", "test", "--out", tmp_path, "--steps", "100")
    assert "no evaluation was within" in result.stderr
    assert load_policy(tmp_path / "cartpole" / "test.safetensors").card["max_steps"] == 100


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["list", "chess"], "unknown task 'chess'"),
        (["evaluate", "chess"], "unknown task 'chess'"),
        (["evaluate", "cartpole", "--policy", "best"], "unknown policy 'best' of cartpole"),
        (["evaluate", "cartpole", "--episodes", "0"], "--episodes"),
        (["train", "chess"], "unknown task 'chess'"),
        (["train", "cartpole", "--policy", "gravity-0.0003"], "unknown policy 'gravity-0.0003'"),
        (["train", "all", "--policy", "test"], "name the task instead of all"),
        (["train", "cartpole", "--steps", "0"], "--steps"),
        (["train", "cartpole", "--seed", "-1"], "--seed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(
    args: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refuse(*args, says=says)
    assert list(tmp_path.iterdir()) == []


def test_the_policies_of_the_package_are_made_by_the_defaults_of_train() -> None:
    for recipe in all_recipes():
        card = load_shipped(recipe.task, recipe.name).card
        assert card["seed"] == find_recipe(recipe.task, recipe.name).seed
        assert card["max_steps"] == recipe.max_steps
