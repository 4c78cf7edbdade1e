"""Gradient steps in blocks: how many, on which rows, at which rate."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from persim_gym.baselines.sfbc import optimise
from persim_gym.baselines.sfbc.optimise import Pace


def test_a_rate_that_fades_is_a_half_in_the_middle_and_nothing_at_the_end() -> None:
    pace = Pace(updates=100, batch=4, rate=0.2, fade=True)
    assert [pace.rate_at(i) for i in (0, 50, 100)] == pytest.approx([0.2, 0.1, 0.0])
    assert Pace(updates=100, batch=4, rate=0.2, fade=False).rate_at(90) == 0.2


def test_blocks_hold_all_updates_and_the_last_what_is_left() -> None:
    assert optimise.UPDATES == 10
    pace, layer = Pace(updates=25, batch=4, rate=0.1, fade=True), nn.Linear(1, 1)
    adam, rows, rates = pace.adam(layer), list[Tensor](), list[float]()

    def loss(batch: Tensor, generator: torch.Generator) -> Tensor:
        rows.append(batch)
        rates.append(adam.param_groups[0]["lr"])
        return layer.weight.sum() * 0 + len(rows)

    assert pace.blocks == 3
    means = [
        pace.descend(adam, loss, 6, block, torch.Generator().manual_seed(block))
        for block in range(3)
    ]
    assert means == [5.5, 15.5, 23.0]
    assert rates == pytest.approx([pace.rate_at(i) for i in range(25)])
    assert torch.cat(rows).unique().tolist() == [0, 1, 2, 3, 4, 5]
    assert len(rows[0]) == 4
    rows.clear()
    pace.descend(adam, loss, 3, 0, torch.Generator().manual_seed(0))
    assert len(rows[0]) == 3, "there are no more rows"


def test_a_loss_falls() -> None:
    pace, layer = Pace(updates=10, batch=4, rate=0.1, fade=False), nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(3.0)

    def loss(batch: Tensor, generator: torch.Generator) -> Tensor:
        return layer.weight.square().sum()

    pace.descend(pace.adam(layer), loss, 4, 0, torch.Generator().manual_seed(0))
    assert 1.9 < float(layer.weight.detach()) < 2.2  # ten steps of a tenth
