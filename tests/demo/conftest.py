"""A demo that all tests of it share."""

from __future__ import annotations

import pytest

from tests.datasets import own_datasets
from tests.demo.small import Finished, tiny

__all__ = ["own_datasets"]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A finished demo: its page, its events, and its progress."""
    folder = tmp_path_factory.mktemp("demo")
    progress: list[tuple[str, int, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        data = folder / "minari"
        data.mkdir()
        patch.setenv("MINARI_DATASETS_PATH", str(data))
        page, events = tiny(folder / "out", on_progress=lambda *now: progress.append(now))
    return page, events, progress
