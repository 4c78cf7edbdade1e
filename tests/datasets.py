"""A fixture of the rooms whose tests write data sets: their ``conftest.py`` imports it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_datasets(root: Path) -> None:
    """Each test has a place of its own for data sets."""
