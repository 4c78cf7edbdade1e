"""Intervals are as good here as a user gets them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package", autouse=True)
def _usual(usual_efforts: dict[str, int]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in usual_efforts.items():
            if ".uncertainty." in name:
                patch.setattr(name, value)
        yield
