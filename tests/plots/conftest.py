"""Tests here write data sets; those of validations share one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from persim_gym.evaluation.validation import Validation, validate
from tests.datasets import own_datasets
from tests.evaluation.validation.worlds import FIT, patients

__all__ = ["own_datasets"]


@pytest.fixture(scope="session")
def found() -> Validation:
    """Of four patients with names that are markup, and of a policy for them."""
    data = patients(4, 24)
    names = ("<b>bold</b>", "o'neill", "c", "d")
    reward = -np.abs(data.next_obs[:, 0] - 100).astype(np.float64)
    data = dataclasses.replace(
        data, agent_names=names, obs_names=("glu & cose", "weight"), reward=reward
    )
    asked = {"splits": ("ends", "behaviour"), "horizons": (1, 5), "policy": "hold", "steps": 4}
    found = validate(data, **asked, **FIT)
    return dataclasses.replace(found, units=("mg/dL", ""))
