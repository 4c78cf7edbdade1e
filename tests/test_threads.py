"""One thread for small work, and what was there before afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from persim_gym.learned import PerSim
from persim_gym.threads import few_threads, one_thread

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("rows", "widths", "threads"),
    [
        (0, (), 1),
        (320, (4, 256, 20), 1),  # a batch of CartPole
        (5000, (4, 256, 20), 2),  # a decision of CartPole: many hidden values
        (1000, (18, 512, 512, 270), 2),  # of HalfCheetah: fewer, each of many products
    ],
)
def test_small_work_has_one_thread(rows: int, widths: tuple[int, ...], threads: int) -> None:
    with few_threads(rows, widths, CPU):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 2


def test_threads_are_given_back_after_an_error() -> None:
    with pytest.raises(RuntimeError, match="inside"), few_threads(1, (1, 1), CPU):
        raise RuntimeError("inside")
    assert torch.get_num_threads() == 2


def test_an_accelerator_has_no_threads_to_spare() -> None:
    with few_threads(1, (1, 1), torch.device("meta")):
        assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("asked", "threads"), [(None, 1), ("2", 2)])
def test_one_thread_unless_others_are_asked_for(
    asked: str | None, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    with one_thread():
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 2


#: Operations that only take over what is there.
TAKEN = ("aten._to_copy", "aten.detach", "aten.lift_fresh", "aten.clone", "aten.copy_")


class Operations(TorchDispatchMode):
    """Operations on more than a thousand numbers that had several threads."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.shared: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        sizes = [x.numel() for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        self.count += 1
        large = max(sizes, default=0) > 1000 and not str(func).startswith(TAKEN)
        if large and torch.get_num_threads() > 1:
            self.shared.add(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", ["als", pytest.param("hierarchical", marks=pytest.mark.slow)])
def test_a_fit_of_few_data_and_its_use_have_one_thread(method: str) -> None:
    rng = np.random.default_rng(0)
    agents, steps = 12, 40
    x, u = rng.normal(size=(agents, steps)), rng.uniform(-1, 1, (agents, steps))
    for t in range(1, steps):
        x[:, t] = 0.9 * x[:, t - 1] + np.linspace(0.5, 1, agents) * u[:, t - 1]
    table = pd.DataFrame(
        {
            "agent": np.repeat(np.arange(agents), steps),
            "time": np.tile(np.arange(steps), agents),
            "x": x.ravel(),
            "u": u.ravel(),
            "reward": np.abs(np.sin(3 * x)).ravel(),
        }
    )
    columns = {
        "agent": "agent",
        "time": "time",
        "state": ["x"],
        "action": ["u"],
        "reward": "reward",
    }
    with Operations() as seen:
        sim = PerSim.fit(table, columns=columns, method=method, progress=False)
        actions = np.zeros((agents, 50, 1), dtype=np.float32)
        sim.rollout_interval(np.arange(agents), x[:, :1].astype(np.float32), actions)
    assert seen.count > 1000
    assert not seen.shared
