"""Fitting the networks: all members in one pass, resumable after a kill."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.adam import Adam
from persim_gym.learned.config import Networks
from persim_gym.learned.networks.gradients import Batch, SquaredError, mixed_precision_pays
from persim_gym.learned.networks.network import LowRankNetwork, NetworkShape
from persim_gym.threads import few_threads


@dataclass(frozen=True, slots=True)
class FitProgress:
    """Where a fit stands after an epoch.

    Attributes:
        epoch: Epochs done.
        epochs: Epochs in all.
        loss: Mean squared error of each member on its training data ``[m]``, in the network's
            units.
        heldout_rmse: Root mean square one-step error of the members' mean on held-out
            transitions, in the data's units; ``nan`` where none are held out or in epochs without
            an evaluation.
        seconds: Time spent so far, resumed parts included.
    """

    epoch: int
    epochs: int
    loss: tuple[float, ...]
    heldout_rmse: float
    seconds: float


@dataclass(slots=True)
class Scaled:
    """Training data in the network's units, on its device.

    Attributes:
        agents: ``[T]``.
        inputs: States as the network sees them ``[T, s]``.
        actions: ``[T]`` or ``[T, a]``.
        targets: Differences ``[T, d]``.
    """

    agents: Tensor
    inputs: Tensor
    actions: Tensor
    targets: Tensor

    def __len__(self) -> int:
        """Number of transitions."""
        return len(self.agents)


@dataclass(slots=True)
class Snapshot:
    """What a fit needs to go on.

    Attributes:
        parameters: All parameters, one vector ``[P]``.
        mean: Adam's running mean of the gradient ``[P]``.
        square: Adam's running mean of its square ``[P]``.
        epoch: Epochs done.
        seconds: Time spent.
    """

    parameters: Tensor
    mean: Tensor
    square: Tensor
    epoch: int
    seconds: float

    def tensors(self) -> dict[str, Tensor]:
        """What is large in it."""
        return {name: getattr(self, name) for name in ("parameters", "mean", "square")}

    def facts(self) -> dict[str, Any]:
        """What is small in it."""
        return {"epoch": self.epoch, "seconds": self.seconds}


def validation_window(
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    fraction: float,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Hold out one contiguous window of each trajectory.

    Neighbouring transitions resemble each other: a window says more than scattered rows. A
    trajectory too short to spare a transition (``fraction`` of it under one) is not touched: the
    agent has nothing else.

    Args:
        starts: First row of each trajectory ``[E]``.
        lengths: Rows of each trajectory ``[E]``.
        fraction: Share of each to hold out.
        rng: Where the windows lie.

    Returns:
        Held-out rows, a mask ``[T]``.
    """
    held = np.zeros(int(lengths.sum()), dtype=np.bool_)
    widths = np.floor(lengths * fraction).astype(np.int64)
    firsts = starts + rng.integers(0, lengths - widths + 1)
    rows = np.repeat(firsts, widths) + _ramp(widths)
    held[rows] = True
    return held


def _ramp(widths: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, .. of each width in turn."""
    ends = np.cumsum(widths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - widths, widths)


def learning_rate(config: Networks, step: int, steps: int, epoch: int) -> float:
    """Adam's step size at a given step."""
    match config.schedule:
        case "constant":
            return config.learning_rate
        case "halving":
            return config.learning_rate * 0.5 ** (epoch // config.halve_every)
        case "one-cycle":
            warm = max(1, steps // 10)
            if step < warm:
                return config.learning_rate * (0.1 + 0.9 * step / warm)
            share = (step - warm) / max(1, steps - warm)
            return config.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def fit_network(
    network: LowRankNetwork,
    data: Scaled,
    config: Networks,
    *,
    resume: Snapshot | None = None,
    heldout_rmse: Callable[[LowRankNetwork], float] | None = None,
    on_epoch: Callable[[FitProgress], None] | None = None,
    save: Callable[[Snapshot], None] | None = None,
    save_every: float = 30.0,
) -> tuple[LowRankNetwork, FitProgress]:
    """Fit all members by Adam on the squared error.

    Each epoch's order is drawn from the seed and the epoch's number alone, so that a resumed fit
    ends with the same weights, bit for bit, as one that was never interrupted (on one device with
    one thread count).

    Args:
        network: Where to begin; each member sees the data in an order of its own.
        data: Training data.
        config: Batch size, epochs, schedule, seed.
        resume: Where to go on.
        heldout_rmse: Evaluates held-out data; called after the first epoch and about twenty times
            more.
        on_epoch: Called after each epoch.
        save: Takes a snapshot, about every ``save_every`` seconds.
        save_every: Seconds between snapshots.

    Returns:
        The fitted network, and where the fit ended.

    Raises:
        FloatingPointError: If the loss of a member is not finite.
    """
    rows = network.shape.members * config.batch_size
    with few_threads(rows, network.shape.widths, network.device):
        return _fit(network, data, config, resume, heldout_rmse, on_epoch, save, save_every)


def _fit(
    network: LowRankNetwork,
    data: Scaled,
    config: Networks,
    resume: Snapshot | None,
    heldout_rmse: Callable[[LowRankNetwork], float] | None,
    on_epoch: Callable[[FitProgress], None] | None,
    save: Callable[[Snapshot], None] | None,
    save_every: float,
) -> tuple[LowRankNetwork, FitProgress]:
    shape, device = network.shape, network.device
    network, parameters = LowRankNetwork.flat(shape, network.tensors, device)
    gradients, gradient = LowRankNetwork.flat(shape, None, device)
    mixed = config.precision == "mixed" and mixed_precision_pays(device)
    loss = SquaredError(network, gradients.tensors, mixed=mixed)
    optimiser = Adam(parameters)
    steps_per_epoch = -(-len(data) // config.batch_size)
    steps = steps_per_epoch * config.epochs
    first_epoch, spent = 0, 0.0
    if resume is not None:
        first_epoch, spent = resume.epoch, resume.seconds
        parameters.copy_(resume.parameters)
        optimiser.mean.copy_(resume.mean)
        optimiser.square.copy_(resume.square)
        optimiser.steps = first_epoch * steps_per_epoch

    every = max(1, config.epochs // 20)
    began = last_saved = time.monotonic()
    progress = FitProgress(first_epoch, config.epochs, (), math.nan, spent)
    for epoch in range(first_epoch, config.epochs):
        squares = torch.zeros(shape.members, dtype=torch.float32, device=device)
        first = epoch * steps_per_epoch
        for i, batch in enumerate(_batches(data, shape, config, epoch)):
            norms = loss(batch)
            optimiser.step(gradient, learning_rate(config, first + i, steps, epoch))
            squares.addcmul_(norms, norms)
        losses = (squares / data.targets.numel()).tolist()
        if not all(map(math.isfinite, losses)):
            raise FloatingPointError(DIVERGED.format(rate=config.learning_rate))
        evaluated = epoch == 0 or (epoch + 1) % every == 0 or epoch + 1 == config.epochs
        error = heldout_rmse(network) if heldout_rmse is not None and evaluated else math.nan
        now = time.monotonic()
        seconds = spent + now - began
        progress = FitProgress(epoch + 1, config.epochs, tuple(losses), error, seconds)
        if on_epoch is not None:
            on_epoch(progress)
        if save is not None and now - last_saved >= save_every and epoch + 1 < config.epochs:
            save(Snapshot(parameters, optimiser.mean, optimiser.square, epoch + 1, seconds))
            last_saved = time.monotonic()
    if not torch.isfinite(parameters).all():  # the very last step is in no epoch's loss
        raise FloatingPointError(DIVERGED.format(rate=config.learning_rate))
    return network, progress


DIVERGED = (
    "the fit has diverged: the loss of a member is not finite; lower learning_rate (now {rate}) or "
    "set normalise_inputs and normalise_targets"
)

#: Batches that are gathered together: the gathering is then hardly seen, and takes little memory.
_BLOCK = 32


def _batches(data: Scaled, shape: NetworkShape, config: Networks, epoch: int) -> Iterator[Batch]:
    """The batches of an epoch, each member's in an order of its own."""
    generator = torch.Generator()
    generator.manual_seed(int(np.random.SeedSequence([config.seed, epoch]).generate_state(1)[0]))
    m, n, b = shape.members, len(data), config.batch_size
    order = torch.empty((m, n), dtype=torch.int32)
    for own in order:
        torch.randperm(n, generator=generator, out=own)
    order = order.to(data.agents.device)
    offset = torch.arange(m, device=order.device)[:, None]
    for begin in range(0, n, _BLOCK * b):
        rows = order[:, begin : begin + _BLOCK * b]
        width = rows.shape[1]
        flat = rows.reshape(-1)
        agents = data.agents.index_select(0, flat).view(m, width) + offset * shape.num_agents
        actions = data.actions.index_select(0, flat).view(m, width, *data.actions.shape[1:])
        if shape.num_actions:
            actions = actions + offset * shape.num_actions
        inputs = data.inputs.index_select(0, flat).view(m, width, -1)
        if shape.joint:
            inputs = torch.cat([inputs, actions], dim=-1)
        targets = data.targets.index_select(0, flat).view(m, width, -1).mT.contiguous()
        for i in range(0, width, b):
            part = slice(i, i + b)
            yield Batch(agents[:, part], inputs[:, part], actions[:, part], targets[..., part])
