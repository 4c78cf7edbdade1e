"""BCQ: values of actions that the data's behaviour would take (Fujimoto et al., 2019)."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.baselines.config import BCQConfig
from persim_gym.baselines.face import Given
from persim_gym.baselines.networks import Mlp, Units, mlp_of
from persim_gym.baselines.resumable import block_seed, module_tensors
from persim_gym.baselines.tianshou_fit import Fit, OfflineBaseline, learn_offline, unit_box
from persim_gym.threads import few_threads

#: Observations for which actions are sampled together.
ROWS = 256
#: Latents are held within these bounds when actions are sampled, as the authors do.
LATENT = 0.5


class BCQ(OfflineBaseline):
    """Batch-constrained Q-learning, fitted by tianshou.

    With discrete actions the best of those that the behaviour is likely to take. With continuous
    ones the best of ``choices`` actions that a model of the behaviour samples, each of them moved
    a little; the same samples of its latent serve all decisions, so that a policy is a function.
    """

    name: ClassVar[str] = "BCQ"
    Config: ClassVar[type[BCQConfig]] = BCQConfig

    @classmethod
    def _fits(cls) -> tuple[Fit, Fit]:
        return _discrete, _continuous

    def _prepare(self) -> None:
        self._units = Units.of(self.tensors)
        self._value = mlp_of(self.tensors, "value")
        if isinstance(self.action_space, Discrete):
            self._behaviour = mlp_of(self.tensors, "behaviour")
            return
        self._decoder = mlp_of(self.tensors, "decoder")
        self._moving = mlp_of(self.tensors, "perturbation")
        self._latents = self.tensors["latents"]

    def _act(
        self, obs: NDArray[np.float32], state: Any, episode_start: Any, deterministic: bool
    ) -> tuple[NDArray[Any], Any]:
        rows = self._units.observations(obs, self.device)
        act = self._allowed if isinstance(self.action_space, Discrete) else self._sampled
        with torch.no_grad():
            return torch.cat([act(part) for part in rows.split(ROWS)]).cpu().numpy(), state

    def _allowed(self, obs: Tensor) -> Tensor:
        with few_threads(len(obs), self.config.hidden, self.device):
            logits, values = self._behaviour(obs), self._value(obs)
        ratio = (logits - logits.max(dim=1, keepdim=True).values).exp()
        return values.masked_fill(ratio < self.config.threshold, -math.inf).argmax(dim=1)

    def _sampled(self, obs: Tensor) -> Tensor:
        count = len(self._latents)
        seen = obs.repeat_interleave(count, dim=0)
        latents = self._latents.repeat(len(obs), 1)
        with few_threads(len(seen), (self.config.behaviour_hidden,) * 2, self.device):
            actions = torch.tanh(self._decoder(torch.cat([seen, latents], dim=1)))
            moves = torch.tanh(self._moving(torch.cat([seen, actions], dim=1)))
            actions = (actions + self.config.perturbation * moves).clamp(-1, 1)
            values = self._value(torch.cat([seen, actions], dim=1))
        best = values.reshape(len(obs), count).argmax(dim=1)
        chosen = actions.reshape(len(obs), count, -1)[torch.arange(len(obs)), best]
        return self._units.back(chosen).reshape(len(obs), *self.action_space.shape)  # type: ignore[misc]


def _discrete(given: Given, units: Units) -> dict[str, Tensor]:
    from persim_gym.baselines import tianshou_fixes

    config, space = given.config, given.task.action_space
    assert isinstance(space, Discrete)
    shape = (given.transitions.obs.shape[1], *config.hidden, int(space.n))

    def make() -> tianshou_fixes.MendedDiscreteBCQ:
        policy = tianshou_fixes.DiscreteBCQPolicy(
            model=tianshou_fixes.Stateless(Mlp(*shape), int(space.n)),
            imitator=tianshou_fixes.Stateless(Mlp(*shape), int(space.n)),
            unlikely_action_threshold=config.threshold,
            action_space=space,
        )
        return tianshou_fixes.MendedDiscreteBCQ(
            policy=policy,
            optim=tianshou_fixes.adam(config.learning_rate),
            gamma=config.discount,
            tau=config.tau,
            imitation_logits_penalty=config.logits_penalty,
        )

    policy = learn_offline(make, given, units, bootstrap=True).algorithm.policy
    value = module_tensors(policy.model.network, "value")
    return value | module_tensors(policy.imitator.network, "behaviour")


def _continuous(given: Given, units: Units) -> dict[str, Tensor]:
    from persim_gym.baselines import tianshou_fixes

    config, box = given.config, unit_box(given)
    d, a = given.transitions.obs.shape[1], box.shape[0]
    latent, wide = 2 * a, config.behaviour_hidden

    def make() -> tianshou_fixes.MendedBCQ:
        # The last layers of tianshou's encoder are its own, a mean and a deviation.
        encoder = torch.nn.Sequential(Mlp(d + a, wide, wide), torch.nn.ReLU())
        policy = tianshou_fixes.BCQPolicy(
            actor_perturbation=tianshou_fixes.Perturbation(
                preprocess_net=tianshou_fixes.Stateless(Mlp(d + a, *config.hidden, a), a),
                max_action=1.0,
                phi=config.perturbation,
            ),
            action_space=box,
            critic=tianshou_fixes.Critic(Mlp(d + a, *config.hidden, 1)),
            vae=tianshou_fixes.VAE(
                encoder=encoder,
                decoder=Mlp(d + latent, wide, wide, a),
                hidden_dim=wide,
                latent_dim=latent,
                max_action=1.0,
            ),
        )
        adam = tianshou_fixes.adam(config.learning_rate)
        return tianshou_fixes.MendedBCQ(
            policy=policy,
            actor_perturbation_optim=adam,
            critic_optim=adam,
            vae_optim=tianshou_fixes.adam(1e-3),
            critic2=tianshou_fixes.Critic(Mlp(d + a, *config.hidden, 1)),
            gamma=config.discount,
            tau=config.tau,
            lmbda=config.pessimism,
            num_sampled_action=config.candidates,
        )

    policy = learn_offline(make, given, units, bootstrap=False).algorithm.policy
    drawing = torch.Generator().manual_seed(block_seed(given.seed, 2**20))
    latents = torch.randn(config.choices, latent, generator=drawing).clamp(-LATENT, LATENT)
    return {
        **module_tensors(policy.critic.network, "value"),
        **module_tensors(policy.vae.decoder, "decoder"),
        **module_tensors(policy.actor_perturbation.preprocess_net.network, "perturbation"),
        "latents": latents,
    }
