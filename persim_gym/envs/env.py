"""`SimEnv`: one agent's task and dynamics, true or learned, as a standard Gymnasium environment."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from persim_gym.core import Dynamics, Task, agents_of, describe
from persim_gym.envs.checks import check_options, check_seed
from persim_gym.envs.lanes import GuardedRows, Lanes, first
from persim_gym.envs.painter import RENDER_MODES, CovariatesOf, Painter, check_render_mode
from persim_gym.envs.populations import Population
from persim_gym.envs.rendering import Frame
from persim_gym.envs.starts import StartSampler, check_state

OPTIONS = frozenset({"agent", "state"})

EntryPoint = TypeVar("EntryPoint", bound=Callable[..., Any])


class SimEnv(gym.Env[NDArray[np.float32], Any]):
    """One agent at a time of a task, under any dynamics.

    ``reset(options={"agent": k})`` switches the agent until it is switched again;
    ``options={"state": s}`` starts there, ``s`` of shape ``[d]``. ``info["agent"]`` of a reset
    names the agent.

    The time limit is not here but in the ``TimeLimit`` wrapper that ``gymnasium.make`` adds, unless
    ``max_episode_steps`` is given.

    Args:
        task: Spaces, reward, termination, start states.
        dynamics: True physics or a learned simulator.
        agent: The agent to begin with, here and in ``reset`` by index or, where the dynamics
            knows names, by name.
        render_mode: ``None``, ``"rgb_array"`` or ``"human"``.
        max_episode_steps: Steps after which the environment itself truncates.
        sample_start: Start states, if not the task's.
        covariates_of: Covariates of an agent for the drawing.
        label: A word for the drawing's caption, such as ``"learned"``.

    Raises:
        TypeError: If the agent is no integer.
        ValueError: If there is no such agent or render mode.
    """

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES)}

    def __init__(
        self,
        task: Task,
        dynamics: Dynamics,
        *,
        agent: int | str = 0,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        sample_start: StartSampler | None = None,
        covariates_of: CovariatesOf | None = None,
        label: str = "",
    ) -> None:
        check_render_mode(render_mode)
        self.task = task
        self.dynamics = dynamics
        self.observation_space = task.observation_space  # type: ignore[assignment]
        self.action_space = task.action_space
        self.render_mode = render_mode
        self.metadata = {"render_modes": list(RENDER_MODES), "render_fps": task.render_fps}
        agents = agents_of(dynamics, agent, 1)
        self._agent = int(agents[0])
        self._lanes = Lanes(task, dynamics, agents, max_episode_steps)
        self._sample_start = sample_start or task.sample_start
        self._painter = Painter(task, covariates_of, label, dynamics) if render_mode else None
        # A dynamics that serves single rows saves the scalar environment all array overhead.
        self._step_row = getattr(dynamics, "step_row", None) if max_episode_steps is None else None
        self._advance_row = None
        if isinstance(dynamics, GuardedRows) and dynamics.lag == 1:
            self._advance_row = dynamics.advance_row
        # Of its very class: a subclass or a wrapper may ask for the first axis.
        single_rows = vars(type(task)).get("single_rows", False)
        self._single_rows = bool(single_rows) and isinstance(task.action_space, Discrete)
        self._strict = getattr(dynamics, "strict", False)
        self._discrete = task.action_space.n if isinstance(task.action_space, Discrete) else None
        self._obs: NDArray[np.float64] | None = None
        self._latest: NDArray[np.float64] | None = None
        self._row: list[float] | tuple[float, ...] = []
        self._kept = 0

    @property
    def agent(self) -> int:
        """The current agent."""
        return self._agent

    @property
    def state(self) -> NDArray[np.float64]:
        """The latest state ``[d]`` in double precision, a copy.

        Raises:
            ResetNeeded: Before the first reset.
        """
        if self._latest is None:
            raise ResetNeeded("there is no state yet: call reset() first")
        return self._latest.copy()

    @property
    def covariates(self) -> dict[str, float]:
        """Covariates of the current agent; a learned simulator does not know them."""
        return of_dynamics(self.dynamics, "population").covariates(self._agent)

    @property
    def model(self) -> Any:
        """HalfCheetah's compiled MuJoCo model of the current agent."""
        return of_dynamics(self.dynamics, "model")(self._agent)

    @property
    def dt(self) -> float:
        """HalfCheetah's control step, in seconds."""
        return of_dynamics(self.dynamics, "dt")

    @property
    def spec(self) -> Any:
        """The registered spec that made this environment, with arguments of plain types."""
        return self._spec

    @spec.setter
    def spec(self, spec: Any) -> None:
        self._spec = plain_spec(spec, self.dynamics, self._lanes.max_episode_steps)

    _spec: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: Seed of the start state, as in every Gymnasium environment.
            options: ``"agent"``: the agent from now on; ``"state"``: the start state ``[d]``.

        Returns:
            The observation ``[d]``, and ``info`` with the keys of every step: ``{"agent": k}``,
            and what a guarded dynamics adds.

        Raises:
            TypeError: If agent or seed is no integer, or the options are no dictionary.
            ValueError: If an option is unknown, the agent does not exist, the state is invalid or
                the physics cannot go on from it, or the seed is negative.
        """
        options, seed = check_options(options, OPTIONS), check_seed(seed)
        agent = self._agent
        if "agent" in options:
            agent = int(agents_of(self.dynamics, options["agent"], 1)[0])
        state = None
        if "state" in options:
            state = check_state(self.task, options["state"])
            self._lanes.check_start(np.array([agent]), state[None])
        super().reset(seed=seed)
        self._agent = self._lanes.agents[0] = agent
        obs = self._sample_start(self.np_random, 1)[0] if state is None else state
        self._obs = self._latest = np.array(obs, dtype=np.float64)
        self._row = self._obs.tolist()
        if self._step_row is None:
            self._lanes.begin(np.array([0]), self._obs[None], self.np_random)
            self._kept = self._lanes.kept(0)
        if self._painter is not None:
            self._painter.begin(self._obs)
            if self.render_mode == "human":
                self.render()
        info = {key: value[0] for key, value in self._lanes.quiet_info().items()}
        return self._obs.astype(np.float32), info

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Advance by one action.

        Args:
            action: A member of the action space; continuous actions are clipped to their bounds.

        Raises:
            ResetNeeded: If there is no running episode.
            TypeError: If a discrete action is no integer.
            ValueError: If the action does not exist, has the wrong shape or is not finite.
        """
        obs = self._obs
        if obs is None:
            raise ResetNeeded("no episode is running: call reset() first")
        truncated = False
        info: dict[str, Any]
        if self._step_row is not None and self._discrete is not None:
            action = self._check_discrete(action)
            info = {"agent": np.int64(self._agent)}
            self._row = self._step_row(self._agent, self._row, action)
            following = np.array(self._row)
            reward = float(self.task.reward(obs, action, following))
            terminated = bool(self.task.terminated(following))
        elif self._advance_row is not None:
            if self._discrete is not None:
                action = self._check_discrete(action)
                if self._strict:
                    self._lanes.check_actions(np.array([action]))
            else:
                action = self._lanes.check_actions(np.asarray(action)[None])[0]
            following, reward, terminated, truncated, info = self._guarded_step(obs, action)
        else:
            if self._discrete is not None:
                action = self._check_discrete(action)
            actions = self._lanes.check_actions(np.asarray(action)[None])
            step = self._lanes.advance(actions, self.np_random, None)
            following = step.obs[0]
            reward, terminated = float(step.reward[0]), bool(step.terminated[0])
            truncated = bool(step.truncated[0])
            info = {key: value[0] for key, value in step.info.items()}
        self._latest = following
        self._obs = None if terminated else following
        if self._painter is not None:
            self._painter.move(following, action)
            if self.render_mode == "human":
                self.render()
        return following.astype(np.float32), reward, terminated, truncated, info

    def _guarded_step(
        self, obs: NDArray[np.float64], action: Any
    ) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        """A step of a learned dynamics, one row without the overhead of arrays."""
        lanes = self._lanes
        found = self._advance_row(self._agent, self._row, action, self._kept, self.np_random)  # type: ignore[misc]
        self._row = found.next_obs
        following = np.array(found.next_obs)
        if self._single_rows:
            reward = self.task.reward(obs, action, following)
            terminated = bool(self.task.terminated(following))
        else:  # in batches of one: a task of a user's own may ask for the first axis
            batch = following[None]
            acted = lanes.cut(np.array([action]))
            reward = first(self.task.reward(obs[None], acted, batch))
            terminated = bool(first(self.task.terminated(batch)))
        lanes.steps[0] += 1
        limit = lanes.max_episode_steps
        stopped = bool(found.reason)
        truncated = stopped or (limit is not None and lanes.steps[0] >= limit)
        info: dict[str, Any] = {
            "agent": np.int64(self._agent),
            "disagreement": np.float64(found.disagreement),
            "clipped": np.int64(found.clipped),
            "guard": found.reason,
            "outside": np.int64(found.outside),
            "outside_own": np.int64(found.outside_own),
        }
        if self.dynamics.penalty:  # type: ignore[attr-defined]
            info |= {"reward_raw": np.float64(reward), "penalty": np.float64(found.penalty)}
            reward = reward - found.penalty
        return following, float(reward), terminated, bool(truncated), info

    def _check_discrete(self, action: Any) -> int:
        try:
            index = operator.index(action)
        except TypeError:
            raise TypeError(
                f"a discrete action must be an integer, got {action!r} of type "
                f"{type(action).__name__}"
            ) from None
        if not 0 <= index < self._discrete:  # type: ignore[operator]
            raise ValueError(f"an action must be 0 to {self._discrete - 1}, got {index}")  # type: ignore[operator]
        return index

    def render(self) -> Frame | None:
        """Draw the current state: a frame ``[height, width, 3]``, or a window's next picture.

        Raises:
            ResetNeeded: If nothing has happened yet.
        """
        if self._painter is None:
            gym.logger.warn(
                "render() does nothing without a render mode: give render_mode='rgb_array' or "
                "'human' when the environment is made"
            )
            return None
        obs = self._painter.last if self._obs is None else self._obs
        if obs is None:
            raise ResetNeeded("nothing to draw yet: call reset() first")
        frame = self._painter.draw(self._agent, obs)
        if self.render_mode == "human":
            self._painter.show(frame)
            return None
        return frame

    def close(self) -> None:
        """Close the window and the renderer."""
        if self._painter is not None:
            self._painter.close()


def of_dynamics(dynamics: Dynamics, name: str) -> Any:
    """What one kind of dynamics has and another has not, with an error that says so.

    Raises:
        AttributeError: If this one has not.
    """
    if not hasattr(dynamics, name):
        raise AttributeError(f"the {type(dynamics).__name__} of this environment has no {name}")
    return getattr(dynamics, name)


def drawn(entry_point: EntryPoint) -> EntryPoint:
    """Give an entry point the ``metadata`` by which `gymnasium.make` knows its render modes.

    With them it serves ``render_mode="rgb_array_list"``, too.
    """
    vars(entry_point)["metadata"] = {"render_modes": list(RENDER_MODES)}
    return entry_point


def plain_spec(spec: Any, dynamics: Dynamics, limit: int | None) -> Any:
    """A spec that makes the same environment again, from JSON and from another folder.

    Args:
        spec: The spec; its arguments are made plain: NumPy's numbers, populations, paths.
        dynamics: What is stepped. It may have ``plain_arguments(arguments)``, which says the same
            without what is known here and now only.
        limit: Time limit that the environment itself keeps, or ``None``.
    """
    if spec is None:
        return None
    own = getattr(dynamics, "plain_arguments", None)
    kwargs = spec.kwargs if own is None else own(spec.kwargs)
    spec.kwargs = {key: _plain(value) for key, value in kwargs.items()}
    if spec.max_episode_steps is None:
        spec.max_episode_steps = limit
    return spec


def _plain(value: Any) -> Any:
    match value:
        case Population():
            return value.to_json()
        case Enum():
            return value.value
        case os.PathLike():
            return os.fspath(value)
        case np.generic():
            return value.item()
        case np.ndarray():
            return value.tolist()
        case range() | tuple():
            return [_plain(item) for item in value]
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case _:
            return value


__all__ = ["SimEnv", "check_render_mode", "describe", "drawn", "of_dynamics", "plain_spec"]
