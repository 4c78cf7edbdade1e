"""Bodies of Gymnasium, each agent's with masses, damping or forces of its own."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from .world import Episodes, Floats, Parameters, World


class Body(World):
    """An environment of Gymnasium whose constants are multiplied by each agent's numbers.

    Attributes:
        env_id: Id of the environment.
        numbers: How many numbers an agent has.
    """

    env_id: str
    numbers = 2
    steps = 100

    def change(self, env: Any, own: Floats) -> None:
        """Multiply an environment's constants by an agent's numbers ``[k]``."""
        raise NotImplementedError

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        return {f"number {k}": rng.uniform(0.6, 1.6, n) for k in range(self.numbers)}

    def play(
        self,
        own: Parameters,
        steps: int,
        rng: np.random.Generator,
        *,
        other: bool = False,
        process: float = 0.0,
    ) -> Episodes:
        if process:
            raise ValueError(f"{self.name} has no process noise")
        numbers = np.stack(list(own.values()), axis=1)
        n = len(numbers)
        policy = self.policy(rng, n, steps, other)
        actions = np.stack([policy(time, np.empty(0)) for time in range(steps)], axis=1)
        obs = np.zeros((n, steps + 1, len(self.obs_names)))
        env: Any = None
        for row in range(n):
            if not row or (numbers[row] != numbers[row - 1]).any():  # rows of an agent are together
                env = gym.make(self.env_id).unwrapped
                self.change(env, numbers[row])
            obs[row, 0], _ = env.reset(seed=int(rng.integers(2**31)))
            for time, action in enumerate(actions[row]):
                taken = int(action) if self.choices else action.astype(np.float32)
                obs[row, time + 1] = env.step(taken)[0]
        return Episodes(obs, actions, np.full(n, steps))


class Acrobot(Body):
    """Two links of which one is driven; both angles as cosine and sine."""

    name, env_id, numbers = "acrobot", "Acrobot-v1", 3
    obs_names = ("cos 1", "sin 1", "cos 2", "sin 2", "speed 1", "speed 2")
    choices = 3

    def change(self, env: Any, own: Floats) -> None:
        env.LINK_MASS_1, env.LINK_MASS_2, env.LINK_LENGTH_1 = own


class Slider(Body):
    """MuJoCo's pole on a cart, which may hit the ends of its rail."""

    name, env_id, numbers = "slider", "InvertedPendulum-v5", 3
    obs_names = ("place", "angle", "speed", "turn")
    low, high = (-3.0,), (3.0,)

    def change(self, env: Any, own: Floats) -> None:
        env.model.body_mass[1] *= own[0]
        env.model.body_mass[2] *= own[1]
        env.model.body_inertia[2] *= own[1]
        env.model.actuator_gear[0, 0] *= own[2]


class Reacher(Body):
    """MuJoCo's arm of two links, with a target that stays."""

    name, env_id, numbers = "reacher", "Reacher-v5", 3
    obs_names = (
        "cos 1", "cos 2", "sin 1", "sin 2", "target x", "target y", "speed 1", "speed 2",
        "apart x", "apart y",
    )  # fmt: skip
    action_names = ("torque 1", "torque 2")
    low, high = (-1.0, -1.0), (1.0, 1.0)

    def change(self, env: Any, own: Floats) -> None:
        env.model.dof_damping[:2] *= own[0]
        env.model.body_mass[1:3] *= own[1]
        env.model.body_inertia[1:3] *= own[1]
        env.model.actuator_gear[:, 0] *= own[2]


class Swimmer(Body):
    """MuJoCo's three links in a thick fluid."""

    name, env_id = "swimmer", "Swimmer-v5"
    obs_names = ("turned", "joint 1", "joint 2", "x", "y", "turn", "turn 1", "turn 2")
    action_names = ("torque 1", "torque 2")
    low, high = (-1.0, -1.0), (1.0, 1.0)

    def change(self, env: Any, own: Floats) -> None:
        env.model.opt.viscosity *= own[0]
        env.model.actuator_gear[:, 0] *= own[1]
