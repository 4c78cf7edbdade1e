"""CaDM: dynamics that know an agent by its last transitions (Lee et al., 2020)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from persim_gym.baselines.context.fit import ContextLearner, Schedule
from persim_gym.baselines.context.network import ContextNetwork, ContextShape
from persim_gym.baselines.context.windows import Units, Windows
from persim_gym.baselines.face import Baseline, Given, Learned
from persim_gym.baselines.known_models import (
    ensemble_of,
    first_seen,
    recalled,
    remember,
    walls,
    with_walls,
)
from persim_gym.baselines.model_config import CaDMConfig
from persim_gym.baselines.resumable import of_part
from persim_gym.core import Task
from persim_gym.envs.vector import SimVectorEnv
from persim_gym.learned.dynamics import LearnedDynamics
from persim_gym.learned.environments import shells
from persim_gym.learned.naming import AgentNames
from persim_gym.learned.outcomes.given_reward import Reward, check_has_reward
from persim_gym.learned.parts import Parts
from persim_gym.offline.transitions import Transitions
from persim_gym.planning.mpc import MPC
from persim_gym.rollout import Chooser, EpisodeBatch


class CaDM(Baseline):
    """Context-aware dynamics models, planned in: PE-TS + CaDM, or Vanilla + CaDM.

    A context encoder makes a vector of the last ten transitions; with it a model predicts the next
    ten steps forward, and another one backward, so that the vector holds what is constant in an
    episode. The model knows no agent but by its past.

    * As a policy it plans (``config.planner``), with a context that runs with the episode: give
      ``predict`` the state that the last call returned.
    * :attr:`dynamics` is what it has learned. A prediction, and what a planner imagines, keep the
      context of the state that they begin in. Episodes begin without a past.
    * :meth:`env` and :meth:`vector_env` are environments whose episodes begin with the past of a
      recorded state of the agent.
    """

    name: ClassVar[str] = "CaDM"
    Config: ClassVar[type[CaDMConfig]] = CaDMConfig

    @classmethod
    def _check(cls, data: Transitions, config: Any, known: Task | None) -> None:
        """Refuse trajectories that no context can be made of.

        Raises:
            ValueError: If no trajectory is longer than a context window.
        """
        longest = int(data.lengths.max())
        if config.context and longest <= config.history:
            raise ValueError(
                f"CaDM's context is made of {config.history} transitions and the next one is to "
                f"be predicted; the longest trajectory has {longest}: give longer ones, or a "
                f"smaller history (now {config.history})"
            )

    @classmethod
    def _learn(cls, given: Given) -> Learned:
        data, task, config = given.transitions, given.task, given.config
        units = Units.measure(data, task)
        shape = ContextShape(
            members=config.ensemble_size,
            obs_dim=data.obs.shape[1],
            inputs=units.state.shape[1],
            acts=units.action.shape[1],
            history=config.history,
            context=config.context,
            encoder=config.encoder,
            hidden=config.hidden,
            probabilistic=config.probabilistic,
            backward=config.context > 0,
        )
        windows = Windows(data, task, units, config.history, config.future, given.device)
        schedule = Schedule(
            steps=config.steps,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            falling=config.falling,
            bootstrap=config.ensemble_size > 1,
            validation=config.validation,
            decay=config.decay,
            backward_weight=config.backward_weight,
            tempering=config.tempering,
            weigh_pasts=config.weigh_pasts,
        )
        learner = ContextLearner(shape, windows, schedule, given.seed)
        rows = config.ensemble_size * config.batch_size
        given.run(learner, widths=shape.stacks["forward"], rows=rows)
        tensors = {f"network.{name}": t.clone() for name, t in learner.network.tensors.items()}
        tensors |= {f"units.{name}": t for name, t in units.tensors().items()}
        lag, past = (config.history + 1, shape.acts) if config.context else (1, 0)
        tensors |= remember(data, task, lag, past)
        model = ensemble_of(learner.network, units, task, data.num_agents)
        tensors |= walls(model, data, task)
        facts = {
            **learner.facts,
            "shape": shape.to_json(),
            "angles": list(units.angles),
            "agent_names": list(data.agent_names or ()),
        }
        return Learned(tensors, facts)

    def _prepare(self) -> None:
        facts = self.card["facts"]
        shape = ContextShape.from_json(facts["shape"])
        network = of_part(self.tensors, "network")
        if shape.tensors() != {name: tuple(t.shape) for name, t in network.items()}:
            raise RuntimeError("its network is not of the shape that the file says")
        units = Units.of(of_part(self.tensors, "units"), tuple(facts["angles"]))
        model = ensemble_of(
            ContextNetwork(shape, network), units, self.task, self.card["dataset"]["agents"],
            self.config.particles if self.config.probabilistic else 0,
        )  # fmt: skip
        self._ensemble = with_walls(model, self.tensors)
        self._dynamics = self._of_agent(None)
        self._planner = self.mpc(self.config.planner)

    def _act(
        self, obs: NDArray[np.float32], state: Any, episode_start: Any, deterministic: bool
    ) -> tuple[NDArray[Any], Any]:
        check_has_reward(self.task)
        if state is None:  # the search, too, begins as it did: predict is a function
            self._planner = self.mpc(self.config.planner)
        agents = np.repeat(self._planner.agents, len(obs))
        return self._planner.plan(agents, obs, state, episode_start)

    def begin_episodes(self, batch: EpisodeBatch) -> Chooser:
        """Plan in a batch of episodes, in those alone that still run."""
        check_has_reward(self.task)
        return self._planner.begin_episodes(batch)

    @property
    def dynamics(self) -> LearnedDynamics:
        """What it has learned, for planners and evaluations."""
        return self._dynamics

    def mpc(
        self, planner: Any = "default", seed: int | None = None, reward: Reward | None = None
    ) -> MPC:
        """A policy that plans in :attr:`dynamics`; what it knows of its agent is the past."""
        seed = self.card["seed"] if seed is None else seed
        first = first_seen(self._dynamics.experience)
        return MPC(self._dynamics, first, planner=planner, seed=seed, reward=reward)

    def env(self, agent: int | str | None = None, **options: Any) -> shells.LearnedSimEnv:
        """An agent as an environment; options of :class:`persim_gym.learned.LearnedSimEnv`."""
        own = self._of_agent(agent)
        return shells.LearnedSimEnv(own, agent, **options)

    def vector_env(
        self, num_envs: int = 1, agent: int | str | None = None, **options: Any
    ) -> SimVectorEnv:
        """Many lanes of one agent, or of agents without a past, as a vector environment."""
        return shells.vector_env(self._of_agent(agent), num_envs, agent, **options)

    def _of_agent(self, agent: int | str | None) -> LearnedDynamics:
        """The model with pasts of an agent to begin with, or with none."""
        names = tuple(self.card["facts"]["agent_names"])
        if agent is not None:
            agent = int(AgentNames(names, self._ensemble.num_agents).find(agent))
        experience = recalled(self.tensors, agent=agent)
        card = {"agent_names": list(names) or None}
        return LearnedDynamics(Parts(self._ensemble, self.task, experience, card))
