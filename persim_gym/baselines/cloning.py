"""Behaviour cloning: the action that the data's behaviour would take, or draws of it.

Discrete actions have probabilities given the observation; continuous ones a Gaussian, whose mean is
between two strategies where the behaviour has two (:class:`~persim_gym.baselines.SfBC` has not).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from persim_gym import checks
from persim_gym.baselines.face import Baseline, Given, Learned
from persim_gym.baselines.networks import Mlp, Rows, Units, mlp_of
from persim_gym.baselines.resumable import (
    block_seed,
    module_tensors,
    of_part,
    optimiser_tensors,
    restore_optimiser,
)
from persim_gym.learned.config import Values
from persim_gym.policies.randomness import global_seed

#: Updates of a block.
BLOCK = 250
#: Logarithms of a Gaussian's standard deviation, in units of half the action range.
_LOG_DEVIATION = (-4.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloningConfig(Values):
    """A configuration of behaviour cloning.

    Attributes:
        hidden: Widths of the hidden layers.
        updates: Gradient steps.
        batch_size: Transitions of each.
        learning_rate: Adam's, falling to zero along a cosine.
    """

    called: ClassVar[str] = "a fit of Cloning"

    hidden: tuple[int, ...] = (64, 64)
    updates: int = 2_000
    batch_size: int = 128
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        checks.make_plain(self)
        for name in ("updates", "batch_size"):
            checks.positive_integer(name, getattr(self, name))
        checks.number("learning_rate", self.learning_rate, 0, above=True, says="positive")
        self._take_widths("hidden", least=1)


class CloningLearner:
    """What is fitted, and how far."""

    def __init__(self, given: Given, units: Units) -> None:
        self.config: CloningConfig = given.config
        space = given.task.action_space
        self.discrete = isinstance(space, Discrete)
        self.rows = Rows.of(given.transitions, given.task, units, given.device)
        out = int(space.n) if isinstance(space, Discrete) else 2 * math.prod(space.shape)
        with global_seed(block_seed(given.seed, 0)):
            network = Mlp(self.rows.obs.shape[1], *self.config.hidden, out)
        self.network = network.to(given.device)
        self.adam = torch.optim.Adam(self.network.parameters(), lr=self.config.learning_rate)
        self.loss = math.nan

    @property
    def blocks(self) -> int:
        """How many blocks a fit has."""
        return math.ceil(self.config.updates / BLOCK)

    def train(self, block: int) -> None:
        """Update for one block."""
        c, total, first = self.config, 0.0, block * BLOCK
        updates = min(BLOCK, c.updates - first)
        for update in range(first, first + updates):
            share = update / c.updates
            rate = 0.5 * c.learning_rate * (1 + math.cos(math.pi * share))
            self.adam.param_groups[0]["lr"] = rate
            obs, action, *_ = self.rows.drawn(c.batch_size)
            loss = unlikelihood(self.network(obs), action, self.discrete)
            self.adam.zero_grad()
            loss.backward()
            self.adam.step()
            total += float(loss.detach())
        self.loss = total / updates

    def tensors(self) -> dict[str, Tensor]:
        """Weights and the optimiser's state."""
        found = module_tensors(self.network, "network") | optimiser_tensors(self.adam, "adam")
        return found | {"loss": torch.tensor(self.loss, dtype=torch.float64)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what :meth:`tensors` gave."""
        self.network.load_state_dict(of_part(tensors, "network"))
        restore_optimiser(self.adam, tensors, "adam")
        self.loss = float(tensors["loss"])


def unlikelihood(out: Tensor, action: Tensor, discrete: bool) -> Tensor:
    """Mean negative log-likelihood of actions, but for a constant."""
    if discrete:
        return functional.cross_entropy(out, action)
    mean, log_deviation = gaussian(out)
    off = (action - mean) / log_deviation.exp()
    return (0.5 * off.square() + log_deviation).sum(dim=-1).mean()


def gaussian(out: Tensor) -> tuple[Tensor, Tensor]:
    """Means and logarithms of standard deviations, each ``[..., a]``, from ``[..., 2 a]``."""
    mean, log_deviation = out.chunk(2, dim=-1)
    return mean, log_deviation.clamp(*_LOG_DEVIATION)


class Cloning(Baseline):
    """The behaviour, learned by maximum likelihood; it never asks what an action is worth.

    It is a proposal for a planner as well: ``MPC(sim, agent, proposal=cloning)``.
    """

    name = "Cloning"
    Config = CloningConfig

    @classmethod
    def _learn(cls, given: Given) -> Learned:
        units = Units.measured(given.transitions, given.task)
        learner = CloningLearner(given, units)
        config: CloningConfig = given.config
        given.run(learner, widths=config.hidden, rows=config.batch_size)
        tensors = units.tensors() | module_tensors(learner.network, "network")
        return Learned(tensors, {"loss": learner.loss})

    def _prepare(self) -> None:
        self._units = Units.of(self.tensors)
        self._network = mlp_of(self.tensors, "network")
        self._discrete = isinstance(self.action_space, Discrete)
        self._rng = np.random.default_rng(block_seed(int(self.card["seed"]), 0))

    @torch.no_grad()
    def _act(
        self, obs: NDArray[np.float32], state: Any, episode_start: Any, deterministic: bool
    ) -> tuple[NDArray[Any], Any]:
        if not deterministic:
            return self.sample(obs, 1, self._rng)[:, 0], state
        out = self._network(self._units.observations(obs, self.device))
        if self._discrete:
            return out.argmax(dim=-1).cpu().numpy(), state
        return self._actions(gaussian(out)[0]), state

    @torch.no_grad()
    def sample(self, observations: NDArray[Any], k: int, rng: np.random.Generator) -> NDArray[Any]:
        """Actions that the behaviour might take.

        Args:
            observations: ``[n, d]``.
            k: Actions in each.
            rng: All randomness.

        Returns:
            ``[n, k(, a)]``.
        """
        k = checks.positive_integer("k", k)
        rows = self._units.observations(observations, self.device)
        out = self._network(rows)
        if self._discrete:
            shares = out.softmax(dim=-1).cumsum(dim=-1)[:, :-1].double().cpu().numpy()
            levels = rng.random((len(out), k, 1))
            return np.asarray((levels >= shares[:, None]).sum(axis=-1))
        mean, log_deviation = gaussian(out)
        noise = rng.standard_normal((len(out), k, mean.shape[-1]), dtype=np.float32)
        drawn = mean[:, None] + log_deviation.exp()[:, None] * torch.as_tensor(noise).to(out.device)
        return self._actions(drawn)

    def _actions(self, scaled: Tensor) -> NDArray[np.float32]:
        """Actions of -1 to 1 in their space; rounding may be over a bound."""
        units = self._units
        found = units.back(scaled.clamp(-1, 1)).clamp(units.low, units.high)
        return np.asarray(found.cpu().numpy())
