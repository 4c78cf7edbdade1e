"""Fits that no memory can hold are refused before any work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from persim_gym.learned.fitting.fit_memory import check_sizes
from persim_gym.learned.fitting.plan import plan_fit
from tests.learned.worlds import PlainTask, transitions

TASK = PlainTask.of(3, actions=2)


def check_sizes_of(options: dict[str, Any]) -> None:
    options = dict(options)
    rows = np.random.default_rng(0).normal(size=(40, 3))
    data = transitions(np.arange(40) // 10, rows, np.arange(40) % 2, rows)
    method = options.pop("method", "als")
    plan = plan_fit("plain", config=None, method=method, preset="default", options=options)
    check_sizes(plan, data, TASK)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lag": 10**11}, r"lag=1\d+ of 40 transitions.*choose a smaller one"),
        ({"method": "als", "degree": 10**6}, r"degree=1000000 with lag=1, \d+ monomials"),
        ({"method": "als", "ensemble_size": 10**13}, r"ensemble_size=1\d+ with \d+ weights each"),
        ({"method": "sgd", "state_hidden": (10**8,)}, r"ensemble_size=\d with rank=\d, \d+ weigh"),
    ],
    ids=str,
)
def test_what_needs_too_much_memory_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_sizes_of(options)


@pytest.mark.parametrize("method", ["als", "sgd", "auto"])
def test_usual_sizes_pass(method: str) -> None:
    check_sizes_of({"method": method})
