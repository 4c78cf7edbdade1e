"""A demo that all tests of it share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.demo.small import Finished, tiny


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


@pytest.fixture(autouse=True)
def _own_datasets(root: Path) -> None:
    """Each test has a place of its own for data sets."""
