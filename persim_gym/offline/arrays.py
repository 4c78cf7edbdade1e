"""Arrays and names as users give them, checked and converted."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_array(
    name: str, values: object, kinds: str, dtype: Any, dimensions: tuple[int, ...] = ()
) -> NDArray[Any]:
    """An array of certain kinds of numbers.

    Raises:
        TypeError: If it holds anything else.
        ValueError: If it has other dimensions, or integers are too large.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be one array: {error}") from None
    if array.dtype.kind not in kinds:
        wanted = "integers" if "f" not in kinds else "numbers"
        raise TypeError(f"{name} must hold {wanted}, got an array of type {array.dtype}")
    allowed = dimensions or ((2,) if name in ("obs", "next_obs") else (1,))
    if array.ndim not in allowed:
        shape = " or ".join("[T]" if number == 1 else "[T, n]" for number in allowed)
        raise ValueError(f"{name} must be {shape}, got the shape {array.shape}")
    unsigned = dtype is np.int64 and array.dtype.kind == "u"
    if unsigned and int(array.max(initial=0)) > np.iinfo(np.int64).max:
        raise ValueError(f"{name} must be below 2**63, got {array.max()}")
    return array if dtype is None else array.astype(dtype, copy=False)


def as_flags(name: str, values: object) -> NDArray[np.bool_]:
    """An array of true and false, which may be written as 1 and 0."""
    array = as_array(name, values, "biuf", None)
    if array.dtype != np.bool_ and not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name} must be true and false, or 1 and 0, got {np.unique(array)[:5]}")
    return array.astype(np.bool_, copy=False)


def check_names(name: str, values: object, count: int, of: str, alike: bool = False) -> None:
    """Refuse names that are not one string for each of ``count`` things, by default different."""
    if values is None:
        return
    if not isinstance(values, tuple) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"{name} must be a tuple of strings or None, got {values!r}")
    if len(values) != count:
        raise ValueError(f"{name} has {len(values)} names for {count} {of}: give one of each")
    if len(set(values)) != count and not alike:
        twice = sorted({value for value in values if values.count(value) > 1})
        raise ValueError(f"{name} must differ from each other, got {', '.join(twice)} twice")


def called(label: Any) -> str:
    """What a column is called in results and messages; levels are joined by dots."""
    if isinstance(label, tuple):
        return ".".join(str(part) for part in label if str(part))
    return str(label)


def natural(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """Key to sort names in the order a reader expects: numbers inside them count as numbers."""
    parts = re.split(r"([0-9]+)", name)
    # Words and numbers alternate, so that like is compared with like.
    return [_worth(part) if place % 2 else part for place, part in enumerate(parts)], name


def _worth(digits: str) -> tuple[int, str]:
    """Key that orders digits as the number that they are, however many there are."""
    significant = digits.lstrip("0")
    return len(significant), significant
