"""Pickles of plain data are read; a pickle that asks for anything else does nothing."""

from __future__ import annotations

import builtins
import collections
import datetime
import functools
import io
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from persim_gym.offline.authors import plain_pickle
from persim_gym.offline.authors.plain_pickle import Refused, loads_plain
from tests.offline.pickles import ARRAYS, GRID, PROTOCOLS, same

# -- what is plain ---------------------------------------------------------------------------------

VALUES = [
    None, True, False, 0, -1, 255, 256, 65536, -(2**31), 2**63, -(2**90), 1.5, -0.0, float("inf"),
    "", "id", "ünï\n\\u0041\0\x1a", b"", b"\x00\xff\n", (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4),
    [], [1, [2, [3]]], {}, {"a": 1, 2: {"b": None}}, list(range(3000)), {n: n for n in range(2000)},
    "x" * 300, b"y" * 300, "z" * 70_000, bytearray(b"abc"),
]  # fmt: skip


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_values_come_back(protocol: int) -> None:
    for value in VALUES:
        if isinstance(value, bytearray):
            if protocol < 5:  # calls bytearray
                continue
            assert loads_plain(pickle.dumps(value, protocol)) == bytes(value)
        else:
            same(loads_plain(pickle.dumps(value, protocol)), value)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**100), 2**100) | st.floats() | st.text()
        | st.binary(),
        lambda inner: st.lists(inner) | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers(-9, 9), inner),
        max_leaves=20,
    ),
    st.sampled_from(PROTOCOLS),
)  # fmt: skip
def test_anything_plain_comes_back(value: Any, protocol: int) -> None:
    try:
        data = pickle.dumps(value, protocol)
    except UnicodeEncodeError:
        return
    same(loads_plain(data), value)


def test_what_is_shared_stays_shared_and_what_holds_itself_is_no_trouble() -> None:
    one = [GRID]
    own: list[Any] = [one, one]
    own.append(own)
    back = loads_plain(pickle.dumps(own))
    assert back[0] is back[1]
    assert back[2] is back


# -- what is not -----------------------------------------------------------------------------------

MADE = "made by a pickle"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which all that a file could do would leave something."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


class Reduced:
    """Pickled as the call of something."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


class Stated:
    """An object with a state."""

    def __init__(self) -> None:
        self.value = 1


class Sized(int):
    """Made by __new__ with arguments."""

    def __getnewargs__(self) -> Any:
        return (3,)


OBJECTS = {
    "system": Reduced(os.system, (f"touch '{MADE}'",)),
    "popen": Reduced(subprocess.Popen, (["touch", MADE],)),
    "eval": Reduced(eval, (f"open({MADE!r}, 'w')",)),
    "exec": Reduced(exec, (f"open({MADE!r}, 'w')",)),
    "open": Reduced(open, (MADE, "w")),
    "getattr": Reduced(getattr, ("", "format")),
    "import": Reduced(__import__, ("antigravity",)),
    "in a state": Reduced(np.ndarray, ((1,),), Reduced(os.system, (f"touch '{MADE}'",))),
    "partial": functools.partial(os.mkdir, MADE),
    "state": Stated(),
    "new": Sized(4),
    "ordered": collections.OrderedDict(a=1),
    "default": collections.defaultdict(int),
    "date": datetime.date(2021, 1, 1),
    "set": {1, 2},
    "frozen": frozenset([1]),
    "complex": 1j,
    "type": int,
    "function": os.system,
    "objects": np.array([None, "a"], dtype=object),
    "an object inside": np.array([Reduced(os.mkdir, (MADE,))], dtype=object),
    "words": np.array(["a", "bc"]),
    "bytes": np.array([b"a"]),
    "complex array": np.array([1j]),
    "dates": np.array(["2021-01-01"], dtype="M8[D]"),
    "records": np.zeros(2, dtype=[("a", "f4"), ("b", "i8")]),
    "void": np.zeros(2, dtype="V7"),
    "long": np.zeros(2, dtype="g"),
    "generator": np.random.default_rng(0),
    "masked": np.ma.masked_array([1.0], [True]),
    "records of their own": np.recarray((1,), dtype=[("a", "f4")]),
    "key": {(1, 2): 3},
    "byte key": {b"a": 3},
    "none key": {None: 3},
    "huge": 2**200,
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", OBJECTS)
def test_objects_and_calls_are_refused(name: str, protocol: int, here: Path) -> None:
    try:
        data = pickle.dumps([OBJECTS[name]], protocol)
    except TypeError:  # a protocol that knows no such object
        assert protocol < 2
        return
    with pytest.raises(Refused, match="byte"):
        loads_plain(data)
    assert list(here.iterdir()) == []
    assert "antigravity" not in sys.modules


def unicode(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


SYSTEM = b"cos\nsystem\n"
CALL = b"(" + unicode(f"touch '{MADE}'")
NDARRAY = b"cnumpy\nndarray\n"
DTYPE = b"cnumpy\ndtype\n"
F8 = DTYPE + b"(" + unicode("f8") + b"tR"
EMPTY = b"cnumpy.core.multiarray\n_reconstruct\n(" + NDARRAY + b"(K\x00tC\x01btR"
SCALAR = b"cnumpy.core.multiarray\nscalar\n"
BUFFER = b"cnumpy.core.numeric\n_frombuffer\n"
EIGHT = b"C\x08" + bytes(8)
WHOLE = b"(K\x01(K\x01t" + F8 + b"\x89" + EIGHT + b"t"

ASSEMBLED = {
    # Calls and objects, by every instruction that there is for them.
    "global": (SYSTEM + b".", r"asks for os\.system"),
    "reduce": (SYSTEM + CALL + b"tR.", r"asks for os\.system"),
    "stack global": (b"\x80\x04" + unicode("os") + unicode("system") + b"\x93" + CALL + b"tR.",
                     r"asks for os\.system"),
    "dotted": (b"\x80\x04" + unicode("numpy") + unicode("ndarray.__class__") + b"\x93.", "asks"),
    "under numpy": (b"cnumpy.core.multiarray\nnumpy.os.system\n.", "asks for"),
    "numpy's load": (b"cnumpy\nload\n.", r"asks for numpy\.load"),
    "numpy's own name": (b"cnumpy\n_reconstruct\n.", "asks for"),
    "main": (b"c__main__\nndarray\n.", "asks for"),
    "copyreg": (b"ccopyreg\n_reconstructor\n.", "asks for"),
    "builtins": (b"cbuiltins\neval\n(" + unicode("1") + b"tR.", r"asks for builtins\.eval"),
    "names that are none": (b"\x80\x04]K\x01\x93.", "asks for a list.a int"),
    "a name of a list": (b"\x80\x04" + unicode("numpy") + b"]\x93.", "asks for numpy.a list"),
    "inst": (CALL + b"ios\nsystem\n.", "makes an object"),
    "obj": (b"(" + SYSTEM + CALL[1:] + b"o.", "asks for"),
    "obj of numpy": (b"(" + NDARRAY + b"(K\x01to.", "makes an object"),
    "newobj": (b"\x80\x02" + NDARRAY + b"(K\x01t\x81.", "makes an object"),
    "newobj_ex": (b"\x80\x04" + NDARRAY + b"(K\x01t}\x92.", "makes an object"),
    "persistent": (b"Pid\n.", "outside"),
    "binary persistent": (b"K\x01Q.", "outside"),
    "extension 1": (b"\x80\x02\x82\x01.", "extension"),
    "extension 2": (b"\x80\x02\x83\x01\x00.", "extension"),
    "extension 4": (b"\x80\x02\x84\x01\x00\x00\x00.", "extension"),
    "next buffer": (b"\x80\x05\x97.", "elsewhere"),
    "read-only buffer": (b"\x80\x05]\x98.", "elsewhere"),
    "set": (b"\x80\x04\x8f.", "set"),
    "python 2": (b"U\x01a.", "Python 2"),
    "unknown": (b"\xff.", "no pickle has an instruction 255"),
    "protocol": (b"\x80\x06N.", "protocol 6"),
    # Calls of what is not called, and states of what has none.
    "call of a list": (b"]" + b")R.", "calls a list"),
    "call of a string": (unicode("os.system") + CALL + b"tR.", "calls a str"),
    "call of the array type": (NDARRAY + b"(K\x01tR.", "calls the array type"),
    "call of a type": (F8 + b")R.", "calls a Dtype"),
    "call without a tuple": (DTYPE + unicode("f8") + b"R.", "calls"),
    "call with too much": (DTYPE + b"(NNNNNtR.", "damaged"),
    "bytes of a number": (b"cbuiltins\nbytes\n(K\x08tR.", "calls the type of bytes"),
    "another encoding": (b"c_codecs\nencode\n(" + unicode("a") + unicode("rot13") + b"tR.",
                         "encoding"),
    "encoding of a list": (b"c_codecs\nencode\n(]" + unicode("latin1") + b"tR.", "encoding"),
    "state of a name": (SCALAR + b"}" + unicode("__code__") + b"K\x01sb.", "gives a state"),
    "slots of a name": (SCALAR + b"N}" + unicode("__defaults__") + b")s\x86b.", "gives a state"),
    "state of a list": (b"])b.", "gives a state to a list"),
    "state of nothing": (b")b.", "gives a state to nothing"),
    "state that is a dict": (EMPTY + b"}b.", "gives a state"),
    "state of a finished array": (EMPTY + WHOLE + b"b" + WHOLE + b"b.", "gives a state"),
    "no state": (EMPTY + b".", "without content"),
    "an array of another type": (
        b"cnumpy.core.multiarray\n_reconstruct\n(cbuiltins\nbytes\n(K\x00tC\x01btR.",
        "another array"),
    "only a name": (NDARRAY + b".", "no data"),
    "only a type": (F8 + b".", "no data"),
    "append to a tuple": (b")K\x01a.", "treats a tuple as a list"),
    "append to an array": (EMPTY + WHOLE + b"bK\x01a.", "treats a ndarray as a list"),
    "item of a list": (b"]K\x00K\x01s.", "treats a list as a dict"),
    "item of a name": (NDARRAY + unicode("x") + b"K\x01s.", "as a dict"),
    # Sizes
    "bytes without end": (b"\x80\x04\x8e" + b"\xff" * 8 + b".", "cut off"),
    "bytearray without end": (b"\x80\x05\x96" + b"\xff" * 7 + b"\x7f.", "cut off"),
    "text without end": (b"\x80\x04\x8d" + b"\xff" * 7 + b"\x7f.", "cut off"),
    "long without end": (b"\x80\x02\x8b\xff\xff\xff\x7f.", "cut off"),
    "negative long": (b"\x80\x02\x8b\xff\xff\xff\xff.", "cut off"),
    "frame without end": (b"\x80\x04\x95" + b"\xff" * 8 + b"N.", "cut off"),
    "many digits": (b"I" + b"9" * 5000 + b"\n.", "5,000 characters"),
    "many digits of a long": (b"L" + b"9" * 4999 + b"L\n.", "5,000 characters"),
    "many bytes of a long": (b"\x80\x02\x8a\xf0" + b"\x01" * 240 + b".", "240 bytes"),
    "huge shape": (EMPTY + b"(K\x01(\x8a\x05\x00\x00\x00\x00\x10t" + F8 + b"\x89C\x00tb.",
                   "impossible shape"),
    "negative shape": (EMPTY + b"(K\x01(J\xff\xff\xff\xfft" + F8 + b"\x89" + EIGHT + b"tb.",
                       "impossible shape"),
    "true shape": (EMPTY + b"(K\x01(\x88t" + F8 + b"\x89" + EIGHT + b"tb.", "impossible shape"),
    "many axes": (EMPTY + b"(K\x01(" + b"K\x01" * 9 + b"t" + F8 + b"\x89" + EIGHT + b"tb.",
                  "impossible shape"),
    "too few bytes": (EMPTY + b"(K\x01(K\x02t" + F8 + b"\x89" + EIGHT + b"tb.", "16 bytes has 8"),
    "too many bytes": (EMPTY + b"(K\x01)" + F8 + b"\x89C\x10" + bytes(16) + b"tb.", "8 bytes has"),
    "a list of objects": (EMPTY + b"(K\x01(K\x01t" + F8 + b"\x89]K\x01atb.", "no plain numbers"),
    "a type that is none": (EMPTY + b"(K\x01(K\x01t" + unicode("f8") + b"\x89" + EIGHT + b"tb.",
                            "no plain numbers"),
    "a shape that is none": (EMPTY + b"(K\x01K\x01" + F8 + b"\x89" + EIGHT + b"tb.", "shape"),
    "another format": (EMPTY + b"(K\x02(K\x01t" + F8 + b"\x89" + EIGHT + b"tb.", "format"),
    "a short state": (EMPTY + b"(K\x01tb.", "format"),
    "buffer without bytes": (BUFFER + b"(]" + F8 + b"(K\x00t" + unicode("C") + b"tR.", "plain"),
    "another order": (BUFFER + b"(" + EIGHT + F8 + b"(K\x01t" + unicode("A") + b"tR.", "order"),
    "scalar of too much": (SCALAR + b"(" + F8 + b"C\x10" + bytes(16) + b"tR.", "8 bytes has 16"),
    "objects": (DTYPE + b"(" + unicode("O8") + b"tR.", "something else than plain numbers"),
    "a type of a type": (DTYPE + b"(" + NDARRAY + b"tR.", "something else than plain numbers"),
    "a type by words": (DTYPE + b"(" + unicode("f8,f8") + b"tR.", "something else"),
    "a type with fields": (
        F8 + b"(K\x03" + unicode("<") + b"N)}K\x00K\x00K\x00tb.", "another"),
    "a type of unknown order": (
        F8 + b"(K\x03" + unicode("x") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb.", "order"),
    # Damage
    "nothing": (b"", "cut off"),
    "only an end": (b".", "not put down"),
    "only a mark": (b"(.", "not put down"),
    "two values": (b"NN.", "goes on"),
    "more after the end": (b"N.N.", "goes on"),
    "end of a list that never began": (b"K\x01e.", "not put down"),
    "a key without a value": (b"}(K\x01u.", "without a value"),
    "unknown memory": (b"h\x05.", "not remembered"),
    "memory of nothing": (b"q\x00N.", "not put down"),
    "negative memory": (b"Np-1\n.", "not put down"),
    "far memory": (b"Nr\xff\xff\xff\xff.", None),
    "no number": (b"Iabc\n.", "damaged"),
    "no float": (b"Fabc\n.", "damaged"),
    "no text": (b"X\x01\x00\x00\x00\xff.", "damaged"),
    "no name": (b"c\xff\n\xff\n.", "damaged"),
    "no line": (b"I12", "cut off"),
}  # fmt: skip


@pytest.mark.parametrize("name", ASSEMBLED)
def test_assembled_pickles(name: str, here: Path) -> None:
    data, words = ASSEMBLED[name]
    if words is None:  # a place in the memory costs nothing
        assert loads_plain(data) is None
    else:
        with pytest.raises(Refused, match=words):
            loads_plain(data)
    assert list(here.iterdir()) == []


def test_the_parts_of_the_assembled_pickles_are_sound() -> None:
    same(loads_plain(EMPTY + WHOLE + b"b."), np.zeros(1))
    same(loads_plain(SCALAR + b"(" + F8 + EIGHT + b"tR."), np.float64(0.0))
    same(loads_plain(BUFFER + b"(" + EIGHT + F8 + b"(K\x01t" + unicode("C") + b"tR."), np.zeros(1))


def test_what_the_reader_uses_cannot_be_changed_by_a_file() -> None:
    names = dict(plain_pickle.NAMES)
    for data, _ in ASSEMBLED.values():
        try:
            loads_plain(data)
        except Refused:
            continue
    assert names == plain_pickle.NAMES
    same(loads_plain(pickle.dumps(ARRAYS)), ARRAYS)


@pytest.mark.slow
def test_nesting_without_end_is_no_trouble() -> None:
    deep = 100_000
    for data in (b"]" * deep + b"a" * (deep - 1), b")" + b"\x85" * deep):
        assert type(loads_plain(data + b".")) in (list, tuple)
    # As a key it would be hashed to its bottom, as a type compared.
    for tail, words in ((b"K\x01s.", "as a key"), (b"\x93.", "asks for")):
        with pytest.raises(Refused, match=words):
            loads_plain(
                b"})" + b"\x85" * deep + tail if b"s" in tail else b"N)" + b"\x85" * deep + tail
            )
    with pytest.raises(Refused, match="format"):
        loads_plain(EMPTY + b"()" + b"\x85" * deep + b"NNNNtb.")


def test_a_list_named_again_and_again_stays_small() -> None:
    # Each level holds ten times the one before: 10^12 elements if they were copied.
    data = b"]q\x00" + b"".join(
        b"](" + b"h" + bytes([n]) + (b"h" + bytes([n])) * 9 + b"eq" + bytes([n + 1])
        for n in range(12)
    )
    value = loads_plain(b"(" + data + b"l.")
    assert len(value) == 13


def test_pickles_of_too_many_instructions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pickle.dumps([1, 2, 3, 4])
    assert loads_plain(data) == [1, 2, 3, 4]
    monkeypatch.setattr(plain_pickle, "MAX_INSTRUCTIONS", 5)
    with pytest.raises(Refused, match="more than 5 instructions"):
        loads_plain(data)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pickle_cut_off_anywhere_is_refused(protocol: int) -> None:
    data = pickle.dumps([{"a": GRID, "b": [1.5, "text", True], "c": np.float32(3)}], protocol)
    for end in range(len(data)):
        with pytest.raises(Refused):
            loads_plain(data[:end])


@pytest.fixture
def no_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a file could want, noted where it is called."""
    called: list[str] = []

    def trap(name: str) -> Any:
        def noted(*args: Any, **kwargs: Any) -> Any:
            called.append(name)
            raise AssertionError(name)

        return noted

    for owner, name in ((os, "system"), (subprocess, "Popen"), (builtins, "eval")):
        monkeypatch.setattr(owner, name, trap(name))
    return called


WORDS = [
    *(bytes([code]) for code in range(256) if plain_pickle._OPERATIONS[code]),
    SYSTEM, NDARRAY, DTYPE, F8, EMPTY, SCALAR, BUFFER, EIGHT, WHOLE, CALL + b"t",
    b"cbuiltins\neval\n",
    unicode("f8"), unicode("os"), unicode("system"), b"K\x01", b"h\x00", b"q\x00", b"(", b"t", b"R",
]  # fmt: skip


def read_quietly(data: bytes) -> None:
    try:
        loads_plain(data)
    except Refused:
        return


@pytest.mark.slow
def test_bytes_by_chance_are_read_or_refused_and_do_nothing_else(no_calls: list[str]) -> None:
    @settings(max_examples=400, deadline=None)
    @given(st.binary(max_size=200))
    @example(b"\x80\x04\x95")
    def by_chance(data: bytes) -> None:
        read_quietly(data)
        read_quietly(data + b".")

    @settings(max_examples=600, deadline=None)
    @given(st.lists(st.sampled_from(WORDS), max_size=40))
    def of_instructions(words: list[bytes]) -> None:
        read_quietly(b"".join(words) + b".")

    @settings(max_examples=400, deadline=None)
    @given(st.sampled_from(PROTOCOLS), st.data())
    def changed(protocol: int, data: st.DataObject) -> None:
        stream = io.BytesIO()
        pickle.dump([{"a": GRID, "b": [np.float64(1.0), "x"]}], stream, protocol)
        content = bytearray(stream.getvalue())
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] = data.draw(st.integers(0, 255))
        read_quietly(bytes(content))

    by_chance()
    of_instructions()
    changed()
    assert no_calls == []
