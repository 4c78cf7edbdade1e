"""Options of a table: one definition, and what they say to the reader of tables."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import typer

from persim_gym.cli.command import Commands
from persim_gym.cli.table_options import Columns, takes_table
from persim_gym.offline import read_table


def parsed(*words: str, own_reward: bool = False) -> Columns:
    """What a command that reads a table is given by some words."""
    found: list[Columns] = []
    app = Commands()

    if own_reward:

        @app.command()
        @takes_table
        def judge(reward: str = "", *, columns: Columns) -> None:
            found.append(columns)
    else:

        @app.command()
        @takes_table
        def read(*, columns: Columns) -> None:
            found.append(columns)

    typer.main.get_command(app)(list(words), standalone_mode=False)
    return found[0]


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ((), {}),
        (("--agent-column", "patient id", "--state", 'hb,"dose, mg"'),
         {"agent": "patient id", "state": ["hb", "dose, mg"]}),
        (("--reward", "r"), {"reward": "r"}),
        (("--drop",), {"missing": "drop", "short": "drop"}),
        (("--continuous-actions",), {"discrete_actions": False}),
        (("--max-gap", "2weeks"), {"max_gap": 1_209_600.0}),
        (("--angle", "heading"), {"angles": ["heading"]}),
        (("--angle", "wind=360", "--angle", "cos,sin"),
         {"angles": [("wind", 360.0), ("cos", "sin")]}),
        (("--angle", "a=b"), {"angles": ["a=b"]}),
        (("--bounds", "x=0:", "--unit", "x=mg"), {"bounds": {"x": (0.0, None)},
                                                  "units": {"x": "mg"}}),
    ],
)  # fmt: skip
def test_options_are_arguments_of_the_reader(words: tuple[str, ...], arguments: Any) -> None:
    columns = parsed(*words)
    assert columns.arguments() == arguments
    assert arguments.keys() <= inspect.signature(read_table).parameters.keys()
    assert parsed(*columns.words()) == columns


def test_another_reward_of_a_command_is_not_the_columns() -> None:
    assert parsed("--reward", "x", own_reward=True) == Columns()
    assert parsed("--reward-column", "x", own_reward=True) == Columns(reward_column="x")


@pytest.mark.parametrize("wrong", ["", "a,b,c", '"a'])
def test_what_is_no_angle(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"--angle is|can not be read"):
        Columns(angle=[wrong]).arguments()


def test_a_time_that_is_none_is_refused_by_its_option() -> None:
    with pytest.raises(typer.BadParameter, match="a time is a number"):
        parsed("--max-gap", "soon")


@pytest.mark.parametrize(
    "words",
    [
        ("--agent-column", "patient id", "--state", 'hb,"dose, mg"'),
        ("--drop", "--continuous-actions"),
        ("--discrete-actions", "--angle", "wind=360", "--angle", "cos,sin"),
        ("--max-gap", "2weeks"),
        ("--max-gap", "0"),
    ],
)
def test_given_options_are_the_words_that_give_them_again(words: tuple[str, ...]) -> None:
    columns = parsed(*words)
    assert {word for word in words if word.startswith("--")} == {*columns.given()}
    assert parsed(*columns.words()) == columns
