"""The latents that a fit begins with."""

from __future__ import annotations

import numpy as np
import pytest

from persim_gym.learned.latent.fit import initial_network
from tests.learned.latent.test_fit import QUICK, THRESHOLDS
from tests.learned.latent_worlds import Recorded, kink, record


@pytest.fixture(scope="module")
def kinked() -> Recorded:
    return record(kink, THRESHOLDS, 80, seed=0, scattered=True)


def test_the_first_latents_tell_agents_apart(kinked: Recorded) -> None:
    latents = initial_network(kinked.data, QUICK).factors[0, :, 0].numpy()
    assert abs(np.corrcoef(latents, THRESHOLDS)[0, 1]) > 0.8
