"""The latents that a fit begins with."""

from __future__ import annotations

import numpy as np

from persim_gym.learned.latent.fit import initial_network
from tests.learned.latent_worlds import QUICK, THRESHOLDS, kink, record


def test_the_first_latents_separate_agents() -> None:
    kinked = record(kink, THRESHOLDS, 80, seed=0, scattered=True)
    latents = initial_network(kinked.data, QUICK).factors[0, :, 0].numpy()
    assert abs(np.corrcoef(latents, THRESHOLDS)[0, 1]) > 0.8
