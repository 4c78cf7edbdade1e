"""Blocks of a fit: each is seeded by itself, so that a fit that was killed goes on where it was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from persim_gym.baselines.resumable import (
    block_seed,
    module_tensors,
    of_part,
    optimiser_tensors,
    restore_optimiser,
    run_blocks,
)
from persim_gym.learned.saving.checkpoint import Checkpoint
from tests.baselines.small import Killed


class Drawing:
    """Learns by adding up what torch's global generator draws."""

    blocks = 5

    def __init__(self) -> None:
        self.sum, self.done = torch.zeros(3), list[int]()

    def train(self, block: int) -> None:
        self.sum += torch.rand(3)
        self.done.append(block)

    def tensors(self) -> dict[str, Tensor]:
        return {"sum": self.sum}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.sum = tensors["sum"].clone()


def silent(done: int, total: int) -> None:
    """Report to nobody."""


def test_a_killed_fit_goes_on_with_the_block_after_the_last_that_was_written(
    tmp_path: Path,
) -> None:
    whole, first, second = Drawing(), Drawing(), Drawing()
    run_blocks(whole, 7, silent)
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors", {"seed": 7})

    def kill(done: int, total: int) -> None:
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        run_blocks(first, 7, kill, checkpoint, 0.0)
    run_blocks(second, 7, silent, checkpoint, 0.0)
    assert second.done == [2, 3, 4]
    assert torch.equal(second.sum, whole.sum)
    other = Drawing()
    run_blocks(other, 8, silent)
    assert not torch.equal(other.sum, whole.sum)


def test_global_randomness_is_left_alone_and_each_block_reported() -> None:
    state, told = torch.get_rng_state(), []
    run_blocks(Drawing(), 0, lambda *now: told.append(now))
    assert torch.equal(torch.get_rng_state(), state)
    assert told == [(i, 5) for i in range(1, 6)]
    assert len({block_seed(0, block) for block in range(50)}) == 50


def test_an_optimiser_goes_on_where_it_was() -> None:
    def made() -> tuple[nn.Linear, torch.optim.Adam]:
        layer = nn.Linear(2, 1)
        with torch.no_grad():
            layer.weight.fill_(1.0)
            layer.bias.fill_(0.0)
        return layer, torch.optim.Adam(layer.parameters(), lr=0.1)

    def descend(layer: nn.Linear, adam: torch.optim.Adam, steps: int) -> None:
        for _ in range(steps):
            adam.zero_grad()
            layer(torch.tensor([[1.0, 2.0]])).square().sum().backward()
            adam.step()

    whole, (layer, adam) = made(), made()
    descend(*whole, 6)
    descend(layer, adam, 3)
    kept = {**module_tensors(layer, "net"), **optimiser_tensors(adam, "adam")}
    again, fresh = made()
    again.load_state_dict(of_part(kept, "net"))
    restore_optimiser(fresh, kept, "adam")
    descend(again, fresh, 3)
    assert torch.equal(again.weight, whole[0].weight)
    descend(layer, adam, 1)
    assert not torch.equal(kept["net.weight"], layer.weight), "copies are kept"
