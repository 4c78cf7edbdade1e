"""One thread for small work: threads that wait for each other cost more than they bring."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

#: Hidden values and multiply-adds of one layer below which one thread is used.
SMALL_LAYER = 1_000_000
SMALL_PRODUCT = 20_000_000


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread of torch inside, unless ``OMP_NUM_THREADS`` asks for another number."""
    before = torch.get_num_threads()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def few_threads(
    rows: int, widths: Sequence[int], device: torch.device
) -> AbstractContextManager[None]:
    """Use one thread inside, if the work of each operation is small.

    In a step of a few microseconds a second thread gains a fifth at best. On a machine with other
    work, threads that wait for each other in every one of thousands of such steps have been
    measured to make it 25 times slower.

    Args:
        rows: Rows that one operation works on, of all members together.
        widths: Widths of the layers they go through, the input's first.
        device: Where; only the processor has threads to spare.
    """
    before = torch.get_num_threads()
    if before == 1 or device.type != "cpu" or _large(rows, widths):
        return nullcontext()
    return _single(before)


@contextmanager
def _single(before: int) -> Iterator[None]:
    """Use one thread inside, and ``before`` after it."""
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _large(rows: int, widths: Sequence[int]) -> bool:
    """Whether the work of an operation is worth more than one thread."""
    product = max((a * b for a, b in itertools.pairwise(widths)), default=0)
    return rows * max(widths, default=0) >= SMALL_LAYER or rows * product >= SMALL_PRODUCT
