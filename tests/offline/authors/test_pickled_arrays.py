"""NumPy's arrays, scalars and types as a pickle describes them."""

from __future__ import annotations

import pickle
import struct
from typing import Any

import numpy as np
import pytest

from persim_gym.offline.authors.pickled_arrays import (
    CALLS,
    NAMES,
    Name,
    Refused,
    array_state,
    encode,
    from_buffer,
    make_dtype,
    make_scalar,
    no_bytes,
    why_refused,
    with_order,
)
from persim_gym.offline.authors.plain_pickle import loads_plain
from tests.offline.pickles import ARRAYS, GRID, PROTOCOLS, same


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpys_values_come_back(protocol: int) -> None:
    for value in ARRAYS:
        same(loads_plain(pickle.dumps(value, protocol)), value)
    same(loads_plain(pickle.dumps(ARRAYS, protocol)), ARRAYS)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_names_of_numpy_before_and_since_its_second_version(protocol: int) -> None:
    data = pickle.dumps([GRID, np.float64(2.0)], protocol)
    old, new = (b"numpy.core.", b"numpy._core.")
    assert new in data
    if protocol >= 4:  # names there have their length in front, and a frame has its own
        change = len(new) - len(old)
        start = data.index(b"\x95") + 1
        count = data.count(new)
        frame = struct.unpack("<Q", data[start : start + 8])[0] - count * change
        data = data[:start] + struct.pack("<Q", frame) + data[start + 8 :]
        for tail in (b"multiarray", b"numeric"):
            size = len(new) + len(tail)
            data = data.replace(
                bytes([0x8C, size]) + new + tail, bytes([0x8C, size - change]) + old + tail
            )
    else:
        data = data.replace(new, old)
    assert new not in data
    assert old in data
    same(loads_plain(data), [GRID, np.float64(2.0)])


F8 = make_dtype("f8")


@pytest.mark.parametrize("code", ["b1", "<i4", ">u8", "=f2", "|i1"])
def test_plain_numbers_have_a_type(code: str) -> None:
    assert make_dtype(code).value == np.dtype(code)


@pytest.mark.parametrize("code", ["O", "f8,f8", "U3", "M8[D]", "c16", "f16", "V4", "", 8, None])
def test_what_is_no_plain_number_has_none(code: Any) -> None:
    with pytest.raises(Refused, match="something else than plain numbers"):
        make_dtype(code)


def test_the_order_of_bytes_is_the_state_s() -> None:
    plain = (3, ">", None, None, None, -1, -1, 0)
    assert with_order(np.dtype("<f8"), plain) == np.dtype(">f8")
    assert with_order(np.dtype(">f8"), (*plain[:1], "=", *plain[2:])) == np.dtype("f8")
    for wrong, says in (
        ((3, "x", *plain[2:]), "order"), ((3, "<>", *plain[2:]), "order"),
        ((3, "<", None, ("a",), None, -1, -1, 0), "another type"),
        ((5, *plain[1:]), "another type"),
        (plain[:5], "another type"),
    ):  # fmt: skip
        with pytest.raises(Refused, match=says):
            with_order(np.dtype("f8"), wrong)


def test_an_array_has_as_many_bytes_as_its_shape_says() -> None:
    assert array_state((1, (2, 1), F8, True, bytes(16)))[1:4] == ((2, 1), np.dtype("f8"), True)
    for wrong, says in (
        ((1, (2,), F8, False, bytes(8)), "16 bytes has 8"),
        ((1, (-1,), F8, False, b""), "impossible shape"),
        ((1, (True,), F8, False, bytes(8)), "impossible shape"),
        ((1, (1,) * 9, F8, False, bytes(8)), "impossible shape"),
        ((1, (2**31 + 1,), F8, False, b""), "impossible shape"),
        ((1, (1,), "f8", False, bytes(8)), "no plain numbers"),
        ((1, (1,), F8, False, [0.0]), "no plain numbers"),
        ((2, (1,), F8, False, bytes(8)), "format"),
        ((1, (1,), F8, "no", bytes(8)), "format"),
    ):
        with pytest.raises(Refused, match=says):
            array_state(wrong)


def test_arrays_and_scalars_of_protocol_5() -> None:
    data = np.arange(6.0).tobytes()
    np.testing.assert_array_equal(from_buffer(data, F8, (2, 3), "C"), np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(from_buffer(data, F8, (2, 3), "F")[:, 0], [0.0, 1.0])
    with pytest.raises(Refused, match="unknown order"):
        from_buffer(data, F8, (2, 3), "A")
    same(make_scalar(F8, data[8:16]), np.float64(1.0))
    with pytest.raises(Refused, match="8 bytes has 16"):
        make_scalar(F8, data[:16])


def test_bytes_as_text_are_of_latin_1() -> None:
    assert encode("\xe9\x00", "latin1") == b"\xe9\x00"
    assert no_bytes() == b""
    for wrong in (("a", "utf-8"), (b"a", "latin1"), ("a", ["latin1"])):
        with pytest.raises(Refused, match="encoding"):
            encode(*wrong)
    with pytest.raises(Refused, match="calls the type of bytes"):
        no_bytes(8)


@pytest.mark.parametrize(
    ("code", "says"),
    [(b"U", "Python 2"), (b"i", "makes an object"), (b"Q", "outside of it"), (b"\x8f", "has a set"),
     (b"\x97", "elsewhere"), (b"\xff", "no pickle has an instruction 255")],
)  # fmt: skip
def test_why_an_instruction_is_refused(code: bytes, says: str) -> None:
    assert says in why_refused(code[0])


def test_names_are_compared_and_only_few_are_called() -> None:
    assert NAMES["numpy._core.multiarray", "scalar"] is NAMES["numpy.core.multiarray", "scalar"]
    assert set(CALLS) < set(Name)
    assert {Name.NDARRAY, Name.RECONSTRUCT}.isdisjoint(CALLS)
    assert not any(callable(mark) for mark in Name)
