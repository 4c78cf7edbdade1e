"""CQL: values held low where the data say nothing (Kumar et al., 2020)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.baselines.config import CQLConfig
from persim_gym.baselines.face import Given
from persim_gym.baselines.networks import LOG_DEVIATION, Mlp, Units, mlp_of
from persim_gym.baselines.resumable import block_seed, module_tensors
from persim_gym.baselines.tianshou_fit import Fit, OfflineBaseline, learn_offline, unit_box
from persim_gym.threads import few_threads


class CQL(OfflineBaseline):
    """Conservative Q-learning, fitted by tianshou.

    With discrete actions quantile Q-learning, with continuous ones soft actor-critic, both with a
    term that lowers the values of actions that the data do not show. Asked for a sample
    (``deterministic=False``), the continuous policy draws from a generator of its own.
    """

    name: ClassVar[str] = "CQL"
    Config: ClassVar[type[CQLConfig]] = CQLConfig

    @classmethod
    def _fits(cls) -> tuple[Fit, Fit]:
        return _discrete, _continuous

    def _prepare(self) -> None:
        self._units = Units.of(self.tensors)
        discrete = isinstance(self.action_space, Discrete)
        self._network = mlp_of(self.tensors, "value" if discrete else "policy")
        self._drawing = torch.Generator().manual_seed(block_seed(self.card["seed"], 2**20))

    def _act(
        self, obs: NDArray[np.float32], state: Any, episode_start: Any, deterministic: bool
    ) -> tuple[NDArray[Any], Any]:
        rows = self._units.observations(obs, self.device)
        with few_threads(len(rows), self.config.hidden, self.device), torch.no_grad():
            output = self._network(rows)
        space = self.action_space
        if isinstance(space, Discrete):
            values = output.reshape(len(rows), int(space.n), -1).mean(dim=2)
            return values.argmax(dim=1).cpu().numpy(), state
        mean, log_deviation = output.chunk(2, dim=1)
        if not deterministic:
            noise = torch.randn(mean.shape, generator=self._drawing).to(self.device)
            mean = mean + log_deviation.clamp(*LOG_DEVIATION).exp() * noise
        actions = self._units.back(torch.tanh(mean))
        return actions.cpu().numpy().reshape(len(rows), *space.shape), state


def _discrete(given: Given, units: Units) -> dict[str, Tensor]:
    from persim_gym.baselines import tianshou_fixes

    config, space = given.config, given.task.action_space
    assert isinstance(space, Discrete)
    count, quantiles = int(space.n), config.quantiles
    shape = (given.transitions.obs.shape[1], *config.hidden, count * quantiles)

    def make() -> tianshou_fixes.MendedDiscreteCQL:
        model = tianshou_fixes.Stateless(Mlp(*shape), count, quantiles)
        return tianshou_fixes.MendedDiscreteCQL(
            policy=tianshou_fixes.QRDQNPolicy(model=model, action_space=space),
            optim=tianshou_fixes.adam(config.learning_rate),
            min_q_weight=config.weight,
            gamma=config.discount,
            num_quantiles=quantiles,
            tau=config.tau,
        )

    algorithm = learn_offline(make, given, units, bootstrap=True).algorithm
    return module_tensors(algorithm.policy.model.network, "value")


def _continuous(given: Given, units: Units) -> dict[str, Tensor]:
    from persim_gym.baselines import tianshou_fixes

    config, box = given.config, unit_box(given)
    d, a = given.transitions.obs.shape[1], box.shape[0]

    def make() -> tianshou_fixes.MendedCQL:
        slow = tianshou_fixes.adam(config.policy_learning_rate)
        policy = tianshou_fixes.SACPolicy(
            actor=tianshou_fixes.Gaussian(Mlp(d, *config.hidden, 2 * a)),
            deterministic_eval=False,  # else it draws no samples outside tianshou's trainer
            action_space=box,
        )
        return tianshou_fixes.MendedCQL(
            policy=policy,
            policy_optim=slow,
            critic=tianshou_fixes.Critic(Mlp(d + a, *config.hidden, 1)),
            critic2=tianshou_fixes.Critic(Mlp(d + a, *config.hidden, 1)),
            critic_optim=tianshou_fixes.adam(config.learning_rate),
            cql_weight=config.weight,
            tau=config.tau,
            gamma=config.discount,
            alpha=tianshou_fixes.AutoAlpha(-float(a), 0.0, slow),
            num_repeat_actions=config.samples,
            imitation=round(config.imitation * config.updates),
            entropy_in_target=config.entropy_in_target,
        )

    algorithm = learn_offline(make, given, units, bootstrap=False).algorithm
    return module_tensors(algorithm.policy.actor.network, "policy")
