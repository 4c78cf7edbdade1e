"""Arguments and options that several commands share, and how their text is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from persim_gym import checks
from persim_gym.cli import complete, complete_agents

#: More threads than any machine has cores for: the system's own limit is no clean error.
MOST_THREADS = 1024

TASKS = complete.TASKS
ONE_TASK = f"Task: {', '.join(TASKS)}."
Task = Annotated[
    str, typer.Argument(metavar="TASK", help=ONE_TASK, autocompletion=complete.words(*TASKS))
]
TaskOption = Annotated[
    str,
    typer.Option("--task", metavar="TASK", help=ONE_TASK, autocompletion=complete.words(*TASKS)),
]


def _parsed(check: Callable[[str, Any], Path], name: str) -> Callable[[Any], Path]:
    """A parser for an option: what the check says, Click reports."""

    def parse(value: Any) -> Path:
        try:
            return check(name, value)
        except (TypeError, ValueError) as error:
            raise typer.BadParameter(str(error)) from None

    return parse


def folder_to_write(what: str, **more: Any) -> Any:
    """The option ``--out`` of a command that writes a folder: checked before any work."""
    parse = _parsed(checks.output_folder, "--out")
    return typer.Option("--out", metavar="FOLDER", help=f"Output: {what}.", parser=parse, **more)


def file_to_write(what: str, suffixes: Sequence[str], *former: str) -> Any:
    """The option ``--out`` of a command that writes one file: checked before any work."""

    def check(name: str, value: Any) -> Path:
        return checks.output_file(name, value, suffixes)

    parse = _parsed(check, "--out")
    return typer.Option("--out", *former, metavar="FILE", help=f"Output: {what}.", parser=parse)


def force(what: str) -> Any:
    """The switch ``--force``."""
    return typer.Option("--force", help=f"Replace what is there: {what}.")


def path_to_read(metavar: str, help_text: str, **more: Any) -> Any:
    """An argument that names a file or folder."""
    parse = _parsed(checks.as_path, metavar)
    return typer.Argument(metavar=metavar, help=help_text, parser=parse, **more)


def count(
    help_text: str, default: str | bool | None = None, *names: str, least: int = 1, **more: Any
) -> Any:
    """An option that is a whole number; ``default`` says what it is where it is not given."""
    return number(help_text, default, *names, metavar="N", min=least, **more)


def number(
    help_text: str, default: str | bool | None = None, *names: str, metavar: str = "X", **more: Any
) -> Any:
    """An option that is a number; ``default`` says what it is where it is not given."""
    if default is not None:
        more["show_default"] = default
    return typer.Option(*names, metavar=metavar, help=help_text, **more)


#: Folder of logs, in that of what is made.
LOGS = "logs"
Log = Annotated[
    str | None,
    typer.Option(
        metavar="KIND",
        help="Log numbers on the way to FOLDER/logs: json or tensorboard.",
        show_default="no log",
        autocompletion=complete.words("json", "tensorboard"),
    ),
]
Simulator = Annotated[
    Path,
    path_to_read(
        "SIM",
        "Folder of a fitted simulator, such as runs/cartpole.",
        autocompletion=complete.runs,
    ),
]
Model = Annotated[
    str,
    typer.Argument(
        metavar="SIM_OR_TASK",
        help="Folder of a fitted simulator, or a task's name for its true dynamics.",
        autocompletion=complete.runs_or_tasks,
    ),
]
Dataset = Annotated[
    str,
    typer.Argument(
        metavar="DATASET",
        help="Id of a data set, such as persim/cartpole/random-v0.",
        autocompletion=complete.datasets,
    ),
]
DatasetOrTable = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="Id of a data set, such as persim/cartpole/random-v0, or a table: a .parquet, .csv or "
        ".tsv.",
        autocompletion=complete.datasets_or_tables,
    ),
]


def _agent(metavar: str, help_text: str, **more: Any) -> Any:
    return typer.Option(
        "--agent", "--agents", metavar=metavar, help=help_text,
        autocompletion=complete_agents.agents, **more,
    )  # fmt: skip


ONE = "Agent, by name or index."
SEVERAL = "Agents by name or index, such as alice,bob or 0-4 or 0,3,7."
Agent = Annotated[str, _agent("NAME", ONE)]
AgentOrAll = Annotated[str | None, _agent("NAME", ONE, show_default="all")]
SomeAgents = Annotated[str, _agent("LIST", SEVERAL)]
NewAgents = Annotated[
    str | None, _agent("LIST", SEVERAL, show_default="all that the simulator does not have")
]
AgentsOrAll = Annotated[str | None, _agent("LIST", SEVERAL, show_default="all")]
#: Of the command whose ``--agents`` is their number.
RecordedAgents = Annotated[
    str | None, typer.Option("--agent", metavar="LIST", help=SEVERAL, show_default="--agents")
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
        help="Data to use: a data set's id, or a table.",
        show_default="those of the fit",
        autocompletion=complete.datasets_or_tables,
    ),
]
Start = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Own data: step of the agent's record to start from; -1 is the last step.",
    ),
]
FITTED = "Method: als (closed form), sgd (networks), hierarchical, latent, auto (the best)."
_METHODS = complete.words("auto", "als", "sgd", "hierarchical", "latent")
Method = Annotated[str, typer.Option(metavar="NAME", help=FITTED, autocompletion=_METHODS)]
OwnMethod = Annotated[
    str | None,
    typer.Option(
        "--method", metavar="NAME", help=FITTED, show_default="auto", autocompletion=_METHODS
    ),
]
Effort = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Effort of the search: quick, default, thorough.",
        show_default="default",
        autocompletion=complete.words("quick", "default", "thorough"),
    ),
]
EnsembleSize = Annotated[int | None, count("Members of the ensemble.", "the method's")]
Episodes = Annotated[int, count("Episodes of each agent.")]
Horizon = Annotated[int, count("Steps that are predicted ahead.")]
MaxSteps = Annotated[
    int | None, count("Steps of an episode at most.", "the task's", "--max-steps", "--steps")
]
DatasetId = Annotated[
    str | None,
    typer.Option(metavar="ID", help="Id of the data set.", show_default="made of what it holds"),
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="NAME",
        help="Format of the files: hdf5, arrow or parquet.",
        autocompletion=complete.words("hdf5", "arrow", "parquet"),
    ),
]
PopulationSize = Annotated[
    int | None, count("Agents of the population.", "500", "--population-size", "--size")
]
Seed = Annotated[int, count("Seed of everything random.", least=0)]
Device = Annotated[str, typer.Option(metavar="NAME", help="Where to compute: cpu, cuda, cuda:1.")]
Threads = Annotated[int | None, count("CPU threads.", "PyTorch's choice", max=MOST_THREADS)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Ranges = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=LOW:HIGH",
        help="Own range of a covariate, such as force=5:15; repeatable. Without test agents.",
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
