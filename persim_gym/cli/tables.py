"""Options of every command that reads a table of the user's own, and how it is read by them."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
import inspect
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from persim_gym import checks
from persim_gym.cli.group import say

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from persim_gym.learned.simulator import PerSim
    from persim_gym.offline.tables import TableReport
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

_REWARD = "Table: column of the reward, if there is one."
#: Of a command that has no other reward: its former name is taken, too.
_ONLY_REWARD = Annotated[str | None, _column(_REWARD, "NAME", "--reward-column", "--reward")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What the options of a table say: each field is a parameter of the commands that take them.

    See :func:`takes_table`, which gives a command these options.
    """

    agent_column: Annotated[str | None, _column("Table: column of the agent's id.")] = None
    time_column: Annotated[str | None, _column("Table: column of times, numbers or dates.")] = None
    step_column: Annotated[str | None, _column("Table: column of steps, instead of times.")] = None
    episode_column: Annotated[
        str | None, _column("Table: column of episodes, where an agent has several.")
    ] = None
    state: Annotated[
        str | None,
        _column("Table: columns of the state; a name with a comma in double quotes.", "NAME,..."),
    ] = None
    action: Annotated[str | None, _column("Table: columns of the action.", "NAME,...")] = None
    reward_column: Annotated[str | None, _column(_REWARD)] = None
    terminated: Annotated[
        str | None, _column("Table: column that is true where a state ended its episode.")
    ] = None
    discrete_actions: Annotated[
        bool | None,
        typer.Option(
            "--discrete-actions/--continuous-actions",
            help="Table: what the actions are, if they do not look it.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None
    max_gap: Annotated[
        float | None,
        typer.Option(
            metavar="TIME",
            help="Table: a longer time between rows ends a trajectory; between dates such as 36h, "
            "10days or 2weeks.",
            parser=_time,
            rich_help_panel=_PANEL,
            show_default="1.5 times the median",
        ),
    ] = None
    drop: Annotated[
        bool,
        typer.Option(
            "--drop",
            help="Table: leave out rows with a missing value, and agents without two rows in "
            "sequence.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    angle: Annotated[
        list[str] | None,
        _column(
            "Table: column of the state that is an angle in radians; heading=360 if a full turn is "
            "360; cos,sin for its cosine and sine; repeatable."
        ),
    ] = None
    bounds: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=LOW:HIGH",
            help="Possible values of a column, such as ferritin=0: or ph=6.5:8; repeatable.",
            rich_help_panel=_PANEL,
            show_default="one sign is kept",
        ),
    ] = None
    unit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=UNIT",
            help="Unit of a column, such as ferritin=ug/L; repeatable.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None
    task_name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Table: what the task is called.",
            rich_help_panel=_PANEL,
            show_default="the file's name",
        ),
    ] = None

    def given(self) -> dict[str, Any]:
        """The options that were given, as a command line calls them, with their values."""
        found = {
            f"--{field.name.replace('_', '-')}": getattr(self, field.name)
            for field in dataclasses.fields(self)
        }
        if self.discrete_actions is False:
            found = {
                "--continuous-actions" if name == "--discrete-actions" else name: value
                for name, value in found.items()
            }
            found["--continuous-actions"] = True
        return {name: value for name, value in found.items() if value not in (None, False, [])}

    def words(self) -> list[str]:
        """The words of a command line that give these options again."""
        found: list[str] = []
        for name, value in self.given().items():
            for one in value if isinstance(value, list) else [value]:
                found += [name] if one is True else [name, str(one)]
        return found

    def arguments(self) -> dict[str, Any]:
        """Arguments of :func:`~persim_gym.offline.read_table`: those that were given.

        Raises:
            ValueError: If an option can not be read.
        """
        handling = "drop" if self.drop else None
        asked = {
            "agent": self.agent_column,
            "time": self.time_column,
            "step": self.step_column,
            "episode": self.episode_column,
            "state": None if self.state is None else _names(self.state),
            "action": None if self.action is None else _names(self.action),
            "reward": self.reward_column,
            "terminated": self.terminated,
            "discrete_actions": self.discrete_actions,
            "max_gap": self.max_gap,
            "missing": handling,
            "short": handling,
            "angles": [_angle(text) for text in self.angle or ()] or None,
            "bounds": _bounds(self.bounds) or None,
            "units": _units(self.unit) or None,
            "name": self.task_name,
        }
        return {key: value for key, value in asked.items() if value is not None}


def takes_table(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameter ``columns`` is given by options: those of :class:`Columns`."""
    hints = get_type_hints(command, include_extras=True)
    own = inspect.signature(command).parameters
    kinds = get_type_hints(Columns, include_extras=True)
    if "reward" not in own:
        kinds["reward_column"] = _ONLY_REWARD
    fields = dataclasses.fields(Columns)

    @functools.wraps(command)
    def run(**given: Any) -> None:
        command(columns=Columns(**{f.name: given.pop(f.name) for f in fields}), **given)

    kept = [p.replace(annotation=hints[name]) for name, p in own.items() if name != "columns"]
    options = [
        inspect.Parameter(
            f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=kinds[f.name]
        )
        for f in fields
    ]
    run.__dict__["__signature__"] = inspect.Signature([*kept, *options])
    run.__annotations__ = {p.name: p.annotation for p in (*kept, *options)}
    return run


def _bounds(texts: list[str] | None) -> dict[str, tuple[float | None, ...]]:
    ends: dict[str, tuple[float | None, ...]] = {}
    for text in texts or ():
        name, _, span = text.rpartition("=")
        low, colon, high = span.partition(":")
        try:
            ends[name] = tuple(float(end) if end.strip() else None for end in (low, high))
        except ValueError:
            colon = ""
        if not (name and colon):
            raise ValueError(f"--bounds is NAME=LOW:HIGH, such as ferritin=0:, got {text!r}")
    return ends


def _units(texts: list[str] | None) -> dict[str, str]:
    named = [text.partition("=") for text in texts or ()]
    if wrong := [name + sign for name, sign, unit in named if not (name and sign and unit)]:
        raise ValueError(f"--unit is NAME=UNIT, such as ferritin=ug/L, got {wrong[0]!r}")
    return {name: unit for name, _, unit in named}


def _angle(text: str) -> str | tuple[str, Any]:
    """An angle as :func:`~persim_gym.offline.read_table` takes it."""
    names = _names(text)
    if len(names) == 2:
        return names[0], names[1]
    if len(names) != 1:
        raise ValueError(
            "--angle is a column, a column with its full turn such as heading=360, or the columns "
            f"of cosine and sine such as cos,sin, got {text!r}"
        )
    name, _, turn = names[0].rpartition("=")
    try:
        return (name, float(turn)) if name else names[0]
    except ValueError:
        return names[0]


def is_table(dataset: str) -> bool:
    """Whether a data set is named by a table's file or folder."""
    from persim_gym.offline.sources import is_table as is_table_

    return is_table_(dataset)


def read(dataset: str, columns: Columns, sim: PerSim | None = None) -> Transitions:
    """A data set or a table as transitions; of a table a note says what became of it.

    Args:
        dataset: A data set's id or folder, or a table's file or folder.
        columns: The options that were given.
        sim: A simulator that the data are for: what no option says is as in the table that it was
            fitted on.

    Raises:
        ValueError: If options are missing or do not belong to the data.
    """
    return read_labelled(dataset, columns, sim)[0]


def read_labelled(
    dataset: str, columns: Columns, sim: PerSim | None = None, column: str | None = None
) -> tuple[Transitions, NDArray[Any] | None]:
    """As :func:`read`, with what another column of a table says of each transition ``[T]``."""
    asked = columns.arguments()
    if not is_table(dataset):
        if column is not None:
            raise ValueError(f"--behaviour-column is for tables, and {dataset!r} is none")
        found, labels = _read_set(dataset, columns), None
    else:
        from persim_gym.offline.table_rows import labels_of

        found, report = _read_table(dataset, asked, sim)
        labels = None if column is None else labels_of(dataset, column, report.begins)
    _check_units(asked.get("units", {}), sim)
    return found, labels


def record(sim: PerSim | None, data: str | None, columns: Columns) -> Any:
    """What ``--data`` names: read by the options that were given, or left to the simulator's card.

    Raises:
        ValueError: If there are options of a table and no table, or it can not be read.
    """
    given = columns.given()
    if not given:
        return data
    if data is None:
        raise ValueError(f"{next(iter(given))} is of a table: name it by --data")
    return read(data, columns, sim)


def _read_set(dataset: str, columns: Columns) -> Transitions:
    given = columns.given()
    if wrong := [option for option in given if option not in ("--bounds", "--unit")]:
        raise ValueError(
            f"{wrong[0]} is for tables, and {dataset!r} is none: a table ends in .parquet, "
            ".csv or .tsv, or is a folder of Parquet files"
        )
    from persim_gym.offline.declared import declare
    from persim_gym.offline.reading import read_transitions

    folder = checks.as_path("DATASET", dataset)
    with _warnings_said():
        found = read_transitions(folder if folder.is_dir() else dataset)
    if " through " in found.task_name:
        say("note", f"recorded as {found.task_name}: spaces, reward and end are learned")
    return declare(found, _bounds(columns.bounds), _units(columns.unit))


def _read_table(
    path: str, asked: dict[str, Any], sim: PerSim | None
) -> tuple[Transitions, TableReport]:
    from persim_gym.learned.record import columns_for

    # Rows are ordered by one column.
    without = ("time", "step") if {"time", "step"} & asked.keys() else ()
    remembered = {} if sim is None else columns_for(sim.card)
    arguments = {key: v for key, v in remembered.items() if key not in without} | asked
    options = {"agent": "--agent-column", "state": "--state", "action": "--action"}
    if lacking := [option for key, option in options.items() if key not in arguments]:
        raise ValueError(
            f"the table {path} needs {', '.join(lacking)}: which columns hold what can not be "
            "guessed"
        )
    if not {"time", "step"} & arguments.keys():
        raise ValueError(f"the table {path} needs --time-column or --step-column")
    from persim_gym.offline.tables import read_table_report

    with _warnings_said():
        try:
            transitions, report = read_table_report(path, **arguments)
        except ValueError:
            if "reward" not in arguments or "reward" in asked:
                raise
            del arguments["reward"]  # another table need not have what the fit's had
            transitions, report = read_table_report(path, **arguments)
    say("read", str(report))
    return transitions, report


def _check_units(units: Mapping[str, str], sim: PerSim | None) -> None:
    """Refuse units that are others than those of a simulator's fit."""
    if sim is None:
        return
    for names, kind in (("obs_names", "obs_units"), ("action_names", "action_units")):
        own = zip(sim.card.get(names) or (), sim.card.get(kind) or (), strict=False)
        for name, unit in own:
            if unit and units.get(name, unit) != unit:
                raise ValueError(
                    f"--unit says that {name!r} is in {units[name]}, the simulator was fitted to "
                    f"{unit}: convert the column"
                )


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
