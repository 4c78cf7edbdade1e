"""Worlds and their fits that several tests share."""

from __future__ import annotations

from dataclasses import replace

import pytest

from persim_gym.learned import PerSim
from persim_gym.offline.transitions import Transitions
from tests.learned.posterior.worlds import GaussianWorld
from tests.learned.worlds import PlainTask, RankTwoWorld, random_walks


@pytest.fixture(scope="session")
def exact() -> GaussianWorld:
    return GaussianWorld()


@pytest.fixture(scope="session")
def fitted(exact: GaussianWorld) -> PerSim:
    return exact.fit()


@pytest.fixture
def sim(fitted: PerSim) -> PerSim:
    """A copy, which may be changed."""
    return fitted.to("cpu")


@pytest.fixture(scope="session")
def networks() -> tuple[RankTwoWorld, PerSim]:
    world = RankTwoWorld(agents=60)
    data = world.record(100)
    known = replace(data.select(data.agent < 50), num_agents=50)
    task = PlainTask.of(2, actions=world.actions)
    sim = PerSim.fit(
        known, task=task, method="sgd", rank=2, ensemble_size=3, spare_members=2,
        state_hidden=(32, 32), batch_size=64, epochs=40, learning_rate=1e-2,
        normalise_targets=False,
    )  # fmt: skip
    return world, sim


@pytest.fixture(scope="session")
def walks() -> Transitions:
    return random_walks(PlainTask.of(2, actions=3))
