"""Global random state put back: Stable-Baselines3 seeds it and draws from it."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def global_randomness_kept() -> Iterator[None]:
    """Leave Python's, NumPy's and torch's global random states as they were."""
    python, torch_state = random.getstate(), torch.get_rng_state()
    numpy = np.random.get_state()  # noqa: NPY002 - to be put back, not to draw from
    try:
        yield
    finally:
        random.setstate(python)
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy)  # noqa: NPY002


@contextlib.contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """Seed torch globally and put all back: for layers and libraries that take no generator."""
    with global_randomness_kept():
        torch.manual_seed(seed)
        yield
