"""Options of a command that takes a table of the user's own, and how the table is read by them."""

from __future__ import annotations

import contextlib
import csv
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persim_gym import checks
from persim_gym.cli.group import say

if TYPE_CHECKING:
    from persim_gym.offline.transitions import Transitions

_PANEL = "Columns of a table (.parquet, .csv, .tsv)"


def _column(help_text: str, metavar: str = "NAME", *names: str) -> Any:
    return typer.Option(
        *names, metavar=metavar, help=help_text, rich_help_panel=_PANEL, show_default=False
    )


def _time(text: Any) -> float:
    """A number, or a number with a unit of time, as seconds."""
    match = _TIME.fullmatch(str(text).strip())
    size = 1.0 if match is None or not match[2] else SECONDS.get(match[2].rstrip("s") or "s")
    if match is None or size is None:
        raise typer.BadParameter(f"a time is a number, or such as 36h, 10days or 2weeks: {text!r}")
    return float(match[1]) * size


_TIME = re.compile(r"([+-]?\d*\.?\d+(?:e[+-]?\d+)?|nan|inf) ?([a-z]*)")
SECONDS = {
    "s": 1,
    "sec": 1,
    "second": 1,
    "min": 60,
    "minute": 60,
    "h": 3600,
    "hour": 3600,
    "d": 86_400,
    "day": 86_400,
    "w": 604_800,
    "week": 604_800,
}

Agent = Annotated[str | None, _column("Table: column of the agent's id.")]
Time = Annotated[str | None, _column("Table: column of times, numbers or dates.")]
Step = Annotated[str | None, _column("Table: column of steps, instead of times.")]
Episode = Annotated[str | None, _column("Table: column of episodes, where an agent has several.")]
State = Annotated[
    str | None,
    _column("Table: columns of the state; a name with a comma in double quotes.", "NAME,..."),
]
Action = Annotated[str | None, _column("Table: columns of the action.", "NAME,...")]
Reward = Annotated[
    str | None,
    _column("Table: column of the reward, if there is one.", "NAME", "--reward-column", "--reward"),
]
#: The same of commands that have another reward, too.
RewardColumn = Annotated[
    str | None,
    _column("Table: column of the reward, if there is one.", "NAME", "--reward-column"),
]
Terminated = Annotated[
    str | None, _column("Table: column that is true where a state ended its episode.")
]
Discrete = Annotated[
    bool | None,
    typer.Option(
        "--discrete-actions/--continuous-actions",
        help="Table: what the actions are, if they do not look it.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
MaxGap = Annotated[
    float | None,
    typer.Option(
        metavar="TIME",
        help="Table: a longer time between rows ends a trajectory; between dates such as 36h, "
        "10days or 2weeks.",
        parser=_time,
        rich_help_panel=_PANEL,
        show_default="1.5 times the median",
    ),
]
Drop = Annotated[
    bool,
    typer.Option(
        "--drop",
        help="Table: leave out rows with a missing value, and agents without two rows in sequence.",
        rich_help_panel=_PANEL,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Table: what the task is called.",
        rich_help_panel=_PANEL,
        show_default="the file's name",
    ),
]

Bounds = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=LOW:HIGH",
        help="Possible values of a column, such as ferritin=0: or ph=6.5:8; repeatable.",
        rich_help_panel=_PANEL,
        show_default="one sign is kept",
    ),
]
Unit = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=UNIT",
        help="Unit of a column, such as ferritin=ug/L; repeatable.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]


def declared(data: Transitions, bounds: list[str] | None, units: list[str] | None) -> Transitions:
    """Data with the bounds and units of ``--bounds`` and ``--unit``.

    Raises:
        ValueError: If one can not be read, or does not fit the data.
    """
    from persim_gym.offline.declared import declare

    ends: dict[str, tuple[float | None, ...]] = {}
    for text in bounds or ():
        name, _, span = text.rpartition("=")
        low, colon, high = span.partition(":")
        try:
            ends[name] = tuple(float(end) if end.strip() else None for end in (low, high))
        except ValueError:
            colon = ""
        if not (name and colon):
            raise ValueError(f"--bounds is NAME=LOW:HIGH, such as ferritin=0:, got {text!r}")
    named = [text.partition("=") for text in units or ()]
    if wrong := [name + sign for name, sign, unit in named if not (name and sign and unit)]:
        raise ValueError(f"--unit is NAME=UNIT, such as ferritin=ug/L, got {wrong[0]!r}")
    return declare(data, ends, {name: unit for name, _, unit in named})


def is_table(dataset: str) -> bool:
    """Whether a data set is named by a table's file or folder."""
    from persim_gym.offline.sources import is_table as is_table_

    return is_table_(dataset)


def read(
    dataset: str,
    *,
    agent: str | None,
    time: str | None,
    step: str | None,
    episode: str | None,
    state: str | None,
    action: str | None,
    reward: str | None,
    terminated: str | None,
    discrete: bool | None,
    max_gap: float | None,
    drop: bool,
    name: str | None,
    remembered: Mapping[str, Any] | None = None,
    nameless: bool = False,
) -> Transitions:
    """A data set or a table as transitions; of a table a note says what became of it.

    ``remembered`` are the columns of another table, arguments of
    :func:`~persim_gym.offline.read_table`: what is not given is as it was there.

    Raises:
        ValueError: If options are missing or do not belong to the data.
    """
    columns = {
        "--agent-column": agent,
        "--time-column": time,
        "--step-column": step,
        "--episode-column": episode,
        "--state": state,
        "--action": action,
        "--reward-column": reward,
        "--terminated": terminated,
        "--discrete-actions": discrete,
        "--max-gap": max_gap,
        "--drop": drop or None,
        "--task-name": name,
    }
    if not is_table(dataset):
        if given := [option for option, value in columns.items() if value is not None]:
            raise ValueError(
                f"{given[0]} is for tables, and {dataset!r} is none: a table ends in .parquet, "
                ".csv or .tsv, or is a folder of Parquet files"
            )
        from persim_gym.offline.reading import read_transitions

        folder = checks.as_path("DATASET", dataset)
        with _warnings_said():
            found = read_transitions(folder if folder.is_dir() else dataset, nameless=nameless)
        if " through " in found.task_name:
            say("note", f"recorded as {found.task_name}: spaces, reward and end are learned")
        return found
    handling = "drop" if drop else None
    asked: dict[str, Any] = {
        "agent": agent,
        "time": time,
        "step": step,
        "episode": episode,
        "state": None if state is None else _names(state),
        "action": None if action is None else _names(action),
        "reward": reward,
        "terminated": terminated,
        "discrete_actions": discrete,
        "max_gap": max_gap,
        "missing": handling,
        "short": handling,
        "name": name,
    }
    arguments = _filled({key: v for key, v in asked.items() if v is not None}, remembered or {})
    options = {"agent": "--agent-column", "state": "--state", "action": "--action"}
    if lacking := [option for key, option in options.items() if key not in arguments]:
        raise ValueError(
            f"the table {dataset} needs {', '.join(lacking)}: which columns hold what can not be "
            "guessed"
        )
    if not {"time", "step"} & arguments.keys():
        raise ValueError(f"the table {dataset} needs --time-column or --step-column")
    from persim_gym.offline.tables import read_table_report

    with _warnings_said():
        transitions, report = read_table_report(dataset, **arguments)
    say("read", str(report))
    return transitions


def words(columns: Mapping[str, Any]) -> list[str]:
    """Options of a command line of the arguments of :func:`read`."""
    named = {name: f"--{name}-column" for name in ("agent", "time", "step", "episode", "reward")}
    named |= {"max_gap": "--max-gap", "name": "--task-name"}
    found: list[str] = []
    for name, value in columns.items():
        option = named.get(name, f"--{name}")
        if name == "discrete":
            option = "--discrete-actions" if value else "--continuous-actions"
        if value is None or (name == "drop" and not value):
            continue
        found += [option] if isinstance(value, bool) else [option, str(value)]
    return found


def _filled(given: dict[str, Any], remembered: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that were given, and for the others what is remembered of another table."""
    # Agents are added without rewards, and rows are ordered by one column.
    without = {"reward", *(("time", "step") if {"time", "step"} & given.keys() else ())}
    return {key: value for key, value in remembered.items() if key not in without} | given


@contextlib.contextmanager
def _warnings_said() -> Iterator[None]:
    """Say what the block warns of as the command line says everything, one line each."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in caught:
        say("warning", str(warning.message))


def _names(text: str | None) -> list[str]:
    """Names that commas separate; one that holds a comma stands in double quotes."""
    rows = csv.reader([text or ""], skipinitialspace=True, strict=True)
    try:
        return [part.strip() for row in rows for part in row if part.strip()]
    except csv.Error as error:
        raise ValueError(
            f"columns {text!r} can not be read ({error}): separate names by commas, and put one "
            "that holds a comma in double quotes"
        ) from None
