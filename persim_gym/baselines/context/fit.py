"""Fitting CaDM's networks: all members in one pass, in blocks, so that a killed fit goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from persim_gym.baselines.context.gradients import LossGradient
from persim_gym.baselines.context.network import Batch, ContextNetwork, ContextShape, loss
from persim_gym.baselines.context.windows import Windows, hold_out
from persim_gym.baselines.resumable import block_seed
from persim_gym.learned.adam import Adam

#: Steps of a block, after which the held-out windows are predicted.
BLOCK = 100

#: Persistence of the rolling mean of the validation loss.
PERSISTENCE = 0.99

#: Held-out pairs that are predicted, at most.
PREDICTED = 2500


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how fast to fit.

    Attributes:
        steps: Steps of the optimiser, at most.
        batch_size: Transitions of a batch, of each member.
        learning_rate: Adam's step size.
        falling: Whether it falls to 0 along half a cosine.
        bootstrap: Whether each member learns from a resample of its own.
        validation: Share of the windows that are held out.
        decay: Factor on the weight decay.
        backward_weight: Factor on the backward model's error.
        tempering: See :func:`~persim_gym.baselines.context.network.loss`.
        weigh_pasts: Whether pasts that tell little count little.
    """

    steps: int
    batch_size: int = 256
    learning_rate: float = 1e-3
    falling: bool = False
    bootstrap: bool = False
    validation: float = 0.1
    decay: float = 1.0
    backward_weight: float = 0.5
    tempering: float = 0.0
    weigh_pasts: bool = False


class ContextLearner:
    """Fits networks block by block; see :func:`~persim_gym.baselines.resumable.run_blocks`.

    Args:
        shape: Sizes.
        windows: The data.
        schedule: How long and how fast.
        seed: Of weights, of what is held out, of batches.
    """

    def __init__(
        self, shape: ContextShape, windows: Windows, schedule: Schedule, seed: int
    ) -> None:
        self.shape, self.windows, self.schedule, self.seed = shape, windows, schedule, seed
        device = windows.device
        generator = torch.Generator().manual_seed(block_seed(seed, 0))
        self._vector = ContextNetwork.initial(shape, generator).to(device)
        self._decay = ContextNetwork.decay(shape, schedule.decay).to(device)
        self.network = ContextNetwork.views(shape, self._vector)
        self._optimiser = Adam(self._vector)
        self._slope = LossGradient(
            shape, self._vector, schedule.backward_weight, schedule.tempering
        )
        rng = np.random.default_rng([seed, 0x77])
        held = hold_out(len(windows), schedule.validation, rng)
        self._pairs = windows.pairs(~held)
        q, m = len(self._pairs), shape.members
        # Each member's own resample, drawn once; without it all see everything.
        own = rng.integers(0, q, size=(m, q)) if schedule.bootstrap else None
        self._own = None if own is None else torch.as_tensor(own.astype(np.int32)).to(device)
        pairs = windows.pairs(held)
        pairs = pairs[np.sort(rng.permutation(len(pairs))[:PREDICTED])][None].expand(m, -1, -1)
        self._held = windows.batch(pairs) if pairs.shape[1] else None
        self._known = windows.known(pairs).flatten()
        self._worth: Tensor | None = None  # of pasts by their length [H + 1]
        if shape.context and schedule.weigh_pasts:
            self._worth = torch.ones(windows.history + 1, dtype=torch.float32, device=device)
        self.rolling, self.stopped, self.loss = math.nan, False, math.nan

    @property
    def blocks(self) -> int:
        """How many blocks there are at most; after a stop the rest pass by."""
        return -(-self.schedule.steps // BLOCK)

    def train(self, block: int) -> None:
        """Some steps, and predictions of what was held out."""
        if self.stopped:
            return
        plan = self.schedule
        steps = min(BLOCK, plan.steps - block * BLOCK)
        total = torch.zeros((), dtype=torch.float32, device=self._vector.device)
        for i in range(steps):
            pairs = self._pairs[self._drawn(plan.batch_size)]
            share = (block * BLOCK + i) / plan.steps
            factor = 0.5 * (1 + math.cos(math.pi * share)) if plan.falling else 1.0
            total += self._step(pairs, plan.learning_rate * factor)
        self.loss = float(total) / steps
        if not math.isfinite(self.loss) or not bool(torch.isfinite(self._vector).all()):
            raise FloatingPointError(
                f"the fit has diverged: lower learning_rate (now {plan.learning_rate:g})"
            )
        if self._held is not None:
            self._stop_where_it_rises(self._value(self._held))
            if self._worth is not None:
                self._weigh(self._held, self._worth)

    def _step(self, pairs: Tensor, rate: float) -> Tensor:
        each, gradient = self._slope(self.windows.batch(pairs, self._worth))
        if self.schedule.decay:
            gradient.addcmul_(self._decay, self._vector)
        self._optimiser.step(gradient, rate)
        return each.mean()

    def _drawn(self, count: int) -> Tensor:
        """Rows of the pairs ``[m, count]``, each member's own."""
        m, q = self.shape.members, len(self._pairs)
        rows = torch.randint(q, (m, count)).to(self._pairs.device)
        return rows if self._own is None else self._own.gather(1, rows).long()

    def _stop_where_it_rises(self, now: float) -> None:
        """Stop where the rolling mean of the validation loss rises."""
        # Original: it begins well above the first value, so that the first steps do not stop it.
        before = now + 0.5 * abs(now) if math.isnan(self.rolling) else self.rolling
        self.rolling = PERSISTENCE * before + (1 - PERSISTENCE) * now
        self.stopped = self.rolling > before

    @torch.no_grad()
    def _weigh(self, held: Batch, worth: Tensor) -> None:
        """Weigh pasts by the reciprocal of the error that is left with their length.

        Original: there all pasts count alike. What a short one does not tell is an error that no
        fit removes, and its gradient, all noise, hides what whole pasts have still to learn.
        """
        seen = [held.states, held.actions, self.network.encode(held.history)]
        off = self.network.forward(torch.cat(seen, dim=-1))[0] - held.change
        size = off.square().mean(-1).flatten()
        total, count = torch.zeros_like(worth), torch.zeros_like(worth)
        total.index_add_(0, self._known, size)
        count.index_add_(0, self._known, torch.ones_like(size))
        left = (total / count).sqrt_().clamp_(min=torch.finfo(size.dtype).tiny)
        left = torch.where(count > 0, left, left.nan_to_num(0.0).max())
        worth.copy_(left.min() / left)

    @torch.no_grad()
    def _value(self, held: Batch) -> float:
        """The validation loss, the members' mean."""
        plan = self.schedule
        return float(loss(self.network, held, plan.backward_weight, plan.tempering).mean())

    @property
    def facts(self) -> dict[str, Any]:
        """What a reader may want to know of the fit."""
        return {"loss": self.loss, "validation": self.rolling, "stopped": self.stopped}

    def tensors(self) -> dict[str, Tensor]:
        """All that changes in a fit."""
        numbers = [self.rolling, float(self.stopped), self.loss, float(self._optimiser.steps)]
        found = {} if self._worth is None else {"worth": self._worth}
        return found | {
            "parameters": self._vector,
            "mean": self._optimiser.mean,
            "square": self._optimiser.square,
            "state": torch.tensor(numbers, dtype=torch.float64),
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what :meth:`tensors` gave."""
        self._vector.copy_(tensors["parameters"])
        self._optimiser.mean.copy_(tensors["mean"])
        self._optimiser.square.copy_(tensors["square"])
        if self._worth is not None:
            self._worth.copy_(tensors["worth"])
        rolling, stopped, self.loss, steps = tensors["state"].tolist()
        self.rolling, self.stopped = rolling, bool(stopped)
        self._optimiser.steps = int(steps)
