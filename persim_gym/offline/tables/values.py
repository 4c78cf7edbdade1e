"""Values of a table's columns, one by one: what counts as a number, and ids and labels as text."""

from __future__ import annotations

import datetime
import decimal
import math
import numbers
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import numpy as np

from persim_gym.offline.arrays import natural

#: What counts as a number. Decimal ones are no Real to Python.
NUMBERS = (numbers.Real, decimal.Decimal, np.bool_)


def is_textual(kind: Any) -> bool:
    """Whether a column of this type may hold text."""
    from pandas.api import types

    return bool(types.is_object_dtype(kind) or types.is_string_dtype(kind))


def is_categorical(kind: Any) -> bool:
    """Whether a column of this type holds pandas' categories."""
    return hasattr(kind, "categories")


def kind_of(kind: type) -> str:
    """The kind of an id or label: different kinds are never equal to each other."""
    own: dict[str, tuple[type, ...]] = {
        "text": (str,),
        "bytes": (bytes,),
        "true and false": (bool, np.bool_),
        "dates": (datetime.date,),
    }
    for name, types in own.items():
        if issubclass(kind, types):
            return name
    return "numbers" if issubclass(kind, NUMBERS) else kind.__name__


def is_whole(value: Any) -> bool:
    """Whether a number is whole, and of a size that can be written out."""
    if isinstance(value, decimal.Decimal):
        return value.is_finite() and value.adjusted() < 1000 and value == value.to_integral_value()
    return bool(math.isfinite(value) and value == math.floor(value))


def says_number(value: Any) -> bool:
    """Whether a value is text that reads as a number."""
    try:
        return isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        return False


def decoded(values: Iterable[bytes]) -> list[str]:
    """Bytes as text if all of them are printable, else as hexadecimal digits."""
    try:
        texts = [value.decode() for value in values]
    except UnicodeDecodeError:
        texts = [""]
    return texts if all(map(str.isprintable, texts)) and all(texts) else [v.hex() for v in values]


def digits(value: int) -> str:
    """A whole number as text; Python itself refuses more than some thousand digits."""
    return str(value) if value.bit_length() < 13_000 else hex(value)


def order_of(names: Sequence[str]) -> Callable[[int], Any]:
    """Key to sort names by their place: as numbers if all are, else in their natural order."""
    if all(re.fullmatch(r"0|-?[1-9][0-9]{0,999}", name) for name in names):
        return lambda place: int(names[place])
    return lambda place: natural(names[place])


def short(value: Any) -> str:
    """A value for a message."""
    text = digits(value) if isinstance(value, int) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def label(value: Any) -> str:
    """What a discrete action is called."""
    whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
    return str(int(value)) if whole else str(value)


#: Words of yes and no, in small letters.
_YES_NO = (("yes", "no"), ("y", "n"), ("true", "false"), ("t", "f"), ("on", "off"))


def yes_and_no(values: Iterable[Any]) -> dict[str, bool] | None:
    """What each of a column's values says, if they are words of yes and no; else ``None``."""
    words = set()
    for value in values:
        if not isinstance(value, str):
            return None
        words.add(value)
    plain = {word: word.strip().lower() for word in words}
    for yes, no in _YES_NO:
        if words and set(plain.values()) <= {yes, no}:
            return {word: own == yes for word, own in plain.items()}
    return None


_QUARTER = re.compile(r"(?:(\d{4})[ -]?)?Q([1-4])(?:[ -]?(\d{4}))?", re.IGNORECASE)
_MONTHS = ("%Y %b", "%Y %B", "%b %Y", "%B %Y", "%Y-%b", "%b-%Y", "%YM%m", "%Y M%m")


def as_dates(text: Any) -> Any:
    """A Series of text as dates, NaT where it is none.

    Dates are as in ISO 8601, quarters such as ``2024Q1`` or ``Q1 2024``, months such as
    ``2024 Jan`` or ``2024M01``, weeks such as ``2024-W05``.
    """
    import pandas as pd

    dates = pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")
    if not len(text) or dates.notna().any():
        return dates
    plain = text.str.strip()
    quarters = plain.map(_month_of_quarter)
    found = [dates, pd.to_datetime(quarters, format="%Y-%m", utc=True)]
    days = plain.str.replace(r"^(\d{4})[ -]?W(\d{1,2})$", r"\1-W\2-1", regex=True)
    for form in (*_MONTHS, "%G-W%V-%u"):
        found.append(pd.to_datetime(days, format=form, utc=True, errors="coerce"))
    return max(found, key=lambda one: one.notna().sum())


def _month_of_quarter(text: str) -> str | None:
    """``"2024-04"`` of ``"2024Q2"`` or ``"Q2 2024"``."""
    part = _QUARTER.fullmatch(text)
    if part is None or (part[1] is None) == (part[3] is None):
        return None
    return f"{part[1] or part[3]}-{3 * int(part[2]) - 2:02}"


def remedy(value: Any, words: Collection[Any]) -> str:
    """What to do with a value that is no number, or with a column of nothing but words."""
    comma = isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d+,\d+\s*", value)
    if comma:
        return "write decimal points, or of a text file give decimal=','"
    if words and not any(map(says_number, words)):
        kinds = f"the column has {len(words)} different words"
        return f"{kinds}: give each a column of 1 where it holds and 0 elsewhere, or leave it out"
    return "convert the column, or leave what is unknown empty"


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
