"""What a foreign file may become: counted, whatever it asks for; and what is no file at all."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from persim_gym.cli import app
from persim_gym.offline.authors import plain_pickle
from persim_gym.offline.authors.limits import Budget
from persim_gym.offline.authors.plain_pickle import Refused, loads_plain
from persim_gym.offline.authors.reading import from_authors_file, import_authors_file

MB = 10**6


def text(value: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value


def blob(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


LARGE = b"a" * MB
F8 = b"cnumpy\ndtype\n(" + text(b"f8") + b"tR"
SWAPPED = F8 + b"(K\x03" + text(b">") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
EMPTY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR"
SHAPE = b"(J" + struct.pack("<i", MB // 8) + b"t"
STATE = EMPTY + b"(K\x01" + SHAPE + b"h\x01\x89h\x00tb"
HASH = 2**61 - 1

BOMBS = {
    # One text or piece of bytes in the file, made anew again and again.
    "encode": b"(" + text(LARGE) + b"q\x000"
    + (b"c_codecs\nencode\n(h\x00" + text(b"latin1") + b"tR") * 20_000 + b"l.",
    "arrays": b"(" + blob(LARGE) + b"q\x000" + F8 + b"q\x010" + STATE * 20_000 + b"l.",
    "arrays of another order": b"(" + blob(LARGE) + b"q\x000" + SWAPPED + b"q\x010"
    + STATE * 20_000 + b"l.",
    # Many small objects of one byte of the file each.
    "lists": b"(" + b"]" * 5 * MB + b"l.",
    "dictionaries": b"(" + b"}" * 5 * MB + b"l.",
    "tuples": b"(" + b")\x85" * 5 * MB + b"l.",
    # One wide letter, and every letter takes four bytes.
    "wide text": b"(" + text(LARGE + "\U0001f600".encode()) * 40 + b"l.",
    # Keys of one hash, and places to remember under of one hash.
    "keys": b"}(" + b"".join(
        b"\x8a\x0a" + (k * HASH).to_bytes(10, "little", signed=True) + b"N" for k in range(1, 3000)
    ) + b"u.",
    "keys below zero": b"}(\x8a\x0a" + (-HASH).to_bytes(10, "little", signed=True) + b"Nu.",
    "one key at a time": b"}" + b"".join(b"J" + struct.pack("<i", k) + b"Ns" for k in range(9000))
    + b".",
    "many keys": b"}(" + b"".join(b"J" + struct.pack("<i", k) + b"N" for k in range(9000)) + b"u.",
    "memory": b"N" + b"".join(b"p%d\n" % (k * HASH) for k in range(1, 3000)) + b".",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_what_is_produced_is_limited(name: str) -> None:
    data = BOMBS[name]
    most = 8 * MB if name in ("lists", "dictionaries", "tuples", "wide text") else None
    tracemalloc.start()
    try:
        with pytest.raises(Refused, match=r"becomes more than .*max_bytes|as a key|keys|remembers"):
            loads_plain(data, Budget(most, 60.0, len(data)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * (most or 100 * len(data)) + MB


def test_a_limit_can_be_raised_and_the_clock_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pickle.dumps([list(range(5000)), "x" * 1000])
    assert loads_plain(data, Budget(2 * MB, 60.0, len(data)))[1] == "x" * 1000
    with pytest.raises(Refused, match=r"more than 100 kB: .*raise max_bytes"):
        loads_plain(data, Budget(100_000, 60.0, len(data)))
    budget = Budget(None, 5.0, len(data))
    monkeypatch.setattr(plain_pickle.Budget, "check_time", lambda self: self.spend(2**40))
    with pytest.raises(Refused):
        loads_plain(data, budget)
    monkeypatch.undo()
    late = Budget(None, 5.0, len(data))
    late._end = 0.0
    with pytest.raises(Refused, match=r"more than 5 s: .*raise max_seconds"):
        loads_plain(data, late)


@pytest.mark.parametrize("limit", ["max_bytes", "max_seconds"])
@pytest.mark.parametrize(("value", "error"), [(0, ValueError), ("1", TypeError), (True, TypeError)])
def test_limits_that_are_none(limit: str, value: Any, error: Any, tmp_path: Path) -> None:
    file = tmp_path / "some.pkl"
    file.write_bytes(pickle.dumps([]))
    with pytest.raises(error, match=f"{limit} must be"):
        from_authors_file(file, "cartpole", **{limit: value})


def shared(count: int, length: int) -> list[dict[str, Any]]:
    """Trajectories of the same small arrays: two bytes of a file each, an episode a step."""
    zeros = np.zeros((length, 4), np.int8)
    arrays = {"observations": zeros, "next_observations": zeros}
    line = np.zeros(length, np.int8)
    arrays |= {"actions": line, "rewards": line, "dones": np.ones(length, np.int8)}
    about = {"id": 0, "unread": b"x" * 36_000}  # not more transitions than the file has bytes
    return [{**arrays, "unit_info": about} for _ in range(count)]


@pytest.mark.slow
def test_arrays_that_are_shared_are_counted_every_time(tmp_path: Path, root: Path) -> None:
    file = tmp_path / "small.pkl"
    file.write_bytes(pickle.dumps(shared(40, 200)))
    assert file.stat().st_size < 40_000
    with pytest.raises(ValueError, match=r"small\.pkl cannot be read: .* becomes more than"):
        import_authors_file(file, "cartpole")
    assert list(root.iterdir()) == []
    few = tmp_path / "few.pkl"
    few.write_bytes(pickle.dumps(shared(1, 50)))
    assert len(import_authors_file(few, "cartpole")) == 50
    with pytest.raises(ValueError, match="becomes more than 100 kB"):
        import_authors_file(few, "cartpole", max_bytes=100_000, overwrite=True)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without pipes in folders")
@pytest.mark.parametrize("make", [pipe, endless, Path.mkdir])
def test_what_is_no_file_is_not_opened(make: Any, tmp_path: Path, root: Path) -> None:
    path = tmp_path / "data.pkl"
    make(path)
    for read in (from_authors_file, import_authors_file):
        with pytest.raises(ValueError, match="a regular file is needed"):
            read(path, "cartpole")
    done = CliRunner().invoke(app, ["datasets", "import", str(path), "--task", "cartpole"])
    assert done.exit_code == 2
    assert list(root.iterdir()) == []


def test_a_file_that_is_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("persim_gym.offline.authors.reading.MAX_BYTES", 10)
    file = tmp_path / "some.pkl"
    file.write_bytes(pickle.dumps([1, 2, 3, 4]))
    with pytest.raises(ValueError, match=r"some\.pkl has \d+ bytes, at most 10"):
        from_authors_file(file, "cartpole")


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.argv = ["persim-gym", "datasets", "import", sys.argv[2], "--task", "cartpole"]
from persim_gym.cli import app
app()
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without such limits")
@pytest.mark.parametrize("room", [1000, 100_000, 3_000_000])
def test_a_full_disk_ends_an_import_in_one_line(room: int, tmp_path: Path, root: Path) -> None:
    """With room for nothing, for the metadata, and for the first part of the episodes."""
    file = tmp_path / "few.pkl"
    file.write_bytes(pickle.dumps(shared(1, 300)))
    command = [sys.executable, "-c", FULL, str(room), str(file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert "there is no room for data set" in done.stderr
    assert list(root.iterdir()) == []
