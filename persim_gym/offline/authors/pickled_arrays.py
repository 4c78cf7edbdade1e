"""NumPy's arrays, scalars and types as a pickle describes them: checked, and made without it.

A name in a file is compared with :data:`NAMES` and nothing is imported by it. What it stands for is
a mark; :data:`CALLS` holds what is done here for the marks that a pickle calls.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_DTYPE = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248])")
#: The largest length of an axis.
_LONGEST = 2**31


class Refused(ValueError):
    """A pickle that is damaged, or asks for what this reader does not do."""


class Name(enum.Enum):
    """What NumPy's pickles name. A member is a mark and nothing that could be called."""

    RECONSTRUCT = "an empty array"
    NDARRAY = "the array type"
    DTYPE = "a type of numbers"
    SCALAR = "a scalar"
    FROM_BUFFER = "an array in one piece"
    ENCODE = "bytes as text"
    BYTES = "the type of bytes"


NAMES: Final = {("numpy", "ndarray"): Name.NDARRAY, ("numpy", "dtype"): Name.DTYPE}
for _core in ("numpy.core", "numpy._core"):  # before NumPy 2 and since
    NAMES[f"{_core}.multiarray", "_reconstruct"] = Name.RECONSTRUCT
    NAMES[f"{_core}.multiarray", "scalar"] = Name.SCALAR
    NAMES[f"{_core}.numeric", "_frombuffer"] = Name.FROM_BUFFER
# How protocols 0 to 2, which have no bytes, write them: as text in Latin-1.
NAMES["_codecs", "encode"] = Name.ENCODE
# None at all, for an array that is empty, is a call without arguments.
NAMES["__builtin__", "bytes"] = NAMES["builtins", "bytes"] = Name.BYTES


class Dtype:
    """A type of numbers that is being described."""

    __slots__ = ("value",)

    def __init__(self, value: np.dtype[Any]) -> None:
        self.value = value


def make_dtype(code: Any, align: Any = False, copy: Any = True) -> Dtype:
    """A type by its code, if it is one of booleans, integers or floats of a fixed size."""
    if type(code) is not str or not _DTYPE.fullmatch(code):
        raise Refused("the pickle has an array or a scalar of something else than plain numbers")
    return Dtype(np.dtype(code))


def with_order(dtype: np.dtype[Any], state: tuple[Any, ...]) -> np.dtype[Any]:
    """A type in the order of bytes that its state names; a state with more is refused."""
    plain = len(state) in (8, 9) and type(state[0]) is int and state[0] in (3, 4)
    if not plain or any(part is not None for part in state[2:5]):
        raise Refused("the pickle describes another type than plain numbers")
    if type(state[1]) is not str or state[1] not in "<>=|" or len(state[1]) != 1:
        raise Refused("the pickle describes numbers in an unknown order of bytes")
    return np.dtype(state[1] + dtype.str[1:])


def _checked_array(dtype: Any, shape: Any, data: Any) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Type and shape of an array, if its bytes are exactly as many."""
    if type(dtype) is not Dtype or type(data) is not bytes:
        raise Refused("an array whose content is no plain numbers")
    if type(shape) is not tuple or len(shape) > 8:
        raise Refused("an array of an impossible shape")
    size = dtype.value.itemsize
    for length in shape:
        if type(length) is not int or not 0 <= length <= _LONGEST:
            raise Refused("an array of an impossible shape")
        size *= length
    if size != len(data):
        raise Refused(f"an array of {size:,} bytes has {len(data):,}")
    return dtype.value, shape


def array_state(state: tuple[Any, ...]) -> tuple[Any, ...]:
    """The state of an array as NumPy takes it, checked."""
    if (
        len(state) != 5
        or type(state[0]) is not int
        or state[0] != 1
        or type(state[3]) not in (bool, int)
    ):
        raise Refused("the pickle has an array of an unknown format")
    dtype, shape = _checked_array(state[2], state[1], state[4])
    return 1, shape, dtype, bool(state[3]), state[4]


def from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    """An array of protocol 5."""
    kind, lengths = _checked_array(dtype, shape, data)
    if type(order) is not str or order not in ("C", "F"):
        raise Refused("the pickle has an array of an unknown order")
    return np.frombuffer(data, kind).reshape(lengths, order=order)  # type: ignore[call-overload]


def make_scalar(dtype: Any, data: Any) -> Any:
    """A scalar of one number."""
    kind, _shape = _checked_array(dtype, (), data)
    return np.frombuffer(data, kind)[0]


def encode(text: Any, encoding: Any) -> bytes:
    """Bytes from their text in Latin-1."""
    if type(text) is not str or type(encoding) is not str or encoding != "latin1":
        raise Refused("the pickle has bytes in an unknown encoding")
    return text.encode("latin1")


def no_bytes(*arguments: Any) -> bytes:
    """How protocols 0 to 2 write bytes where there are none."""
    if arguments:
        raise Refused(f"the pickle calls {Name.BYTES.value}")
    return b""


CALLS: Final[dict[Name, Callable[..., Any]]] = {
    Name.DTYPE: make_dtype,
    Name.FROM_BUFFER: from_buffer,
    Name.SCALAR: make_scalar,
    Name.ENCODE: encode,
    Name.BYTES: no_bytes,
}


def why_refused(code: int) -> str:
    """Why there is no operation for a code."""
    if code in b"STU":
        return "the pickle was written by Python 2: read it there and write it with Python 3"
    known = {
        b"i": "makes an object", b"o": "makes an object", b"\x81": "makes an object",
        b"\x92": "makes an object", b"P": "names an object outside of it",
        b"Q": "names an object outside of it", b"\x82": "asks for a registered extension",
        b"\x83": "asks for a registered extension", b"\x84": "asks for a registered extension",
        b"\x97": "has its data elsewhere", b"\x98": "has its data elsewhere",
        b"\x8f": "has a set", b"\x90": "has a set", b"\x91": "has a set",
    }  # fmt: skip
    asked = known.get(bytes([code]))
    return f"the pickle {asked}" if asked else f"no pickle has an instruction {code}"
