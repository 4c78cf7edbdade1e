"""Where tables come from: files, folders and other libraries' tables, as the columns in use.

pandas and pyarrow are imported by whoever reads a table, and only then.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from persim_gym import checks
from persim_gym.offline.arrays import called
from persim_gym.offline.tables.delimited import MISSING, NEEDS, TextFile, reading

#: What a column may be called: text, a whole number, or a tuple of them where there are levels.
Name = str | int | tuple[str | int, ...]

FILES = ".parquet, .csv or .tsv file (.csv.gz too), a folder of Parquet files"

#: Text files may be compressed by what Python itself can read.
_PACKED = (".gz", ".bz2", ".xz", ".zip")


@dataclass(frozen=True, slots=True)
class Table:
    """The columns in use of a table.

    Attributes:
        frame: A pandas DataFrame; its columns are named by text, each once.
        untyped: Columns whose values are text because their file knows no types. As an id they
            stay text; as anything else they are what :func:`typed` makes of them.
    """

    frame: Any
    untyped: frozenset[str] = frozenset()


def kind_of_file(path: str | Path) -> str:
    """The kind of table that a file's name promises: ``.parquet``, ``.csv``, ``.tsv`` or none."""
    *_, before, last = ("", "", *(suffix.lower() for suffix in Path(path).suffixes))
    if last in _PACKED:
        return before if before in (".csv", ".tsv") else ""
    return last if last in (".parquet", ".csv", ".tsv") else ""


def stem(path: str | Path) -> str:
    """A file's name without what says its kind: ``patients`` of ``patients.csv.gz``."""
    path = checks.as_path("path", path).absolute()
    if Path(path).suffix.lower() in _PACKED and kind_of_file(path):
        path = path.with_suffix("")
    return path.stem if kind_of_file(path) else path.name


def is_table(source: Any) -> bool:
    """Whether data are a table: a file by its name, a folder or an object by what it has."""
    if isinstance(source, (str, Path)):
        return bool(kind_of_file(source)) or _is_parquet_folder(checks.as_path("data", source))
    # A lazy frame is asked for nothing: to list its columns may be work.
    return any(
        hasattr(source, name) for name in ("collect", "to_pandas", "__arrow_c_stream__", "columns")
    )


def _is_parquet_folder(path: Path) -> bool:
    if not path.is_dir():
        return False
    if any((folder / "metadata.json").is_file() for folder in (path, path / "data")):
        return False  # a Minari data set, which may be stored as Parquet
    return next(path.rglob("*.parquet"), None) is not None


def read_source(
    source: Any,
    used: Sequence[Name],
    ids: Collection[Name],
    labels: Collection[Name],
    decimal: str | None = None,
) -> Table:
    """The columns in use, from whatever a table may be.

    Args:
        source: A file's or folder's path, a pandas DataFrame, or a table of another library with
            ``collect()``, ``to_arrow()``, ``__arrow_c_stream__`` or ``to_pandas()``.
        used: The columns.
        ids: Those of them that hold ids: text stays what it is.
        labels: Those that may hold labels, or numbers.
        decimal: Decimal sign of a text file's numbers, where it is given.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If pandas, or pyarrow for Parquet, is missing.
        TypeError: If ``source`` is none of these.
        ValueError: If the file is of another format, damaged or empty, or lacks a column or has
            it twice.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(NEEDS) from error
    if isinstance(source, (str, Path)):
        return _from_file(checks.as_path("data", source), used, ids, labels, decimal)
    if not isinstance(source, pd.DataFrame) and callable(getattr(source, "collect", None)):
        source = source.collect()
    if isinstance(source, pd.DataFrame):
        return _from_pandas(source, used)
    arrow = _as_arrow(source)
    if arrow is not None:
        return _from_arrow(arrow, used)
    if callable(convert := getattr(source, "to_pandas", None)):
        return _from_pandas(convert(), used)
    raise TypeError(
        f"a table is the path of a {FILES}, a pandas DataFrame, or an object with to_pandas(), "
        f"collect() or __arrow_c_stream__, got {type(source).__name__}"
    )


# -- columns by name -------------------------------------------------------------------------------


def _places(labels: Sequence[Any], used: Sequence[Name]) -> dict[str, int]:
    """Where the columns in use stand among a table's, by what they are called."""
    places: dict[str, int] = {}
    missing: list[Name] = []
    for wanted in dict.fromkeys(used):
        found = [k for k, label in enumerate(labels) if _same(label, wanted)]
        if not found:
            found = [k for k, own in enumerate(labels) if called(wanted) in (called(own), str(own))]
        if not found:
            missing.append(wanted)
            continue
        name = called(wanted)
        if len(found) > 1:
            raise ValueError(f"the table has {len(found)} columns named {name!r}")
        if places.setdefault(name, found[0]) != found[0]:
            raise ValueError(f"two columns in use are both called {name!r}: rename one of them")
    if missing:
        there = [called(label) for label in labels]
        each = []
        for wanted in missing:
            each.append(f"{wanted!r}{checks.meant(called(wanted), there)}")
        raise ValueError(
            f"the table has no column {', '.join(each)}: it has {', '.join(map(repr, there))}"
        )
    return places


def _same(label: Any, wanted: Name) -> bool:
    return isinstance(label, type(wanted)) and bool(label == wanted)


# -- each kind of source ---------------------------------------------------------------------------


def _from_file(
    path: Path,
    used: Sequence[Name],
    ids: Collection[Name],
    labels: Collection[Name],
    decimal: str | None,
) -> Table:
    kind, folder = kind_of_file(path), path.is_dir()
    if not folder and not kind:
        raise ValueError(
            f"a table's file must end in .parquet or .csv, got {str(path)!r}; .tsv, .csv.gz and "
            "folders of Parquet files are read, too"
        )
    if not path.exists():
        raise FileNotFoundError(f"there is no table at {path}{checks.beside(path)}")
    if folder or kind == ".parquet":
        return _from_parquet(path, used)
    return _from_text(path, used, ids, labels, decimal)


def columns_in(path: Path) -> list[str]:
    """The columns of a table's file or folder."""
    if kind_of_file(path) in (".csv", ".tsv"):
        return TextFile.of(path, _usual(path)).header
    with reading(path):
        import pyarrow.dataset as ds

        return list(ds.dataset(str(path), format="parquet", partitioning="hive").schema.names)


def _from_text(
    path: Path,
    used: Sequence[Name],
    ids: Collection[Name],
    labels: Collection[Name],
    decimal: str | None,
) -> Table:
    """Columns of a text file: ids and labels as text, numbers as pandas reads them."""
    file = TextFile.of(path, _usual(path), [called(one) for one in used], decimal)
    columns = {name: file.header[place] for name, place in _places(file.header, used).items()}
    text = {columns[called(one)] for one in ids}
    found = {columns[called(one)] for one in labels} - text
    frame, words = file.read(list(columns.values()), text, found)
    untyped = frozenset(name for name, own in columns.items() if own in words)
    frame = frame[list(columns.values())].set_axis(list(columns), axis=1)
    return Table(frame.reset_index(drop=True), untyped)


def _usual(path: Path) -> str:
    """What separates columns where a file is what its name promises."""
    return "\t" if kind_of_file(path) == ".tsv" else ","


def _from_parquet(path: Path, used: Sequence[Name]) -> Table:
    """Columns of a Parquet file or folder; what folders are named by is text, as in CSV."""
    with reading(path):
        import pyarrow as pa
        import pyarrow.dataset as ds

        files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        within = [file.relative_to(path).parts[:-1] for file in files]
        keys = dict.fromkeys(
            part.partition("=")[0] for own in within for part in own if "=" in part
        )
        hive = ds.partitioning(pa.schema([(key, pa.string()) for key in keys]), flavor="hive")
        data = ds.dataset(
            [str(file) for file in files],
            format="parquet",
            partitioning=hive if keys else None,
            partition_base_dir=str(path) if keys else None,
        )
        names = data.schema.names
    places = _places(names, used)
    with reading(path):
        chosen = data.to_table(columns=[names[place] for place in places.values()])
    chosen = chosen.rename_columns(list(places)).replace_schema_metadata(data.schema.metadata)
    frame = _from_arrow(chosen, list(places)).frame
    return Table(frame, frozenset(name for name, place in places.items() if names[place] in keys))


def _as_arrow(source: Any) -> Any:
    """A pyarrow Table, if pyarrow is there and the source can be one without a change of values."""
    try:
        import pyarrow as pa
    except ImportError:
        return None
    if isinstance(source, pa.Table):
        return source
    try:
        if callable(convert := getattr(source, "to_arrow", None)):
            found = convert()
            return found if isinstance(found, pa.Table) else None
        return pa.table(source) if hasattr(source, "__arrow_c_stream__") else None
    except (pa.ArrowException, NotImplementedError, TypeError):
        return None  # columns of a kind that Arrow does not have


def _from_arrow(table: Any, used: Sequence[Name]) -> Table:
    """Columns of an Arrow table, whole numbers exact where some are missing."""
    import pandas as pd

    places = _places(table.column_names, used)
    columns = {name: table.column(place) for name, place in places.items()}
    about = (table.schema.pandas_metadata or {}).get("columns", ())
    categorical = {entry["name"] for entry in about if entry["pandas_type"] == "categorical"}
    return Table(
        pd.DataFrame({n: _from_chunks(own, n in categorical) for n, own in columns.items()})
    )


def _from_chunks(column: Any, categorical: bool) -> Any:
    """An Arrow column as a Series.

    To be stored as a dictionary says nothing of the values: categories are what pandas has written
    as such, or what has an order.
    """
    import pandas as pd
    import pyarrow as pa

    # Periods are known to Arrow once pandas has made an array of them.
    pa.array(pd.Series([], dtype="period[D]"))
    if pa.types.is_dictionary(column.type) and not (categorical or column.type.ordered):
        column = column.cast(column.type.value_type)
    return column.to_pandas(integer_object_nulls=True)


def _from_pandas(frame: Any, used: Sequence[Name]) -> Table:
    """Columns of a DataFrame; levels of its index that have a name count as columns."""
    import pandas as pd

    named = [k for k, label in enumerate(frame.index.names) if label is not None]
    labels = list(frame.columns)
    try:
        places = _places(labels, used)
    except ValueError:
        if not named:
            raise
        labels += [frame.index.names[k] for k in named]
        places = _places(labels, used)
    width = len(frame.columns)
    columns = {}
    for name, place in places.items():
        if place >= width:
            column = frame.index.get_level_values(named[place - width]).to_series()
        else:
            column = frame.iloc[:, place]
        columns[name] = _plain(column.reset_index(drop=True))
    return Table(pd.DataFrame(columns))


def _plain(column: Any) -> Any:
    """A Series without types of Arrow's."""
    import pandas as pd

    if not isinstance(column.dtype, pd.ArrowDtype):
        return column
    import pyarrow as pa

    return _from_chunks(pa.chunked_array([pa.array(column)]), categorical=True)


# -- values without a type -------------------------------------------------------------------------


def typed(column: Any) -> Any:
    """Text of a file without types as what it says: numbers if all are, else labels.

    Among numbers, words such as ``NA`` mean that one is missing. Among labels they are labels, and
    only empty text is missing.
    """
    import pandas as pd

    text = column.astype(object).where(column.notna(), "")
    numbers = pd.to_numeric(text, errors="coerce")
    known = text[~text.isin(MISSING)] if numbers.isna().any() else text
    if len(known) and numbers[known.index].notna().all():
        return numbers
    if set(known) and set(text) <= {"True", "False", ""}:
        return (known == "True").astype(object).reindex(text.index)
    if set(text) <= {"", "nan", "NaN", "-nan", "-NaN"}:
        return pd.Series(np.nan, index=text.index)
    return text.where(text != "", None)
