"""Errors of new episodes, of what a fit has seen and of what two fits differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from persim_gym.learned.comparison.holdout import Record, kept_back
from persim_gym.learned.uncertainty.calibrate import LEVELS, calibrate
from persim_gym.learned.uncertainty.intervals import Unseen
from persim_gym.learned.uncertainty.known_errors import MOST, KnownErrors, Less

AGENTS, LENGTH, NOISE = 200, 100, 0.1


@dataclass
class Drifts:
    """Members that add a drift of each agent's own in every step ``[N]``."""

    drift: Any
    members: int = 1
    lag: int = 1
    past: int = 0
    obs_dim: int = 1
    device: Any = torch.device("cpu")  # noqa: RUF009 (never changed)

    limits = (torch.tensor([-np.inf]), torch.tensor([np.inf]))

    def unroll(self, agents: Any, states: Any, actions: Any) -> Iterator[torch.Tensor]:
        own = torch.as_tensor(self.drift)[agents]
        for t in range(actions.shape[2]):
            yield (states[:, 0] + (t + 1) * own)[None, :, None, None]

    def step(self, agents: Any, states: Any, actions: Any) -> torch.Tensor:
        return (states + torch.as_tensor(self.drift)[agents][:, None])[None]

    def difference(self, states: Any, following: Any) -> Any:
        return following - states

    def following(self, states: Any, change: Any) -> Any:
        return states + change


@pytest.fixture(scope="module")
def walks() -> tuple[Record, Any, Any]:
    """Random walks with drifts, in a record, and the steps that they were made of ``[N, T]``."""
    rng = np.random.default_rng(0)
    drift = 0.1 * rng.standard_normal(AGENTS)
    steps = drift[:, None] + NOISE * rng.standard_normal((AGENTS, LENGTH))
    x = np.concatenate([np.zeros((AGENTS, 1)), np.cumsum(steps, axis=1)], axis=1)
    agent = np.repeat(np.arange(AGENTS), LENGTH)
    states, following = (part.reshape(-1, 1) for part in (x[:, :-1], x[:, 1:]))
    actions = np.zeros((len(agent), 1), dtype=np.float32)
    return Record(agent, agent, states, actions, following, np.ones(1)), steps, drift


@pytest.mark.parametrize("anywhere", [True, False])
def test_a_drift_of_each_agent_s_own_is_uncertain_by_as_much_as_its_record_says(
    walks: tuple[Record, Any, Any], anywhere: bool
) -> None:
    """The mean of T steps is off by ``s / sqrt(T)``: after h steps new errors are known exactly.

    Errors of the record are too small: over half of it they are 0.58 of new ones.
    """
    record, steps, _ = walks
    last = np.arange(len(record.agent)) % LENGTH >= LENGTH - LENGTH // 3
    held = kept_back(record) if anywhere else last
    seen = ~held.reshape(steps.shape)
    part: Any = Drifts((steps * seen).sum(1) / seen.sum(1))
    final: Any = Drifts(steps.mean(1))
    unseen = Unseen(part, np.flatnonzero(held))
    found = calibrate(final, record, unseen, np.zeros(1), seed=0)
    assert found is not None
    intervals = found[0]
    at = LEVELS.index(0.95)
    width = intervals.quantiles[:, 0, at] * intervals.base[:, 0]
    for h in (1, 10, 30, 50):
        truth = 1.96 * NOISE * np.sqrt(h * (1 + h / LENGTH))
        k = intervals.steps.tolist().index(h)
        assert 0.85 < width[k] / truth < 1.25, h


def known(times: float, torn: bool = False) -> KnownErrors:
    """Errors of one coordinate after 1, 10 and 50 steps, of which 10 were held out."""
    return KnownErrors(np.ones((3, 1, 1)), np.full((3, 1, 1), times), 10, torn)


def test_what_is_larger_on_unseen_stretches_grows_as_the_gap_beyond_them() -> None:
    less = Less(fewer=False, missing=1 / 6)
    small = np.array([1e-3, 1e-2, 2e-2])[:, None, None]
    found = known(2.0).elsewhere([1, 10, 50], small, less)[:, 0, 0]
    np.testing.assert_allclose(found, [2, 2, np.sqrt(1 + 3 * 4)])
    no_wider = known(2.0).elsewhere([1, 10, 50], small[::-1], less)[:, 0, 0]
    np.testing.assert_allclose(no_wider, 2)


def test_a_gap_counts_by_how_much_less_a_fit_has_seen() -> None:
    gaps = np.full((3, 1, 1), 1.0)

    def off(times: float, missing: float = 1 / 3, fewer: bool = False, torn: bool = False) -> float:
        less = Less(fewer, missing)
        return float(known(times, torn).elsewhere([1, 10, 50], gaps, less)[0, 0, 0] ** 2 - 1)

    assert off(1.0) == pytest.approx(2)  # a gap of half the variance
    assert off(1.0, missing=1 / 6) == pytest.approx(5)
    assert off(1.0, fewer=True) == pytest.approx(1.4)
    # Where unseen errors are far larger, they say more than the gap, and networks' less than all.
    assert off(4.0) == pytest.approx(15)
    assert off(4.0, fewer=True) == pytest.approx(4**1.2 - 1)
    assert off(4.0, fewer=True, torn=True) == pytest.approx(4**0.6 - 1)
    assert off(4.0, fewer=True, torn=True) < off(4.0, fewer=True)


def test_a_gap_makes_no_interval_wider_without_end() -> None:
    less = Less(fewer=False, missing=1 / 6)
    found = known(1.5).elsewhere([1, 10, 50], np.full((3, 1, 1), 1e3), less)
    np.testing.assert_allclose(found, MOST * 1.5)
