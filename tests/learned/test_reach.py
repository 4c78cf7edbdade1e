"""States beyond the record go on where they come back by themselves, and are held where not."""

from __future__ import annotations

import numpy as np
import pytest

from persim_gym.learned import PerSim
from persim_gym.learned.preparation import Data
from persim_gym.learned.reach import FAR, comes_back
from tests.learned.noisy_worlds import TASK, WORLDS, fitted
from tests.learned.uncertainty.test_fading import Hill, hill
from tests.learned.worlds import transitions


def far_out(sim: PerSim) -> np.ndarray:
    """Observations ``[N, 2]`` beyond the record, each in one coordinate."""
    known = sim.experience
    low, high = known.low.astype(np.float64), known.high.astype(np.float64)
    middle = (low + high) / 2
    obs = np.tile(middle, (sim.num_agents, 1))
    which = np.arange(sim.num_agents) % 2
    rows = np.arange(sim.num_agents)
    obs[rows, which] = (high + 0.8 * FAR * (high - low))[which]
    return obs.astype(np.float32)


@pytest.mark.parametrize("name", ["process", "observations"])
def test_a_damped_world_is_right_beyond_the_record(name: str) -> None:
    """Whatever its noise: the law is linear there as well."""
    world, sim = WORLDS[name], fitted(name)
    obs = far_out(sim)
    agents = np.arange(world.agents)
    turn = 0.3 + 0.3 * np.random.default_rng(0).random(world.agents)
    a = 0.9 * np.stack([np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)], 1)
    truth = np.einsum("nij,nj->ni", a.reshape(-1, 2, 2), obs)
    predicted = sim.predict(agents, obs, np.zeros((world.agents, 1), np.float32))
    width = sim.experience.high - sim.experience.low
    assert (np.abs(predicted - truth) < 0.06 * width).all()


def test_what_runs_away_is_held_at_the_record() -> None:
    sim = hill(0.1)
    known = sim.experience
    agents, nothing = np.arange(Hill.agents), np.zeros((Hill.agents, 1), np.float32)
    width = float(known.high[0] - known.low[0])
    obs = [np.full((Hill.agents, 1), known.high[0] + s * width, np.float32) for s in (0.2, 0.5)]
    near, far = (sim.predict(agents, one, nothing) - one for one in obs)
    np.testing.assert_allclose(near, far, atol=1e-4)


def test_where_no_observation_varies_there_is_no_beyond() -> None:
    rng = np.random.default_rng(0)
    still = np.ones((60, 2))
    following = still + 0.1 * rng.standard_normal(still.shape)
    data = transitions(np.arange(60) // 20, still, rng.uniform(-1, 1, (60, 1)), following)
    assert not comes_back(fitted("process").ensemble, Data(data, TASK))
    PerSim.fit(data, task=TASK, method="hierarchical", degree=1, progress=False)


def test_it_is_seen_from_rollouts() -> None:
    world = WORLDS["process"]
    assert comes_back(fitted("process").ensemble, Data(world.record(), TASK))
