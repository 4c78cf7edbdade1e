"""A folder of the benchmark that all tests of it share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.datasets import own_datasets

__all__ = ["own_datasets"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tests share it: what one has fitted, the others need not fit again."""
    return tmp_path_factory.mktemp("benchmark")
