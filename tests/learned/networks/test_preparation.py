"""Transitions in a network's units."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from persim_gym.learned.config import Networks
from persim_gym.learned.data import Data
from persim_gym.learned.networks import preparation
from persim_gym.learned.networks.preparation import Prepared, prepare
from tests.learned.worlds import PlainTask, random_walks

TASK = PlainTask.of(2, actions=3, low=-0.4)


def prepared(**options: Any) -> Prepared:
    config = Networks(validation_fraction=0.2, **options)
    return prepare(Data(random_walks(TASK), TASK), config)


def test_what_is_held_out_is_not_fitted() -> None:
    ready = prepared()
    assert 0 < ready.held.sum() < len(ready.held)
    assert not (ready.held & ready.used).any()
    left_out = np.zeros(len(ready.held), dtype=np.bool_)
    left_out[:10] = True
    less = prepare(ready.data, Networks(validation_fraction=0.2), left_out)
    assert not (less.used | less.held)[:10].any()


def test_what_ends_on_a_bound_may_be_left_out() -> None:
    assert prepared(skip_clipped=False).used.sum() > prepared(skip_clipped=True).used.sum()
    clipped = prepared(skip_clipped=True)
    assert not (clipped.used & clipped.data.clipped).any()


def test_targets_are_standardised_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = prepared(normalise_targets=True, centre_targets=True)
    data = ready.training_data(torch.device("cpu"))
    assert len(data.targets) == ready.used.sum()
    torch.testing.assert_close(data.targets.mean(0), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(data.targets.std(0, correction=0), torch.ones(2), atol=1e-4, rtol=0)
    monkeypatch.setattr(preparation, "BLOCK", 7)
    again = ready.training_data(torch.device("cpu"))
    assert torch.equal(again.targets, data.targets)
    assert torch.equal(again.inputs, data.inputs)


def test_initial_weights_are_their_seed() -> None:
    drawn = [torch.rand(3, generator=Prepared.generator(seed)) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
