"""MOReL: a policy optimised in a model that halts where it knows nothing (Kidambi et al., 2020)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.baselines.context.fit import ContextLearner, Schedule
from persim_gym.baselines.context.network import ContextNetwork, ContextShape
from persim_gym.baselines.context.windows import Units, Windows
from persim_gym.baselines.face import Baseline, Given, Learned
from persim_gym.baselines.known_models import (
    ensemble_of,
    first_seen,
    recalled,
    recorded_start,
    remember,
    walls,
    with_walls,
)
from persim_gym.baselines.model_config import MOReLConfig
from persim_gym.baselines.networks import Units as PolicyUnits
from persim_gym.baselines.networks import mlp_of
from persim_gym.baselines.pessimistic import PessimisticDynamics
from persim_gym.baselines.policy_search import PolicySearch, search_blocks
from persim_gym.baselines.recipe import check_choice
from persim_gym.baselines.resumable import block_seed, of_part
from persim_gym.core import Task
from persim_gym.envs.env import SimEnv
from persim_gym.envs.lanes import time_limit
from persim_gym.envs.vector import SimVectorEnv
from persim_gym.learned.dynamics import LearnedDynamics
from persim_gym.learned.parts import Parts
from persim_gym.offline.transitions import Transitions
from persim_gym.threads import few_threads

#: Transitions whose discrepancy is computed together.
_AT_ONCE = 4096


class MOReL(Baseline):
    """Model-based offline reinforcement learning: dynamics, pessimism, a policy.

    An ensemble of plain networks predicts the next state, alike for all agents. Where its members
    differ by more than they do on the data, an episode halts with a penalty. A policy that has
    imitated the data is optimised there by PPO of Stable-Baselines3; the last one counts.

    As a policy it always takes its best action. :attr:`dynamics` is the members' model, without
    pessimism; :meth:`env` and :meth:`vector_env` are the pessimistic environments.
    """

    name: ClassVar[str] = "MOReL"
    Config: ClassVar[type[MOReLConfig]] = MOReLConfig

    @classmethod
    def _check(cls, data: Transitions, config: Any, known: Task | None) -> None:
        check_choice(cls.name, data, known)

    @classmethod
    def _learn(cls, given: Given) -> Learned:
        learner = _Learner(given)
        config = given.config
        widths = learner.dynamics.shape.stacks["forward"]
        given.run(learner, widths=widths, rows=config.ensemble_size * config.batch_size)
        return learner.learned()

    def _prepare(self) -> None:
        space, facts = self.observation_space, self.card["facts"]
        shape = ContextShape.from_json(facts["shape"])
        network = ContextNetwork(shape, of_part(self.tensors, "network"))
        units = Units.of(of_part(self.tensors, "units"), tuple(facts["angles"]))
        self._dynamics = _dynamics(
            network, units, self.task, self.tensors, self.card["dataset"]["agents"],
            facts["agent_names"],
        )  # fmt: skip
        self._policy_units = PolicyUnits.of(of_part(self.tensors, "seen"))
        self._policy = mlp_of(self.tensors, "policy")
        if self._policy[0].in_features != space.shape[0]:
            raise RuntimeError("its policy is of another task")

    def _act(
        self, obs: NDArray[np.float32], state: Any, episode_start: Any, deterministic: bool
    ) -> tuple[NDArray[Any], Any]:
        rows = self._policy_units.observations(obs, self.device)
        with few_threads(len(rows), self.config.policy_hidden, self.device), torch.no_grad():
            output = self._policy(rows).cpu().numpy()
        space = self.action_space
        if isinstance(space, Discrete):
            return output.argmax(axis=1), state
        return np.clip(output.reshape(len(rows), *space.shape), space.low, space.high), state

    @property
    def dynamics(self) -> LearnedDynamics:
        """The members' model, for planners and evaluations."""
        return self._dynamics

    @property
    def pessimistic(self) -> PessimisticDynamics:
        """The model that halts where it knows nothing."""
        facts = self.card["facts"]
        return PessimisticDynamics(self._dynamics, facts["limit"], facts["penalty"])

    def env(
        self,
        agent: int | str | None = None,
        *,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
    ) -> SimEnv:
        """The pessimistic environment; all agents are alike in it."""
        return SimEnv(
            self.task,
            self.pessimistic,
            agent=self._agent(agent),
            max_episode_steps=time_limit(self.task, max_episode_steps),
            render_mode=render_mode,
            sample_start=self._start,
            label="learned",
        )

    def vector_env(
        self, num_envs: int = 1, agent: int | str | None = None, **options: Any
    ) -> SimVectorEnv:
        """Many lanes of it; options of the vector shell."""
        return SimVectorEnv(
            self.task,
            self.pessimistic,
            num_envs,
            agents=self._agent(agent),
            sample_start=self._start,
            label="learned",
            **options,
        )

    @property
    def _start(self) -> Any:
        return partial(recorded_start, self._dynamics.experience.starts.astype(np.float64))

    def _agent(self, agent: int | str | None) -> int:
        if agent is not None:
            return int(self._dynamics.agent_index(agent))
        return first_seen(self._dynamics.experience)


class _Learner:
    """Dynamics first, then the policy; see :func:`~persim_gym.baselines.resumable.run_blocks`."""

    def __init__(self, given: Given) -> None:
        self.given = given
        data, task, config = given.transitions, given.task, given.config
        self.units = Units.measure(data, task, absolute=True)
        shape = ContextShape(
            members=config.ensemble_size,
            obs_dim=data.obs.shape[1],
            inputs=self.units.state.shape[1],
            acts=self.units.action.shape[1],
            history=0,
            context=0,
            hidden=config.hidden,
            activation="relu",
            backward=False,
        )
        windows = Windows(data, task, self.units, 0, 1, given.device)
        schedule = Schedule(
            steps=config.updates,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            falling=config.falling,
            validation=0.0,
            decay=0.0,
        )
        self.dynamics = ContextLearner(shape, windows, schedule, given.seed)
        self.experience = remember(data, task, 1, 0)
        self.seen = PolicyUnits.measured(data, task)
        self._search: PolicySearch | None = None
        self._pessimistic: PessimisticDynamics | None = None
        self.blocks = self.dynamics.blocks + search_blocks(config)

    @property
    def pessimistic(self) -> PessimisticDynamics:
        """The fitted dynamics, with limit and penalty."""
        if self._pessimistic is None:
            given = self.given
            t, config = given.transitions, given.config
            network, task = self.dynamics.network, given.task
            names = list(t.agent_names or ())
            plain = ensemble_of(network, self.units, task, t.num_agents)
            self.experience |= walls(plain, t, task)
            model = _dynamics(network, self.units, task, self.experience, t.num_agents, names)
            found = PessimisticDynamics(model, math.inf, penalty_of(t, config))
            found.limit = largest_discrepancy(found, t) / config.pessimism
            self._pessimistic = found
        return self._pessimistic

    @property
    def search(self) -> PolicySearch:
        """The search, once the dynamics are fitted."""
        if self._search is None:
            g = self.given
            parts = (g.task, g.transitions, self.pessimistic, self.seen, g.config, g.seed)
            self._search = PolicySearch(*parts)
        return self._search

    def train(self, block: int) -> None:
        """A block of the one or the other."""
        if block < self.dynamics.blocks:
            self.dynamics.train(block)
            return
        seed = block_seed(self.given.seed, block + 1)
        self.search.train(block - self.dynamics.blocks, seed)

    def tensors(self) -> dict[str, Tensor]:
        """All that changes in a fit."""
        found = {f"dynamics.{name}": t for name, t in self.dynamics.tensors().items()}
        if self._search is not None:
            found |= {f"search.{name}": t for name, t in self._search.tensors().items()}
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what :meth:`tensors` gave."""
        self.dynamics.restore(of_part(tensors, "dynamics"))
        if own := of_part(tensors, "search"):
            self.search.restore(own)

    def learned(self) -> Learned:
        """What came of it."""
        tensors = {f"network.{k}": t.clone() for k, t in self.dynamics.network.tensors.items()}
        tensors |= {f"units.{name}": t for name, t in self.units.tensors().items()}
        tensors |= {f"seen.{name}": t for name, t in self.seen.tensors().items()}
        facts = {
            "loss": self.dynamics.loss,
            "limit": self.pessimistic.limit,
            "penalty": self.pessimistic.penalty,
            "shape": self.dynamics.shape.to_json(),
            "angles": list(self.units.angles),
            "agent_names": list(self.given.transitions.agent_names or ()),
        }
        return Learned({**tensors, **self.experience, **self.search.layers()}, facts)


def penalty_of(data: Transitions, config: MOReLConfig) -> float:
    """What halting costs.

    Original: the released code takes 0, with which halting pays where rewards are negative, and
    treats a halt as a time-out. Here it is an end, and by default worth no more than the smallest
    recorded reward in every step that would have come.
    """
    if config.penalty is not None:
        return float(config.penalty)
    return max(0.0, -float(data.reward.min())) / (1 - config.discount)


def largest_discrepancy(dynamics: PessimisticDynamics, data: Transitions) -> float:
    """The members' largest discrepancy on the data."""
    largest, model = 0.0, dynamics.sim
    for first in range(0, len(data), _AT_ONCE):
        rows = slice(first, first + _AT_ONCE)
        obs = torch.as_tensor(data.obs[rows], device=model.device)
        members = model.predict_members(data.agent[rows], obs, data.action[rows])
        largest = max(largest, float(dynamics.discrepancy(members).max()))
    return largest


def _dynamics(
    network: ContextNetwork,
    units: Units,
    task: Task,
    tensors: Mapping[str, Tensor],
    agents: int,
    names: list[str],
) -> LearnedDynamics:
    ensemble = with_walls(ensemble_of(network, units, task, agents), tensors)
    return LearnedDynamics(Parts(ensemble, task, recalled(tensors), {"agent_names": names or None}))
