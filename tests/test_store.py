"""Tensors on disk: whole, of the kind that is asked for, and with nothing that can run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from persim_gym import store

TENSORS = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.zeros(0)}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "some" / "thing.safetensors"
    file.parent.mkdir()
    store.write(file, "thing", TENSORS, {"name": "x", "numbers": [1, 2.5, None]}, beside=True)
    tensors, card = store.read(file, "thing")
    assert set(tensors) == set(TENSORS)
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert (card["name"], card["numbers"], card["kind"]) == ("x", [1, 2.5, None], "thing")
    assert json.loads(file.with_suffix(".json").read_text())["name"] == "x"


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    for name, card in (("one", {"p": 1, "q": 2}), ("two", {"q": 2, "p": 1})):
        store.write(tmp_path / name, "thing", TENSORS, card)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_another_kind_and_altered_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "thing.safetensors"
    store.write(file, "thing", TENSORS, {})
    with pytest.raises(ValueError, match="thing"):
        store.read(file, "simulator")
    content = file.read_bytes()
    for bad in (content[:-1] + bytes([content[-1] ^ 1]), content[:-4], b"", b"\x80\x04K\x01."):
        file.write_bytes(bad)
        with pytest.raises(ValueError, match=r"thing\.safetensors"):
            store.read(file, "thing")
