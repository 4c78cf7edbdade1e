"""Strange values that have a cause."""

from __future__ import annotations

import numpy as np
import pytest

from persim_gym.offline.tables.causes import caused
from tests.offline.tables.sensors import AGENTS, FOLLOWS, STEPS, smooth


@pytest.mark.parametrize("after", ["nothing", "an action", "a state", "the same day of all"])
def test_what_comes_of_something_has_a_cause(after: str) -> None:
    rng = np.random.default_rng(0)
    values, actions = smooth(rng)
    found = np.zeros(values.shape, dtype=bool)
    first = np.flatnonzero(FOLLOWS)
    if after == "nothing":
        rows = rng.choice(first, 20, replace=False)
    elif after == "an action":
        rows = first[np.argsort(actions[first, 0])[-20:]]
    elif after == "a state":
        rows = first[np.argsort(np.abs(values[first, 1] - values[:, 1].mean()))[:40]]
    else:
        rows = np.arange(AGENTS) * STEPS + 40
    found[rows + 1, 0] = True
    hidden = caused(found, values, FOLLOWS, actions)
    assert (hidden == (found if after != "nothing" else False)).all()


def test_a_weak_relation_is_no_cause_where_more_is_asked_for() -> None:
    rng = np.random.default_rng(1)
    values, actions = smooth(rng)
    first = np.flatnonzero(FOLLOWS)
    likely = 1 + 1.5 * (actions[first, 0] > 0)
    found = np.zeros(values.shape, dtype=bool)
    found[rng.choice(first, 400, replace=False, p=likely / likely.sum()) + 1, 0] = True
    assert caused(found, values, FOLLOWS, actions).any()
    assert not caused(found, values, FOLLOWS, actions, least=0.5).any()
