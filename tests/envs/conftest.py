"""Every suite of environments, one after the other."""

from __future__ import annotations

import pytest

from persim_gym.envs.suites import SUITES, Suite


@pytest.fixture(params=SUITES)
def suite(request: pytest.FixtureRequest) -> Suite:
    return SUITES[request.param]
