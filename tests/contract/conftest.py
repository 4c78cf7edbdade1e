"""Every environment with a truth, one after the other."""

from __future__ import annotations

import pytest

from tests.contract.worlds import TRUE_IDS


@pytest.fixture(params=TRUE_IDS)
def env_id(request: pytest.FixtureRequest) -> str:
    return str(request.param)
