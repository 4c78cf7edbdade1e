"""JSON and arrays on disk: whole, plain, and read back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from persim_gym.writing import finite, read_arrays, write_arrays, write_bytes, write_json


def test_files_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    file = write_bytes(tmp_path / "new" / "file", b"old")
    with pytest.raises(TypeError, match="JSON"):
        write_json(file, float)  # not plain
    assert file.read_bytes() == b"old"
    assert [path.name for path in file.parent.iterdir()] == ["file"]
    write_json(file, {"a": np.float32(0.5), "b": [np.nan, np.arange(2)], 3: (np.True_, np.inf)})
    assert json.loads(file.read_text()) == {"a": 0.5, "b": [None, [0, 1]], "3": [True, None]}
    assert finite({"x": np.int64(3)}) == {"x": 3}


def test_arrays_are_numbers_only(tmp_path: Path) -> None:
    arrays = {"a": np.arange(3), "b": np.ones((2, 0))}
    back = read_arrays(write_arrays(tmp_path / "arrays.npz", arrays))
    assert set(back) == {"a", "b"}
    np.testing.assert_array_equal(back["a"], arrays["a"])
    with pytest.raises(ValueError, match="allow_pickle"):
        write_arrays(tmp_path / "objects.npz", {"a": np.array([{}], dtype=object)})
    assert not (tmp_path / "objects.npz").exists()
