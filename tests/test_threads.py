"""One thread for small work, and what was there before afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

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
