"""Values of a table's columns, one by one: what counts as a number, and ids and labels as text."""

from __future__ import annotations

import datetime
import decimal
import math
import numbers
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from persim_gym.offline.reading import natural

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
