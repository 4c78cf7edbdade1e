"""Data cards as values: groups, correlations, JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest

from persim_gym.offline.card_making import data_card
from persim_gym.offline.cards import DataCard
from tests.offline.worlds import record


def card_with(values: Any, returns: Any) -> DataCard:
    card = data_card(record("mountain-car", agents=2, max_episode_steps=2, overwrite=True))
    count = len(returns)
    episodes = dataclasses.replace(
        card.episodes,
        agents=tuple(range(count)),
        covariates=np.array(values, dtype=float)[:, None],
        returns=np.array(returns, dtype=float),
        lengths=np.arange(count),
        ends=("time limit",) * count,
    )
    return dataclasses.replace(card, episodes=episodes)


def test_groups_by_covariate() -> None:
    card = card_with([5, 1, 3, 2, 4, 6], [50, 10, 30, 20, 40, 90])
    low, middle, high = card.by_covariate("gravity", groups=3)
    assert (low.low, low.high, low.episodes, low.mean_return, low.mean_length) == (1, 2, 2, 15, 2)
    assert (middle.min_return, middle.max_return) == (30, 40)
    assert (high.low, high.high, high.mean_return) == (5, 6, 70)
    assert len(card.by_covariate("gravity", groups=100)) == 6
    with pytest.raises(ValueError, match="unknown covariate 'mass': there are gravity"):
        card.by_covariate("mass")


def test_correlations() -> None:
    assert card_with([1, 2, 3], [10, 20, 30]).correlations()["gravity"] == pytest.approx(1)
    assert card_with([1, 2, 3], [3, 2, 1]).correlations()["gravity"] == pytest.approx(-1)
    assert card_with([1, 2, 3, 4], [1, 2, 2, 1]).correlations()["gravity"] == pytest.approx(0)
    assert math.isnan(card_with([1, 2, 3], [0.1, 0.1, 0.1]).correlations()["gravity"])
    values, returns = np.random.default_rng(0).normal(size=(2, 50))
    expected = np.corrcoef(values, returns)[0, 1]
    assert card_with(values, returns).correlations()["gravity"] == pytest.approx(expected)


def test_json_is_plain_and_complete() -> None:
    dataset = record("cartpole", agents=3)
    card = data_card(dataset)
    plain = json.loads(json.dumps(card.to_json(), allow_nan=False))
    assert plain["id"] == dataset.id
    assert plain["transitions"] == dataset.total_steps
    assert [row["agent"] for row in plain["by_episode"]] == [0, 1, 2]
    assert plain["by_episode"][2] == {
        "agent": 2, "force": 18.0, "length": 0.5, "return": card.episodes.returns[2],
        "steps": int(card.episodes.lengths[2]), "end": "pole fell",
    }  # fmt: skip
    assert plain["ends"] == {"pole fell": 3}
    assert set(plain["return_against"]) == {"force", "length"}
    assert plain["return_against"]["length"]["correlation"] is None  # all three are of 0.5 m
    assert plain["coverage"][0]["coordinates"] == ["position (m)", "velocity (m/s)"]
    assert plain["sha256"] == card.sha256
