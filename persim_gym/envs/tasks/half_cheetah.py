"""HalfCheetah with agents that differ in mass and damping: task and true dynamics (MuJoCo)."""

from __future__ import annotations

import copy
import os
import warnings
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from persim_gym.core import Array
from persim_gym.envs.populations import Covariate, CovariateTable, Population

if TYPE_CHECKING:
    import mujoco

COVARIATES = CovariateTable(
    columns=(
        Covariate("mass", 1.0, 0.2, 1.8, "factor on the mass of every body"),
        Covariate("damping", 1.0, 0.2, 1.8, "factor on the damping of every joint"),
    ),
    test_agents=((0.3, 1.7), (1.7, 0.3), (0.3, 0.3), (1.7, 1.7), (1.0, 1.0)),
)

FRAME_SKIP = 5
CONTROL_STEP = 0.05  # s, five physics steps of 0.01 s
CONTROL_COST = 0.1
START_NOISE = 0.001
JOINTS = 9  # positions, and velocities
VELOCITY, POSITIONS, VELOCITIES = 0, slice(1, 9), slice(9, 18)
PITCH = 2  # of the root, which turns over and over; the joints have limits


@dataclass(frozen=True, slots=True)
class HalfCheetahTask:
    """Run forward: reward is forward velocity minus a cost of control; 1000 steps.

    The observation has 18 numbers: the root's mean forward velocity over the last control step
    (m/s), the eight joint positions without the root's x, the nine joint velocities. Gymnasium's
    own environment leaves the first out and rewards it all the same; a simulator can only reward
    what it predicts.
    """

    name: str = "half-cheetah"
    observation_space: Box = field(
        default_factory=lambda: Box(-np.inf, np.inf, shape=(18,), dtype=np.float32)
    )
    action_space: Box = field(default_factory=lambda: Box(-1.0, 1.0, shape=(6,), dtype=np.float32))
    max_episode_steps: int = 1000
    render_fps: int = 20
    root_velocity: tuple[int, float] = (VELOCITY, CONTROL_STEP)
    angles: tuple[int, ...] = (PITCH,)

    def reward(self, obs: Array, action: Array, next_obs: Array) -> Array:
        """Forward velocity of the next observation minus 0.1 times the squared action."""
        return next_obs[..., VELOCITY] - CONTROL_COST * (action * action).sum(-1)

    def terminated(self, next_obs: Array) -> Array:
        """Never."""
        return (next_obs[..., 0] > 0) & (next_obs[..., 0] < 0)

    def sample_start(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """The default pose at rest, with normal noise of deviation 0.001 on all but the first."""
        start = np.zeros((n, 18))
        start[:, 1:] = rng.normal(0.0, START_NOISE, size=(n, 17))
        return start


class HalfCheetahDynamics:
    """MuJoCo physics of rows of different agents, one compiled model an agent.

    Rows are stepped together by MuJoCo's own threads. A state is the observation: the root's x
    has no influence on the physics, so every step starts at x = 0 and the mean velocity is what
    is left of it. Each control step starts with a cold constraint solver, which makes it a pure
    function of state and action (it agrees with Gymnasium's warm-started environment to 1e-12 a
    step).

    Original: mass scales ``body_mass`` alone and not the inertias, after compilation, as in the
    authors' code.
    """

    lag = 1

    def __init__(self, population: Population) -> None:
        self.population = population
        self._models: dict[int, mujoco.MjModel] = {}
        self._pool: Any = None
        self._data: list[mujoco.MjData] = []

    @property
    def num_agents(self) -> int:
        """Number of agents."""
        return len(self.population)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to this process: threads, and models that compile in a moment."""
        return {**self.__dict__, "_models": {}, "_pool": None, "_data": []}

    def __deepcopy__(self, memo: dict[int, Any]) -> HalfCheetahDynamics:
        """A fresh one over the same population: models and threads are not worth a copy."""
        return type(self)(self.population)

    def model(self, agent: int) -> mujoco.MjModel:
        """The compiled model of one agent, made on first use."""
        model = self._models.get(agent)
        if model is None:
            model = copy.copy(base_model())
            covariates = self.population.covariates(agent)
            model.body_mass *= covariates["mass"]
            model.dof_damping *= covariates["damping"]
            self._models[agent] = model
        return model

    def step(self, agents: Array, states: Array, actions: Array) -> NDArray[np.float64]:
        """Next observations ``[n, 18]``."""
        return self.rollout(agents, states, np.asarray(actions)[:, None])[:, 0]

    def rollout(self, agents: Array, states: Array, actions: Array) -> NDArray[np.float64]:
        """Open-loop predictions: states ``[n, 18]``, actions ``[n, h, 6]`` -> ``[n, h, 18]``."""
        from mujoco import rollout

        n, h = len(actions), actions.shape[1]
        models = [self.model(agent) for agent in np.asarray(agents).tolist()]
        if self._pool is None:
            import mujoco

            threads = _usable_cores()
            self._pool = rollout.Rollout(nthread=threads)
            self._data = [mujoco.MjData(base_model()) for _ in range(threads)]
        threads = len(self._data)
        initial = np.zeros((n, 1 + 2 * JOINTS))  # time, positions, velocities
        initial[:, 2:] = states[:, 1:]
        control = np.repeat(np.asarray(actions, dtype=np.float64), FRAME_SKIP, axis=1)
        trace = np.empty((n, h * FRAME_SKIP, 1 + 2 * JOINTS))
        self._pool.rollout(
            models,
            self._data,
            initial,
            control,
            skip_checks=True,
            nstep=h * FRAME_SKIP,
            state=trace,
            sensordata=np.empty((n, h * FRAME_SKIP, 0)),
            chunk_size=max(1, -(-n // (4 * threads))),
        )
        ends = trace[:, FRAME_SKIP - 1 :: FRAME_SKIP]
        following = np.empty((n, h, 2 * JOINTS))
        following[:, :, 1:] = ends[:, :, 2:]
        x = ends[:, :, 1]
        following[:, 0, VELOCITY] = x[:, 0] / CONTROL_STEP
        following[:, 1:, VELOCITY] = (x[:, 1:] - x[:, :-1]) / CONTROL_STEP
        return following


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def base_model() -> mujoco.MjModel:
    """The default agent's model: the file that Gymnasium ships, without what only drawing needs.

    Textures and materials make up 97% of the compiled model and would travel through the cache
    with each of the agents. What is left is bit for bit the same.
    """
    import gymnasium
    import mujoco

    assets = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
    spec = mujoco.MjSpec.from_file(str(assets / "half_cheetah.xml"))
    for geom in spec.geoms:
        geom.material = ""
    for element in [*spec.textures, *spec.materials]:
        spec.delete(element)
    with warnings.catch_warnings():
        # MuJoCo 4 deprecates an attribute of Gymnasium's file that sets the total mass.
        warnings.filterwarnings("ignore", message=".*settotalmass.*")
        return spec.compile()
