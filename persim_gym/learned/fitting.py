"""Fitting the networks: all members in one pass, resumable after a kill."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.config import FitConfig
from persim_gym.learned.gradients import Batch, SquaredError
from persim_gym.learned.network import LowRankNetwork


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
            a look.
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
        inputs_targets: States and differences side by side ``[T, in + d]``: one gather a batch.
        actions: ``[T]`` or ``[T, a]``.
    """

    agents: Tensor
    inputs_targets: Tensor
    actions: Tensor

    def __len__(self) -> int:
        """Number of transitions."""
        return len(self.agents)


@dataclass(slots=True)
class Snapshot:
    """What a fit needs to go on: parameters, Adam's moments, epochs and seconds spent."""

    tensors: dict[str, Tensor]
    first_moments: dict[str, Tensor]
    second_moments: dict[str, Tensor]
    epoch: int
    seconds: float
    losses: NDArray[np.float64]


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


def learning_rate(config: FitConfig, step: int, steps: int, epoch: int) -> float:
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
    config: FitConfig,
    *,
    resume: Snapshot | None = None,
    heldout_rmse: Callable[[], float] | None = None,
    on_epoch: Callable[[FitProgress], None] | None = None,
    save: Callable[[Snapshot], None] | None = None,
    save_every: float = 30.0,
) -> FitProgress:
    """Fit all members by Adam on the squared error, in place.

    Each epoch's order is drawn from the seed and the epoch's number alone, so that a resumed fit
    ends with the same weights, bit for bit, as one that was never interrupted (on one device with
    one thread count).

    Args:
        network: Fitted in place; each member sees the data in an order of its own.
        data: Training data.
        config: Batch size, epochs, schedule, seed.
        resume: Where to go on.
        heldout_rmse: Looks at held-out data; called after the first epoch and about twenty times
            more.
        on_epoch: Told of each epoch.
        save: Takes a snapshot, about every ``save_every`` seconds.
        save_every: Seconds between snapshots.

    Raises:
        FloatingPointError: If the loss of a member is not finite.
    """
    names = list(network.tensors)
    parameters = [network.tensors[name] for name in names]
    loss = SquaredError(network)
    device = network.device
    rate = torch.tensor(config.learning_rate, device=device)
    optimiser = torch.optim.Adam(parameters, lr=rate, fused=True)
    first_epoch, spent = 0, 0.0
    mean_losses = np.full(network.shape.members, np.nan)
    if resume is not None:
        first_epoch, spent, mean_losses = resume.epoch, resume.seconds, resume.losses
        with torch.no_grad():
            for name, parameter in zip(names, parameters, strict=True):
                parameter.copy_(resume.tensors[name])
        _restore(optimiser, names, parameters, resume, first_epoch * _batches(data, config))

    steps_per_epoch = _batches(data, config)
    steps = steps_per_epoch * config.epochs
    look_every = max(1, config.epochs // 20)
    began = last_saved = time.monotonic()
    progress = FitProgress(first_epoch, config.epochs, tuple(mean_losses), math.nan, spent)
    for epoch in range(first_epoch, config.epochs):
        order = _order(len(data), network.shape.members, config.seed, epoch).to(device)
        total = torch.zeros(network.shape.members, device=device)
        for i in range(steps_per_epoch):
            rate.fill_(learning_rate(config, epoch * steps_per_epoch + i, steps, epoch))
            rows = order[:, i * config.batch_size : (i + 1) * config.batch_size]
            losses = loss(_batch(data, rows, network.shape.input_dim))
            optimiser.step()
            total += losses * (rows.shape[1] / len(data))
        mean_losses = total.double().cpu().numpy()
        if not np.isfinite(mean_losses).all():
            raise FloatingPointError(
                f"the loss of member {int(np.argmin(np.isfinite(mean_losses)))} is not finite "
                f"after epoch {epoch + 1}: lower learning_rate (now {config.learning_rate}) or "
                "set normalise_inputs and normalise_targets"
            )
        look = epoch == 0 or (epoch + 1) % look_every == 0 or epoch + 1 == config.epochs
        error = heldout_rmse() if heldout_rmse is not None and look else math.nan
        now = time.monotonic()
        progress = FitProgress(
            epoch + 1, config.epochs, tuple(mean_losses.tolist()), error, spent + now - began
        )
        if on_epoch is not None:
            on_epoch(progress)
        if save is not None and now - last_saved > save_every and epoch + 1 < config.epochs:
            save(_snapshot(optimiser, names, parameters, progress, mean_losses))
            last_saved = time.monotonic()
    return progress


def _batches(data: Scaled, config: FitConfig) -> int:
    return -(-len(data) // config.batch_size)


def _order(n: int, members: int, seed: int, epoch: int) -> Tensor:
    """A random order of the data for each member ``[m, T]``."""
    generator = torch.Generator()
    generator.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))
    return torch.stack([torch.randperm(n, generator=generator) for _ in range(members)])


def _batch(data: Scaled, rows: Tensor, inputs: int) -> Batch:
    m, b = rows.shape
    flat = rows.reshape(-1)
    both = data.inputs_targets.index_select(0, flat).view(m, b, -1)
    return Batch(
        agents=data.agents.index_select(0, flat).view(m, b),
        states=both[..., :inputs],
        actions=data.actions.index_select(0, flat).view(m, b, *data.actions.shape[1:]),
        targets=both[..., inputs:].mT,
    )


def _snapshot(
    optimiser: torch.optim.Optimizer,
    names: list[str],
    parameters: list[Tensor],
    progress: FitProgress,
    losses: NDArray[np.float64],
) -> Snapshot:
    state = [optimiser.state[parameter] for parameter in parameters]
    return Snapshot(
        tensors=dict(zip(names, parameters, strict=True)),
        first_moments={n: s["exp_avg"] for n, s in zip(names, state, strict=True)},
        second_moments={n: s["exp_avg_sq"] for n, s in zip(names, state, strict=True)},
        epoch=progress.epoch,
        seconds=progress.seconds,
        losses=losses,
    )


def _restore(
    optimiser: torch.optim.Optimizer,
    names: list[str],
    parameters: list[Tensor],
    resume: Snapshot,
    steps: int,
) -> None:
    for name, parameter in zip(names, parameters, strict=True):
        optimiser.state[parameter] = {
            "step": torch.tensor(float(steps), device=parameter.device),
            "exp_avg": resume.first_moments[name].to(parameter.device).clone(),
            "exp_avg_sq": resume.second_moments[name].to(parameter.device).clone(),
        }
