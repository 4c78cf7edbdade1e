"""Train a Stable-Baselines3 agent inside one agent's simulator, and keep its policy."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray
from torch import Tensor

from persim_gym import checks
from persim_gym.core import Task
from persim_gym.envs.lanes import time_limit
from persim_gym.envs.vector import SimVectorEnv
from persim_gym.evaluation.returns import episode_returns
from persim_gym.learned.environments.guard import GuardedSimulator
from persim_gym.learned.environments.shells import LearnedSimEnv
from persim_gym.learned.simulator import PerSim
from persim_gym.policies.randomness import global_randomness_kept
from persim_gym.policies.saved import POLICY, SavedPolicy, load_policy, save_policy
from persim_gym.threads import few_threads

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.logger import Logger
    from stable_baselines3.common.vec_env import VecEnv

__all__ = [
    "ALGORITHMS",
    "POLICY",
    "SavedPolicy",
    "TrainConfig",
    "default_algorithm",
    "default_config",
    "load_policy",
    "save_policy",
    "train_in_simulator",
]

#: The algorithms of Stable-Baselines3 that :func:`train_in_simulator` knows.
ALGORITHMS = ("dqn", "ppo", "sac", "td3")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How to train in a simulator, beside the algorithm's own settings.

    Attributes:
        exploring_starts: Share of episodes that begin in a state drawn uniformly from the range
            of the recorded ones. A simulator can be put anywhere, which the true system cannot:
            it spares an algorithm the finding of states that matter.
        episode_steps: Time limit in training, by default the task's. Short episodes begin anew more
            often, and with exploring starts see more.
        guard: Whether the simulator's guard stops episodes, in training and in the evaluations.
        halt_reward: What the guard's stop is worth: the episode ends there with this reward.
            Without it (``None``) the stop is a truncation, beyond which the algorithm goes on by
            its own estimate, and a policy may be drawn to where the simulator knows nothing.
        penalty: Reward to subtract per unit of the members' disagreement, in training and in the
            evaluations.
        lanes: Episodes side by side. Their steps are taken in turn between gradient steps, whose
            settings (``train_freq``, ``gradient_steps``) count steps of all lanes together as one.
        fade: Let the learning rate fall to zero along a line: the last policy is then settled, and
            not one of many between which it jumps.
        evaluations: How often the policy is judged in the simulator on the way; the best is kept.
            With 0 it is never judged, and the last one is kept.
        evaluation_episodes: Episodes of each evaluation.
        settings: Arguments of the algorithm's class.
    """

    exploring_starts: float = 0.0
    episode_steps: int | None = None
    guard: bool = True
    halt_reward: float | None = None
    penalty: float = 0.0
    lanes: int = 1
    fade: bool = False
    evaluations: int = 12
    evaluation_episodes: int = 20
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        checks.make_plain(self)
        checks.number("exploring_starts", self.exploring_starts, 0, 1, says="a share, 0 to 1")
        if self.halt_reward is not None:
            checks.number("halt_reward", self.halt_reward, says="finite or None")
        if self.episode_steps is not None:
            checks.positive_integer("episode_steps", self.episode_steps)
        checks.positive_integer("lanes", self.lanes)
        for name in ("guard", "fade"):
            checks.switch(name, getattr(self, name))
        checks.number("penalty", self.penalty, 0, says="a number of at least 0")
        checks.integer("evaluations", self.evaluations)
        checks.integer("evaluation_episodes", self.evaluation_episodes, 1)
        checks.a_mapping("settings", self.settings)


_DQN: dict[str, Any] = {
    "learning_rate": 1e-3,
    "batch_size": 128,
    "buffer_size": 50_000,
    "learning_starts": 1000,
    "gamma": 0.99,
    "target_update_interval": 250,
    "train_freq": 4,
    "gradient_steps": 2,
    "exploration_fraction": 0.3,
    "exploration_final_eps": 0.05,
    "policy_kwargs": {"net_arch": [128, 128]},
}
_OFF_POLICY: dict[str, Any] = {
    "learning_starts": 1000,
    "train_freq": 4,
    "gradient_steps": 2,
    "policy_kwargs": {"net_arch": [128, 128]},
}
_SETTINGS: dict[str, dict[str, Any]] = {
    "dqn": _DQN,
    "ppo": {"n_steps": 512, "batch_size": 64},
    "sac": _OFF_POLICY,
    "td3": _OFF_POLICY,
}

# Slower and longer: MountainCar's rewards say nothing before the goal is found.
_MOUNTAIN_CAR_DQN: dict[str, Any] = {
    "learning_rate": 5e-4,
    "gamma": 0.98,
    "gradient_steps": 4,
    "target_update_interval": 500,
    "exploration_fraction": 0.2,
    "exploration_final_eps": 0.1,
}
_OWN_SETTINGS = {("mountain-car", "dqn"): _MOUNTAIN_CAR_DQN}

# CartPole: nothing can come after the guard's stop that is worse than nothing. MountainCar: cars
# under random actions are slow, and the guard would stop every one that is fast enough to get up.
_TASKS: dict[str, TrainConfig] = {
    "cartpole": TrainConfig(exploring_starts=0.5, halt_reward=0.0),
    "mountain-car": TrainConfig(exploring_starts=0.8, episode_steps=100, guard=False),
    "half-cheetah": TrainConfig(),
}


def default_config(task_name: str, algorithm: str) -> TrainConfig:
    """The settings of a task (those of no task in particular for a user's own) and an algorithm.

    Raises:
        ValueError: If the algorithm is unknown.
    """
    if algorithm not in ALGORITHMS:
        raise ValueError(checks.unknown("algorithm", algorithm, ALGORITHMS))
    base = _TASKS.get(task_name, TrainConfig())
    own = _OWN_SETTINGS.get((task_name, algorithm), {})
    return dataclasses.replace(base, settings={**_SETTINGS[algorithm], **own})


def default_algorithm(action_space: gym.Space[Any]) -> str:
    """DQN for discrete actions, SAC for continuous ones."""
    return "dqn" if isinstance(action_space, Discrete) else "sac"


def train_in_simulator(
    sim: PerSim,
    agent: int | str,
    steps: int,
    seed: int = 0,
    algorithm: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    config: TrainConfig | None = None,
    logger: Logger | None = None,
) -> BaseAlgorithm:
    """Train a Stable-Baselines3 agent inside one agent's simulator; nothing true is touched.

    On the way the policy is judged in the simulator several times, and the best one is kept: DQN
    in particular forgets what it could do. In CartPole and MountainCar most episodes begin
    anywhere in the range of the data (:attr:`TrainConfig.exploring_starts`). With the default
    settings DQN needs 30,000 steps for CartPole and 80,000 for MountainCar, whose goal it does not
    find without such starts.

    Python's, NumPy's and torch's global random states, which Stable-Baselines3 seeds and draws
    from, are as before when this returns.

    Args:
        sim: The simulator.
        agent: Whose, by index or name.
        steps: Steps in the simulator.
        seed: Seed of everything random.
        algorithm: ``"dqn"``, ``"ppo"``, ``"sac"`` or ``"td3"``; by default DQN for discrete
            actions and SAC for continuous ones.
        on_progress: Called with how many steps are done, and of how many.
        config: Other settings than :func:`default_config`.
        logger: Stable-Baselines3's, such as
            ``stable_baselines3.common.logger.configure(folder, ["tensorboard"])`` gives.

    Returns:
        The model, with the best policy of the evaluations.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is invalid, or the algorithm cannot act in the task.
    """
    steps = checks.integer("steps", steps, 1)
    seed = checks.integer("seed", seed, most=checks.LARGEST_SEED)
    checks.with_attributes("sim", sim, ("task", "env"), "a simulator")
    if config is not None and not isinstance(config, TrainConfig):
        raise TypeError(f"config must be a TrainConfig, got {checks.shown(config)}")
    agent = sim.agent_index(agent)
    algorithm = check_algorithm(sim.task, algorithm)
    usual = default_config(sim.task.name, algorithm)
    own = usual if config is None else config
    settings = dataclasses.replace(own, settings={**usual.settings, **own.settings})
    with global_randomness_kept(), few_threads(0, (), torch.device("cpu")):
        import stable_baselines3  # a library of its own draws a number when it is imported

        alone = settings.lanes == 1
        env = _TrainingEnv(sim, agent, settings) if alone else _lanes(sim, agent, settings)
        make = getattr(stable_baselines3, algorithm.upper())
        # A copy: Stable-Baselines3 writes into the dictionaries that it is given.
        given = copy.deepcopy(dict(settings.settings))
        if settings.fade:
            usual_rate = inspect.signature(make).parameters["learning_rate"].default
            given["learning_rate"] = partial(operator.mul, given.get("learning_rate", usual_rate))
        model: BaseAlgorithm = make("MlpPolicy", env, seed=seed, device="cpu", **given)
        if logger is not None:
            model.set_logger(logger)
        best = _BestInSimulator(sim, agent, seed, steps, settings)
        model.learn(steps, callback=_callback(best, steps, on_progress))
        best.finish(model)
    return model


def check_algorithm(task: Task, algorithm: str | None) -> str:
    """The algorithm of a name, or the default one, if it can act in a task.

    Raises:
        ValueError: If there is none of that name, or it cannot.
    """
    usual = default_algorithm(task.action_space)
    if algorithm is None:
        return usual
    if algorithm not in ALGORITHMS:
        raise ValueError(checks.unknown("algorithm", algorithm, ALGORITHMS))
    discrete = isinstance(task.action_space, Discrete)
    if discrete != (algorithm == "dqn") and algorithm != "ppo":
        kind = "discrete" if discrete else "continuous"
        raise ValueError(
            f"{algorithm} cannot act in task {task.name!r}, whose actions are {kind}: use {usual} "
            "or ppo"
        )
    return algorithm


class _TrainingEnv(gym.Wrapper[Any, Any, Any, Any]):
    """A simulator with exploring starts, in which the guard's stop may be an end."""

    def __init__(self, sim: PerSim, agent: int, config: TrainConfig) -> None:
        super().__init__(
            LearnedSimEnv(
                sim,
                agent,
                guard=config.guard,
                penalty=config.penalty,
                max_episode_steps=config.episode_steps,
            )
        )
        self._starts, self._config = _Starts(sim, config.exploring_starts), config
        self._rng = np.random.default_rng(0)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._rng = np.random.default_rng([seed, 1])
        if options is None and self._rng.random() < self._config.exploring_starts:
            options = {"state": self._starts.anywhere(self._rng)}
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        if info["guard"] and not terminated and self._config.halt_reward is not None:
            return obs, self._config.halt_reward, True, False, info
        return obs, reward, terminated, truncated, info


class _Starts:
    """Start states of training episodes: a share of them anywhere in the range of the data."""

    def __init__(self, sim: PerSim, share: float) -> None:
        self._task, self._share = sim.task, share
        self._low, self._high = sim.experience.low, sim.experience.high

    def __call__(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """Start states ``[n, d]`` of lanes."""
        starts = self._task.sample_start(rng, n)
        for row in np.flatnonzero(rng.random(n) < self._share).tolist():
            starts[row] = self.anywhere(rng)
        return starts

    def anywhere(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """A state ``[d]`` in the range of the recorded ones, in which no episode is over."""
        for _ in range(100):
            state = rng.uniform(self._low, self._high)
            if not bool(self._task.terminated(state[None])[0]):
                return state
        return self._task.sample_start(rng, 1)[0]


def _lanes(sim: PerSim, agent: int, config: TrainConfig) -> VecEnv:
    """What :class:`_TrainingEnv` is, with episodes side by side."""
    from stable_baselines3.common.vec_env import VecEnvWrapper

    from persim_gym.envs.sb3 import to_sb3

    envs = SimVectorEnv(
        sim.task,
        GuardedSimulator(sim, guard=config.guard, penalty=config.penalty),
        config.lanes,
        agents=agent,
        sample_start=_Starts(sim, config.exploring_starts),
        max_episode_steps=time_limit(sim.task, config.episode_steps),
        label="learned",
    )

    class Halting(VecEnvWrapper):
        """The guard's stop is an end, if it has a price."""

        def reset(self) -> Any:
            return self.venv.reset()

        def step_wait(self) -> Any:
            obs, rewards, done, infos = self.venv.step_wait()
            for lane in np.flatnonzero(done).tolist() if config.halt_reward is not None else ():
                info = infos[lane]
                if info["guard"] and info["TimeLimit.truncated"]:
                    rewards[lane], info["TimeLimit.truncated"] = config.halt_reward, False
            return obs, rewards, done, infos

    return Halting(to_sb3(envs))


class _BestInSimulator:
    """Judges the policy in the simulator now and then, and remembers the best."""

    def __init__(self, sim: PerSim, agent: int, seed: int, steps: int, config: TrainConfig) -> None:
        self._sim, self._agent, self._seed, self._config = sim, agent, seed, config
        self._every = max(1, steps // config.evaluations) if config.evaluations else math.inf
        self._next = self._every
        self._best = -np.inf
        self._weights: dict[str, Tensor] | None = None

    def evaluate(self, model: BaseAlgorithm, step: int) -> None:
        if step < self._next:
            return
        self._next += self._every
        returns = episode_returns(
            self._sim.task,
            GuardedSimulator(self._sim, guard=self._config.guard, penalty=self._config.penalty),
            [self._agent],
            model,
            self._config.evaluation_episodes,
            # Not the starts on which the policy will be judged in the end.
            self._seed + 1_000_000,
        )
        if returns.mean() > self._best:
            self._best = float(returns.mean())
            state = model.policy.state_dict()
            self._weights = {name: value.clone() for name, value in state.items()}

    def finish(self, model: BaseAlgorithm) -> None:
        if self._weights is not None:
            model.policy.load_state_dict(self._weights)


def _callback(
    best: _BestInSimulator, steps: int, on_progress: Callable[[int, int], None] | None
) -> BaseCallback:
    from stable_baselines3.common.callbacks import BaseCallback

    class _Progress(BaseCallback):
        def _on_step(self) -> bool:
            best.evaluate(self.model, self.num_timesteps)
            if on_progress is not None:
                on_progress(min(self.num_timesteps, steps), steps)
            return True

    return _Progress()
