"""What is known of an agent in a mixture: of each part, and together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from persim_gym.learned import PerSim
from persim_gym.learned.data import Data
from persim_gym.learned.mixture import MixtureEnsemble
from persim_gym.learned.posterior.calibration import learn_knowledge
from persim_gym.learned.posterior.mixture import MixedMap, MixedPosterior
from tests.learned.posterior.worlds import GaussianWorld

pytestmark = pytest.mark.slow  # three fits; mixtures of other families are in test_new_agents


@pytest.fixture(scope="module")
def world() -> GaussianWorld:
    return GaussianWorld(noise=0.01)


@pytest.fixture(scope="module")
def mixed(world: GaussianWorld) -> PerSim:
    """The right law and one of degree 1, which counts three times."""
    data = world.record(30)
    right, plain = world.fit(data, ensemble_size=2), world.fit(data, degree=1, ensemble_size=2)
    mixture = MixtureEnsemble([right.ensemble, plain.ensemble], (1, 3))
    known = learn_knowledge(mixture, Data(data, world.task))
    return PerSim(mixture, world.task, right.experience, right.card, known)


def test_an_interval_holds_what_its_parts_do_not_agree_on(
    mixed: PerSim, world: GaussianWorld
) -> None:
    known = mixed.posterior(0)
    assert isinstance(known, MixedPosterior)
    np.testing.assert_allclose(known.weights, [0.25, 0.75])
    assert known.deviation == pytest.approx(
        float(known.weights @ [p.deviation for p in known.parts])
    )
    obs, actions, _ = world.new_agent(50)
    ends = [part.interval(obs, actions, level=0.8) for part in known.parts]
    halves = np.array([(high - low) / 2 for low, high in ends])
    centres = np.array([(high + low) / 2 for low, high in ends])
    low, high = known.interval(obs, actions, level=0.8)
    np.testing.assert_allclose((low + high) / 2, 0.25 * centres[0] + 0.75 * centres[1])
    within = 0.25 * halves[0] ** 2 + 0.75 * halves[1] ** 2
    between = 0.25 * 0.75 * (1.2816 * (centres[0] - centres[1])) ** 2
    np.testing.assert_allclose((high - low) / 2, np.sqrt(within + between), rtol=1e-3)


def test_parts_share_transitions_and_no_factor(mixed: PerSim, world: GaussianWorld) -> None:
    sim = mixed.view()
    known = sim.update(0, *world.new_agent(7))
    assert isinstance(known, MixedPosterior)
    assert {part.count for part in known.parts} == {known.count} == {47}
    mapping = sim.map_covariates(world.shares(30, 0)[:, 1:3])
    assert isinstance(mapping, MixedMap)
    assert [r2.shape[1] for r2 in mapping.r2] == [3, 3]
    calls: list[Callable[[], Any]] = [
        lambda: sim.prior,
        lambda: known.mean,
        lambda: known.covariance,
        lambda: known.personal,
        lambda: known.evidence,
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"sim\.posterior\(agent\)\.parts"):
            call()
