"""What transitions of unseen agents are worth: the protocol, on a small simulator."""

from __future__ import annotations

import json

import numpy as np
import pytest

from persim_gym.envs.suites import find_suite
from persim_gym.evaluation.adaptation import (
    LEVELS,
    Adaptation,
    as_transitions,
    mean_agent,
    measure,
    random_transitions,
)
from persim_gym.evaluation.episodes import follow
from persim_gym.learned import PerSim

SUITE = find_suite("cartpole")
TRUE = SUITE.dynamics(SUITE.population(16))
UNSEEN = (14, 15)


def test_random_transitions_are_steps_of_the_true_dynamics() -> None:
    data = random_transitions(SUITE.task(), TRUE, [3, 5], episodes=2, seed=4)
    following = TRUE.step(data.agent, data.obs.astype(np.float64), data.action)
    np.testing.assert_allclose(data.next_obs, following, rtol=1e-4, atol=1e-5)
    assert data.agent[data.starts].tolist() == [3, 3, 5, 5]
    assert len(np.unique(data.obs[data.starts], axis=0)) == 4  # a start of its own for each
    assert data.truncated.sum() == 4
    again = random_transitions(SUITE.task(), TRUE, [3, 5], episodes=2, seed=4)
    assert data.sha256() == again.sha256()
    short = random_transitions(SUITE.task(), TRUE, [3], seed=4, steps=5)
    assert short.lengths.tolist() == [5]


def test_episodes_become_the_transitions_that_were_lived() -> None:
    seen = follow(SUITE.task(), TRUE, [0, 2], "random", episodes=2, warmup=0, horizon=200)
    data = as_transitions(seen, TRUE.num_agents)
    assert data.lengths.tolist() == seen.lengths.tolist()
    np.testing.assert_array_equal(data.obs[data.starts], seen.obs[:, 0].astype(np.float32))


@pytest.fixture(scope="module")
def found() -> tuple[PerSim, Adaptation]:
    task = SUITE.task()
    data = random_transitions(task, TRUE, range(16), episodes=3, seed=0)
    trained = PerSim.fit(data, task=task, progress=False)
    known = data.select(~np.isin(data.agent, UNSEEN))
    sim = PerSim.fit(known, task=task, progress=False)
    options = {"counts": (0, 25), "episodes": 4, "horizon": 20}
    return sim, measure(sim, trained, TRUE, UNSEEN, **options)


@pytest.mark.slow
def test_transitions_of_an_unseen_agent_bring_its_error_down(
    found: tuple[PerSim, Adaptation],
) -> None:
    _, adaptation = found
    assert adaptation.rmse.shape == (2, 2)
    np.testing.assert_allclose(adaptation.rmse[0], adaptation.mean, rtol=0.3)  # nothing known
    assert adaptation.rmse[1].mean() < adaptation.rmse[0].mean()
    assert (adaptation.deviation[1] < adaptation.deviation[0]).all()


@pytest.mark.slow
def test_coverage_is_shares_that_grow_with_the_level(found: tuple[PerSim, Adaptation]) -> None:
    for coverage in (found[1].calibrated, found[1].plain):
        for shares in (coverage.predictions, coverage.scripted, coverage.factors):
            assert shares.shape == (2, len(LEVELS))
            assert ((shares >= 0) & (shares <= 1)).all()
            assert (np.diff(shares, axis=1) >= 0).all()


@pytest.mark.slow
def test_all_numbers_are_plain(found: tuple[PerSim, Adaptation]) -> None:
    plain = json.loads(json.dumps(found[1].to_json()))
    assert plain["task_name"] == "cartpole"
    assert plain["agents"] == [14, 15]
    assert set(plain["calibrated"]) == {"predictions", "scripted", "factors"}


@pytest.mark.slow
def test_the_mean_agent_is_one_agent(found: tuple[PerSim, Adaptation]) -> None:
    sim, _ = found
    mean = mean_agent(sim)
    assert mean.num_agents == 1
    factors = sim.prior.mean
    np.testing.assert_allclose(np.asarray(mean.ensemble.factors)[:, 0], factors, rtol=1e-6)
