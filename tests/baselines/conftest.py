"""Fits of these tests have several blocks, however short they are."""

from __future__ import annotations

import pytest

from persim_gym.baselines import cloning, offline
from persim_gym.baselines.sfbc import optimise


@pytest.fixture(autouse=True)
def _short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "BLOCK", 10)
    monkeypatch.setattr(cloning, "BLOCK", 10)
    monkeypatch.setattr(optimise, "UPDATES", 10)
