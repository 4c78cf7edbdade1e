"""From a fit to the parts of a simulator."""

from __future__ import annotations

import math

import numpy as np
import pytest

from persim_gym.learned import PerSim
from persim_gym.learned.fitting.assembly import fit_parts
from persim_gym.learned.fitting.plan import plan_fit
from persim_gym.learned.parts import Parts
from tests.learned.worlds import PlainTask, random_walks

TASK = PlainTask.of(2, actions=3)


DATA = random_walks(TASK)
QUICK = {"degree": 1, "rank": 2, "threshold": 0.0, "ensemble_size": 2}


def plan(**options: object) -> object:
    settings = QUICK | options
    return plan_fit(TASK.name, method="als", options=settings, known=True)


@pytest.fixture(scope="module")
def parts() -> Parts:
    return fit_parts(plan(), DATA, TASK)


def test_parts_hold_support_noise_and_what_new_agents_need(parts: Parts) -> None:
    assert parts.task is TASK
    np.testing.assert_array_equal(parts.experience.low, np.minimum(DATA.obs, DATA.next_obs).min(0))
    assert 0 < parts.experience.disagreement_limit < math.inf
    assert parts.uncertainty is not None
    assert parts.card["metrics"]["estimated_noise"] == parts.uncertainty.noise.to_json()
    assert parts.card["dataset"]["sha256"] == DATA.sha256()
    assert parts.knowledge is not None


def test_it_is_what_a_fit_makes(parts: Parts) -> None:
    fitted = PerSim.fit(DATA, task=TASK, method="als", progress=False, **QUICK)
    assert PerSim.of(parts).sha256 == fitted.sha256


def test_one_member_has_nobody_to_disagree_with() -> None:
    parts = fit_parts(plan(ensemble_size=1), DATA, TASK)
    assert parts.experience.disagreement_limit == math.inf


def test_data_of_another_task_are_refused() -> None:
    with pytest.raises(ValueError, match="another task"):
        fit_parts(plan(), random_walks(PlainTask.of(3, actions=3)), TASK)
