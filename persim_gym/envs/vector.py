"""`SimVectorEnv`: many lanes, an agent each, as a native Gymnasium vector environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.core import Dynamics, Task, as_agents
from persim_gym.envs.env import CovariatesOf, Painter, check_render_mode, plain_spec
from persim_gym.envs.lanes import Lanes, LaneStarts, StartSampler, check_actions, check_state
from persim_gym.envs.rendering import Frame

OPTIONS = frozenset({"agent", "state", "reset_mask"})


class SimVectorEnv(VectorEnv[NDArray[np.float32], NDArray[Any], NDArray[Any]]):
    """``n`` lanes of one task, each with an agent of its own, stepped as one batch.

    Lane ``i`` is, bit for bit, the scalar environment of its agent with seed ``seed + i``, in every
    episode (a learned dynamics, whose batches round differently, to its own precision; a random one
    not at all). All three autoreset modes are served; in
    ``DISABLED`` mode ``reset(options={"reset_mask": mask})`` begins episodes in some lanes.

    Args:
        task: Spaces, reward, termination, start states.
        dynamics: True physics or a learned simulator.
        num_envs: Number of lanes.
        agents: One agent for all lanes or one for each; by default lane ``i`` is agent
            ``i`` (modulo the population's size).
        max_episode_steps: Time limit; by default the task's.
        autoreset_mode: An ``AutoresetMode`` or its name.
        render_mode: ``None`` or ``"rgb_array"``.
        sample_start: Start states, if not the task's.
        covariates_of: Covariates of an agent for the drawing.
        label: A word for the drawing's caption.

    Raises:
        TypeError: If an agent is no integer.
        ValueError: If an agent, a mode or the number of lanes is invalid.
    """

    metadata: dict[str, Any] = {
        "render_modes": ["rgb_array"],
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        task: Task,
        dynamics: Dynamics,
        num_envs: int = 1,
        *,
        agents: int | Sequence[int] | NDArray[np.integer[Any]] | None = None,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        sample_start: StartSampler | None = None,
        covariates_of: CovariatesOf | None = None,
        label: str = "",
    ) -> None:
        num_envs = checks.positive_integer("num_envs", num_envs)
        # Of every lane a block of starts, at the least.
        checks.enough_memory(f"num_envs={num_envs}", 8192 * num_envs, "make fewer lanes")
        check_render_mode(render_mode, ("rgb_array",))
        self.task = task
        self.dynamics = dynamics
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.metadata = {
            "render_modes": ["rgb_array"],
            "render_fps": task.render_fps,
            "autoreset_mode": self.autoreset_mode,
        }
        self.single_observation_space = task.observation_space
        self.single_action_space = task.action_space
        self.observation_space = batch_space(task.observation_space, self.num_envs)
        self.action_space = batch_space(task.action_space, self.num_envs)
        if agents is None:
            agents = np.arange(self.num_envs) % dynamics.num_agents
        agents = as_agents(agents, self.num_envs, dynamics.num_agents)
        limit = task.max_episode_steps if max_episode_steps is None else max_episode_steps
        self._lanes = Lanes(task, dynamics, agents, limit)
        d = task.observation_space.shape[0]
        self._starts = LaneStarts(sample_start or task.sample_start, self.num_envs, d)
        self._all = np.arange(self.num_envs)
        self._over = np.zeros(self.num_envs, dtype=np.bool_)
        self._begun = False
        self._painters = (
            [Painter(task, covariates_of, label) for _ in self._all] if render_mode else []
        )

    @property
    def agents(self) -> NDArray[np.int64]:
        """The lanes' agents ``[n]``, a copy."""
        return self._lanes.agents.copy()

    @property
    def spec(self) -> Any:
        """The registered spec that made this environment, with arguments of plain types."""
        return self._spec

    @spec.setter
    def spec(self, spec: Any) -> None:
        self._spec = plain_spec(spec)

    _spec: Any = None

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode in every lane, or in those of ``options["reset_mask"]``.

        Args:
            seed: One seed (lane ``i`` gets ``seed + i``) or a seed a lane.
            options: ``"agent"``: one agent or one a lane, from now on; ``"state"``: start states
                ``[d]`` or ``[n, d]``; ``"reset_mask"``: booleans ``[n]``, the lanes to reset.

        Returns:
            Observations ``[n, d]`` of all lanes, and infos of the lanes that were reset.

        Raises:
            TypeError: If an agent or the mask has the wrong type.
            ValueError: If an option is unknown or invalid.
        """
        options = options or {}
        if unknown := set(options) - OPTIONS:
            raise ValueError(
                f"unknown reset option {sorted(unknown)[0]!r}: there are "
                f"{', '.join(sorted(OPTIONS))}"
            )
        lanes = self._all
        if options.get("reset_mask") is not None:
            lanes = np.flatnonzero(_check_mask(options["reset_mask"], self.num_envs))
            if not self._begun and len(lanes) < self.num_envs:
                raise ValueError("the first reset begins every lane: give no reset_mask to it")
        agents = None
        if options.get("agent") is not None:
            agents = as_agents(options["agent"], self.num_envs, self.dynamics.num_agents)
        states = None
        if options.get("state") is not None:
            states = check_state(self.task, options["state"], self.num_envs)
        seeds = self._lane_seeds(seed)
        entropy = None if seed is None else [s for s in seeds if s is not None]
        if entropy:
            # The vector's own generator serves what is random in a learned dynamics.
            self._np_random = np.random.default_rng(entropy)
            self._np_random_seed = entropy[0]
        self._starts.seed(lanes.tolist(), [seeds[lane] for lane in lanes])
        if agents is not None:
            self._lanes.agents[lanes] = agents[lanes]
        self._begun = True
        start = self._starts.draw(lanes) if states is None else states[lanes]
        self._begin(lanes, start)
        return self._lanes.obs.astype(np.float32, order="C"), self._begin_info({}, lanes)

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[
        NDArray[np.float32],
        NDArray[np.float64],
        NDArray[np.bool_],
        NDArray[np.bool_],
        dict[str, Any],
    ]:
        """Advance every lane by one action.

        Args:
            actions: ``[n]`` integers or ``[n, a]`` numbers; continuous ones are clipped.

        Returns:
            Observations ``[n, d]``, rewards ``[n]``, terminated ``[n]``, truncated ``[n]``, infos.

        Raises:
            ResetNeeded: Before the first reset, or in ``DISABLED`` mode when a lane is over.
            TypeError: If discrete actions are no integers.
            ValueError: If actions are invalid.
        """
        if not self._begun:
            raise ResetNeeded("no episodes are running: call reset() first")
        actions = check_actions(self.task, actions, self.num_envs)
        over = self._over
        any_over = np.count_nonzero(over) > 0  # a tenth of the time of any()
        if any_over and self.autoreset_mode is AutoresetMode.DISABLED:
            raise ResetNeeded(
                f"lanes {np.flatnonzero(over).tolist()} are over: with autoreset disabled, reset "
                "them with options={'reset_mask': mask}"
            )
        step = self._lanes.advance(actions, self.np_random, None)
        reward, terminated, truncated = step.reward, step.terminated, step.truncated
        infos: dict[str, Any] = {}
        if step.info or step.sparse:
            speaks = (
                ~over if self.autoreset_mode is AutoresetMode.NEXT_STEP else ~np.zeros_like(over)
            )
            if speaks.any():
                for key, values in step.info.items():
                    infos[key], infos[f"_{key}"] = values, speaks.copy()
            for key, (values, mask) in step.sparse.items():
                if (mask & speaks).any():
                    infos[key], infos[f"_{key}"] = values, mask & speaks
        for painter, obs in zip(self._painters, step.obs, strict=False):
            painter.move(obs)
        if any_over:  # next-step mode: these lanes spent the step on their reset
            lanes = np.flatnonzero(over)
            self._begin(lanes, self._starts.draw(lanes))
            reward[lanes], terminated[lanes], truncated[lanes] = 0.0, False, False
            infos = self._begin_info(infos, lanes)
        done = terminated | truncated
        if self.autoreset_mode is AutoresetMode.SAME_STEP and np.count_nonzero(done):
            lanes = np.flatnonzero(done)
            infos = self._final_infos(infos, step.obs, done)
            self._begin(lanes, self._starts.draw(lanes))
            infos = self._begin_info(infos, lanes)
        else:
            self._over = done
        obs = self._lanes.obs.astype(np.float32, order="C")
        return obs, reward, terminated, truncated, infos

    def render(self) -> tuple[Frame, ...] | None:
        """Frames of all lanes."""
        if not self._painters:
            return None
        if not self._begun:
            raise ResetNeeded("nothing to draw yet: call reset() first")
        rows = zip(self._painters, self._lanes.agents.tolist(), self._lanes.obs, strict=True)
        return tuple(painter.draw(agent, obs) for painter, agent, obs in rows)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the renderers."""
        for painter in self._painters:
            painter.close()

    def _begin(self, lanes: NDArray[np.int64], start: NDArray[np.float64]) -> None:
        self._lanes.begin(lanes, start, self.np_random)
        self._over[lanes] = False
        if self._painters:
            for lane in lanes.tolist():
                self._painters[lane].begin()

    def _begin_info(self, infos: dict[str, Any], lanes: NDArray[np.int64]) -> dict[str, Any]:
        mask = np.zeros(self.num_envs, dtype=np.bool_)
        mask[lanes] = True
        agent = np.zeros(self.num_envs, dtype=np.int64)
        agent[lanes] = self._lanes.agents[lanes]
        return {**infos, "agent": agent, "_agent": mask}

    def _final_infos(
        self, infos: dict[str, Any], obs: NDArray[np.float64], done: NDArray[np.bool_]
    ) -> dict[str, Any]:
        """Same-step mode: what the finished episodes saw last goes under ``final_*``."""
        final_obs = np.full(self.num_envs, None, dtype=object)
        for lane in np.flatnonzero(done).tolist():
            final_obs[lane] = obs[lane].astype(np.float32)
        final: dict[str, Any] = {}
        rest: dict[str, Any] = {}
        for key, values in infos.items():
            if key.startswith("_"):
                continue
            mask = infos[f"_{key}"]
            if (mask & done).any():
                final[key], final[f"_{key}"] = values, mask & done
            if (mask & ~done).any():
                rest[key], rest[f"_{key}"] = values, mask & ~done
        return {
            **rest,
            "final_obs": final_obs,
            "_final_obs": done.copy(),
            "final_info": final,
            "_final_info": done.copy(),
        }

    def _lane_seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, (int, np.integer)):
            return [int(seed) + lane for lane in range(self.num_envs)]
        seeds = [None if s is None else int(s) for s in seed]
        if len(seeds) != self.num_envs:
            raise ValueError(f"give one seed, or {self.num_envs}, one a lane; got {len(seeds)}")
        return seeds


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    if isinstance(mode, AutoresetMode):
        return mode
    for known in AutoresetMode:
        if str(mode) in (known.value, known.name, known.name.lower()):
            return known
    names = ", ".join(known.name.lower() for known in AutoresetMode)
    raise ValueError(f"autoreset_mode must be one of {names}, got {mode!r}")


def _check_mask(mask: object, n: int) -> NDArray[np.bool_]:
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        raise TypeError(f"reset_mask must be an array of booleans, got {mask!r}")
    if mask.shape != (n,) or not mask.any():
        raise ValueError(
            f"reset_mask must have shape ({n},) and name at least one lane, got {mask}"
        )
    return mask
