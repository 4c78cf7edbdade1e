"""The last line of a command: the next one to try, ready to be copied."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from persim_gym.cli.group import say

if TYPE_CHECKING:
    from persim_gym.learned.simulator import PerSim


def say_next(*words: object) -> None:
    """Say which command to try next, on stderr: what a command prints stays what it is.

    Args:
        *words: Its words after ``persim-gym``; they are quoted where a shell needs it.
    """
    line = " ".join(shlex.quote(str(word)) for word in words)
    if line.isprintable():  # what a terminal would not show can not be copied
        say("next", f"persim-gym {line}")


def agent_word(sim: PerSim | None, index: int) -> str:
    """An agent as ``--agent`` takes it: by its name, or its index where there is none."""
    if sim is None or not sim.agent_names:
        return str(index)
    name = sim.agent_names[index]
    try:
        return name if sim.names.parse(name) == index else f"name:{name}"
    except ValueError:  # a number that is also an index
        return f"name:{name}"


def beside(folder: Path, suffix: str) -> Path:
    """A folder's or a file's path beside another: ``runs/x-policy`` of ``runs/x``."""
    return folder.with_name(f"{folder.name}{suffix}")


__all__ = ["agent_word", "beside", "say_next"]
