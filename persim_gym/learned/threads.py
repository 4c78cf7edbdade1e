"""One thread for small work: threads that wait for each other cost more than they bring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

#: Hidden activations computed in one operation below which one thread is used.
SMALL = 1_000_000


@contextmanager
def few_threads(activations: int, device: torch.device) -> Iterator[None]:
    """Use one thread inside, if the work of each operation is small.

    In a step of a few microseconds a second thread gains a fifth at best. On a machine with other
    work, threads that wait for each other in every one of thousands of such steps have been
    measured to make it 25 times slower.

    Args:
        activations: Hidden activations that one operation computes.
        device: Where; only the processor has threads to spare.
    """
    before = torch.get_num_threads()
    if device.type != "cpu" or activations >= SMALL or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
