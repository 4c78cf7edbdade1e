"""Arguments and options that several commands share, and how their text is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from persim_gym import checks

#: More threads than any machine has cores for: the system's own limit is no clean error.
MOST_THREADS = 1024

TASKS = ("cartpole", "mountain-car", "half-cheetah")


def complete_task() -> list[str]:
    """Task names for the shell's completion."""
    return list(TASKS)


Task = Annotated[
    str,
    typer.Argument(
        metavar="TASK", help=f"One of {', '.join(TASKS)}.", autocompletion=complete_task
    ),
]


def _parsed(check: Callable[[str, Any], Path], name: str) -> Callable[[Any], Path]:
    """A parser for an option: what the check says, Click reports."""

    def parse(value: Any) -> Path:
        try:
            return check(name, value)
        except (TypeError, ValueError) as error:
            raise typer.BadParameter(str(error)) from None

    return parse


def folder_to_write(help_text: str, **more: Any) -> Any:
    """The option ``--out`` of a command that writes a folder: checked before any work."""
    parse = _parsed(checks.output_folder, "--out")
    return typer.Option(metavar="FOLDER", help=help_text, parser=parse, **more)


def file_to_write(name: str, help_text: str, suffixes: Sequence[str]) -> Any:
    """An option of a command that writes one file: checked before any work."""

    def check(name: str, value: Any) -> Path:
        return checks.output_file(name, value, suffixes)

    return typer.Option(metavar="FILE", help=help_text, parser=_parsed(check, name))


def path_to_read(metavar: str, help_text: str) -> Any:
    """An argument that names a file or folder."""
    parse = _parsed(checks.as_path, metavar)
    return typer.Argument(metavar=metavar, help=help_text, parser=parse)


#: Folder of logs, in that of what is made.
LOGS = "logs"
Log = Annotated[
    str | None,
    typer.Option(
        metavar="KIND",
        help="Log numbers on the way to FOLDER/logs: json or tensorboard.",
        show_default="no log",
    ),
]
Simulator = Annotated[
    Path, path_to_read("SIM", "Folder of a fitted simulator, such as runs/cartpole.")
]
Model = Annotated[
    str,
    typer.Argument(
        metavar="SIM_OR_TASK", help="Folder of a fitted simulator, or a task's name for the truth."
    ),
]
Dataset = Annotated[
    str,
    typer.Argument(metavar="DATASET", help="Id of a data set, such as persim/cartpole/random-v0."),
]
Agent = Annotated[
    str, typer.Option("--agent", "--agents", metavar="NAME", help="The agent, by name or index.")
]
SomeAgents = Annotated[
    str,
    typer.Option(
        "--agent",
        "--agents",
        metavar="LIST",
        help="Agents by name, such as alice,bob, or by index, such as 0-4 or 0,3,7.",
    ),
]
Agents = SomeAgents
Reward = Annotated[
    str | None,
    typer.Option(
        metavar="EXPRESSION",
        help='Another reward: an expression over columns, such as "-abs(next.glucose - 110) - '
        '0.1*dose", or file.py:function.',
        show_default="the task's, or the one learned from the data",
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="DATA",
        help="Own data: the record, a table with the columns of the fit or a data set.",
        show_default="where the fit has read it",
    ),
]
Start = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Own data: step of the agent's record to start from; -1 is the last step.",
    ),
]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Seed of everything random.")]
Device = Annotated[str, typer.Option(metavar="NAME", help="Where to compute: cpu, cuda, cuda:1.")]
Threads = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        max=MOST_THREADS,
        help="CPU threads.",
        show_default="PyTorch's choice",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Ranges = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=LOW:HIGH",
        help="Own range of a covariate, such as force=5:15; can be repeated. Without test agents.",
        show_default=False,
    ),
]


def examples(*command_lines: str) -> str:
    """The end of a help page: command lines, one a line."""
    # Click fills paragraphs, except those that a backspace marks as laid out.
    return "\b\n" + "\n".join(["Examples:", *(f"  persim-gym {line}" for line in command_lines)])


def parse_agents(text: str) -> list[int]:
    """Agents of a list such as ``"0-4"`` or ``"0,3,7"``, in the order given, each once.

    Raises:
        ValueError: If the text is no such list.
    """
    agents: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if match is None:
            raise ValueError(f"agents must be like 0-4 or 0,3,7, got {text!r}")
        first = int(match[1])
        last = int(match[2] or first)
        if last < first:
            raise ValueError(f"agents {part.strip()!r} run backwards: write {last}-{first}")
        if last - first >= 1_000_000:
            raise ValueError(f"agents {part.strip()!r} are too many: a million is the limit")
        agents |= dict.fromkeys(range(first, last + 1))
    return list(agents)


def parse_ranges(texts: Sequence[str] | None) -> dict[str, tuple[float, float]]:
    """Ranges ``{name: (low, high)}`` of texts such as ``"force=5:15"``.

    Raises:
        ValueError: If a text is no such range, or a covariate is named twice.
    """
    ranges: dict[str, tuple[float, float]] = {}
    for text in texts or ():
        name, _, pair = text.partition("=")
        low, _, high = pair.partition(":")
        try:
            ends = float(low), float(high)
        except ValueError:
            raise ValueError(f"a range must be like force=5:15, got {text!r}") from None
        if name.strip() in ranges:
            raise ValueError(f"there are two ranges of {name.strip()!r}: give one")
        ranges[name.strip()] = ends
    return ranges


def population(
    size: int | None, seed: int | None, ranges: Sequence[str] | None
) -> dict[str, Any] | None:
    """``population=`` of what was given on the command line; ``None`` if nothing was."""
    given = {"size": size, "seed": seed, "ranges": parse_ranges(ranges)}
    return {key: value for key, value in given.items() if value not in (None, {})} or None
