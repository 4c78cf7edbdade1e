"""How commands read a table of the user's own, by the options of :mod:`table_options`."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persim_gym import checks
from persim_gym.cli.group import say
from persim_gym.cli.messages import as_typed
from persim_gym.cli.table_options import Columns, takes_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from persim_gym.learned.simulator import PerSim
    from persim_gym.offline.tables.report import TableReport
    from persim_gym.offline.transitions import Transitions

#: Files of tables that other programs write.
_OTHER = (".xlsx", ".xls", ".ods", ".txt", ".dat", ".json", ".feather", ".sav", ".dta", ".rds")


def is_table(dataset: str) -> bool:
    """Whether a data set is named by a table's file or folder."""
    from persim_gym.offline.tables.sources import is_table as is_table_

    return is_table_(dataset)


def read(
    dataset: str, columns: Columns, sim: PerSim | None = None, nameless: bool = False
) -> Transitions:
    """A data set or a table as transitions; of a table a note says what became of it.

    Args:
        dataset: A data set's id or folder, or a table's file or folder.
        columns: The options that were given.
        sim: A simulator that the data are for: what no option says is as in the table that it was
            fitted on.
        nameless: Of data sets: as in :func:`~persim_gym.offline.read_transitions`.

    Raises:
        ValueError: If options are missing or do not belong to the data.
    """
    return read_labelled(dataset, columns, sim, nameless=nameless)[0]


def read_labelled(
    dataset: str,
    columns: Columns,
    sim: PerSim | None = None,
    column: str | None = None,
    nameless: bool = False,
) -> tuple[Transitions, NDArray[Any] | None]:
    """As :func:`read`, with what another column of a table says of each transition ``[T]``."""
    asked = columns.arguments()
    if not is_table(dataset):
        if Path(dataset).suffix.lower() in _OTHER:
            raise ValueError(f"{dataset}: a table is a .parquet, .csv or .tsv file: save it as one")
        if column is not None:
            raise ValueError(f"--behaviour-column is for tables, and {dataset!r} is none")
        found, labels = _read_set(dataset, columns, nameless), None
    else:
        from persim_gym.offline.tables.rows import labels_of

        found, report = _read_table(dataset, asked, sim)
        labels = None if column is None else labels_of(dataset, column, report.begins)
    if sim is None:
        return found, labels
    _check_units(sim, found)
    return _called_as_in_fit(sim, found, asked), labels


def _called_as_in_fit(sim: PerSim, data: Transitions, asked: Mapping[str, Any]) -> Transitions:
    """Columns that options name are those of the fit, whatever they are called."""
    changes: dict[str, Any] = {}
    for kind, option in (("obs_names", "state"), ("action_names", "action")):
        known, here = getattr(sim.task, kind, None), getattr(data, kind)
        # The same names in another order are no other names: they are refused later.
        if option in asked and known and here and len(known) == len(here):
            changes |= {} if set(known) & set(here) else {kind: tuple(known)}
    return replace(data, **changes) if changes else data


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


def _read_set(dataset: str, columns: Columns, nameless: bool) -> Transitions:
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
        found = read_transitions(folder if folder.is_dir() else dataset, nameless=nameless)
    if " through " in found.task_name:
        say("note", f"recorded as {found.task_name}: spaces, reward and end are learned")
    asked = columns.arguments()
    return declare(found, asked.get("bounds"), asked.get("units"))


def _read_table(
    path: str, asked: dict[str, Any], sim: PerSim | None
) -> tuple[Transitions, TableReport]:
    from persim_gym.learned.record import columns_for

    # Rows are ordered by one column.
    without = ("time", "step") if {"time", "step"} & asked.keys() else ()
    remembered = {} if sim is None else columns_for(sim.card)
    arguments = {key: v for key, v in remembered.items() if key not in without} | asked
    options = {"agent": "--agent-column", "state": "--state", "action": "--action"}
    lacking = [option for key, option in options.items() if key not in arguments]
    if not {"time", "step"} & arguments.keys():
        lacking.append("--time-column or --step-column")
    if lacking:
        there = _columns_of(path)
        alone = "; where nothing was done, give --action ''" if "--action" in lacking else ""
        raise ValueError(f"the table {path} needs {', '.join(lacking)}{there}{alone}")
    from persim_gym.offline.tables.reading import read_table_report

    with _warnings_said():
        try:
            transitions, report = read_table_report(path, **arguments)
        except ValueError:
            if "reward" not in arguments or "reward" in asked:
                raise
            del arguments["reward"]  # another table need not have what the fit's had
            transitions, report = read_table_report(path, **arguments)
    say("read", as_typed(str(report)))
    return transitions, report


def _columns_of(path: str) -> str:
    """What columns a file has, for a message that some have to be named."""
    from persim_gym.offline.tables.sources import columns_in

    file = checks.as_path("DATA", path)
    if not file.exists():
        raise FileNotFoundError(f"there is no table at {path}{checks.beside(file)}")
    return f": its columns are {', '.join(map(repr, columns_in(file)))}"


def _check_units(sim: PerSim, data: Transitions) -> None:
    """Refuse declared units that are others than those of a simulator's fit."""
    for kind, names in (("obs_units", data.obs_names), ("action_units", data.action_names)):
        both = zip(names or (), getattr(data, kind) or (), sim.card.get(kind) or (), strict=False)
        for name, unit, fitted in both:
            if unit and fitted and unit != fitted:
                raise ValueError(
                    f"--unit says that {name!r} is in {unit}, the simulator was fitted to "
                    f"{fitted}: convert the column"
                )


@contextlib.contextmanager
def _warnings_said() -> Iterator[None]:
    """Say what the block warns of as the command line says everything, one line each."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in caught:
        say("warning", as_typed(str(warning.message)))


__all__ = ["Columns", "is_table", "read", "read_labelled", "record", "takes_table"]
