"""The policies that ship: they are there, small, whole, and earn about what they should."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from safetensors.torch import load_file, save_file

from persim_gym.envs import SUITES
from persim_gym.envs.populations import Population
from persim_gym.envs.suites import find_suite
from persim_gym.policies import shipped
from persim_gym.policies.recipes import TEST, Recipe, all_recipes, recipes
from persim_gym.policies.saved import load_policy
from persim_gym.policies.shipped import behaviour_recipes, check_spaces, load_shipped, nearest
from persim_gym.policies.training import CARD_EPISODES, CARD_SEED, _identity
from persim_gym.rollout import play_returns

EVERY = all_recipes()
NAMES = [f"{recipe.task}-{recipe.name}" for recipe in EVERY]
DOCS = Path(__file__).parents[2] / "docs" / "behaviours.md"


def own_returns(recipe: Recipe, episodes: int, seed: int) -> np.ndarray:
    suite = find_suite(recipe.task)
    dynamics = suite.dynamics(Population.single(suite.covariates, recipe.covariates))
    policy = load_shipped(recipe.task, recipe.name)
    return play_returns(suite.task(), dynamics, policy, np.zeros(episodes, dtype=np.int64), seed)


# -- what there is ---------------------------------------------------------------------------------


def test_what_ships_is_small_and_nothing_else_lies_there() -> None:
    files = [path for path in shipped.WEIGHTS.rglob("*") if path.is_file()]
    expected = {f"{r.task}/{r.name}.{end}" for r in EVERY for end in ("safetensors", "json")}
    assert {str(path.relative_to(shipped.WEIGHTS)) for path in files} == expected
    assert sum(path.stat().st_size for path in files) < 6_000_000


@pytest.mark.parametrize("recipe", EVERY, ids=NAMES)
def test_a_card_says_how_the_policy_was_made(recipe: Recipe) -> None:
    card = load_shipped(recipe.task, recipe.name).card
    assert card["recipe"] == _identity(recipe, recipe.seed)
    assert card["algorithm"] == load_shipped(recipe.task, recipe.name).name
    assert (card["task"], card["name"], card["seed"]) == (recipe.task, recipe.name, recipe.seed)
    assert card["covariates"] == dict(recipe.covariates)
    assert 0 < card["steps"] <= card["max_steps"]
    assert card["episodes"] == 100
    beside = (shipped.WEIGHTS / recipe.task / f"{recipe.name}.json").read_text()
    assert {key: json.loads(beside)[key] for key in card} == card


# -- what they earn --------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", EVERY, ids=NAMES)
def test_the_return_of_the_card_is_near_the_target(recipe: Recipe) -> None:
    card = load_shipped(recipe.task, recipe.name).card
    assert card["reached"]
    # The 100 episodes of the card are others than those by which training was stopped.
    slack = 3 * card["sd_return"] / np.sqrt(CARD_EPISODES)
    assert abs(card["mean_return"] - recipe.target) <= recipe.band + slack


@pytest.mark.parametrize(
    "recipe", [recipe for recipe in EVERY if recipe.task != "half-cheetah"], ids=lambda r: r.name
)
def test_the_return_of_the_card_is_what_the_policy_earns(recipe: Recipe) -> None:
    card = load_shipped(recipe.task, recipe.name).card
    returns = own_returns(recipe, CARD_EPISODES, CARD_SEED)
    # Not to the digit: another machine's products of matrices round differently.
    assert returns.mean() == pytest.approx(card["mean_return"], rel=0.03)
    assert returns.std(ddof=1) == pytest.approx(card["sd_return"], rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", recipes("half-cheetah"), ids=lambda r: r.name)
def test_a_cheetah_earns_about_what_its_card_says(recipe: Recipe) -> None:
    card = load_shipped(recipe.task, recipe.name).card
    returns = own_returns(recipe, 10, 5)
    error = 5 * card["sd_return"] / np.sqrt(len(returns))
    assert abs(returns.mean() - card["mean_return"]) < error


# -- predict ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", EVERY, ids=NAMES)
def test_one_observation_and_many_give_the_same_actions(recipe: Recipe) -> None:
    policy, task = load_shipped(recipe.task, recipe.name), find_suite(recipe.task).task()
    obs = task.sample_start(np.random.default_rng(0), 20).astype(np.float32)
    many, state = policy.predict(obs)
    assert state is None
    assert len(many) == 20
    one = [policy.predict(row)[0] for row in obs]
    assert all(task.action_space.contains(action) for action in one)
    if isinstance(task.action_space, Discrete):
        assert np.array_equal(many, one)
    else:
        np.testing.assert_allclose(many, one, atol=1e-5)


def test_a_policy_of_another_task_is_refused() -> None:
    policy = load_shipped("cartpole", TEST)
    check_spaces(policy, find_suite("cartpole").task())
    with pytest.raises(ValueError, match=r"observations are not those of mountain-car"):
        check_spaces(policy, find_suite("mountain-car").task())


# -- nearest ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", SUITES)
def test_nearest_is_that_of_a_brute_force(task: str) -> None:
    suite = find_suite(task)
    people = suite.population(300)
    trained = [list(recipe.covariates.values()) for recipe in behaviour_recipes(task)]
    expected = []
    for row in people.values.tolist():
        best, least = -1, float("inf")
        for index, covariates in enumerate(trained):
            square = 0.0
            for own, other, column in zip(row, covariates, suite.covariates.columns, strict=True):
                square += ((own - other) / (column.high - column.low)) ** 2
            if square < least - 1e-12:
                best, least = index, square
        expected.append(best)
    found = nearest(task, people.values)
    assert found.tolist() == expected
    assert set(expected) == set(range(len(trained)))


def test_distances_are_in_shares_of_the_ranges() -> None:
    # Unscaled, the force alone would decide: 10.5 is nearer to 10 than to 14 by far, and a pole
    # of 0.66 next to one of 0.675.
    assert nearest("cartpole", np.array([[11.5, 0.66]])).tolist() == [3]
    assert nearest("cartpole", np.array([[14.0, 0.6]])).tolist() == [1]


def test_the_first_of_equally_near_ones_acts() -> None:
    assert nearest("half-cheetah", np.array([[1.0, 1.0]])).tolist() == [0]
    assert nearest("half-cheetah", np.array([[0.6, 1.0]])).tolist() == [2]
    assert nearest("mountain-car", np.array([[0.00125]])).tolist() == [1]
    assert nearest("cartpole", np.array([[8.0, 0.5]])).tolist() == [0]


def test_nearest_needs_all_covariates() -> None:
    with pytest.raises(ValueError, match=r"shape \(agents, 2\), got \(3, 1\)"):
        nearest("cartpole", np.ones((3, 1)))


# -- bad names and bad files -----------------------------------------------------------------------


def test_unknown_names_are_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="unknown task 'chess': there are mountain-car"):
        load_shipped("chess", TEST)
    with pytest.raises(ValueError, match=r"unknown policy 'best' of cartpole: .*length-0.5.*test"):
        load_shipped("cartpole", "best")
    assert load_shipped("PerSim-CartPole-v0", TEST) is load_shipped("cartpole", TEST)


def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of one policy's file, where it is looked for."""
    file = tmp_path / "cartpole" / "test.safetensors"
    file.parent.mkdir()
    file.write_bytes((shipped.WEIGHTS / "cartpole" / "test.safetensors").read_bytes())
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path)
    monkeypatch.setattr(shipped, "_read", shipped._read.__wrapped__)
    load_shipped("cartpole", TEST)
    return file


def test_missing_weights_are_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied(tmp_path, monkeypatch).unlink()
    with pytest.raises(ValueError, match=r"test of cartpole are missing.*policies train"):
        load_shipped("cartpole", TEST)


@pytest.mark.parametrize("kept", [0, 5, 200, 0.5, 0.99])
def test_truncated_weights_are_refused(
    kept: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = copied(tmp_path, monkeypatch)
    whole = file.read_bytes()
    file.write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
    with pytest.raises(ValueError, match="no whole safetensors file"):
        load_shipped("cartpole", TEST)


def test_altered_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = copied(tmp_path, monkeypatch)
    altered = bytearray(file.read_bytes())
    altered[-1] ^= 1
    file.write_bytes(altered)
    with pytest.raises(ValueError, match="altered"):
        load_shipped("cartpole", TEST)


def test_a_foreign_file_and_a_pickle_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = copied(tmp_path, monkeypatch)
    save_file(load_file(file), file)
    with pytest.raises(ValueError, match="not one that persim_gym has written"):
        load_shipped("cartpole", TEST)
    torch.save({"weight": torch.zeros(2)}, file)
    with pytest.raises(ValueError, match="no whole safetensors file"):
        load_shipped("cartpole", TEST)


def test_a_policy_that_does_not_fit_its_task_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = (shipped.WEIGHTS / "mountain-car" / "test.safetensors").read_bytes()
    copied(tmp_path, monkeypatch).write_bytes(other)
    with pytest.raises(ValueError, match="observations are not those of cartpole"):
        load_shipped("cartpole", TEST)


# -- the guide -------------------------------------------------------------------------------------


def test_the_table_of_the_guide_is_that_of_the_cards() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| `([\w.-]+)` \|(.*)\|$", DOCS.read_text(), re.MULTILINE)
    said = {(task, name): [cell.strip() for cell in rest.split("|")] for task, name, rest in rows}
    assert list(said) == [(recipe.task, recipe.name) for recipe in EVERY]
    for (task, name), cells in said.items():
        card = load_policy(shipped.WEIGHTS / task / f"{name}.safetensors").card
        assert cells[:5] == [
            card["algorithm"].upper(),
            f"{card['steps']:,}",
            str(card["seed"]),
            f"{card['target']:g}",
            f"{card['mean_return']:.0f} ({card['sd_return']:.0f})",
        ]
