"""A reader of pickled plain data and NumPy arrays that calls nothing which a file names.

Python's own ``pickle`` runs whatever a file asks for. This is an interpreter of its own for the few
instructions that lists, dictionaries, tuples, numbers, strings and NumPy's arrays and scalars need,
in all protocols from 0 to 5. A name in a file is compared with the names below and nothing is ever
imported by it; what such a name stands for is done here, with arguments that were checked. Every
other instruction or name is refused.

Why not ``pickle.Unpickler`` with a ``find_class`` that knows these names alone: it would run
nothing either, but what a file makes it produce cannot be limited. Its memo grows to any index that
six bytes name (tens of gigabytes), it hashes any key (nested ones to their bottom, colliding ones
in quadratic time), makes sets and numbers of any length, and asks nothing between two instructions.
Here everything that is produced is counted, and the clock is checked.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from persim_gym.offline.authors.limits import SECONDS, Budget
from persim_gym.offline.authors.pickled_arrays import (
    CALLS,
    NAMES,
    Dtype,
    Name,
    Refused,
    array_state,
    why_refused,
    with_order,
)

#: The largest file that is read, which is held in memory as a whole, and the most instructions: the
#: authors' largest data need a third of both.
MAX_BYTES, MAX_INSTRUCTIONS = 2**30, 10**8
#: Bytes of an object that an instruction makes, without what it holds.
OBJECT = 64
#: Instructions between two checks of what is left.
_BLOCK = 4096
#: Most keys of a dictionary, and the first integer that is none. Python takes integers modulo
#: 2**61 - 1 as their hashes, and keys of one hash take quadratic time; smaller ones have others.
MAX_KEYS, _NO_KEY = 4096, 2**61 - 1
#: The first index that cannot be remembered under.
_NO_INDEX = 2**32
#: The longest number written as text, and the longest integer in bytes.
_DIGITS, _WIDTH = 48, 16

_MARK: Final = object()


def loads_plain(data: bytes, budget: Budget | None = None) -> Any:
    """What a pickle holds, if that is plain.

    Args:
        data: The whole pickle.
        budget: What it may take of memory and time; by default as much as the size of the data
            allows.

    Returns:
        ``None``, booleans, numbers, strings, bytes, lists, tuples and dictionaries (with strings or
        integers as keys), and NumPy arrays and scalars of booleans, integers and floats. Containers
        can be shared and can hold themselves, as in any pickle. What a file names inside of one and
        does not use comes back as a mark that does nothing.

    Raises:
        Refused: If the pickle asks for anything else or for too much, is damaged or goes on after
            its end; a ``ValueError``.
    """
    reader = _Reader(data, budget or Budget(None, SECONDS, len(data)))
    try:
        return reader.run()
    except Refused as error:
        raise Refused(f"{error} (at byte {reader.start:,})") from None
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, struct.error):
        raise Refused(f"the pickle is damaged (at byte {reader.start:,})") from None


class _Reader:
    """The state of the interpreter: a stack, a memo, and arrays that are still empty."""

    __slots__ = ("at", "budget", "data", "empty", "memo", "stack", "start")

    def __init__(self, data: bytes, budget: Budget) -> None:
        self.data, self.budget = data, budget
        self.at = self.start = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        #: Arrays whose content has not come yet, by identity; held, so that none is used again.
        self.empty: dict[int, NDArray[Any]] = {}

    def run(self) -> Any:
        done = 0
        while not self.run_some(count := min(_BLOCK, MAX_INSTRUCTIONS - done)):
            done += count
            if done == MAX_INSTRUCTIONS:
                raise Refused(f"the pickle has more than {MAX_INSTRUCTIONS:,} instructions")
            self.budget.spend(count * OBJECT)
            self.budget.check_time()
        value = self.pop()
        if self.stack or self.at != len(self.data):
            raise Refused("the pickle goes on after its end")
        if self.empty:
            raise Refused("the pickle has an array without content")
        if isinstance(value, (Name, Dtype)):
            raise Refused("the pickle holds no data")
        return value

    def run_some(self, count: int) -> bool:
        """Follow so many instructions; whether one of them was the end."""
        data, operations = self.data, _OPERATIONS
        for _ in range(count):
            self.start = at = self.at
            if at >= len(data):
                raise Refused("the pickle ends in the middle: it was cut off")
            code = data[at]
            self.at = at + 1
            if code == _STOP:
                return True
            operation = operations[code]
            if operation is None:
                raise Refused(why_refused(code))
            operation(self)
        return False

    # -- bytes ------------------------------------------------------------------------------------

    def take(self, count: int) -> bytes:
        """The next bytes; never more than there are."""
        end = self.at + count
        if count < 0 or end > len(self.data):
            raise Refused(f"{count:,} bytes are announced where fewer follow: it was cut off")
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def sized(self, width: int) -> bytes:
        """Bytes behind their own number."""
        taken = self.take(int.from_bytes(self.take(width), "little"))
        self.budget.spend(len(taken))
        return taken

    def text(self, taken: bytes, encoding: str = "utf-8") -> None:
        """Put down a text; one letter that needs four bytes makes all of them take four."""
        self.budget.spend(4 * len(taken))
        self.push(taken.decode(encoding))

    def number(self, layout: str, width: int) -> Any:
        return struct.unpack(layout, self.take(width))[0]

    def line(self, longest: int | None = None) -> bytes:
        """Bytes up to the end of the line."""
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise Refused("a line without an end: it was cut off")
        text = self.take(end - self.at)
        self.at = end + 1
        if longest is not None and len(text) > longest:
            raise Refused(f"a number of {len(text):,} characters")
        return text

    # -- stack ------------------------------------------------------------------------------------

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise Refused("the pickle takes what it has not put down")
        return self.stack.pop()

    def top(self, kind: type[Any]) -> Any:
        """What lies on top, which must be of a kind."""
        value = self.stack[-1] if self.stack else None
        if type(value) is not kind:
            raise Refused(f"the pickle treats {_kind(value)} as a {kind.__name__}")
        return value

    def pop_to_mark(self) -> list[Any]:
        stack = self.stack
        for place in range(len(stack) - 1, -1, -1):
            if stack[place] is _MARK:
                values = stack[place + 1 :]
                del stack[place:]
                return values
        raise Refused("the pickle takes what it has not put down")

    def tuple_of(self, count: int) -> None:
        values = [self.pop() for _ in range(count)]
        self.push(tuple(values[::-1]))

    def keep(self, index: int) -> None:
        value = self.stack[-1] if self.stack else _MARK
        if index >= _NO_INDEX:
            raise Refused("the pickle remembers under too large a number")
        if index < 0 or value is _MARK:
            raise Refused("the pickle remembers what it has not put down")
        self.memo[index] = value

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise Refused("the pickle recalls what it has not remembered")
        self.push(self.memo[index])

    def set_items(self, values: list[Any]) -> None:
        target = self.top(dict)
        if len(values) > 2 * MAX_KEYS:
            raise Refused(f"a dictionary has more than {MAX_KEYS:,} keys")
        if len(values) % 2:
            raise Refused("the pickle has a key without a value")
        for key, value in zip(values[::2], values[1::2], strict=True):
            # Others could be nested without end, and each be hashed to its bottom.
            if type(key) not in (str, int):
                raise Refused(f"a dictionary has {_kind(key)} as a key")
            if type(key) is int and abs(key) >= _NO_KEY:
                raise Refused("a dictionary has too large an integer as a key")
            target[key] = value
        if len(target) > MAX_KEYS:
            raise Refused(f"a dictionary has more than {MAX_KEYS:,} keys")

    # -- names ------------------------------------------------------------------------------------

    def name(self, module: Any, name: Any) -> None:
        known = NAMES.get((module, name)) if type(module) is type(name) is str else None
        if known is None:
            raise Refused(f"the pickle asks for {_shown(module)}.{_shown(name)}")
        self.push(known)

    def call(self) -> None:
        """What a known name stands for, with checked arguments."""
        arguments, what = self.pop(), self.pop()
        if type(what) is not Name or type(arguments) is not tuple:
            raise Refused(f"the pickle calls {_kind(what)}")
        if what is Name.RECONSTRUCT:
            self.push(self.reconstruct(*arguments))
        elif what in CALLS:
            if what is Name.ENCODE and arguments and isinstance(arguments[0], str):
                self.budget.spend(len(arguments[0]))
            self.push(CALLS[what](*arguments))
        else:
            raise Refused(f"the pickle calls {what.value}")

    def build(self) -> None:
        """The state of an array or of a type of numbers."""
        state = self.pop()
        target = self.stack[-1] if self.stack else None
        if type(state) is not tuple:
            raise Refused(f"the pickle gives a state to {_kind(target)}")
        if type(target) is Dtype:
            target.value = with_order(target.value, state)
        elif id(target) in self.empty:
            state = array_state(state)
            self.budget.spend(len(state[4]))
            self.stack[-1].__setstate__(state)
            del self.empty[id(target)]
        else:
            raise Refused(f"the pickle gives a state to {_kind(target)}")

    def reconstruct(self, kind: Any, shape: Any, code: Any) -> NDArray[Any]:
        if kind is not Name.NDARRAY or type(shape) is not tuple or type(code) is not bytes:
            raise Refused("the pickle makes another array than NumPy does")
        array = np.empty(0)
        self.empty[id(array)] = array
        return array


# -- words -----------------------------------------------------------------------------------------


def _kind(value: object) -> str:
    """What something is; never its content, which may be without end."""
    if value is None or value is _MARK:
        return "nothing"
    return value.value if isinstance(value, Name) else f"a {type(value).__name__.lstrip('_')}"


def _shown(text: object) -> str:
    return ascii(text[:60])[1:-1] if isinstance(text, str) else _kind(text)


# -- instructions ----------------------------------------------------------------------------------


def _proto(reader: _Reader) -> None:
    if (protocol := reader.take(1)[0]) > 5:
        raise Refused(f"protocol {protocol} is not known, only 0 to 5")


def _frame(reader: _Reader) -> None:
    length = reader.number("<Q", 8)
    if length > len(reader.data) - reader.at:
        raise Refused(f"{length:,} bytes are announced where fewer follow: it was cut off")


def _text_int(reader: _Reader) -> None:
    text = reader.line(_DIGITS)
    # How protocols 0 and 1 write booleans.
    reader.push({b"00": False, b"01": True}[text] if text in (b"00", b"01") else int(text))


def _long(reader: _Reader, width: int) -> None:
    taken = reader.sized(width)
    if len(taken) > _WIDTH:
        raise Refused(f"an integer of {len(taken):,} bytes")
    reader.push(int.from_bytes(taken, "little", signed=True))


def _append(reader: _Reader, values: list[Any]) -> None:
    reader.top(list).extend(values)


def _two(reader: _Reader) -> list[Any]:
    value, key = reader.pop(), reader.pop()
    return [key, value]


def _global(reader: _Reader) -> None:
    module, name = reader.line().decode("ascii"), reader.line().decode("ascii")
    reader.name(module, name)


def _stack_global(reader: _Reader) -> None:
    name, module = reader.pop(), reader.pop()
    reader.name(module, name)


def _dict(reader: _Reader) -> None:
    values = reader.pop_to_mark()
    reader.push({})
    reader.set_items(values)


def _dup(reader: _Reader) -> None:
    value = reader.pop()
    reader.stack += (value, value)


_STOP = ord(".")
_BY_CODE: Final[dict[bytes, Callable[[_Reader], None]]] = {
    b"\x80": _proto,
    b"\x95": _frame,
    b"(": lambda r: r.push(_MARK),
    b"0": lambda r: r.stack.pop() if r.stack and r.stack[-1] is _MARK else r.pop(),
    b"1": lambda r: r.pop_to_mark().clear(),
    b"2": _dup,
    # What stands alone
    b"N": lambda r: r.push(None),
    b"\x88": lambda r: r.push(True),
    b"\x89": lambda r: r.push(False),
    b"I": _text_int,
    b"L": lambda r: r.push(int(r.line(_DIGITS).removesuffix(b"L"))),
    b"F": lambda r: r.push(float(r.line(_DIGITS))),
    b"J": lambda r: r.push(r.number("<i", 4)),
    b"K": lambda r: r.push(r.take(1)[0]),
    b"M": lambda r: r.push(r.number("<H", 2)),
    b"G": lambda r: r.push(r.number(">d", 8)),
    b"\x8a": lambda r: _long(r, 1),
    b"\x8b": lambda r: _long(r, 4),
    b"V": lambda r: r.text(r.line(), "raw-unicode-escape"),
    b"\x8c": lambda r: r.text(r.sized(1)),
    b"X": lambda r: r.text(r.sized(4)),
    b"\x8d": lambda r: r.text(r.sized(8)),
    b"C": lambda r: r.push(r.sized(1)),
    b"B": lambda r: r.push(r.sized(4)),
    b"\x8e": lambda r: r.push(r.sized(8)),
    b"\x96": lambda r: r.push(r.sized(8)),
    # What holds others
    b"]": lambda r: r.push([]),
    b")": lambda r: r.push(()),
    b"}": lambda r: r.push({}),
    b"l": lambda r: r.push(r.pop_to_mark()),
    b"t": lambda r: r.push(tuple(r.pop_to_mark())),
    b"d": _dict,
    b"\x85": lambda r: r.tuple_of(1),
    b"\x86": lambda r: r.tuple_of(2),
    b"\x87": lambda r: r.tuple_of(3),
    b"a": lambda r: _append(r, [r.pop()]),
    b"e": lambda r: _append(r, r.pop_to_mark()),
    b"s": lambda r: r.set_items(_two(r)),
    b"u": lambda r: r.set_items(r.pop_to_mark()),
    # What is remembered
    b"p": lambda r: r.keep(int(r.line(_DIGITS))),
    b"q": lambda r: r.keep(r.take(1)[0]),
    b"r": lambda r: r.keep(r.number("<I", 4)),
    b"\x94": lambda r: r.keep(len(r.memo)),
    b"g": lambda r: r.recall(int(r.line(_DIGITS))),
    b"h": lambda r: r.recall(r.take(1)[0]),
    b"j": lambda r: r.recall(r.number("<I", 4)),
    # NumPy
    b"c": _global,
    b"\x93": _stack_global,
    b"R": _Reader.call,
    b"b": _Reader.build,
}
_OPERATIONS: Final = tuple(_BY_CODE.get(bytes([code])) for code in range(256))

__all__ = ["MAX_BYTES", "Refused", "loads_plain"]
