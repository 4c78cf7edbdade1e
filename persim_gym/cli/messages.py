"""What the library says of its arguments, in the words of the command line.

A message of the library names what Python gives it: ``missing='drop'``, ``ensemble_size=2``. Who
typed a command can give options only: ``--drop``, ``--ensemble-size 2``. Which option an argument
is, the commands themselves say by the names of their parameters.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

#: Key of the command that runs, in a context's ``meta``.
COMMAND = "persim_gym.command"
#: The command that runs, and the group of all commands.
RUNNING: ContextVar[tuple[Any, Any]] = ContextVar("RUNNING", default=(None, None))

#: Arguments that are called otherwise than the commands' parameters.
CALLED = {
    "missing": "--drop",
    "short": "--drop",
    "overwrite": "--force",
    "max_episode_steps": "--max-steps",
    "size": "--population-size",
    "angles": "--angle",
    "units": "--unit",
    "behaviour": "--behaviour-column",
}
#: Of a table, whose options are called by what a column holds.
COLUMNS = {name: f"--{name}-column" for name in ("agent", "time", "step", "episode")}
#: Arguments within arguments.
INSIDE = (
    (re.compile(r"population=\{'ranges': \{'(\w+)': \[low, high\]\}\}"), r"--ranges \1=LOW:HIGH"),
    (re.compile(r"bounds=\{'([^']*)': \(None, None\)\}"), r"--bounds \1=:"),
    (re.compile(r"columns=\{[^{}]*\}"), "--agent-column, --time-column, --state and --action"),
)

#: What only Python has, and what is the same on a command line.
PYTHON = {
    "persim_gym.offline.record": "persim-gym record",
    "PerSim.fit": "persim-gym fit",
    "others are given as a function of the observations or as an object with predict()": "or the "
    "folder of a policy that persim-gym train or baseline has made",
}

# Not inside of another word, a path or what is quoted: those are the user's own.
_BEFORE = r"(?<![\w\-./'\"=])"
_VALUE = r"'[^']*'|\"[^\"]*\"|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w:])|True|False|None|\.\.\."
_GIVEN = re.compile(rf"{_BEFORE}([a-z][a-z0-9_]*)=(?:({_VALUE})|(?![\w{{\[('\"<=-]))")
_NAMED = re.compile(rf"{_BEFORE}([a-z]+(?:_[a-z0-9]+)+)(?![\w/'\"(=]|\.\w)")
_FIRST = re.compile(r"(?:^|(?<=: ))([a-z]+)(?= (?:must|names?) )")
#: What a message says for both, and its half that is of Python.
_BOTH = re.compile(r"(?: on the command line)?,(?: or)? [\w.]+[=(]\S* in Python\b")


def in_words(text: str, command: Any, root: Any = None) -> str:
    """A message in the words of a command line.

    Args:
        text: The message.
        command: The command that was given; without one nothing is changed.
        root: The group of all commands: many a message says how to fit, such as with
            ``method='als'``, so options of ``fit`` are known in all.
    """
    if command is None:
        return text
    own = _arguments(command)
    others = _arguments(root.commands["fit"]) if root is not None else {}

    def given(match: re.Match[str]) -> str:
        name, value = match[1], match[2]
        option = own.get(name) or others.get(name)
        return match[0] if option is None else _as_option(option, value) or match[0]

    def named(match: re.Match[str]) -> str:
        return own[match[1]][0] if match[1] in own else match[0]

    text = _BOTH.sub("", text)
    for said, instead in PYTHON.items():
        text = text.replace(said, instead)
    for pattern, words in INSIDE:
        text = pattern.sub(words, text)
    return _FIRST.sub(named, _NAMED.sub(named, _GIVEN.sub(given, text)))


def as_typed(text: str) -> str:
    """A message in the words of the command that runs."""
    return in_words(text, *RUNNING.get())


def _as_option(option: tuple[str, str, bool], value: str | None) -> str:
    """An option with its value; nothing where a switch has a number, which is something else."""
    name, off, is_switch = option
    if not is_switch:
        plain = "" if value in (None, "...") else str(value).strip("'\"")
        return f"{name} {shlex.quote(plain)}" if plain else name
    if value == "False":
        return off
    return name if value is None or value == "True" or value[0] in "'\"" else ""


def _arguments(command: Any) -> dict[str, tuple[str, str, bool]]:
    """Options of a command by the arguments that they give: name, name of the opposite, switch."""
    found: dict[str, tuple[str, str, bool]] = {}
    by_name: dict[str, tuple[str, str, bool]] = {}
    for option in getattr(command, "params", ()):
        if not option.opts[0].startswith("-"):
            continue
        off = (option.secondary_opts or [""])[0]
        what = (option.opts[0], off, bool(option.is_flag))
        by_name[option.opts[0]] = what
        found |= {option.name: what, option.opts[0].lstrip("-").replace("-", "_"): what}
    return _of(by_name, COLUMNS) | found | _of(by_name, CALLED)


def _of(options: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {name: options[option] for name, option in names.items() if option in options}
