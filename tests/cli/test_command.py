"""What every command has: options with one name each, and plain help."""

from __future__ import annotations

import pytest

from persim_gym.cli.command import _plainly
from tests.cli.commands import COMMANDS, invoke, options, run


@pytest.mark.parametrize(
    ("command", "former", "present"),
    [
        ("plan", "--agents", "--agent"),
        ("adapt", "--agents", "--agent"),
        ("plan", "--steps", "--max-steps"),
        ("render", "--steps", "--max-steps"),
        ("render", "--behaviour", "--policy"),
        ("record", "--policy", "--behaviour"),
        ("fit", "--reward", "--reward-column"),
        ("validate", "--horizons", "--horizon"),
        ("agents", "--size", "--population-size"),
        ("agents", "--seed", "--population-seed"),
        ("benchmark", "--dataset", "--behaviour"),
        ("datasets show", "--plot", "--out"),
    ],
)
def test_former_names_are_taken_and_not_shown(command: str, former: str, present: str) -> None:
    own = COMMANDS[command]
    assert own.former[former] == present
    assert former not in {opt for option in options(own) for opt in option.opts}
    given = invoke(*command.split(), former)
    assert f"'{present}'" in given.stderr or present in given.stderr
    assert f"no such option: {former}" not in given.stderr


def test_a_former_name_gives_what_the_present_one_gives() -> None:
    def out(*words: str) -> str:
        return run("agents", "cartpole", "--csv", *words).stdout

    assert out("--size=7", "--seed", "3") == out("--population-size", "7", "--population-seed=3")
    assert out("--size=7", "--seed", "3") != out("--size=7", "--seed", "4")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Steps.  [default: (5); x>=1]", "Steps.  [default: 5]"),
        ("Steps.  [x>=1]", "Steps."),
        ("Port.  [default: 0; 0<=x<=65535]", "Port.  [default: 0; 0 to 65535]"),
        ("Share.  [default: (the task's; the planner's); x>=1; required]",
         "Share.  [default: the task's; the planner's; required]"),
        ("Nothing to say.", "Nothing to say."),
    ],
)  # fmt: skip
def test_help_is_without_the_signs_of_programs(text: str, plain: str) -> None:
    assert _plainly(text) == plain


def test_what_comes_after_two_hyphens_is_no_option() -> None:
    command = COMMANDS["plan"]
    words = ["--agents", "0", "--agents=1", "--", "--agents"]
    assert list(command._present(words)) == ["--agent", "0", "--agent=1", "--", "--agents"]
