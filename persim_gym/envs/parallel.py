"""`SimParallelEnv`: many agents side by side as a PettingZoo parallel environment."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Space
from gymnasium.utils import seeding
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from persim_gym import checks
from persim_gym.core import Dynamics, Task, agents_of
from persim_gym.envs.checks import check_options, check_seed
from persim_gym.envs.lanes import Lanes, time_limit
from persim_gym.envs.painter import CovariatesOf, Painter, check_render_mode
from persim_gym.envs.rendering import Frame
from persim_gym.envs.starts import LaneStarts, StartSampler, check_state

OPTIONS = frozenset({"state"})


class SimParallelEnv(ParallelEnv[str, NDArray[np.float32], Any]):
    """Several agents of a population, each in a world of its own, stepped as one batch.

    Agents are called as in the data of a learned dynamics, where all have different names there,
    and otherwise ``"agent_3"`` after their index. They do not interact: to train one policy for all
    of them, the vector environment is the shorter way. An agent leaves ``agents`` when its episode
    is over.

    Args:
        task: Spaces, reward, termination, start states.
        dynamics: True physics or a learned simulator.
        agents: Different agents, by index or, where the dynamics knows names, by name.
        max_episode_steps: Time limit; by default the task's, and none with -1.
        render_mode: ``None``, ``"rgb_array"`` or ``"human"``; the worlds are drawn side by side.
        sample_start: Start states, if not the task's.
        covariates_of: Covariates of an agent for the drawing.
        label: A word for the drawing's caption.

    Raises:
        TypeError: If an agent is no integer.
        ValueError: If an agent does not exist or is named twice, or the render mode is unknown.
    """

    metadata: dict[str, Any] = {
        "name": "persim_gym_v0",
        "render_modes": ["human", "rgb_array"],
        "is_parallelizable": True,
    }

    def __init__(
        self,
        task: Task,
        dynamics: Dynamics,
        agents: Sequence[int | str] | NDArray[np.integer[Any]],
        *,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        sample_start: StartSampler | None = None,
        covariates_of: CovariatesOf | None = None,
        label: str = "",
    ) -> None:
        check_render_mode(render_mode)
        if np.ndim(agents) != 1 or len(agents) == 0:
            raise ValueError(f"agents must be a sequence of at least one agent, got {agents!r}")
        indices = agents_of(dynamics, agents, len(agents))
        if len(set(indices.tolist())) < len(indices):
            raise ValueError(f"an agent is named twice in {indices.tolist()}")
        self.task = task
        self.dynamics = dynamics
        self.render_mode = render_mode
        self.metadata = {
            **type(self).metadata,
            "name": f"persim_{task.name.replace('-', '_')}_v0",
            "render_fps": task.render_fps,
        }
        names = getattr(dynamics, "agent_names", None)
        if names is None or len(set(names)) < len(names):
            names = [f"agent_{index}" for index in range(dynamics.num_agents)]
        self.possible_agents = [names[index] for index in indices.tolist()]
        self.agents: list[str] = []
        n = len(indices)
        self._lane = {name: lane for lane, name in enumerate(self.possible_agents)}
        self._lanes = Lanes(task, dynamics, indices, time_limit(task, max_episode_steps))
        self._starts = LaneStarts(
            sample_start or task.sample_start, n, task.observation_space.shape[0]
        )
        # Each agent's action space is an object of its own, for each has a seed of its own.
        self.observation_spaces: dict[str, Space[Any]] = dict.fromkeys(
            self.possible_agents, task.observation_space
        )
        self.action_spaces: dict[str, Space[Any]] = {
            name: copy.deepcopy(task.action_space) for name in self.possible_agents
        }
        self._np_random: np.random.Generator | None = None
        self._begun = False
        self._painters = (
            [Painter(task, covariates_of, label, dynamics) for _ in indices] if render_mode else []
        )

    @property
    def np_random(self) -> np.random.Generator:
        """Generator of what is random in a dynamics, begun anew by a reset with a seed."""
        if self._np_random is None:
            self._np_random, _ = seeding.np_random(None)
        return self._np_random

    @np_random.setter
    def np_random(self, generator: np.random.Generator) -> None:
        self._np_random = generator

    def observation_space(self, agent: str) -> Space[Any]:
        """The observation space of an agent, the same object at each call."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Space[Any]:
        """The action space of an agent, the same object at each call."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, dict[str, Any]]]:
        """Begin an episode for every agent.

        Args:
            seed: The agent of lane ``i`` starts as the scalar environment with ``seed + i`` does.
            options: ``"state"``: start states, ``[d]`` for all or ``{name: [d]}``.

        Raises:
            TypeError: If the seed is no integer, or the options are no dictionary.
            ValueError: If an option is unknown, the seed is negative, a state is invalid or the
                physics cannot go on from it.
        """
        options, seed = check_options(options, OPTIONS), check_seed(seed)
        n = len(self.possible_agents)
        lanes = np.arange(n)
        given: dict[int, NDArray[np.float64]] = {}
        if (state := options.get("state")) is not None:
            if isinstance(state, Mapping):
                given = {self._lane_of(k): check_state(self.task, s) for k, s in state.items()}
            else:
                given = dict(enumerate(check_state(self.task, state, n)))
        if given:
            agents = self._lanes.agents[list(given)]
            self._lanes.check_start(agents, np.stack(list(given.values())))
        if seed is not None:
            self._np_random, _ = seeding.np_random(seed)
        self._starts.seed(range(n), [None if seed is None else seed + lane for lane in range(n)])
        start = np.empty((n, *self.task.observation_space.shape))
        # A start that is given draws none, as in the scalar environment.
        drawn = np.array([lane for lane in range(n) if lane not in given], dtype=np.int64)
        start[drawn] = self._starts.draw(drawn)
        for lane, state in given.items():
            start[lane] = state
        self._lanes.begin(lanes, start, self.np_random)
        self._begun = True
        self.agents = list(self.possible_agents)
        for painter, obs_ in zip(self._painters, self._lanes.obs, strict=False):
            painter.begin(obs_)
        if self.render_mode == "human":
            self.render()
        obs = self._lanes.obs.astype(np.float32)
        quiet = self._lanes.quiet_info()
        observations = {name: obs[i].copy() for i, name in enumerate(self.agents)}
        infos = {
            name: {key: values[i] for key, values in quiet.items()}
            for i, name in enumerate(self.agents)
        }
        return observations, infos

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[
        dict[str, NDArray[np.float32]],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """Advance every running agent by its action.

        When no agent is left, ``step({})`` returns five empty dictionaries.

        Raises:
            ResetNeeded: Before the first reset, or if there are actions and no agent is running.
            TypeError: If ``actions`` is no dictionary, or a discrete action no integer.
            ValueError: If an action is missing or invalid, or is for an agent that is not running.
        """
        if not self._begun:
            raise ResetNeeded("no agent is running: call reset() first")
        if not isinstance(actions, Mapping):
            raise TypeError(f"actions must be a dictionary by agent's name, got {actions!r}")
        if not self.agents:
            if actions:
                raise ResetNeeded(f"no agent is running: call reset() first; got {list(actions)}")
            return {}, {}, {}, {}, {}
        if set(actions) != set(self.agents):
            raise ValueError(
                f"give one action for each running agent {self.agents}, got {list(actions)}"
            )
        running = self.agents
        batch = np.stack([np.asarray(actions[name]) for name in running])
        lanes = np.array([self._lane[name] for name in running])
        batch = self._lanes.check_actions(batch, lanes)
        step = self._lanes.advance(batch, self.np_random, lanes)
        obs = step.obs.astype(np.float32)
        observations = {name: obs[i].copy() for i, name in enumerate(running)}
        rewards = dict(zip(running, step.reward.tolist(), strict=True))
        terminations = dict(zip(running, step.terminated.tolist(), strict=True))
        truncations = dict(zip(running, step.truncated.tolist(), strict=True))
        infos = {
            name: {key: values[i] for key, values in step.info.items()}
            for i, name in enumerate(running)
        }
        if self._painters:
            for i, lane in enumerate(lanes.tolist()):
                self._painters[lane].move(step.obs[i], batch[i])
        self.agents = [n for n in running if not (terminations[n] or truncations[n])]
        if self.render_mode == "human":
            self.render()
        return observations, rewards, terminations, truncations, infos

    def render(self) -> Frame | None:
        """All worlds side by side, as one frame or in a window.

        Raises:
            ResetNeeded: If nothing has happened yet.
        """
        if not self._painters:
            return None
        if not self._begun:
            raise ResetNeeded("nothing to draw yet: call reset() first")
        rows = zip(self._painters, self._lanes.agents.tolist(), self._lanes.obs, strict=True)
        frame = np.hstack([painter.draw(agent, obs) for painter, agent, obs in rows])
        if self.render_mode == "human":
            self._painters[0].show(frame)
            return None
        return frame

    def close(self) -> None:
        """Close the window and the renderers."""
        for painter in self._painters:
            painter.close()

    def _lane_of(self, name: str) -> int:
        if name not in self._lane:
            raise ValueError(
                f"there is no agent {name!r} here{checks.meant(name, self.possible_agents)}: "
                f"{', '.join(self.possible_agents)}"
            )
        return self._lane[name]
