"""A policy optimised in a pessimistic environment, in blocks, so that a killed fit goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray
from torch import Tensor, nn

from persim_gym.baselines.model_config import MOReLConfig
from persim_gym.baselines.networks import Units
from persim_gym.baselines.pessimistic import PessimisticDynamics
from persim_gym.baselines.resumable import (
    block_seed,
    module_tensors,
    of_part,
    optimiser_tensors,
    restore_optimiser,
)
from persim_gym.core import Task
from persim_gym.envs.vector import SimVectorEnv
from persim_gym.offline.transitions import Transitions

if TYPE_CHECKING:
    from stable_baselines3 import PPO

#: Steps of a rollout in each lane, and rollouts of a block.
ROLLOUT, ROLLOUTS = 64, 4

#: Transitions of a batch, in imitation and in search.
BATCH = 256

#: Last steps of the optimiser in imitation are at most so many.
MOST_IMITATION = 4000


def block_steps(config: MOReLConfig) -> int:
    """Steps of a block in all lanes."""
    return ROLLOUT * ROLLOUTS * config.lanes


def search_blocks(config: MOReLConfig) -> int:
    """Blocks: one of imitation, and those of the search."""
    return 1 + -(-config.policy_steps // block_steps(config))


def _batch_size(lanes: int) -> int:
    """Transitions of a batch of the search, so that a rollout is a whole number of them."""
    steps = 1 << max(0, (BATCH // lanes).bit_length() - 1)
    return lanes * min(steps, ROLLOUT)


class PolicySearch:
    """Imitation, then PPO; the last policy counts.

    Original: the authors take natural-gradient steps on a Gaussian policy. PPO is their successor
    with a bound on the same change of policy, and has a policy for discrete actions too.

    Args:
        task: Spaces, reward, termination.
        data: What is imitated, and where episodes begin.
        dynamics: The pessimistic ones.
        units: In which the policy sees observations.
        config: How.
        seed: Of everything.
    """

    def __init__(
        self,
        task: Task,
        data: Transitions,
        dynamics: PessimisticDynamics,
        units: Units,
        config: MOReLConfig,
        seed: int,
    ) -> None:
        from stable_baselines3 import PPO

        from persim_gym.envs.sb3 import to_sb3

        self._data, self._config = data, config
        self._discrete = isinstance(task.action_space, Discrete)
        agent = int(data.agent[0])
        envs = SimVectorEnv(
            task, dynamics, config.lanes, agents=agent,
            sample_start=_Starts(data, config.anywhere), label="learned",
        )  # fmt: skip
        widths = list(config.policy_hidden)
        self.model: PPO = PPO(
            "MlpPolicy",
            to_sb3(envs),
            learning_rate=config.policy_learning_rate,
            n_steps=ROLLOUT,
            batch_size=_batch_size(config.lanes),
            gamma=config.discount,
            gae_lambda=0.95,
            seed=block_seed(seed, 0),
            device="cpu",
            policy_kwargs={
                "activation_fn": nn.ReLU,
                "net_arch": {"pi": widths, "vf": widths},
                "features_extractor_class": _features(),
                "features_extractor_kwargs": {"units": units},
            },
        )

    def train(self, block: int, seed: int) -> None:
        """Imitate in block 0, then search; episodes begin anew with each block."""
        self.model.set_random_seed(seed)
        if block == 0:
            self._imitate()
            return
        self.model._last_obs = None
        self.model.learn(block_steps(self._config), reset_num_timesteps=False)

    def _imitate(self) -> None:
        """Behaviour cloning by cross-entropy, or by squared error of the mean action."""
        policy, data = self.model.policy, self._data
        steps = min(MOST_IMITATION, self._config.imitation * -(-len(data) // BATCH))
        obs, actions = torch.as_tensor(data.obs), torch.as_tensor(data.action)
        optimiser = torch.optim.Adam(policy.parameters(), lr=1e-3)
        for _ in range(steps):
            rows = torch.randint(len(data), (BATCH,))
            chosen: Any = policy.get_distribution(obs[rows]).distribution
            if self._discrete:
                error = nn.functional.cross_entropy(chosen.logits, actions[rows])
            else:
                error = (chosen.mean - actions[rows].flatten(1)).square().mean()
            optimiser.zero_grad()
            error.backward()
            optimiser.step()

    def layers(self) -> dict[str, Tensor]:
        """The layers of the policy from observations in units to actions."""
        policy = self.model.policy
        parts = [*policy.mlp_extractor.policy_net, policy.action_net]
        return module_tensors(nn.Sequential(*parts), "policy")

    def tensors(self) -> dict[str, Tensor]:
        """All that changes."""
        policy = self.model.policy
        return module_tensors(policy, "ppo") | optimiser_tensors(policy.optimizer, "adam")

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what :meth:`tensors` gave."""
        self.model.policy.load_state_dict(of_part(tensors, "ppo"))
        restore_optimiser(self.model.policy.optimizer, tensors, "adam")


class _Starts:
    """Recorded starts, and with some share any recorded state.

    Original: there all begin in recorded starts. A model can be put anywhere: an agent that never
    got far is seen there all the same.
    """

    def __init__(self, data: Transitions, anywhere: float) -> None:
        self._starts = data.obs[data.starts].astype(np.float64)
        self._all = data.obs.astype(np.float64)
        self._share = anywhere

    def __call__(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        drawn = rng.random((n, 2))
        first = self._starts[(drawn[:, 1] * len(self._starts)).astype(np.int64)]
        every = self._all[(drawn[:, 1] * len(self._all)).astype(np.int64)]
        return np.where(drawn[:, :1] < self._share, every, first)


def _features() -> type[Any]:
    """A class of Stable-Baselines3's, which is imported when it is needed."""
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

    class InUnits(BaseFeaturesExtractor):
        """Observations in units."""

        def __init__(self, observation_space: Any, units: Units) -> None:
            super().__init__(observation_space, units.mean.numel())
            self._units = units

        def forward(self, observations: Tensor) -> Tensor:
            return self._units.observations(observations.float(), observations.device)

    return InUnits
