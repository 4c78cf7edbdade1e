"""Fitting networks of latents: one step ahead, and over several steps where data are noisy."""

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
from persim_gym.learned.config import Latent
from persim_gym.learned.latent.data import (
    LatentData,
    LatentSource,
    Parameters,
    beyond,
    noise_of_observations,
    weights_of,
    window_starts,
)
from persim_gym.learned.latent.feature_map import FeatureMap
from persim_gym.learned.latent.jumps import find_jumps, place_gates
from persim_gym.learned.latent.network import LatentNetwork, LatentShape
from persim_gym.learned.latent.objective import Ground, OneStep, SeveralSteps
from persim_gym.learned.latent.posterior import posterior
from persim_gym.learned.latent.start import first_latents
from persim_gym.learned.networks.optimise import FitProgress
from persim_gym.threads import few_threads


@dataclass(slots=True)
class LatentSnapshot:
    """What a fit needs to go on.

    Attributes:
        stage: Which of the fit's stages it is in: 0 or 1; 2 where it is done.
        epoch: Epochs done in it.
        tensors: Parameters, Adam's two moments, running variances, and the noise and the weights
            that were found.
        seconds: Time spent.
    """

    stage: int
    epoch: int
    tensors: dict[str, Tensor]
    seconds: float

    def facts(self) -> dict[str, Any]:
        """What is small in it."""
        return {"stage": self.stage, "epoch": self.epoch, "seconds": self.seconds}


@dataclass(frozen=True, slots=True)
class _Stage:
    """A stretch of the fit with one objective and one cycle of the step size."""

    index: int
    vector: Tensor
    gradient: Tensor
    loss: OneStep | SeveralSteps
    steps: int
    batch: int
    rate: float


def fit_latent(
    data: LatentSource,
    config: Latent | None = None,
    *,
    frame: FeatureMap | None = None,
    resume: LatentSnapshot | None = None,
    on_epoch: Callable[[FitProgress], None] | None = None,
    save: Callable[[LatentSnapshot], None] | None = None,
    save_every: float = 30.0,
    on_windows: Callable[[], None] | None = None,
) -> LatentNetwork:
    """Fit all members at once.

    One step ahead first. If what that leaves over shows that observations are noisy, and ``frame``
    says how features move, the fit goes on over windows of several steps, open loop. Else it goes
    on one step ahead, with less weight where noise is large. The same data, configuration and
    thread count give the same network, resumed or not.

    Args:
        data: The transitions.
        config: Sizes and effort.
        frame: Which features are the state; without it, noise of observations is not seen.
        resume: Where to go on.
        on_epoch: Called after each epoch.
        save: Takes a snapshot, about every ``save_every`` seconds.
        save_every: Seconds between snapshots.
        on_windows: Called where the fit has gone on over windows.

    Raises:
        ValueError: If there is no transition.
        FloatingPointError: If the loss is not finite.
    """
    if not len(data.agents):
        raise ValueError("a fit needs at least one transition, got none")
    config = config or Latent()
    chosen = np.arange(data.num_agents)
    if len(chosen) > config.max_agents:
        order = np.random.default_rng(config.seed).permutation(data.num_agents)
        chosen = np.sort(order[: config.max_agents])
    fit = _Fit(data.of_agents(chosen), config, frame, on_epoch, save, save_every)
    with few_threads(config.ensemble_size * config.batch_size, (1,), torch.device("cpu")):
        network = fit.run(resume)
    if fit.over_windows and on_windows is not None:
        on_windows()
    if len(chosen) == data.num_agents:
        return network
    del fit  # and the data that it holds
    others = np.setdiff1d(np.arange(data.num_agents), chosen)
    adapted = posterior(network, data, chosen=others)
    back = torch.as_tensor(np.argsort(np.concatenate([chosen, others])))
    known = network.factors, network.deviations
    return network.with_factors(
        *(torch.cat(parts, 1)[:, back] for parts in zip(known, adapted, strict=True))
    )


class _Fit:
    def __init__(
        self,
        data: LatentData,
        config: Latent,
        frame: FeatureMap | None,
        on_epoch: Callable[[FitProgress], None] | None,
        save: Callable[[LatentSnapshot], None] | None,
        save_every: float,
    ) -> None:
        self.data, self.config, self.frame = data, config, frame
        self.on_epoch, self.save, self.save_every = on_epoch, save, save_every
        self.network = initial_network(data, config)
        self.starts = np.empty(0, dtype=np.int64)
        if frame is not None and config.window_steps:
            self.starts = window_starts(data, frame, config.window, max(1, config.window // 2))
        observations = 1 if frame is None else frame.observations
        self.parameters = Parameters(self.network.shape, len(self.starts), observations)
        self.over_windows = False
        self.spent = 0.0
        self.done = 0

    def run(self, resume: LatentSnapshot | None) -> LatentNetwork:
        """All stages; returns the fitted network."""
        vector = self.parameters.vector(self.network)
        noise: Tensor | None = None
        weights = torch.empty(0)
        first = 0
        if resume is not None:
            first, self.spent = resume.stage, resume.seconds
            noise = resume.tensors.get("noise")
            weights = resume.tensors.get("weights", weights)
            vector = resume.tensors["parameters"].clone()
        self.began = self.saved = time.monotonic()
        for index in range(first, 2):
            if index == 1 and noise is None:
                noise = self._noise(vector)
                if not len(noise):
                    weights = weights_of(self.parameters.network(vector, self.network), self.data)
            stage = self._stage(index, vector, noise, weights)
            self._run_stage(stage, noise, resume if index == first else None)
        self.over_windows = noise is not None and len(noise) > 0
        if self.save is not None and first < 2:
            seconds = self.spent + time.monotonic() - self.began
            kept = {"parameters": vector.clone()} | ({} if noise is None else {"noise": noise})
            self.save(LatentSnapshot(2, 0, kept, seconds))
        network = self.parameters.network(vector, self.network)
        return self._finished(network)

    def _stage(self, index: int, vector: Tensor, noise: Tensor | None, weights: Tensor) -> _Stage:
        c, gradient = self.config, torch.zeros_like(vector)
        own = index, vector, gradient
        parts, gradients = (self.parameters.views(all_) for all_ in own[1:])
        ground = Ground(self.network, parts, gradients, self.data, c.decay)
        if index == 1 and noise is not None and len(noise):
            assert self.frame is not None
            batch = min(c.windows, len(self.starts))
            loss = SeveralSteps(ground, batch, self.frame, self.starts, c.window, noise)
            return _Stage(*own, loss, c.window_steps, batch, c.window_learning_rate)
        batch = min(c.batch_size, len(self.data))
        steps = c.steps if index else c.first_steps
        weight = weights if len(weights) else None
        return _Stage(*own, OneStep(ground, batch, weight), steps, batch, c.learning_rate)

    def _noise(self, vector: Tensor) -> Tensor:
        """Variance of observations' noise ``[c]``, or nothing where it is not worth windows."""
        if len(self.starts) < FEWEST_WINDOWS:
            return torch.empty(0)
        network = self.parameters.network(vector, self.network)
        noise, left = noise_of_observations(network, self.data)
        seen = SEEN if self.frame is not None and self.frame.past is not None else 1.0
        if not (2 * noise > seen * self.config.noise_share * left).any():
            return torch.empty(0)
        return noise + 1e-3 * left + 1e-12

    def _optimiser(self, stage: _Stage, noise: Tensor | None) -> _Adam:
        """What moves the parameters of a stage; start states have units."""
        vector = stage.vector
        layers = len(vector) - self.parameters.views(vector)["starts"].numel()
        if not isinstance(stage.loss, SeveralSteps):
            return _Adam(vector[:layers])
        assert noise is not None
        size = torch.zeros_like(vector)
        self.parameters.views(size)["starts"].add_(
            START_RATE / max(stage.rate, 1e-12) * stage.loss.noise.sqrt()
        )
        return _Adam(vector, size[layers:])

    def _run_stage(
        self, stage: _Stage, noise: Tensor | None, resume: LatentSnapshot | None
    ) -> None:
        passes = max(1, stage.loss.count // stage.batch)
        length = max(passes, FEWEST_STEPS)  # steps of an epoch
        epochs = -(-stage.steps // length)
        optimiser = self._optimiser(stage, noise)
        gradient = stage.gradient[: len(optimiser.parameters)]
        first = 0
        if resume is not None:
            first = resume.epoch
            optimiser.steps = min(first * length, stage.steps)
            optimiser.mean.copy_(resume.tensors["mean"])
            optimiser.square.copy_(resume.tensors["square"])
            stage.loss.running = resume.tensors["running"].clone()
        for epoch in range(first, epochs):
            steps = range(epoch * length, min((epoch + 1) * length, stage.steps))
            draw = _generator(self.config.seed, stage.index, 1, epoch)
            batches = self._batches(stage, passes, steps)
            for step, rows in zip(steps, batches, strict=True):
                stage.loss(rows, draw)
                optimiser.step(gradient, _rate(stage.rate, step, stage.steps))
            self._report(stage, epoch + 1, epochs)
            state = {"mean": optimiser.mean, "square": optimiser.square}
            self._keep(stage, epoch + 1, state, noise)

    def _batches(self, stage: _Stage, passes: int, steps: range) -> Iterator[Tensor]:
        """Rows ``[m, b]``, each member's in an order of its own."""
        m, drawn, order = self.config.ensemble_size, -1, torch.empty(0)
        for step in steps:
            if step // passes != drawn:
                drawn = step // passes
                generator = _generator(self.config.seed, stage.index, 0, drawn)
                count = stage.loss.count
                order = torch.stack([torch.randperm(count, generator=generator) for _ in range(m)])
            at = (step % passes) * stage.batch
            yield order[:, at : at + stage.batch]

    def _report(self, stage: _Stage, epoch: int, epochs: int) -> None:
        running = stage.loss.running
        assert running is not None
        losses = running.reshape(len(running), -1).mean(1).tolist()
        if not all(map(math.isfinite, losses)):
            raise FloatingPointError(
                "the fit has diverged: the loss of a member is not finite; lower learning_rate "
                f"(now {self.config.learning_rate}) or window_learning_rate "
                f"(now {self.config.window_learning_rate})"
            )
        if self.on_epoch is not None:
            done = epochs * stage.index + epoch, epochs * 2
            seconds = self.spent + time.monotonic() - self.began
            self.on_epoch(FitProgress(*done, tuple(losses), math.nan, seconds))

    def _keep(
        self, stage: _Stage, epoch: int, state: dict[str, Tensor], noise: Tensor | None
    ) -> None:
        now = time.monotonic()
        if self.save is None or now - self.saved < self.save_every:
            return
        assert stage.loss.running is not None
        tensors = state | {"parameters": stage.vector, "running": stage.loss.running}
        if noise is not None:
            tensors["noise"] = noise
        if isinstance(stage.loss, OneStep) and stage.loss.weight is not None:
            tensors["weights"] = stage.loss.weight
        copies = {name: tensor.clone() for name, tensor in tensors.items()}
        self.save(LatentSnapshot(stage.index, epoch, copies, self.spent + now - self.began))
        self.saved = now

    def _finished(self, network: LatentNetwork) -> LatentNetwork:
        """The network with its population and its unexplained variance."""
        mean, deviations = network.factors, network.deviations
        centre = mean.mean(1)
        apart = mean - centre[:, None]
        covariance = apart.mT @ apart / max(1, network.num_agents - 1)
        covariance += torch.diag_embed(deviations.square().mean(1) + 1e-4)
        agents = torch.as_tensor(self.data.agents)
        features = torch.as_tensor(self.data.features, dtype=torch.float32)
        changes = torch.as_tensor(self.data.changes, dtype=torch.float32)
        squares = changes.new_zeros(network.members, changes.shape[1])
        counted = torch.full_like(squares, 1e-12)
        with torch.no_grad():
            for k in range(0, len(agents), _ROWS):
                part = slice(k, k + _ROWS)
                error = network.change(agents[part], features[part]) - changes[part]
                known = torch.ones_like(error)
                if self.data.cut is not None:
                    known = known.masked_fill(
                        beyond(error, torch.as_tensor(self.data.cut[part])), 0
                    )
                squares += (error * known).square().sum(1)
                counted += known.sum(1)
        return network.with_tensors(
            prior_mean=centre, prior_covariance=covariance, noise=squares / counted + 1e-10
        )


def initial_network(data: LatentData, config: Latent) -> LatentNetwork:
    """Where a fit begins."""
    generator = _generator(config.seed, 0, 2, 0)
    m, r = config.ensemble_size, config.latent
    jumps = find_jumps(data, config.jumps) if config.jumps else []
    sizes = data.num_agents, data.features.shape[1], data.changes.shape[1]
    gates = config.gates + len(jumps), len(jumps)
    shape = LatentShape(m, *sizes, r, config.hidden, *gates)
    known = first_latents(data.features, data.changes, data.agents, data.num_agents, r)
    latents = torch.tensor(known, dtype=torch.float32).repeat(m, 1, 1)
    latents += 0.05 * torch.randn(latents.shape, generator=generator, dtype=torch.float32)
    network = LatentNetwork.initial(shape, latents, generator)
    features = torch.tensor(data.features, dtype=torch.float32)
    low, high = features.amin(0), features.amax(0)
    room = config.hold * (high - low)
    mix = _mix(data.features)
    return place_gates(network.with_tensors(low=low - room, high=high + room, mix=mix), jumps)


def _mix(features: NDArray[np.float64]) -> Tensor:
    """The symmetric matrix ``[q, q]`` that takes correlations between features away.

    What differs between neighbours in time would else be a thousandth of what they share. What
    hardly varies is left out: a place less the one before it is a speed, and of what is left of the
    two, errors of a prediction would be made a thousand times larger.
    """
    values, vectors = np.linalg.eigh(features.T @ features / len(features))
    values = np.maximum(values, 0.0)
    gains = np.sqrt(values) / (values + SMALLEST * values[-1] + 1e-12)
    return torch.tensor((vectors * gains) @ vectors.T, dtype=torch.float32)


#: Variance of a combination of features, over that of the largest one, from which it counts.
SMALLEST = 1e-6


class _Adam(Adam):
    """Adam with a shorter memory of squares, and step sizes of their own for the last parameters.

    Args:
        parameters: ``[P]``, changed in place.
        last: Step sizes of the last of them ``[k]``, beside those of the others.
    """

    BETA2 = 0.99

    def __init__(self, parameters: Tensor, last: Tensor | None = None) -> None:
        super().__init__(parameters)
        self.last = parameters.new_empty(0) if last is None else last

    def _move(self, times: float) -> None:
        k = len(self.parameters) - len(self.last)
        self.parameters[:k].addcdiv_(self.mean[:k], self._scale[:k], value=times)
        if len(self.last):
            step = self.mean[k:] * self.last
            self.parameters[k:].addcdiv_(step, self._scale[k:], value=times)


def _rate(highest: float, step: int, steps: int) -> float:
    """One cycle: up over a tenth, and down to nothing as a cosine."""
    warm = max(1, steps // 10)
    if step < warm:
        return highest * (0.1 + 0.9 * step / warm)
    return highest * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _generator(*seeds: int) -> torch.Generator:
    state = int(np.random.SeedSequence(list(seeds)).generate_state(1)[0])
    return torch.Generator().manual_seed(state)


#: Steps of an epoch at least: what is done once an epoch is then not seen.
FEWEST_STEPS = 20

#: Windows below which no fit over windows is tried.
FEWEST_WINDOWS = 20

#: Share of noise that what is left shows of it, about, where past observations average it.
SEEN = 0.5

#: Step size of start states, in deviations of observations' noise.
START_RATE = 0.03

_ROWS = 65_536
