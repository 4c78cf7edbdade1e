"""Options of all commands: one name for a meaning, one meaning for a name, help for all."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from persim_gym.cli.command import Command
from persim_gym.cli.table_options import Columns
from tests.cli.commands import COMMAND, invoke, run

#: Names of which the help says something else where there is one of a kind, or several.
ONE_OR_SEVERAL = {"--agent"}


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, command in (group or COMMAND).commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(commands())
GROUPS = {name.split()[0] for name in COMMANDS if " " in name}


def options(command: Any) -> list[Any]:
    return [option for option in command.params if option.opts[0].startswith("-")]


def meaning(text: str) -> str:
    """What an option is, without what is special about it in one command."""
    return re.split(r"[:;]|\.(?:\s|$)", text)[0].strip()


@pytest.mark.parametrize("name", [*COMMANDS, *sorted(GROUPS)])
def test_every_command_has_help_of_80_columns_with_an_example(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = run(*name.split(), "--help").stdout
    assert max(map(len, text.splitlines())) <= 80
    assert name in GROUPS or f"  persim-gym {name}" in text.split("Examples:")[1]
    assert not re.search(r"x[<>]=|default: \(|<str>|<Path>|\x08", text)


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_of_options_that_the_help_shows(name: str) -> None:
    shown = {opt for one in options(COMMANDS[name]) for opt in (*one.opts, *one.secondary_opts)}
    lines = COMMANDS[name].epilog.replace("\\\n", " ").splitlines()
    own = [line for line in lines if line.strip().startswith(f"persim-gym {name}")]
    assert own
    for line in own:
        assert {word for word in line.split() if re.match(r"--[a-z]", word)} <= shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_one_long_name_and_a_help(name: str) -> None:
    assert isinstance(COMMANDS[name], Command)
    for option in options(COMMANDS[name]):
        assert len([opt for opt in option.opts if opt.startswith("--")]) == 1
        assert option.help
        assert option.help.endswith((".", '."'))
        assert option.metavar or option.is_flag


def test_a_name_means_the_same_in_every_command() -> None:
    meanings: dict[str, set[str]] = defaultdict(set)
    for command in COMMANDS.values():
        for option in options(command):
            meanings[option.opts[0]].add(meaning(option.help))
    several = {name: said for name, said in meanings.items() if len(said) > 1}
    assert several.keys() <= ONE_OR_SEVERAL, several


def test_a_meaning_has_one_name() -> None:
    names: dict[str, set[str]] = defaultdict(set)
    for command in COMMANDS.values():
        for option in options(command):
            names[option.help].add(option.opts[0])
    assert {said: own for said, own in names.items() if len(own) > 1} == {}


def test_every_command_that_reads_a_table_takes_the_same_options() -> None:
    table = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(Columns)}
    reading = set()
    for name, command in COMMANDS.items():
        own = {opt for option in options(command) for opt in option.opts}
        names = [option.metavar for option in command.params if option.opts[0] != "--fitted-on"]
        if {"DATA", "SIM_OR_DATA"} & {*names}:
            reading.add(name)
            assert table <= own, name
        else:
            assert not {"--agent-column", "--state"} & own
    assert {"fit", "adapt", "validate", "baseline", "explore", "plan", "render"} <= reading


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
