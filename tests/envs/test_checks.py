"""What the shells check of a reset."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from persim_gym.envs.checks import check_options, check_seed

KNOWN = frozenset({"agent", "state"})


def test_options_that_are_left_out_have_their_defaults() -> None:
    assert check_options(None, KNOWN) == {}
    assert check_options({"agent": None, "state": [1.0]}, KNOWN) == {"state": [1.0]}
    assert check_options({"minari_autoseed": True, "options": 1}, KNOWN) == {}


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ([], TypeError, "must be a dictionary with any of agent, state"),
        ({"agnet": 1}, ValueError, r"'agnet' \(did you mean 'agent'\?\): there are agent, state"),
    ],
)
def test_other_options_are_refused(options: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        check_options(options, KNOWN)


def test_seeds() -> None:
    assert check_seed(None) is None
    assert type(check_seed(np.int64(3))) is int
    for bad in (True, 1.0, "1"):
        with pytest.raises(TypeError, match="a seed must be an integer"):
            check_seed(bad)
    with pytest.raises(ValueError, match="must not be negative"):
        check_seed(-1)
