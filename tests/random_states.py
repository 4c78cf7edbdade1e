"""The states of all random generators."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def states() -> list[Any]:
    legacy = np.random.get_state()  # noqa: NPY002 - to be compared
    return [torch.get_rng_state().tolist(), random.getstate(), [str(part) for part in legacy]]
