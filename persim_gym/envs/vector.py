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
from persim_gym.core import Dynamics, Task, agents_of
from persim_gym.envs.checks import check_options, check_seed
from persim_gym.envs.env import of_dynamics, plain_spec
from persim_gym.envs.lanes import Lanes, LaneStep, time_limit
from persim_gym.envs.painter import CovariatesOf, Painter, check_render_mode
from persim_gym.envs.rendering import Frame
from persim_gym.envs.starts import LaneStarts, StartSampler, check_state

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
        agents: One agent for all lanes or one for each, by index or, where the dynamics knows
            names, by name, here and in ``reset``; by default lane ``i`` is agent
            ``i`` (modulo the population's size).
        max_episode_steps: Time limit; by default the task's, and none with -1.
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
        agents: int | str | Sequence[int | str] | NDArray[np.integer[Any]] | None = None,
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
        lanes = agents_of(dynamics, agents, self.num_envs)
        self._lanes = Lanes(task, dynamics, lanes, time_limit(task, max_episode_steps))
        d = task.observation_space.shape[0]
        self._starts = LaneStarts(sample_start or task.sample_start, self.num_envs, d)
        self._all = np.arange(self.num_envs)
        self._every = np.ones(self.num_envs, dtype=np.bool_)
        self._over = np.zeros(self.num_envs, dtype=np.bool_)
        self._begun = False
        self._painters = (
            [Painter(task, covariates_of, label, dynamics) for _ in self._all]
            if render_mode
            else []
        )

    @property
    def agents(self) -> NDArray[np.int64]:
        """The lanes' agents ``[n]``, a copy."""
        return self._lanes.agents.copy()

    @property
    def state(self) -> NDArray[np.float64]:
        """The lanes' states ``[n, d]`` in double precision, a copy.

        Raises:
            ResetNeeded: Before the first reset.
        """
        if not self._begun:
            raise ResetNeeded("there is no state yet: call reset() first")
        return self._lanes.obs.copy(order="C")

    @property
    def covariates(self) -> dict[str, NDArray[np.float64]]:
        """The lanes' covariates, ``[n]`` each; a learned simulator does not know them."""
        population = of_dynamics(self.dynamics, "population")
        return {name: population.column(name)[self._lanes.agents] for name in population.names}

    @property
    def model(self) -> tuple[Any, ...]:
        """HalfCheetah's compiled MuJoCo models, one a lane."""
        model = of_dynamics(self.dynamics, "model")
        return tuple(model(agent) for agent in self._lanes.agents.tolist())

    @property
    def dt(self) -> float:
        """HalfCheetah's control step, in seconds."""
        return of_dynamics(self.dynamics, "dt")

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """An attribute of each lane, as its scalar environment has it."""
        match name:
            case "agent":
                return tuple(self._lanes.agents.tolist())
            case "state":
                return tuple(self.state)
            case "model":
                return self.model
            case "covariates":
                columns = {key: values.tolist() for key, values in self.covariates.items()}
                return tuple(
                    dict(zip(columns, row, strict=True))
                    for row in zip(*columns.values(), strict=True)
                )
            case "observation_space" | "action_space":
                return (getattr(self, f"single_{name}"),) * self.num_envs
        return (getattr(self, name),) * self.num_envs

    @property
    def spec(self) -> Any:
        """The registered spec that made this environment, with arguments of plain types."""
        return self._spec

    @spec.setter
    def spec(self, spec: Any) -> None:
        self._spec = plain_spec(spec, self.dynamics, self._lanes.max_episode_steps)

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
            TypeError: If an agent, a seed or the mask has the wrong type, or the options are no
                dictionary.
            ValueError: If an option is unknown or invalid, a seed is negative, or the physics
                cannot go on from a state.
        """
        options = check_options(options, OPTIONS)
        lanes = self._all
        if "reset_mask" in options:
            lanes = np.flatnonzero(_check_mask(options["reset_mask"], self.num_envs))
            if not self._begun and len(lanes) < self.num_envs:
                raise ValueError("the first reset begins every lane: give no reset_mask to it")
        agents = None
        if "agent" in options:
            agents = agents_of(self.dynamics, options["agent"], self.num_envs)
        states = None
        if "state" in options:
            states = check_state(self.task, options["state"], self.num_envs)
            acting = self._lanes.agents if agents is None else agents
            self._lanes.check_start(acting[lanes], states[lanes])
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
        begun = np.zeros(self.num_envs, dtype=np.bool_)
        begun[lanes] = True
        obs = self._lanes.obs.astype(np.float32, order="C")
        return obs, _masked(self._lanes.quiet_info(), begun)

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
        over = self._over
        any_over = np.count_nonzero(over) > 0  # a tenth of the time of any()
        actions = self._lanes.check_actions(actions, idle=over if any_over else None)
        if any_over and self.autoreset_mode is AutoresetMode.DISABLED:
            raise ResetNeeded(
                f"lanes {np.flatnonzero(over).tolist()} are over: with autoreset disabled, reset "
                "them with options={'reset_mask': mask}"
            )
        begin, starts = np.zeros(0, dtype=np.int64), None
        if any_over:  # next-step mode: these lanes spend the step on their reset
            begin = over.nonzero()[0]
            starts = self._starts.draw(begin)
            self._lanes.place(begin, starts)
        step = self._lanes.advance(actions, self.np_random, None)
        reward, terminated, truncated = step.reward, step.terminated, step.truncated
        for painter, obs, action in zip(self._painters, step.obs, actions, strict=False):
            painter.move(obs, action)
        if starts is not None:
            self._begin(begin, starts)
            reward[begin], terminated[begin], truncated[begin] = 0.0, False, False
            self._lanes.quieten(step.info, begin)
        done = terminated | truncated
        final: dict[str, Any] = {}
        if self.autoreset_mode is AutoresetMode.SAME_STEP and np.count_nonzero(done):
            lanes = np.flatnonzero(done)
            final = _final_infos(step, done)
            self._begin(lanes, self._starts.draw(lanes))
            self._lanes.quieten(step.info, lanes)
        else:
            self._over = done
        obs = self._lanes.obs.astype(np.float32, order="C")
        return obs, reward, terminated, truncated, {**_masked(step.info, self._every), **final}

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
                self._painters[lane].begin(self._lanes.obs[lane])

    def _lane_seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if not isinstance(seed, (Sequence, np.ndarray)) or isinstance(seed, str):
            first = check_seed(seed)
            assert first is not None
            return [first + lane for lane in range(self.num_envs)]
        seeds = [check_seed(own) for own in seed]
        if len(seeds) != self.num_envs:
            raise ValueError(f"give one seed, or {self.num_envs}, one a lane; got {len(seeds)}")
        return seeds


def _masked(info: dict[str, NDArray[Any]], lanes: NDArray[np.bool_]) -> dict[str, Any]:
    """Each array with the mask of the lanes that it speaks of, as Gymnasium has it."""
    masked: dict[str, Any] = {}
    for key, values in info.items():
        masked[key], masked[f"_{key}"] = values, lanes.copy()
    return masked


def _final_infos(step: LaneStep, done: NDArray[np.bool_]) -> dict[str, Any]:
    """Same-step mode: what the finished episodes saw last goes under ``final_*``."""
    final_obs = np.full(len(done), None, dtype=object)
    for lane in np.flatnonzero(done).tolist():
        final_obs[lane] = step.obs[lane].astype(np.float32)
    return {
        "final_obs": final_obs,
        "_final_obs": done.copy(),
        "final_info": _masked({key: values.copy() for key, values in step.info.items()}, done),
        "_final_info": done.copy(),
    }


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
