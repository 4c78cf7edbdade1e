"""Data sets of these tests have a place of their own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_datasets(root: Path) -> None:
    """Every test of this folder has it."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tests share it: what one has fitted, the others need not fit again."""
    return tmp_path_factory.mktemp("benchmark")
