"""A fit of SfBC, block by block: the behaviour, its samples, and round after round the critic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.baselines.resumable import (
    block_seed,
    module_tensors,
    of_part,
    optimiser_tensors,
    restore_optimiser,
)
from persim_gym.baselines.sfbc.behaviour import DiffusionBehaviour
from persim_gym.baselines.sfbc.config import SfBCConfig
from persim_gym.baselines.sfbc.critic import Critic, own_ends, planned_returns, soft_maximum
from persim_gym.baselines.sfbc.optimise import Pace
from persim_gym.offline.transitions import Transitions
from persim_gym.policies.randomness import global_randomness_kept

#: States whose actions are sampled in one block.
STATES = 4096


class SfBCLearner:
    """What is fitted, and how far.

    States with a number are those of the transitions, and after them the last one of each episode:
    an episode that was cut off goes on from there in the mind of the critic.
    """

    def __init__(
        self, data: Transitions, space: Box, config: SfBCConfig, seed: int, device: torch.device
    ) -> None:
        self.config, self.seed, self.device = config, seed, device
        self.rewards, self.lengths = data.reward, data.lengths
        self.over = data.terminated[data.starts + data.lengths - 1]
        self.behaviour, self.critic = networks(space, data.obs.shape[1], config, seed)
        self.behaviour.measure(data.obs)
        self.behaviour.to(device)
        seen = [data.obs, data.next_obs[data.starts + data.lengths - 1]]
        observations = torch.as_tensor(np.concatenate(seen), device=device)
        self.states = self.behaviour.states(observations)
        self.actions = self.behaviour.scaled(torch.as_tensor(data.action, device=device))
        self.pace = Pace(config.updates, config.batch_size, config.learning_rate, config.fade)
        self.critic_pace = Pace(
            config.critic_updates,
            config.critic_batch_size,
            config.critic_learning_rate,
            config.fade,
        )
        self.adam = self.pace.adam(self.behaviour)
        shape = (len(self.states), config.planned, self.actions.shape[1])
        self.samples = torch.empty(shape if config.rounds else (0,), device=device)
        self.facts: dict[str, Any] = {"behaviour_loss": math.nan, "critic_loss": []}
        self._begin_round(0)

    # -- the order of things ---------------------------------------------------------------------

    @property
    def sampling(self) -> int:
        """Blocks of sampling: none where nothing is planned with the samples."""
        planning = self.config.rounds > 0
        return math.ceil(len(self.states) / STATES) if planning else 0

    @property
    def blocks(self) -> int:
        """How many blocks a fit has."""
        return self.pace.blocks + self.sampling + self.config.rounds * self.critic_pace.blocks

    def train(self, block: int) -> None:
        """Learn for one block."""
        generator = torch.Generator(self.device).manual_seed(block_seed(self.seed, block + 1))
        if block < self.pace.blocks:
            loss = self.pace.descend(
                self.adam, self._behaviour_loss, len(self.actions), block, generator
            )
            self.facts["behaviour_loss"] = loss
            return
        block -= self.pace.blocks
        if block < self.sampling:
            rows = slice(block * STATES, (block + 1) * STATES)
            states = self.states[rows]
            noise = self.behaviour.noise(len(states), self.config.planned, generator)
            self.samples[rows] = self.behaviour.draw(states, noise, self.config.steps)
            return
        turn, block = divmod(block - self.sampling, self.critic_pace.blocks)
        if block == 0:
            self._begin_round(turn)
        loss = self.critic_pace.descend(
            self.critic_adam, self._critic_loss, len(self.actions), block, generator
        )
        self.facts["critic_loss"][turn:] = [loss]

    def _begin_round(self, turn: int) -> None:
        """Plan with the critic there is, and begin another one."""
        c = self.config
        ends, values = own_ends(self.rewards, self.lengths, self.over, c.discount), None
        if turn:
            every = self.values()
            values = every[: len(self.rewards)]
            ends = np.where(self.over, 0.0, every[len(self.rewards) :])
        returns = planned_returns(self.rewards, self.lengths, ends, c.discount, values)
        self.centre, self.deviation = float(returns.mean()), max(float(returns.std()), 1e-8)
        scaled = (returns - self.centre) / self.deviation
        self.targets = torch.as_tensor(scaled, dtype=torch.float32, device=self.device)
        generator = torch.Generator().manual_seed(block_seed(self.seed, 0) + turn)
        self.critic.begin(generator)
        self.critic.to(self.device)
        self.critic_adam = self.critic_pace.adam(self.critic)

    @torch.no_grad()
    def values(self) -> NDArray[np.float64]:
        """What the critic takes the samples in all states to be worth, in units of the rewards."""
        parts = [
            soft_maximum(self.critic.of_samples(states, samples), self.config.planning_sharpness)
            for states, samples in zip(
                self.states.split(STATES), self.samples.split(STATES), strict=True
            )
        ]
        return self.centre + self.deviation * torch.cat(parts).double().cpu().numpy()

    def _behaviour_loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        return self.behaviour.loss(self.states[rows], self.actions[rows], generator)

    def _critic_loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        found = self.critic(self.states[rows], self.actions[rows])
        return torch.nn.functional.mse_loss(found, self.targets[rows])

    # -- to and from files -----------------------------------------------------------------------

    def learned(self) -> dict[str, Tensor]:
        """What a policy needs."""
        own = module_tensors(self.behaviour, "behaviour")
        return own | module_tensors(self.critic, "critic") if self.config.rounds else own

    def tensors(self) -> dict[str, Tensor]:
        """All that changes in a fit."""
        found = module_tensors(self.behaviour, "behaviour") | module_tensors(self.critic, "critic")
        found |= optimiser_tensors(self.adam, "adam")
        found |= optimiser_tensors(self.critic_adam, "critic-adam")
        scale = torch.tensor([self.centre, self.deviation], dtype=torch.float64)
        losses = [self.facts["behaviour_loss"], *self.facts["critic_loss"]]
        return found | {
            "samples": self.samples,
            "targets": self.targets,
            "scale": scale,
            "losses": torch.tensor(losses, dtype=torch.float64),
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what :meth:`tensors` gave."""
        self.behaviour.load_state_dict(of_part(tensors, "behaviour"))
        self.critic.load_state_dict(of_part(tensors, "critic"))
        restore_optimiser(self.adam, tensors, "adam")
        restore_optimiser(self.critic_adam, tensors, "critic-adam")
        self.samples = tensors["samples"].to(self.device)
        self.targets = tensors["targets"].to(self.device)
        self.centre, self.deviation = tensors["scale"].tolist()
        behaviour_loss, *critic_loss = tensors["losses"].tolist()
        self.facts = {"behaviour_loss": behaviour_loss, "critic_loss": critic_loss}


def networks(
    space: Box, state_size: int, config: SfBCConfig, seed: int
) -> tuple[DiffusionBehaviour, Critic]:
    """Both networks, with weights to begin from."""
    generator = torch.Generator().manual_seed(block_seed(seed, 0))
    with global_randomness_kept():  # layers draw weights of their own, which are not used
        behaviour = DiffusionBehaviour(
            space, state_size, config.widths, config.frequency, generator
        )
        critic = Critic(state_size, space.shape[0], config.critic_hidden, generator)
    return behaviour, critic
