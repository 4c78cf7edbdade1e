"""`SfBC`: draw actions that the behaviour might take, and take one that the critic likes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.baselines.face import Baseline, Given, Learned
from persim_gym.baselines.recipe import check_actions, check_choice
from persim_gym.baselines.resumable import block_seed, of_part
from persim_gym.baselines.sfbc.config import SfBCConfig
from persim_gym.baselines.sfbc.critic import choose
from persim_gym.baselines.sfbc.learner import SfBCLearner, networks
from persim_gym.core import Task
from persim_gym.offline.transitions import Transitions


class SfBC(Baseline):
    """Selecting from behaviour candidates (Chen et al., ICLR 2023), for continuous actions.

    A diffusion model clones the behaviour, a critic is fitted to returns that are planned ahead
    inside the data, and a decision takes the best of some sampled actions. So it does what the
    behaviour did, only the better part of it, and may choose between strategies whose mean is
    none.

    It is a proposal for a planner as well: ``MPC(sim, agent, proposal=sfbc)``.
    """

    name = "SfBC"
    Config = SfBCConfig

    @classmethod
    def _check(cls, data: Transitions, config: Any, known: Task | None) -> None:
        """Refuse discrete actions, and data that the critic can learn nothing from.

        Raises:
            ValueError: If actions are discrete, or none is better than another.
        """
        check_actions(cls.name, data, known)
        if data.action.ndim == 1:
            what = f"those of {data.task_name or data.dataset_id or 'the data'} are discrete"
            raise ValueError(f"SfBC learns continuous actions, and {what}: use BCQ or CQL")
        if config.rounds:
            check_choice(cls.name, data, known)

    @classmethod
    def _learn(cls, given: Given) -> Learned:
        config: SfBCConfig = given.config
        space = given.task.action_space
        learner = SfBCLearner(given.transitions, space, config, given.seed, given.device)  # type: ignore[arg-type]
        given.run(learner, widths=config.widths, rows=config.batch_size)
        return Learned(learner.learned(), learner.facts)

    def _prepare(self) -> None:
        space, size = self.task.action_space, self.observation_space.shape[0]
        behaviour, critic = networks(space, size, self.config, 0)  # type: ignore[arg-type]
        behaviour.load_state_dict(of_part(self.tensors, "behaviour"))
        self._behaviour, self._critic = behaviour.to(self.device).requires_grad_(False), None
        if self.config.rounds:
            critic.load_state_dict(of_part(self.tensors, "critic"))
            self._critic = critic.to(self.device).requires_grad_(False)
        self._seed = block_seed(int(self.card["seed"]), 0)
        self._generator = torch.Generator(self.device).manual_seed(self._seed)

    @torch.no_grad()
    def _act(
        self, obs: NDArray[np.float32], state: Any, episode_start: Any, deterministic: bool
    ) -> tuple[NDArray[Any], Any]:
        """One of the candidates, or the mean of some.

        If deterministic, all candidates are made from the same noise in every state, and the best
        ones are taken: the action is a function of the observation. Otherwise they are drawn.
        """
        c, n = self.config, len(obs)
        states = self._behaviour.states(torch.as_tensor(obs, device=self.device))
        k = c.candidates if self._critic is not None else 1
        if deterministic:
            generator = torch.Generator(self.device).manual_seed(self._seed)
            noise = self._behaviour.noise(1, k, generator).expand(n, -1, -1)
        else:
            noise = self._behaviour.noise(n, k, self._generator)
        samples = self._behaviour.draw(states, noise, c.steps)
        if self._critic is not None:
            values = self._critic.of_samples(states, samples)
            if deterministic:
                chosen = values.topk(c.average, dim=-1).indices
            else:
                chosen = choose(values, c.sharpness, c.average, self._generator)
            index = chosen[..., None].expand(-1, -1, samples.shape[-1])
            samples = samples.gather(1, index)
        return self._behaviour.actions(samples.mean(dim=1)), state

    def sample(
        self, observations: NDArray[Any], k: int, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Actions that the behaviour might take, whatever they are worth.

        Args:
            observations: ``[n, d]``.
            k: Actions in each.
            rng: All randomness.

        Returns:
            ``[n, k, a]``.

        Raises:
            ValueError: If observations have the wrong shape.
        """
        k = checks.positive_integer("k", k)
        obs = np.asarray(observations, dtype=np.float32)
        d = self.observation_space.shape[0]
        if obs.ndim != 2 or obs.shape[1] != d:
            raise ValueError(f"observations must have the shape (n, {d}), got {obs.shape}")
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**63)))
        states = self._behaviour.states(torch.as_tensor(obs, device=self.device))
        noise = self._behaviour.noise(len(states), k, generator)
        drawn = self._behaviour.draw(states, noise, self.config.steps)
        return self._behaviour.actions(drawn)
