"""Columns of a table as arrays, each with a message that names what is wrong in which row.

pandas is imported by whoever reads a table, and only then.
"""

from __future__ import annotations

import datetime
import difflib
import numbers
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: A whole-numbered action column with at most so many different values is taken for discrete.
FEW_VALUES = 10

#: Most categories of a discrete action.
MOST_CATEGORIES = 100

NEEDS = "tables need pandas, and Parquet needs pyarrow: pip install 'persim-gym[tables]'"


def as_frame(source: Any) -> Any:
    """A pandas DataFrame from a file's path, a DataFrame, or anything with ``to_pandas()``.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If pandas, or pyarrow for Parquet, is missing.
        TypeError: If ``source`` is none of these.
        ValueError: If the file is of another format, damaged or empty.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(NEEDS) from error
    if isinstance(source, pd.DataFrame):
        return source
    if not isinstance(source, (str, Path)):
        if callable(convert := getattr(source, "to_pandas", None)):
            return convert()
        raise TypeError(
            "a table is the path of a .parquet or .csv file, a pandas DataFrame or an object with "
            f"to_pandas(), got {type(source).__name__}"
        )
    path = Path(source)
    if path.suffix.lower() not in (".parquet", ".csv"):
        raise ValueError(f"a table's file must end in .parquet or .csv, got {str(source)!r}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no table at {path}")
    try:
        if path.suffix.lower() == ".csv":
            return pd.read_csv(path, low_memory=False)
        return pd.read_parquet(path)
    except ImportError as error:
        raise ImportError(NEEDS) from error
    except Exception as error:  # each engine has exceptions of its own
        raise ValueError(f"{path} can not be read: {str(error).splitlines()[0]}") from error


def check_columns(frame: Any, used: Sequence[str]) -> None:
    """Refuse columns that the table lacks or has twice.

    Raises:
        ValueError: If there is one.
    """
    there = [str(column) for column in frame.columns]
    for column in used:
        if column not in there:
            near = difflib.get_close_matches(column, there, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(
                f"the table has no column {column!r}{hint}: it has {', '.join(map(repr, there))}"
            )
        if there.count(column) > 1:
            raise ValueError(f"the table has {there.count(column)} columns named {column!r}")


class Column:
    """One column of a table, and how its rows are named in messages.

    Args:
        frame: The table, a pandas DataFrame.
        name: The column.
        rows: Number of each row in the table as it was given ``[n]``.
        agents: Name of each row's agent ``[n]``; ``None`` as long as they are not known.
    """

    def __init__(
        self, frame: Any, name: str, rows: NDArray[np.int64], agents: NDArray[Any] | None = None
    ) -> None:
        self.series = frame[name]
        self.name = name
        self.rows = rows
        self.agents = agents
        self.missing: NDArray[np.bool_] = self.series.isna().to_numpy(dtype=np.bool_)

    def where(self, row: int) -> str:
        """The column and a row, as messages name them."""
        agent = "" if self.agents is None else f" of agent {str(self.agents[row])!r}"
        return f"column {self.name!r}{agent}, row {self.rows[row]}"

    def numbers(self) -> NDArray[np.float64]:
        """Values ``[n]``, NaN where they are missing.

        Raises:
            ValueError: If the column does not hold real numbers, or one is infinite.
        """
        from pandas.api import types

        kind = self.series.dtype
        if types.is_bool_dtype(kind) or (
            types.is_numeric_dtype(kind) and not types.is_complex_dtype(kind)
        ):
            values = self.series.to_numpy(dtype=np.float64, na_value=np.nan)
        elif types.is_object_dtype(kind) or types.is_string_dtype(kind):
            raw = self.series.to_numpy(dtype=object)
            values = np.full(len(raw), np.nan)
            for row in np.flatnonzero(~self.missing).tolist():
                if not isinstance(raw[row], (numbers.Real, np.bool_)):
                    raise ValueError(
                        f"{self.where(row)}: {raw[row]!r} is no number; convert the column, or "
                        "leave what is unknown empty"
                    )
                values[row] = float(raw[row])
        else:
            raise ValueError(f"column {self.name!r} must hold numbers, it holds {kind}")
        infinite = np.isinf(values)
        if infinite.any():
            row = int(np.argmax(infinite))
            raise ValueError(f"{self.where(row)}: {values[row]} is not finite")
        too_large = np.abs(np.nan_to_num(values)) > np.finfo(np.float32).max
        if too_large.any():
            row = int(np.argmax(too_large))
            raise ValueError(
                f"{self.where(row)}: {values[row]:g} is too large for float32; choose another unit"
            )
        return values

    def flags(self) -> NDArray[np.bool_]:
        """Values ``[n]`` of yes and no, False where they are missing.

        Raises:
            ValueError: If a value is neither true or false nor 1 or 0.
        """
        values = np.nan_to_num(self.numbers())
        other = (values != 0) & (values != 1)
        if other.any():
            row = int(np.argmax(other))
            raise ValueError(f"{self.where(row)}: {values[row]:g} is neither true nor false")
        return values == 1

    def identifiers(self) -> NDArray[Any]:
        """Values ``[n]`` as text or whole numbers, which can be sorted; none may be missing.

        Raises:
            ValueError: If text and numbers are mixed, or a number is not whole.
        """
        from pandas.api import types

        raw = self.series.to_numpy(dtype=object)
        text = np.array([isinstance(value, str) for value in raw], dtype=np.bool_)
        if text.all():
            return raw.astype(np.str_)
        if text.any():
            one, other = int(np.argmax(text)), int(np.argmin(text))
            raise ValueError(
                f"{self.where(other)}: column {self.name!r} mixes text ({raw[one]!r} in row "
                f"{self.rows[one]}) and other values ({raw[other]!r}): make all of them text"
            )
        if types.is_datetime64_any_dtype(self.series.dtype):
            return self.series.astype(str).to_numpy(dtype=np.str_)
        values = self.numbers()
        broken = values != np.floor(values)
        if broken.any():
            row = int(np.argmax(broken))
            raise ValueError(f"{self.where(row)}: {values[row]:g} is neither text nor whole")
        return values.astype(np.int64)

    def times(self) -> tuple[NDArray[np.float64], bool]:
        """Values ``[n]`` as numbers, and whether they were dates: then in seconds from the first.

        Raises:
            ValueError: If they are neither numbers nor dates.
        """
        import pandas as pd
        from pandas.api import types

        series = self.series
        if types.is_string_dtype(series.dtype) or types.is_object_dtype(series.dtype):
            text = [isinstance(value, str) for value in series]
            if any(text) and not all(text):
                row, other = text.index(True), text.index(False)
                raise ValueError(
                    f"{self.where(row)}: {series.iloc[row]!r} is text, {series.iloc[other]!r} in "
                    f"row {self.rows[other]} is not: times are all numbers or all dates"
                )
            if all(text):
                series = pd.to_datetime(series, format="ISO8601", utc=True, errors="coerce")
                if (wrong := series.isna()).any():
                    row = int(np.argmax(wrong))
                    raise ValueError(
                        f"{self.where(row)}: {self.series.iloc[row]!r} is no date such as "
                        "2024-03-01 08:30"
                    )
            elif all(isinstance(value, datetime.datetime) for value in series):
                series = pd.to_datetime(series, utc=True)
        if types.is_timedelta64_dtype(series.dtype) or types.is_datetime64_any_dtype(series.dtype):
            return (series - series.min()).dt.total_seconds().to_numpy(np.float64), True
        return self.numbers(), False

    def categories(
        self, given: bool | Sequence[Any] | None
    ) -> tuple[NDArray[np.int64], tuple[str, ...]] | None:
        """Indices of categories ``[n]``, -1 where they are missing, and the categories' names.

        Args:
            given: The categories in order; True to take what there is, sorted; ``None`` to do so
                only if the column looks discrete; False to do so never.

        Returns:
            ``None`` for a column of numbers that are not to be counted off.

        Raises:
            ValueError: If there are too many, or a value is none of those given.
        """
        from pandas.api import types

        if given is False:
            return None
        kind, there = self.series.dtype, ~self.missing
        categorical = isinstance(getattr(kind, "categories", None), object) and hasattr(
            kind, "categories"
        )
        known: list[Any]
        if given is None or given is True:
            loose = types.is_object_dtype(kind)
            textual = categorical or types.is_string_dtype(kind)
            if loose:
                textual = not all(isinstance(value, numbers.Real) for value in self.series[there])
            if not (given or textual or types.is_bool_dtype(kind)):
                values = self.numbers()[there]
                whole = types.is_integer_dtype(kind) or (
                    # pandas turns whole numbers to floats where one of them is missing
                    (loose or self.missing.any()) and bool((values == np.floor(values)).all())
                )
                if not whole or len(np.unique(values)) > FEW_VALUES:
                    return None
            if categorical:
                known = list(kind.categories)
            else:
                try:
                    known = sorted(set(self.series[there]))
                except TypeError:
                    raise ValueError(
                        f"column {self.name!r} mixes text and other values: make all of them text"
                    ) from None
        else:
            known = list(given)
        if len(known) > MOST_CATEGORIES:
            raise ValueError(
                f"column {self.name!r} has {len(known)} different values, a discrete action at "
                f"most {MOST_CATEGORIES}: group them, or give numbers and discrete_actions=False"
            )
        index = {value: i for i, value in enumerate(known)}
        if len(index) < len(known):
            raise ValueError(f"discrete_actions names a value twice: {known!r}")
        codes = np.full(len(there), -1, dtype=np.int64)
        raw = self.series.to_numpy(dtype=object)
        for row in np.flatnonzero(there).tolist():
            if raw[row] not in index:
                raise ValueError(
                    f"{self.where(row)}: {raw[row]!r} is none of the actions {known!r}"
                )
            codes[row] = index[raw[row]]
        return codes, tuple(_label(value) for value in known)


def _label(value: Any) -> str:
    whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
    return str(int(value)) if whole else str(value)


def seconds(span: object, dates: bool) -> float:
    """A span of time in the unit of a time column.

    Raises:
        TypeError: If it is neither a number nor, for dates, a ``timedelta``.
        ValueError: If it is not positive.
    """
    if isinstance(span, datetime.timedelta):
        if not dates:
            raise TypeError(f"max_gap is {span!r}, but times are plain numbers: give a number")
        span = span.total_seconds()
    if isinstance(span, bool) or not isinstance(span, (int, float, np.number)):
        raise TypeError(f"max_gap must be a number or a timedelta, got {span!r}")
    if not span > 0:
        raise ValueError(f"max_gap must be positive, got {span!r}")
    return float(span)
