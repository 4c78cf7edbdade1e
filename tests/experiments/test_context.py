"""What a method is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from persim_gym.experiments import context
from tests.experiments.paper_cells import tiny


def test_a_cell_reads_its_data_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    monkeypatch.setattr(context, "transitions_of", lambda cell: read.append(cell) or object())
    cell = tiny("reward", method="sfbc-a")
    given = context.context_of(cell, tmp_path)
    assert not read
    assert given.data() is given.data()
    assert read == [cell]
    assert given.folder == tmp_path / str(cell.fit_key)
