"""Tests here write data sets."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_datasets(root: Path) -> None:
    """Each test has a place of its own for data sets."""
