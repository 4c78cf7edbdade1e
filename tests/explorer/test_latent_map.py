from __future__ import annotations

import numpy as np
import pytest

from persim_gym.evaluation.latent_factors import principal_components
from persim_gym.explorer.latent_map import latent_map
from persim_gym.learned import PerSim
from tests.learned.worlds import walker


def test_the_map_holds_all_agents(patient_sim: PerSim) -> None:
    found, why = latent_map(patient_sim)
    assert found is not None
    assert why == ""
    assert found.places.shape == (6, 2)
    assert found.places.min() >= 0
    assert found.places.max() <= 1
    assert np.ptp(found.places, axis=0).max() == pytest.approx(1)
    components, explained = principal_components(patient_sim.latent_factors)
    apart = components - components[0]
    unit = found.places - found.places[0]
    np.testing.assert_allclose(unit * np.ptp(components, axis=0).max(), apart, atol=1e-9)
    np.testing.assert_array_equal(found.explained, explained)
    distances = np.linalg.norm(found.places - found.places[2], axis=1)
    assert found.nearest(2, 3) == np.argsort(distances)[1:4].tolist()
    assert len(found.nearest(2, 99)) == 5


def test_one_factor_makes_a_line() -> None:
    found, _ = latent_map(walker())
    assert found is not None
    assert found.places.shape[1] == 2


class NoFactors:
    num_agents = 5

    @property
    def latent_factors(self) -> np.ndarray:
        raise TypeError("no factors")


class Alike:
    num_agents = 5
    latent_factors = np.ones((2, 5, 3), dtype=np.float32)


class Two:
    num_agents = 2
    latent_factors = np.ones((2, 2, 3), dtype=np.float32)


@pytest.mark.parametrize(
    ("sim", "why"), [(NoFactors(), "no latent factors"), (Alike(), "same"), (Two(), "three")]
)
def test_no_map_is_said(sim: object, why: str) -> None:
    found, said = latent_map(sim)  # type: ignore[arg-type]
    assert found is None
    assert why in said
