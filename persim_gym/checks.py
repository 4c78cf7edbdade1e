"""Checks of arguments before any work: numbers, names, paths, and the memory that sizes need.

Every check returns the value in its plain type, or raises an error of one line that says what
came and what was expected.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import numbers
import operator
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, SupportsFloat, cast

import numpy as np

from persim_gym.spelling import closest as closest
from persim_gym.spelling import meant as meant

#: What fits into a 64-bit integer, as sizes and seeds of NumPy and torch are.
LARGEST = 2**63 - 1
#: The largest seed that Stable-Baselines3 takes, with room for the seeds that follow it.
LARGEST_SEED = 2**32 - 2_000_000


def shown(value: object) -> str:
    """A value as an error shows it: its ``repr``, cut off where it is long."""
    try:
        text = repr(value)
    except Exception:  # such as an integer of more digits than Python prints
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= 200 else f"{text[:200]}..."


# -- numbers ---------------------------------------------------------------------------------------


def integer(
    name: str,
    value: object,
    least: int = 0,
    most: int = LARGEST,
    *,
    wrong_type: type[Exception] = TypeError,
) -> int:
    """An integer from ``least`` to ``most``; NumPy's are taken, booleans are not.

    Raises:
        TypeError: If it is no integer; or the error that ``wrong_type`` names.
        ValueError: If it is too small or too large.
    """
    number = _index(value)
    if wrong_type is ValueError and (number is None or number < least):
        raise ValueError(f"{name} must be an integer of at least {least}, got {shown(value)}")
    if number is None:
        raise wrong_type(
            f"{name} must be an integer, got {shown(value)} of type {type(value).__name__}"
        )
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {shown(number)}")
    if number > most:
        raise ValueError(f"{name} must be at most {most}, got {shown(number)}")
    return number


def positive_integer(
    name: str, value: object, most: int = LARGEST, says: str = "a positive integer"
) -> int:
    """An integer of at least 1, as :func:`integer` but with one kind of error.

    Raises:
        ValueError: If it is none, or too large.
    """
    number = _index(value)
    if number is None or number < 1:
        raise ValueError(f"{name} must be {says}, got {shown(value)}")
    return integer(name, number, 1, most)


def number(
    name: str,
    value: object,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: bool = False,
    below: bool = False,
    says: str | None = None,
) -> float:
    """A finite number from ``low`` to ``high``; NumPy's are taken, booleans and text are not.

    Args:
        name: The argument's name.
        value: What came.
        low: Least value.
        high: Largest value.
        above: Leave ``low`` itself out.
        below: Leave ``high`` itself out.
        says: What the error says that it must be, if not made from the bounds.

    Raises:
        ValueError: If it is none.
    """
    plain = _real(value)
    inside = low < plain if above else low <= plain
    inside &= plain < high if below else plain <= high
    if math.isfinite(plain) and inside:
        return plain
    if says is None:
        bounds = []
        if math.isfinite(low):
            bounds.append(f"{'more than' if above else 'at least'} {low:g}")
        if math.isfinite(high):
            bounds.append(f"{'less than' if below else 'at most'} {high:g}")
        says = ", ".join(["a number", " and ".join(bounds)]) if bounds else "a finite number"
    raise ValueError(f"{name} must be {says}, got {shown(value)}")


def _index(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a torch tensor of several values
        return None


def _real(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return math.nan
    try:
        return float(cast(SupportsFloat, value))
    except OverflowError:
        return math.inf if value > cast(numbers.Real, 0) else -math.inf


# -- choices ---------------------------------------------------------------------------------------


def switch(name: str, value: object) -> bool:
    """``True`` or ``False``, NumPy's too.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise ValueError(f"{name} must be True or False, got {shown(value)}")


def text(name: str, value: object) -> str:
    """Text that says something.

    Raises:
        TypeError: If it is no text.
        ValueError: If it is empty.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, got {shown(value)}")
    if not value.strip():
        raise ValueError(f"{name} must not be empty, got {shown(value)}")
    return value


def make_plain(settings: Any) -> None:
    """Make NumPy's numbers in the fields of a dataclass Python's own: they are written as JSON."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, np.generic):
            object.__setattr__(settings, field.name, value.item())


def one_of(name: str, value: object, known: Iterable[str]) -> str:
    """One of several words.

    Raises:
        ValueError: If it is none of them.
    """
    words = tuple(known)
    if isinstance(value, str) and value in words:
        return value
    hint = meant(value, words)
    raise ValueError(f"{name} must be one of {', '.join(words)}, got {shown(value)}{hint}")


def unknown(what: str, value: object, known: Iterable[str]) -> str:
    """What an error says of a name that does not exist: what was meant, and what there is."""
    words = tuple(known)
    return f"unknown {what} {shown(value)}{meant(value, words)}: there are {', '.join(words)}"


def with_attributes(name: str, value: object, attributes: Iterable[str], says: str) -> None:
    """Something that has what is needed of it, such as a task or a simulator.

    Raises:
        TypeError: If it lacks an attribute.
    """
    if isinstance(value, type) or not all(hasattr(value, one) for one in attributes):
        raise TypeError(f"{name} must be {says}, got {shown(value)}")


def a_sequence(name: str, value: object) -> Sequence[Any]:
    """A list, a tuple or any other sequence, but no text.

    Raises:
        TypeError: If it is none.
    """
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return value
    raise TypeError(f"{name} must be a sequence, got {shown(value)}")


def a_mapping(name: str, value: object) -> Mapping[str, Any]:
    """A mapping from text.

    Raises:
        TypeError: If it is none.
    """
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return value
    raise TypeError(f"{name} must be a mapping from names, got {shown(value)}")


# -- paths -----------------------------------------------------------------------------------------


def as_path(name: str, value: object) -> Path:
    """A path, with ``~`` as the home folder.

    Raises:
        TypeError: If it is neither text nor a path.
        ValueError: If it is empty, or no path can be made of it.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, got {shown(value)}")
    text = os.fspath(value)
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a path of text, got {shown(value)}")
    if not text.strip():
        raise ValueError(f"{name} must name a file or folder, got an empty path")
    if "\0" in text:
        raise ValueError(f"{name} must not hold a null character, got {shown(text)}")
    try:
        path = Path(text).expanduser()
        path.lstat()
    except RuntimeError as error:
        raise ValueError(f"{name} {text!r} has no home folder: {error}") from None
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return path  # reading and writing have more to say about these
    except (OSError, ValueError) as error:
        raise ValueError(f"{name} {shown(text)} is no path: {_reason(error)}") from None
    return path


def output_folder(name: str, value: object) -> Path:
    """A folder that can be written into; it and its parents may be missing, and are not made.

    Raises:
        TypeError: If it is no path.
        ValueError: If it is empty or a file, or cannot be made or written into.
    """
    folder = as_path(name, value)
    if os.path.lexists(folder) and not folder.is_dir():
        what = "a link to nothing" if folder.is_symlink() and not folder.exists() else "a file"
        raise ValueError(f"{name} {str(folder)!r} is {what}, not a folder: name another one")
    _check_writable(name, folder, folder)
    return folder


def output_file(name: str, value: object, suffixes: Iterable[str] = ()) -> Path:
    """A file that can be written; it and its folders may be missing, and are not made.

    Args:
        name: The argument's name.
        value: What came.
        suffixes: The endings it may have, such as ``(".mp4", ".gif")``; none for any.

    Raises:
        TypeError: If it is no path.
        ValueError: If its ending is another, or it is a folder, or cannot be written.
    """
    file, endings = as_path(name, value), tuple(suffixes)
    if endings and file.suffix.lower() not in endings:
        listed = " or ".join(endings) if len(endings) < 3 else ", ".join(endings)
        raise ValueError(f"{name} must end in {listed}, got {str(file)!r}")
    if file.is_dir():
        raise ValueError(f"{name} {str(file)!r} is a folder: name a file in it")
    _check_writable(name, file, file.parent)
    return file


def beside(path: Path) -> str:
    """:func:`meant` for a path that does not exist: what is called alike in the same folder."""
    try:
        near = closest(path.name, sorted(os.listdir(path.parent)))
    except (OSError, ValueError):
        return ""
    return "" if near is None else f" (did you mean {str(path.with_name(near))!r}?)"


def _check_writable(name: str, path: Path, folder: Path) -> None:
    """Try to write into the folder, or into the nearest one above it that is there."""
    there = Path(os.path.abspath(folder))
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    try:
        if not there.is_dir():
            raise ValueError(f"{name} {str(path)!r} cannot be written: {there} is not a folder")
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ValueError(
            f"{name} {str(path)!r} cannot be written: {_reason(error)} ({there})"
        ) from None


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return f"{text[:1].lower()}{text[1:]}"


# -- memory ----------------------------------------------------------------------------------------


def enough_memory(what: str, needed: float, remedy: str) -> None:
    """Refuse what needs more memory than there is, from arithmetic alone.

    Args:
        what: What needs it, such as ``"degree 200"``.
        needed: Bytes, a lower bound.
        remedy: What to do about it.

    Raises:
        ValueError: If it is more than there is.
    """
    there = memory_there()
    if needed > there:
        raise ValueError(
            f"{what} would need about {size_of(needed)} of memory, and there are {size_of(there)}: "
            f"{remedy}"
        )


def size_of(count: float) -> str:
    """Bytes as text, such as ``"13 GB"``."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} PB"


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def memory_there() -> int:
    """Bytes of memory that this process may use: of the machine, or of its control group."""
    limits = [LARGEST]
    with contextlib.suppress(AttributeError, OSError, ValueError):  # Windows knows neither
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min([*limits, *_group_limits()])


def _group_limits() -> list[int]:
    """Limits of the control groups that this process is in, of both versions."""
    root, found = Path("/sys/fs/cgroup"), list[int]()
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        base, file = (root, "memory.max")
        if controllers:
            if "memory" not in controllers.split(","):
                continue
            base, file = root / "memory", "memory.limit_in_bytes"
        own = base / group.lstrip("/")
        for folder in (own, *own.parents):
            try:
                text = (folder / file).read_text(encoding="utf-8").strip()
            except OSError:
                text = "max"
            if text.isdecimal() and int(text) > 0:
                found.append(int(text))
            if folder == base:
                break
    return found
