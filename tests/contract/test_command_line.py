"""Options of all commands: one name for a meaning, one meaning for a name, help for all."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections import defaultdict

import pytest

import persim_gym
from persim_gym.cli.command import Command
from persim_gym.cli.table_options import Columns
from tests.cli.commands import COMMANDS, options, run

#: Names of which the help says something else where there is one of a kind, or several.
ONE_OR_SEVERAL = {"--agent"}


#: In the order of work.
LISTED = [
    "demo", "agents", "policies", "record", "datasets", "fit", "adapt", "evaluate", "validate",
    "equations", "export", "hub", "plan", "train", "baseline", "generate", "render", "explore",
    "benchmark", "report",
]  # fmt: skip
GROUPS = {name.split()[0] for name in COMMANDS if " " in name}


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


def test_every_command_is_in_this_list_and_in_the_help() -> None:
    listed = run("--help").stdout.split("Commands:\n")[1].split("\n\n")[0]
    assert [line.split()[0] for line in listed.splitlines()] == LISTED
    assert all(not line.endswith("...") for line in listed.splitlines())


def test_no_command_shows_the_help() -> None:
    assert run().stdout == run("--help").stdout
    assert "delete" in run("datasets").stdout


def test_version() -> None:
    assert run("--version").stdout == f"persim-gym {persim_gym.__version__}\n"


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from persim_gym.cli import app\n"
        "try: app(['fit', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'minari', 'mujoco', 'pygame', 'stable_baselines3', 'matplotlib'}\n"
        "sys.exit(','.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_python_m_runs_the_command_line() -> None:
    command = [sys.executable, "-m", "persim_gym", "agents", "chess"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown task 'chess'")
