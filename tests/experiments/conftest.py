"""Data sets of these tests have a place of their own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_datasets(root: Path) -> None:
    """Every test of this folder has it."""
