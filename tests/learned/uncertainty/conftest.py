"""Intervals are as good here as a user gets them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from persim_gym.learned.uncertainty import calibrate


@pytest.fixture(scope="package", autouse=True)
def _far(usual_steps: dict[str, int]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrate, "FAR", usual_steps["intervals"])
        yield
