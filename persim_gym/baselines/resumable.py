"""Long fits in blocks: seeded one by one, so that a fit that was killed goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from persim_gym.learned.saving.checkpoint import Checkpoint
from persim_gym.policies.randomness import global_randomness_kept, global_seed
from persim_gym.progress import Report
from persim_gym.threads import few_threads


class Learner(Protocol):
    """What is fitted block by block."""

    @property
    def blocks(self) -> int:
        """How many blocks a fit has."""

    def train(self, block: int) -> None:
        """Learn for one block; torch's global generator is seeded by the fit's seed and block."""

    def tensors(self) -> dict[str, Tensor]:
        """All that changes in a fit: weights, the optimisers' state."""

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what :meth:`tensors` gave."""


def run_blocks(
    learner: Learner,
    seed: int,
    report: Report,
    checkpoint: Checkpoint | None = None,
    save_every: float = 30.0,
    *,
    widths: Sequence[int] = (),
    rows: int = 0,
    device: torch.device | None = None,
) -> None:
    """Run what is left of a fit, with torch's global random state put back at the end.

    Args:
        learner: What learns; fresh.
        seed: The fit's seed.
        report: Called after each block.
        checkpoint: Where to go on from, and to write to.
        save_every: Seconds between two writings.
        widths: Widths of its layers, by which the number of threads is chosen.
        rows: Rows of its batches.
        device: Where it learns.

    Raises:
        ValueError: If the checkpoint is damaged or of another fit.
    """
    first = 0
    if checkpoint is not None and (found := checkpoint.load()) is not None:
        with global_randomness_kept():  # what is made anew to be restored may seed itself
            learner.restore(found[0])
        first = int(found[1]["block"])
    written = time.monotonic()
    where = device or torch.device("cpu")
    with few_threads(rows, widths, where):
        for block in range(first, learner.blocks):
            with global_seed(block_seed(seed, block + 1)):
                learner.train(block)
            report(block + 1, learner.blocks)
            if checkpoint is not None and time.monotonic() - written >= save_every:
                checkpoint.save(learner.tensors(), {"block": block + 1})
                written = time.monotonic()


def block_seed(seed: int, block: int) -> int:
    """Seed of torch's generator: of initial weights (block 0) and of every block."""
    return int(np.random.SeedSequence(seed, spawn_key=(0x6261, block)).generate_state(1)[0])


def module_tensors(module: nn.Module, part: str) -> dict[str, Tensor]:
    """Copies of a module's parameters and buffers, named ``part.name``."""
    own = nn.Module.state_dict(module)
    return {f"{part}.{name}": t.detach().clone() for name, t in own.items() if torch.is_tensor(t)}


def of_part(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """The tensors named ``part.name``, by name."""
    start = f"{part}."
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}


def optimiser_tensors(optimiser: torch.optim.Optimizer, part: str) -> dict[str, Tensor]:
    """An optimiser's state, named ``part.parameter.name``."""
    return {
        f"{part}.{index}.{name}": torch.as_tensor(value).detach().clone()
        for index, own in optimiser.state_dict()["state"].items()
        for name, value in own.items()
    }


def restore_optimiser(
    optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor], part: str
) -> None:
    """Give a fresh optimiser the state that :func:`optimiser_tensors` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in of_part(tensors, part).items():
        index, _, rest = name.partition(".")
        state.setdefault(int(index), {})[rest] = tensor
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})
