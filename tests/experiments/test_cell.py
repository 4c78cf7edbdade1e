"""Cells: their keys, their JSON, and what they refuse."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from persim_gym.experiments.cell import Cell
from tests.experiments.paper_cells import quick, tiny

CELL = tiny("reward", planner="default", penalty=0.5)


#: Another value of each field.
OTHER: dict[str, Any] = {
    "experiment": "prediction",
    "task": "mountain-car",
    "dataset": "pure",
    "method": "one-for-all",
    "seed": 1,
    "agents": (0, 2),
    "train_agents": 26,
    "episodes": 3,
    "max_episode_steps": 6,
    "planner": "paper",
    "penalty": 0.6,
    "fit": (("degree", 3),),
}


def test_a_key_depends_on_every_field() -> None:
    assert set(OTHER) == {field.name for field in fields(Cell)}
    keys = {name: replace(CELL, **{name: value}).key for name, value in OTHER.items()}
    assert len({CELL.key, *keys.values()}) == len(OTHER) + 1


def test_a_key_is_stable_and_tells_what_it_is() -> None:
    # Written down: rows of an earlier version must be found by a later one.
    assert CELL.key == "reward_cartpole_random_persim_default_n25_s0_82befe1ff0"
    assert quick(seed=3, train_agents=500).key.startswith("prediction_cartpole_persistence_s3_")
    assert set(CELL.key) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")


def test_options_of_a_fit_have_no_order() -> None:
    one = tiny(fit=(("rank", 2), ("state_hidden", [8, 8])))
    other = tiny(fit=(("state_hidden", (8, 8)), ("rank", 2)))
    assert one == other
    assert one.key == other.key
    assert hash(one) == hash(other)


@pytest.mark.parametrize("cell", [CELL, quick(), tiny("unseen"), tiny(fit=(("hidden", [8, 8]),))])
def test_json_and_back(cell: Cell) -> None:
    again = Cell.from_json(json.loads(json.dumps(cell.to_json())))
    assert again == cell
    assert again.key == cell.key


def test_what_is_fitted_together() -> None:
    same = ("experiment", "agents", "episodes", "max_episode_steps", "planner", "penalty")
    for name, value in OTHER.items():
        other = replace(CELL, **{name: value})
        assert (other.fit_key == CELL.fit_key) == (name in same), name
    assert quick().fit_key is None


def test_repeats_are_one_group() -> None:
    assert replace(CELL, seed=4).group == CELL
    assert replace(CELL, seed=4, episodes=3).group != CELL


def test_in_words() -> None:
    assert CELL.describe() == "reward cartpole random persim default 25 agents seed 0"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"experiment": "guess"}, "unknown experiment 'guess': there are prediction"),
        ({"task": "pendulum"}, "unknown task 'pendulum': there are"),
        ({"dataset": "expert"}, "unknown data set 'expert': there are pure"),
        ({"agents": ()}, "one or more different ones"),
        ({"agents": (1, 1)}, "one or more different ones"),
        ({"agents": (-1,)}, "an agent must be at least 0"),
        ({"agents": (0, 25)}, "agent 25 is judged but not among the 25 agents"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"train_agents": 0}, "train_agents must be at least 1"),
        ({"episodes": 0}, "episodes must be at least 1"),
        ({"max_episode_steps": 0}, "max_episode_steps must be at least 1"),
        ({"penalty": -0.1}, "penalty must be a number of at least 0"),
        ({"penalty": float("nan")}, "penalty must be a number"),
    ],
)
def test_cells_that_cannot_be(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        replace(CELL, **changes)


def test_unseen_agents_are_of_the_population() -> None:
    assert tiny("unseen", agents=(499,)).population_size == 500
    with pytest.raises(ValueError, match="the population has 500 agents"):
        tiny("unseen", agents=(500,))


@pytest.mark.parametrize("changes", [{"seed": 1.0}, {"episodes": True}, {"agents": ("0",)}])
def test_numbers_are_whole(changes: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="must be an integer"):
        replace(CELL, **changes)


@pytest.mark.parametrize("changes", [{"agents": 3}, {"fit": [1]}, {"colour": "red"}])
def test_json_that_is_no_cell(changes: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"list of agents|options by name|unexpected keyword"):
        Cell.from_json({**CELL.to_json(), **changes})


def test_equal_penalties_have_one_key() -> None:
    whole, half = (
        Cell(experiment="reward", task="cartpole", dataset=None, method="true", penalty=penalty)
        for penalty in (1, 1.0)
    )
    assert whole.key == half.key
