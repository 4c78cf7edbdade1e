"""Fits of these tests have several blocks, however short they are."""

from __future__ import annotations

import pytest

from persim_gym.baselines import offline


@pytest.fixture(autouse=True)
def _short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "BLOCK", 10)
