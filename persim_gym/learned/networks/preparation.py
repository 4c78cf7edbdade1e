"""Transitions as a network's inputs and targets: which are held out, units, sizes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.closed_form.basis import angles_of
from persim_gym.learned.config import Networks
from persim_gym.learned.data import Data
from persim_gym.learned.history import width_of
from persim_gym.learned.moments import measure
from persim_gym.learned.networks.ensemble import Scaling, StateInputs
from persim_gym.learned.networks.network import NetworkShape
from persim_gym.learned.networks.optimise import Scaled, validation_window

#: Rows that are put into units together.
BLOCK = 16_384


@dataclass(frozen=True, slots=True)
class Prepared:
    """What networks are fitted on.

    Attributes:
        data: The data.
        states: What the state encoder sees ``[T, l * d]``.
        held: Held-out transitions ``[T]``.
        used: Transitions of the loss ``[T]``.
        scaling: Units and bounds.
        shape: Sizes of the network.
    """

    data: Data
    states: NDArray[np.float32]
    held: NDArray[np.bool_]
    used: NDArray[np.bool_]
    scaling: Scaling
    shape: NetworkShape

    @staticmethod
    def generator(seed: int) -> torch.Generator:
        """Randomness of the initial weights."""
        generator = torch.Generator()
        return generator.manual_seed(int(np.random.SeedSequence([seed, 2]).generate_state(1)[0]))

    def training_data(self, device: torch.device) -> Scaled:
        """The transitions of the loss, in the network's units."""
        t, used, s = self.data.transitions, self.used, self.scaling
        scale_inputs = StateInputs(s, self.shape.angles)
        rows, d = int(used.sum()), t.obs.shape[1]
        inputs = torch.empty(rows, self.shape.state_dim, dtype=torch.float32)
        targets = torch.empty(rows, d, dtype=torch.float32)
        # Block by block: beside the data and the tensors there is nothing large in memory.
        filled = 0
        for first in range(0, len(used), BLOCK):
            block = slice(first, first + BLOCK)
            own = used[block]
            end = filled + int(own.sum())
            seen = self.states[block][own][:, self.shape.past :]
            inputs[filled:end] = scale_inputs(torch.as_tensor(seen))
            change = torch.as_tensor(self.data.change(block)[own])
            targets[filled:end] = change.sub_(s.target_mean).div_(s.target_scale)
            filled = end
        return Scaled(
            agents=torch.as_tensor(t.agent[used]).to(device),
            inputs=inputs.to(device),
            actions=torch.as_tensor(t.action[used]).to(device),
            targets=targets.to(device),
        )


def prepare(data: Data, config: Networks, without: NDArray[np.bool_] | None = None) -> Prepared:
    """Split and measure the data of a fit of networks, some transitions ``[T]`` left out.

    Raises:
        ValueError: If nothing is left to fit.
    """
    transitions, task = data.transitions, data.task
    rng = np.random.default_rng([config.seed, 1])
    fraction = config.validation_fraction
    held = validation_window(transitions.starts, transitions.lengths, fraction, rng)
    if without is not None:
        held &= ~without
    used = ~held if without is None else ~held & ~without
    if config.skip_clipped:
        used &= ~data.clipped
    data.check_left(used)
    states = data.states(config.lag)
    space = task.action_space
    past = width_of(config.lag, space)
    seen = states[:, past:]  # but the action before the oldest observation
    discrete = isinstance(space, Discrete)
    joint = config.encoder == "joint" and not discrete
    shape = NetworkShape(
        members=config.ensemble_size + config.spare_members,
        num_agents=transitions.num_agents,
        obs_dim=transitions.obs.shape[1],
        lag=config.lag,
        num_actions=int(space.n) if isinstance(space, Discrete) else 0,
        action_dim=0 if isinstance(space, Discrete) else math.prod(space.shape or ()),
        rank=config.rank,
        state_hidden=config.state_hidden,
        action_hidden=() if discrete or joint else config.action_hidden,
        activation=config.activation,
        joint=joint,
        skip=config.skip,
        angles=angles_of(task, config.lag, past + transitions.obs.shape[1])
        if config.angles
        else (),
        past=past,
    )
    scaling = _scaling(data, seen, used, config)
    if config.hold:
        scaling = _holding(scaling, seen, used, shape.angles)
    return Prepared(data, states, held, used, scaling, shape)


def _scaling(
    data: Data, states: NDArray[np.float32], used: NDArray[np.bool_], config: Networks
) -> Scaling:
    def pair(
        values: Callable[[slice], NDArray[np.float32]], width: int, scale: bool, centre: bool
    ) -> tuple[Tensor, Tensor]:
        if not scale:
            return torch.zeros(width, dtype=torch.float32), torch.ones(width, dtype=torch.float32)
        mean, deviation = measure(len(used), values, used).single()
        return torch.as_tensor(mean * np.float32(centre)), torch.as_tensor(deviation)

    space, d = data.task.observation_space, data.transitions.obs.shape[1]
    inputs = pair(lambda rows: states[rows], states.shape[1], config.normalise_inputs, True)
    return Scaling(
        *inputs,
        *pair(data.change, d, config.normalise_targets, config.centre_targets),
        low=torch.as_tensor(space.low.copy()),
        high=torch.as_tensor(space.high.copy()),
    )


def _holding(
    scaling: Scaling, states: NDArray[np.float32], used: NDArray[np.bool_], angles: tuple[int, ...]
) -> Scaling:
    """The same units with what states are held within: the range of those that are fitted."""
    low = states.min(axis=0, where=used[:, None], initial=np.inf)
    high = states.max(axis=0, where=used[:, None], initial=-np.inf)
    low[list(angles)], high[list(angles)] = -np.inf, np.inf
    return replace(scaling, hold_low=torch.as_tensor(low), hold_high=torch.as_tensor(high))
