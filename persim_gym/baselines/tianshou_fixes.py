"""tianshou's algorithms, mended where they differ from their authors'; needs tianshou.

Each class says what it changes. docs/baselines.md has the table.
"""

from __future__ import annotations

from typing import Any

import torch
from tianshou.algorithm.imitation.bcq import BCQ, BCQPolicy
from tianshou.algorithm.imitation.cql import CQL
from tianshou.algorithm.imitation.discrete_bcq import DiscreteBCQ, DiscreteBCQPolicy
from tianshou.algorithm.imitation.discrete_cql import DiscreteCQL
from tianshou.algorithm.modelfree.qrdqn import QRDQNPolicy
from tianshou.algorithm.modelfree.sac import AutoAlpha, SACPolicy
from tianshou.algorithm.optim import TorchOptimizerFactory
from tianshou.data import Batch
from tianshou.utils.net.continuous import VAE, Perturbation
from torch import Tensor, nn

from persim_gym.baselines.networks import LOG_DEVIATION, Mlp

__all__ = [
    "VAE",
    "AutoAlpha",
    "BCQPolicy",
    "Batch",
    "Critic",
    "DiscreteBCQPolicy",
    "Gaussian",
    "MendedBCQ",
    "MendedCQL",
    "MendedDiscreteBCQ",
    "MendedDiscreteCQL",
    "Perturbation",
    "QRDQNPolicy",
    "SACPolicy",
    "Stateless",
    "adam",
]


def adam(rate: float) -> TorchOptimizerFactory:
    """Adam in one pass over the parameters: twice as fast on networks this small."""
    return TorchOptimizerFactory(torch.optim.Adam, lr=rate, fused=True)


class Stateless(nn.Module):
    """A network as tianshou calls those that may be recurrent.

    Args:
        network: Rows to rows.
        shape: Of what comes out for a row.
    """

    def __init__(self, network: Mlp, *shape: int) -> None:
        super().__init__()
        self.network, self.shape = network, shape

    def forward(self, obs: Tensor, state: Any = None, info: Any = None) -> tuple[Tensor, Any]:
        """Rows ``[n, d]`` -> ``[n, *shape]``."""
        return self.network(obs).reshape(len(obs), *self.shape), state


class Critic(nn.Module):
    """Values of observations and actions.

    Args:
        network: Both, side by side, to a value.
    """

    def __init__(self, network: Mlp) -> None:
        super().__init__()
        self.network = network

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        """``[n, d]``, ``[n, a]`` -> ``[n, 1]``."""
        return self.network(torch.cat([obs, action], dim=-1))


class Gaussian(nn.Module):
    """Mean and standard deviation of actions before the hyperbolic tangent.

    Args:
        network: Observations to both, side by side.
    """

    def __init__(self, network: Mlp) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, obs: Tensor, state: Any = None, info: Any = None
    ) -> tuple[tuple[Tensor, Tensor], Any]:
        """``[n, d]`` -> ``([n, a], [n, a])``."""
        mean, log_deviation = self.network(obs).chunk(2, dim=-1)
        return (mean, log_deviation.clamp(*LOG_DEVIATION).exp()), state


class _MovingTarget:
    """A target that moves a little in every step; tianshou copies the network every so many."""

    _lagged_networks: Any

    def __init__(self, *, tau: float, **options: Any) -> None:
        super().__init__(**options, target_update_freq=1)  # type: ignore[call-arg]
        self.tau = tau

    def _update_lagged_network_weights(self) -> None:
        self._lagged_networks.polyak_parameter_update(self.tau)


class MendedDiscreteBCQ(_MovingTarget, DiscreteBCQ):
    """Discrete BCQ whose target moves in every step, as its authors' for small tasks."""


class MendedDiscreteCQL(_MovingTarget, DiscreteCQL):  # type: ignore[misc]
    """Discrete CQL whose target moves in every step; tianshou's default has no target."""


class _Perturbed(nn.Module):
    """A target critic that sees actions as the target perturbation moves them."""

    def __init__(self, critic: nn.Module, perturbation: nn.Module) -> None:
        super().__init__()
        self.critic, self.perturbation = critic, perturbation

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        return self.critic(obs, self.perturbation(obs, action))


class MendedBCQ(BCQ):
    """BCQ whose targets perturb the sampled actions, as the authors' do.

    tianshou keeps a target of the perturbation, and does not use it.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        moved = self.actor_perturbation_target
        self.critic_target = _Perturbed(self.critic_target, moved)  # type: ignore[assignment]
        self.critic2_target = _Perturbed(self.critic2_target, moved)  # type: ignore[assignment]


class MendedCQL(CQL):
    """Continuous CQL with the authors' conservative term, targets and warm start.

    * tianshou draws the random actions from ``(-min_action, max_action)``, which for a range of -1
      to 1 is a point: every one of them is 1. Here they are of the whole range.
    * tianshou forgets to put the samples of one observation side by side: its soft maximum is over
      three of them, and the authors' over all thirty.
    * The entropy is left out of the targets (unless ``entropy_in_target``), and the policy imitates
      the data in the first ``imitation`` updates.
    """

    done_updates: Tensor

    def __init__(self, *, imitation: int, entropy_in_target: bool, **options: Any) -> None:
        super().__init__(
            **options,
            with_lagrange=False,
            calibrated=False,
            max_grad_norm=None,  # type: ignore[arg-type]
        )
        self.imitation, self.entropy_in_target = imitation, entropy_in_target
        # A buffer: a fit that goes on from a checkpoint has to know it.
        self.register_buffer("done_updates", torch.zeros((), dtype=torch.int64))
        self._acted: Tensor | None = None

    def _update_with_batch(self, batch: Any) -> Any:
        self._acted = batch.act if int(self.done_updates) < self.imitation else None
        stats = super()._update_with_batch(batch)
        self.done_updates += 1
        return stats

    def _policy_pred(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        action, log_prob = super()._policy_pred(obs)
        if not torch.is_grad_enabled() and not self.entropy_in_target:  # only targets are without
            log_prob = torch.zeros_like(log_prob)
        return action, log_prob

    def _calc_policy_loss(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        if self._acted is None:
            return super()._calc_policy_loss(obs)
        (mean, deviation), _ = self.policy.actor(obs)
        _, log_pi = self._policy_pred(obs)
        before = torch.atanh(self._acted.clamp(-1 + 1e-5, 1 - 1e-5))
        # The change of variables does not depend on the policy: it is left out.
        likelihood = torch.distributions.Normal(mean, deviation).log_prob(before).sum(-1)
        return (self.alpha.value * log_pi.flatten() - likelihood).mean(), log_pi

    def _calc_pi_values(self, obs_pi: Tensor, obs_to_pred: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            action, log_pi = self._policy_pred(obs_pi)
        action, log_pi = action.detach(), log_pi.detach()
        return self._beside(obs_to_pred, action, log_pi)

    def _calc_random_values(self, obs: Tensor, act: Tensor) -> tuple[Tensor, Tensor]:
        drawn = torch.rand_like(act) * 2 - 1
        density = torch.full((len(act), 1), 0.5 ** act.shape[-1], device=act.device)
        return self._beside(obs, drawn, density.log())

    def _beside(self, obs: Tensor, action: Tensor, log_density: Tensor) -> tuple[Tensor, Tensor]:
        """Values less the logarithm of their density, an observation's samples in a row."""
        found = (critic(obs, action) - log_density for critic in (self.critic, self.critic2))
        first, second = (values.reshape(-1, self.num_repeat_actions) for values in found)
        return first, second
