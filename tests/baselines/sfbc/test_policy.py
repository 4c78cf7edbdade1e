"""SfBC: strategies are kept apart, the better one is chosen, and a fit is one like any other."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from persim_gym.baselines import Cloning, SfBC
from persim_gym.offline.transitions import Transitions
from tests.baselines.sfbc.worlds import SMALL, TINY, TWO_WAYS, two_ways

OBS = np.random.default_rng(5).uniform(-0.9, 0.9, (200, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def fitted() -> SfBC:
    return SfBC.fit(two_ways(), **SMALL)


@pytest.mark.slow
def test_the_behaviour_model_keeps_both_strategies(fitted: SfBC) -> None:
    drawn = fitted.sample(OBS, 20, np.random.default_rng(0))
    assert drawn.shape == (200, 20, 1)
    way = drawn[..., 0] - OBS[:, :1] / 4
    assert (way > 0).mean() == pytest.approx(0.5, abs=0.12)
    # Hardly any action lies between them, where the mean is.
    assert (np.abs(np.abs(way) - 1) < 0.4).mean() > 0.8


@pytest.mark.slow
def test_the_better_strategy_is_chosen(fitted: SfBC) -> None:
    for deterministic in (True, False):
        actions, _ = fitted.predict(OBS, deterministic=deterministic)
        assert actions.shape == (200, 1)
        assert actions.dtype == np.float32
        assert (actions[:, 0] - OBS[:, 0] / 4 > 0.5).mean() > 0.95
    assert not np.array_equal(actions, fitted.predict(OBS, deterministic=False)[0])


@pytest.mark.slow
def test_a_gaussian_takes_the_mean_of_both() -> None:
    clone = Cloning.fit(two_ways(), task=TWO_WAYS, updates=400, progress=False)
    actions, _ = clone.predict(OBS)
    assert (np.abs(actions[:, 0] - OBS[:, 0] / 4) < 0.5).mean() > 0.95


@pytest.mark.slow
def test_without_a_critic_it_is_a_clone(fitted: SfBC) -> None:
    clone = SfBC(
        fitted.task, dataclasses.replace(fitted.config, rounds=0), fitted.tensors, fitted.card,
        fitted.device,
    )  # fmt: skip
    actions, _ = clone.predict(OBS, deterministic=False)
    assert 0.3 < (actions > 0).mean() < 0.7


def test_discrete_actions_are_turned_down_before_any_work() -> None:
    rows = 40
    data = Transitions(
        agent=np.zeros(rows, np.int64), obs=np.zeros((rows, 1)), action=np.arange(rows) % 2,
        next_obs=np.ones((rows, 1)), reward=np.zeros(rows), terminated=np.zeros(rows, bool),
        truncated=np.zeros(rows, bool), episode=np.arange(rows) // 20, num_agents=1,
        task_name="switch",
    )  # fmt: skip
    calls: list[int] = []
    with pytest.raises(ValueError, match="discrete: use BCQ or CQL") as raised:
        SfBC.fit(data, on_progress=lambda done, total: calls.append(done))
    assert "\n" not in str(raised.value)
    assert not calls


def test_samples_are_of_rows_of_observations() -> None:
    fitted = SfBC.fit(two_ways(60), **TINY)
    drawn = fitted.sample(OBS[:5], 3, np.random.default_rng(0))
    assert drawn.shape == (5, 3, 1)
    np.testing.assert_array_equal(fitted.sample(OBS[:5], 3, np.random.default_rng(0)), drawn)
    with pytest.raises(ValueError, match=r"shape \(n, 2\)"):
        fitted.sample(OBS[0], 3, np.random.default_rng(0))
