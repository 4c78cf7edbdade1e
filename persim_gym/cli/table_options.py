"""Options of every command that reads a table of the user's own: one definition for all."""

from __future__ import annotations

import csv
import dataclasses
import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

import typer

_PANEL = "Columns of a table (.parquet, .csv, .tsv)"


def _column(
    help_text: str, metavar: str = "NAME", *names: str, default: str | bool = False, **more: Any
) -> Any:
    return typer.Option(
        *names, metavar=metavar, help=help_text, rich_help_panel=_PANEL, show_default=default,
        **more,
    )  # fmt: skip


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
    action: Annotated[
        str | None, _column("Table: columns of the action; '' where nothing is done.", "NAME,...")
    ] = None
    reward_column: Annotated[str | None, _column(_REWARD)] = None
    terminated: Annotated[
        str | None, _column("Table: column that is true where a state ended its episode.")
    ] = None
    discrete_actions: Annotated[
        bool | None,
        typer.Option(
            "--discrete-actions/--continuous-actions",
            help="Table: what the actions are, where their values do not show it.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None
    max_gap: Annotated[
        float | None,
        _column(
            "Table: a longer time between rows ends a trajectory; between dates such as 36h, "
            "10days or 2weeks.",
            "TIME",
            default="1.5 times the median",
            parser=_time,
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
        _column(
            "Possible values of a column, such as ferritin=0: or ph=6.5:8; repeatable.",
            "NAME=LOW:HIGH",
            default="one sign is kept",
        ),
    ] = None
    unit: Annotated[
        list[str] | None,
        _column("Unit of a column, such as ferritin=ug/L; repeatable.", "NAME=UNIT"),
    ] = None
    decimal: Annotated[
        str | None,
        _column(
            "Table: decimal sign of a text file's numbers, a point or a comma.",
            "SIGN",
            default="a comma where columns are separated by ; and numbers have one",
        ),
    ] = None
    task_name: Annotated[
        str | None,
        _column("Table: what the task is called.", default="the file's name"),
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
        # A gap of 0 equals False, and was given all the same.
        return {
            name: v for name, v in found.items() if v is not None and v is not False and v != []
        }

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
            "decimal": self.decimal,
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
