"""What a fit says of itself, coordinate by coordinate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from persim_gym.learned import PerSim
from tests.evaluation.validation.worlds import patients


def heldout(**options: Any) -> dict[str, Any]:
    data = patients(8, 45, noise=0.2)
    sim = PerSim.fit(data, progress=False, ensemble_size=1, **options)
    found: dict[str, Any] = sim.card["metrics"]["heldout"]
    return found


def test_errors_are_of_steps_that_were_kept_and_in_each_unit() -> None:
    found = heldout(method="hierarchical", degree=1)
    assert found["steps"] == 10
    assert found["seen"] is False
    rmse = {name: np.array(own) for name, own in found["rmse"].items()}
    # Glucose varies by tens, weight by tenths; ten steps of noise of 3 and 0.08 that dies away.
    np.testing.assert_allclose(rmse["simulator"], [5.0, 0.15], rtol=0.6)
    assert (rmse["simulator"] < rmse["pooled"]).all()
    assert (rmse["pooled"] < rmse["persistence"]).all()


def test_what_has_seen_everything_says_so() -> None:
    found = heldout(method="sgd", epochs=1)
    assert found["seen"] is True
    # Hardly fitted: worse than a polynomial.
    assert found["rmse"]["simulator"][0] > found["rmse"]["pooled"][0]


def test_nothing_can_be_said_of_single_steps() -> None:
    data = patients(30, 1)
    sim = PerSim.fit(data, method="sgd", epochs=1, ensemble_size=1, progress=False)
    assert sim.card["metrics"]["heldout"] is None


@pytest.mark.parametrize("column", [0, 1])
def test_constant_coordinates_have_no_error(column: int) -> None:
    import dataclasses

    data = patients(4, 30)
    obs, next_obs = data.obs.copy(), data.next_obs.copy()
    obs[:, column] = next_obs[:, column] = 3.0
    data = dataclasses.replace(data, obs=obs, next_obs=next_obs)
    sim = PerSim.fit(data, method="hierarchical", degree=1, ensemble_size=1, progress=False)
    found = sim.card["metrics"]["heldout"]["rmse"]
    assert found["simulator"][column] == pytest.approx(0, abs=1e-4)
    assert found["persistence"][column] == 0
