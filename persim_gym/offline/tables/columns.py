"""Columns of a table as arrays, each with a message that names what is wrong in which row.

pandas is imported by whoever reads a table, and only then.
"""

from __future__ import annotations

import datetime
import decimal
import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.offline.tables.sources import Table, typed
from persim_gym.offline.tables.values import (
    NUMBERS,
    as_dates,
    decoded,
    digits,
    is_categorical,
    is_textual,
    is_whole,
    kind_of,
    label,
    order_of,
    remedy,
    says_number,
    short,
    yes_and_no,
)
from persim_gym.offline.transitions import LARGEST

#: A whole-numbered action column with at most so many different values is taken for discrete.
FEW_VALUES = 10

#: Most categories of a discrete action.
MOST_CATEGORIES = 100


class Column:
    """One column of a table, and how its rows are named in messages.

    Args:
        table: The table.
        name: The column.
        rows: Number of each row in the table as it was given ``[n]``.
        agents: Name of each row's agent ``[n]``; ``None`` as long as they are not known.
        key: Whether the column holds ids.
    """

    def __init__(
        self,
        table: Table,
        name: str,
        rows: NDArray[np.int64],
        agents: NDArray[Any] | None = None,
        key: bool = False,
    ) -> None:
        self.series = table.frame[name]
        self.name = name
        self.rows = rows
        self.agents = agents
        self.key = key
        if name in table.untyped and not key:
            self.series = typed(self.series)
        self.missing: NDArray[np.bool_] = self.series.isna().to_numpy(dtype=np.bool_)
        if key and is_textual(self.series.dtype):  # an id without a character is none
            empty = [value == "" for value in self.series.to_numpy(object)]
            self.missing = self.missing | np.array(empty, dtype=np.bool_)

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
        elif is_textual(kind) or is_categorical(kind):
            values = self._converted(self.series.to_numpy(dtype=object))
        else:
            raise ValueError(
                f"column {self.name!r} must hold numbers, it holds {kind}: convert the column"
            )
        infinite = np.isinf(values)
        if infinite.any():
            row = int(np.argmax(infinite))
            raise ValueError(f"{self.where(row)}: {values[row]} is not finite")
        too_large = np.abs(np.nan_to_num(values)) > LARGEST
        if too_large.any():
            row = int(np.argmax(too_large))
            raise ValueError(
                f"{self.where(row)}: {values[row]:g} is too large for float32; choose another unit"
            )
        return values

    def says(self) -> dict[str, bool] | None:
        """What each word of a column says, where all are words of yes and no; else ``None``."""
        kind = self.series.dtype
        words = is_textual(kind) or is_categorical(kind)
        return yes_and_no(self.series[~self.missing]) if words else None

    def _converted(self, raw: NDArray[Any]) -> NDArray[np.float64]:
        """Numbers among Python's own objects, decimal ones too."""
        there = np.flatnonzero(~self.missing).tolist()
        values = np.full(len(raw), np.nan)
        if (said := self.says()) is not None:
            values[there] = [said[raw[row]] for row in there]
            return values
        if any(not issubclass(kind, NUMBERS) for kind in {type(raw[row]) for row in there}):
            wrong = [row for row in there if not isinstance(raw[row], NUMBERS)]
            # In a file without types one word makes text of all numbers: the word is to be named.
            row = next((row for row in wrong if not says_number(raw[row])), wrong[0])
            words = {raw[k] for k in wrong if isinstance(raw[k], str)}
            words = words if len(wrong) == len(there) else set()
            raise ValueError(
                f"{self.where(row)}: {raw[row]!r} is no number; {remedy(raw[row], words)}"
            )
        for row in there:
            try:
                values[row] = float(raw[row])
                if math.isinf(values[row]) and raw[row] != values[row]:
                    raise OverflowError
            except OverflowError:
                raise ValueError(
                    f"{self.where(row)}: the number is too large for float32; choose another unit"
                ) from None
        return values

    def flags(self) -> NDArray[np.bool_]:
        """Values ``[n]`` of yes and no, False where they are missing.

        Raises:
            ValueError: If a value is neither true or false nor 1 or 0.
        """
        words = is_textual(self.series.dtype) and self.says() is None
        if words and (wrong := [isinstance(value, str) for value in self.series]).count(True):
            row = wrong.index(True)
            raise ValueError(
                f"{self.where(row)}: {self.series.iloc[row]!r} is neither true nor false"
            )
        values = np.nan_to_num(self.numbers())
        other = (values != 0) & (values != 1)
        if other.any():
            row = int(np.argmax(other))
            raise ValueError(f"{self.where(row)}: {values[row]:g} is neither true nor false")
        return values == 1

    def identifiers(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Different ids as text, in the order of their names, and the number of each row's ``[n]``.

        Text stays as it is, and whole numbers of any size and kind are exact. Bytes are read as
        text where all of them are text, else as hexadecimal digits. None may be missing.

        Raises:
            ValueError: If kinds of ids are mixed, or a number is not whole or not exact.
        """
        import pandas as pd

        series = self.series
        if is_categorical(series.dtype):
            series = series.astype(object)
        self._refuse_mixed(series)
        codes, values = pd.factorize(series)
        names = self._texts(values, codes)
        order = np.array(sorted(range(len(names)), key=order_of(names)), dtype=np.int64)
        return np.array(names, dtype=object)[order], np.argsort(order)[codes]

    def _refuse_mixed(self, series: Any) -> None:
        """Refuse an object column of ids or labels that are not all of one kind."""
        from pandas.api import types

        if not types.is_object_dtype(series.dtype):
            return
        raw = series.to_numpy(dtype=object)
        there = np.flatnonzero(~self.missing).tolist()
        kinds = {kind: kind_of(kind) for kind in {type(raw[row]) for row in there}}
        for kind in kinds:
            if kind.__hash__ is None:
                row = next(row for row in there if type(raw[row]) is kind)
                raise ValueError(
                    f"{self.where(row)}: {short(raw[row])} is neither text nor a number"
                )
        if len(set(kinds.values())) < 2:
            return
        first = "text" if "text" in kinds.values() else kinds[type(raw[there[0]])]
        one = next(row for row in there if kinds[type(raw[row])] == first)
        other = next(row for row in there if kinds[type(raw[row])] != first)
        if not self.key:
            raise ValueError(
                f"column {self.name!r} mixes {first} and other values ({short(raw[one])} in row "
                f"{self.rows[one]}, {short(raw[other])} in row {self.rows[other]}): make all of "
                "them text"
            )
        raise ValueError(
            f"{self.where(other)}: column {self.name!r} mixes {first} ({short(raw[one])} in row "
            f"{self.rows[one]}) and other values ({short(raw[other])}): make all of them text"
        )

    def _texts(self, values: Any, codes: NDArray[Any]) -> list[str]:
        """The text of each different id."""
        from pandas.api import types

        if types.is_datetime64_any_dtype(values.dtype):
            return [str(value) for value in values.astype(str)]
        kind = self.series.dtype
        plain = isinstance(kind, np.dtype) and kind.kind == "f"
        # From here on two whole numbers may be one.
        exact = 2 / np.finfo(kind if plain else np.float64).eps
        if len(values) and isinstance(values[0], bytes):
            return decoded(values)
        texts = []
        for number, value in enumerate(values):
            if isinstance(value, (bool, np.bool_)) or not isinstance(value, NUMBERS):
                texts.append(str(value))
                continue
            row = int(np.argmax(codes == number))
            if not isinstance(value, numbers.Integral):
                if not is_whole(value):
                    raise ValueError(f"{self.where(row)}: {value} is neither text nor whole")
                if isinstance(value, (float, np.floating)) and abs(value) >= exact:
                    raise ValueError(
                        f"{self.where(row)}: {value!r} is a floating-point number too large to be "
                        "exact, so that different ids may have become one: give text, or whole "
                        "numbers without a missing one among them"
                    )
            texts.append(digits(int(value)))  # type: ignore[arg-type]
        return texts

    def times(self) -> tuple[NDArray[np.float64], bool]:
        """Values ``[n]`` as numbers, and whether they were dates: then in seconds from the first.

        Raises:
            ValueError: If they are neither numbers nor dates.
        """
        import pandas as pd
        from pandas.api import types

        series = self.series
        if is_categorical(series.dtype):
            series = series.astype(object)
        if is_textual(series.dtype):
            kinds = {type(value) for value in series}
            text = [kind for kind in kinds if issubclass(kind, str)]
            if text and len(text) < len(kinds):
                is_text = [isinstance(value, str) for value in series]
                row, other = is_text.index(True), is_text.index(False)
                raise ValueError(
                    f"{self.where(row)}: {series.iloc[row]!r} is text, {series.iloc[other]!r} in "
                    f"row {self.rows[other]} is not: times are all numbers or all dates"
                )
            if text:
                dates = as_dates(series)
                if dates.isna().all() and series.str.contains(":").all():  # such as 1 days 02:00:00
                    dates = pd.to_timedelta(series, errors="coerce")
                series = dates
                if (wrong := series.isna()).any():
                    row = int(np.argmax(wrong))
                    raise ValueError(
                        f"{self.where(row)}: {self.series.iloc[row]!r} is no date such as "
                        "2024-03-01 08:30 or 2024Q1: write the year first, then month and day"
                    )
            elif all(issubclass(kind, datetime.date) for kind in kinds):
                series = pd.to_datetime(series, utc=True)
            elif all(issubclass(kind, (datetime.timedelta, np.timedelta64)) for kind in kinds):
                series = pd.to_timedelta(series)
            elif all(issubclass(kind, pd.Period) for kind in kinds):
                series = pd.Series(pd.PeriodIndex(series.to_numpy()))
        if isinstance(series.dtype, pd.PeriodDtype):
            series = series.dt.to_timestamp()
        if types.is_timedelta64_dtype(series.dtype) or types.is_datetime64_any_dtype(series.dtype):
            return (series - series.min()).dt.total_seconds().to_numpy(np.float64), True
        values = self.numbers()
        # The difference of whole numbers is taken before they are rounded.
        exact = self._exact()
        return values if exact is None else exact, False

    def _exact(self) -> NDArray[np.float64] | None:
        """Differences from the smallest ``[n]`` of whole or decimal numbers, ``None`` of others."""
        kind: Any = self.series.dtype
        if isinstance(kind, np.dtype) and kind.kind in "iu":
            own = self.series.to_numpy()
            # As integers without a sign the difference has room.
            return (own - own.min()).astype(f"u{kind.itemsize}").astype(np.float64)
        if isinstance(kind, np.dtype) and kind.kind == "f":
            return None
        raw = self.series.to_numpy(dtype=object)
        for kind in (numbers.Integral, decimal.Decimal):
            if all(issubclass(own, kind) for own in {type(value) for value in raw}):
                finite = kind is numbers.Integral or all(value.is_finite() for value in raw)
                return (raw - raw.min()).astype(np.float64) if len(raw) and finite else None
        return None

    def categories(
        self, given: bool | Sequence[Any] | None
    ) -> tuple[NDArray[np.int64], tuple[str, ...]] | None:
        """Indices of categories ``[n]``, -1 where they are missing, and the categories' names.

        Args:
            given: The categories in order; True to take what there is, sorted; ``None`` to do so
                only if the column is probably discrete; False to do so never.

        Returns:
            ``None`` for a column of numbers that are not to be counted off.

        Raises:
            ValueError: If there are too many, or a value is none of those given.
        """
        if given is False:
            return None
        there = np.flatnonzero(~self.missing)
        raw = self.series.to_numpy(dtype=object)
        self._refuse_mixed(self.series)
        known: list[Any]
        if given is not None and given is not True:
            known = list(given)
        elif given is None and not self._probably_discrete(raw[there]):
            return None
        elif is_categorical(self.series.dtype):
            known = list(self.series.dtype.categories)
        else:
            known = sorted(set(raw[there]))
        if len(known) > MOST_CATEGORIES:
            raise ValueError(
                f"column {self.name!r} has {len(known)} different values, a discrete action at "
                f"most {MOST_CATEGORIES}: group them, or give numbers and discrete_actions=False"
            )
        index = {value: i for i, value in enumerate(known)}
        if len(index) < len(known):
            raise ValueError(f"discrete_actions names a value twice: {known!r}")
        codes = np.full(len(raw), -1, dtype=np.int64)
        codes[there] = [index.get(value, -1) for value in raw[there]]
        if (codes[there] < 0).any():
            row = int(there[np.argmax(codes[there] < 0)])
            raise ValueError(f"{self.where(row)}: {raw[row]!r} is none of the actions {known!r}")
        is_bytes = bool(known) and all(isinstance(value, bytes) for value in known)
        names = tuple(decoded(known) if is_bytes else [label(value) for value in known])
        if len(set(names)) < len(names):
            raise ValueError(
                f"column {self.name!r} has different actions of the same name: {known!r}; make all "
                "of them text"
            )
        return codes, names

    def holds_numbers(self) -> bool:
        """Whether all values are numbers, and not only yes and no."""
        kinds = {type(value) for value in self.series.to_numpy(dtype=object)[~self.missing]}
        plain = all(issubclass(own, NUMBERS) for own in kinds)
        return plain and not kinds <= {bool, np.bool_} and not is_categorical(self.series.dtype)

    def _probably_discrete(self, values: NDArray[Any]) -> bool:
        """Whether these values of the column are labels, or few whole numbers."""
        from pandas.api import types

        kind = self.series.dtype
        kinds = {type(value) for value in values}
        words = is_textual(kind) and any(not issubclass(own, NUMBERS) for own in kinds)
        if words or is_categorical(kind):
            return True
        if types.is_bool_dtype(kind) or (kinds and kinds <= {bool, np.bool_}):
            return True
        if any(issubclass(own, decimal.Decimal) for own in kinds):
            return False
        numbers_ = self.numbers()[~self.missing]
        whole = types.is_integer_dtype(kind) or (
            # pandas turns whole numbers to floats where one of them is missing
            (types.is_object_dtype(kind) or bool(self.missing.any()))
            and bool((numbers_ == np.floor(numbers_)).all())
        )
        return whole and len(set(values)) <= FEW_VALUES
