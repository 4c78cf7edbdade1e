"""HalfCheetah with agents that differ in mass and damping: task, dynamics (MuJoCo), all facts."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.core import Array
from persim_gym.envs.guard import Reason, reasons
from persim_gym.envs.lanes import Advance
from persim_gym.envs.populations import Covariate, CovariateTable, Population
from persim_gym.envs.tasks.facts import Controller, Suite

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

PHYSICS_STEP = CONTROL_STEP / FRAME_SKIP
#: Beyond these the contacts and joints of a physics step cannot be resolved, and the integration
#: gives momentum away: half of the torso's length, and half a turn, in one step of 0.01 s. Random
#: actions and good runners stay below 15 m/s and 70 rad/s.
MAX_SPEED = 0.5 / PHYSICS_STEP  # m/s, of the root
MAX_TURN = np.pi / PHYSICS_STEP  # rad/s, of the root and the joints


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

    Where the physics breaks there is no next observation: :meth:`step` and :meth:`rollout` give
    not-a-number from then on, so that planners rank such a sequence last, and environments end the
    episode (:meth:`advance`). It is broken where MuJoCo warns of an instability, after which it
    goes on from its default pose, and where a speed is beyond :data:`MAX_SPEED` or
    :data:`MAX_TURN`.

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

    @property
    def dt(self) -> float:
        """Seconds of a control step, as Gymnasium's MuJoCo environments have it."""
        return CONTROL_STEP

    @property
    def quiet_info(self) -> dict[str, np.generic]:
        """What ``info`` holds at a reset; see :class:`~persim_gym.envs.lanes.GuardedDynamics`."""
        return {"guard": Reason()}

    def begin(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Nothing is kept of an episode's beginning: zeros ``[n]``."""
        return np.zeros(n, dtype=np.int64)

    def advance(
        self,
        agents: NDArray[np.int64],
        states: NDArray[np.float64],
        actions: NDArray[Any],
        kept: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> Advance:
        """One step of ``n`` rows; where the physics breaks, the last state stays and it stops."""
        following = self.step(agents, states, actions)
        broken = np.isnan(following[:, VELOCITY])
        following[broken] = states[broken]
        return Advance(following, broken, info={"guard": reasons(len(broken), physics=broken)})

    def check_states(self, agents: NDArray[np.int64], states: NDArray[np.float64]) -> None:
        """Refuse start states ``[n, 18]`` from which physics cannot take a single step.

        MuJoCo would go on from its default pose instead, without an error.

        Raises:
            ValueError: If there is one.
        """
        _, unstable = self._run(agents, states, np.zeros((len(states), 1, 6)))
        # What an episode has shown in single precision is a start, too; its mean velocity is past.
        speeds = states * (1 - 1e-6)
        speeds[:, VELOCITY] = 0.0
        broken = _too_fast(speeds) | unstable[:, 0]
        if broken.any():
            row = int(np.argmax(broken))
            raise ValueError(
                f"the physics of agent {agents[row]} cannot go on from the state "
                f"{states[row].tolist()}: give one with speeds of at most {MAX_SPEED:g} m/s and "
                f"{MAX_TURN:.0f} rad/s, and joints near their ranges"
            )

    def step(self, agents: Array, states: Array, actions: Array) -> NDArray[np.float64]:
        """Next observations ``[n, 18]``, not-a-number where the physics breaks."""
        return self.rollout(agents, states, np.asarray(actions)[:, None])[:, 0]

    def rollout(self, agents: Array, states: Array, actions: Array) -> NDArray[np.float64]:
        """Open-loop predictions: states ``[n, 18]``, actions ``[n, h, 6]`` -> ``[n, h, 18]``.

        From the step on in which the physics breaks they are not-a-number.
        """
        following, unstable = self._run(agents, states, actions)
        broken = unstable | _too_fast(following)
        if broken.any():
            following[np.maximum.accumulate(broken, axis=1)] = np.nan
        return following

    def _run(
        self, agents: Array, states: Array, actions: Array
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """What MuJoCo makes of it ``[n, h, 18]``, and where it has warned by then ``[n, h]``."""
        from mujoco import rollout

        n, h = len(actions), actions.shape[1]
        models = [self.model(agent) for agent in np.asarray(agents).tolist()]
        if self._pool is None:
            import mujoco

            threads = checks.cores()
            self._pool = rollout.Rollout(nthread=threads)
            self._data = [mujoco.MjData(base_model()) for _ in range(threads)]
        threads = len(self._data)
        initial = np.zeros((n, 1 + 2 * JOINTS))  # time, positions, velocities
        initial[:, 2:] = states[:, 1:]
        control = np.repeat(np.asarray(actions, dtype=np.float64), FRAME_SKIP, axis=1)
        trace = np.empty((n, h * FRAME_SKIP, 1 + 2 * JOINTS))
        with _quiet_mujoco():
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
        # After a warning MuJoCo's time goes back to its beginning or stands still.
        unstable = abs(ends[:, :, 0] - CONTROL_STEP * np.arange(1, h + 1)) > PHYSICS_STEP / 2
        return following, unstable


def _too_fast(obs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Observations ``[..., 18]`` with speeds that no body has, or with no numbers: ``[...]``."""
    forward, speeds = abs(obs[..., VELOCITY]), abs(obs[..., VELOCITIES])
    least = min(MAX_SPEED, MAX_TURN)
    if (forward <= least).all() and (speeds <= least).all():  # as nearly always
        return np.zeros(forward.shape, dtype=np.bool_)
    root, turns = speeds[..., :2].max(-1), speeds[..., 2:].max(-1)
    return ~((forward <= MAX_SPEED) & (root <= MAX_SPEED) & (turns <= MAX_TURN))


@contextlib.contextmanager
def _quiet_mujoco() -> Iterator[None]:
    """Keep MuJoCo from writing its warnings into a file of the current folder: they are seen."""
    import mujoco

    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(_ignore)
    try:
        yield
    finally:
        # Another thread's rollout may have begun in between: nothing of it is to stay.
        mujoco.set_mju_user_warning(None if before is _ignore else before)


def _ignore(message: str) -> None:
    """A warning of MuJoCo that has been seen in its result."""


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


#: Share of a period by which each joint is late: hind thigh, shin and foot, then the front limb
#: half a period behind.
GAIT_PHASES = np.array([0.0, 0.2, 0.4, 0.5, 0.7, 0.9])


def _gait(obs: NDArray[Any], time: NDArray[Any], style: NDArray[Any]) -> NDArray[np.float32]:
    """Swing all joints at one frequency (1 to 3 Hz) and amplitude (0.4 to 1), each in its phase."""
    frequency = 1.0 + 2.0 * style[:, :1]
    amplitude = 0.4 + 0.6 * style[:, 1:]
    turns = frequency * CONTROL_STEP * time[:, None] - GAIT_PHASES
    return (amplitude * np.sin(2 * np.pi * turns)).astype(np.float32)


SUITE = Suite(
    name="half-cheetah",
    env_id="PerSim-HalfCheetah-v0",
    title="HalfCheetah",
    noun="cheetahs",
    covariates=COVARIATES,
    task=HalfCheetahTask,
    dynamics=HalfCheetahDynamics,
    controller=Controller(
        "gait",
        "a sinusoidal gait, of another frequency and amplitude in each episode",
        _gait,
    ),
    coordinates=(
        "forward velocity (m/s)", "height (m)", "pitch (rad)", "hind thigh (rad)",
        "hind shin (rad)", "hind foot (rad)", "front thigh (rad)", "front shin (rad)",
        "front foot (rad)", "v x (m/s)", "v z (m/s)", "v pitch (rad/s)", "v hind thigh (rad/s)",
        "v hind shin (rad/s)", "v hind foot (rad/s)", "v front thigh (rad/s)",
        "v front shin (rad/s)", "v front foot (rad/s)",
    ),
    ranges=(
        (-5.0, 10.0), (-0.7, 0.7), (-6.5, 6.5), (-1.0, 1.2), (-1.2, 1.2), (-0.8, 1.0),
        (-1.4, 1.1), (-1.5, 1.3), (-0.8, 0.8), (-5.0, 10.0), (-4.0, 4.0), (-8.0, 8.0),
        *[(-30.0, 30.0)] * 6,
    ),
    planes=((0, 1), (2, 11), (3, 6)),
    microseconds=(18.0, 12.0),
    libraries=("mujoco",),
)  # fmt: skip
