"""Covariates read off latent factors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from persim_gym.experiments.recordings import population_of
from persim_gym.experiments.stages import run_cell
from tests.experiments.paper_cells import tiny

pytestmark = pytest.mark.usefixtures("recorded")


@pytest.mark.slow
def test_latent_factors_are_probed_for_the_agents_of_the_fit(folder: Path) -> None:
    row = run_cell(tiny("latent", episodes=1), folder, threads=1)
    assert row.results["names"] == ["force", "length"]
    np.testing.assert_allclose(
        row.results["covariates"], population_of(tiny()).values[:25], atol=1e-6
    )
    assert np.shape(row.results["predicted"]) == (25, 2)
