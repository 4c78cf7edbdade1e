"""The loop around tianshou's algorithms; the algorithm of these tests is none of tianshou's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from persim_gym.baselines import BCQ, tianshou_fit
from persim_gym.baselines.config import BCQConfig
from persim_gym.baselines.networks import Units
from persim_gym.baselines.tianshou_fit import OfflineLearner, need_tianshou, unit_box
from tests.baselines.small import data_of
from tests.learned.worlds import PlainTask

TASK = PlainTask.of(4, actions=2)


class Algorithm(nn.Module):
    """A layer, its optimiser, and a temperature with an optimiser of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.temperature = nn.Linear(2, 1), nn.Parameter(torch.zeros(1))
        own = torch.optim.Adam(self.layer.parameters())
        self._optimizers = [SimpleNamespace(_optim=own)]
        self.alpha = SimpleNamespace(_optim=torch.optim.Adam([self.temperature]))

    def descend(self) -> None:
        value = self.layer(torch.ones(1, 2)).square().sum() + (self.temperature - 1).square().sum()
        self.zero_grad()
        value.backward()
        self._optimizers[0]._optim.step()
        self.alpha._optim.step()


def learner(seed: int = 0, updates: int = 25) -> OfflineLearner:
    data = data_of("discrete")
    given: Any = SimpleNamespace(
        config=BCQConfig(updates=updates).settled(TASK), transitions=data, task=TASK, seed=seed,
        device=torch.device("cpu"),
    )  # fmt: skip
    return OfflineLearner(Algorithm, given, Units.measured(data, TASK), bootstrap=False)


def test_a_missing_library_is_said_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'persim-gym\[baselines\]'"):
        BCQ.fit("no/such/data-v0")
    with pytest.raises(ImportError, match="CQL is fitted by tianshou"):
        need_tianshou("CQL")


def test_blocks_hold_all_updates() -> None:
    assert tianshou_fit.BLOCK == 10
    assert [learner(updates=n).blocks for n in (1, 10, 25)] == [1, 1, 3]


def test_first_weights_are_the_seeds_and_leave_global_randomness_alone() -> None:
    state = torch.get_rng_state()
    first, again, other = learner(), learner(), learner(1)
    assert torch.equal(torch.get_rng_state(), state)
    weight = "module.layer.weight"
    assert torch.equal(first.tensors()[weight], again.tensors()[weight])
    assert not torch.equal(first.tensors()[weight], other.tensors()[weight])


def test_weights_and_all_optimisers_are_kept() -> None:
    one, other = learner(), learner(1)
    one.algorithm.descend()
    other.restore(one.tensors())
    for each in (one, other):
        each.algorithm.descend()
    kept = other.tensors()
    assert {name.partition(".")[0] for name in kept} == {"module", "optimiser-0", "optimiser-1"}
    for name, tensor in one.tensors().items():
        assert torch.equal(tensor, kept[name]), name


def test_continuous_actions_are_seen_from_minus_one_to_one() -> None:
    given: Any = SimpleNamespace(task=PlainTask.of(2, action_dim=3))
    box = unit_box(given)
    assert box.low.tolist() == [-1.0] * 3
    assert box.high.tolist() == [1.0] * 3
