"""Your own world: rooms with a heater, as a Task and a Dynamics, in the shells and the planner.

A room's state is the temperature of its air and of its walls; rooms differ in how fast they lose
heat and how strong the heater is. Two small classes give environments of all three kinds, MPC in
the true dynamics, and simulators fitted from one recorded day a room.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import shared
from gymnasium.spaces import Box
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray

from persim_gym.core import Array, Dynamics, Policy
from persim_gym.envs import SimEnv, SimParallelEnv, SimVectorEnv
from persim_gym.learned import PerSim
from persim_gym.offline import Transitions
from persim_gym.planning import CEM, MPC

OUTSIDE, WANTED = 5.0, 21.0  # degrees Celsius
STEPS = 96  # quarters of an hour in a day


@dataclass(frozen=True)
class RoomTask:
    """Keep the air at 21 degrees and spare energy. Operators only: it serves tensors, too."""

    name: str = "room"
    observation_space: Box = field(
        default_factory=lambda: Box(0.0, 120.0, shape=(2,), dtype=np.float32)
    )
    action_space: Box = field(default_factory=lambda: Box(0.0, 1.0, shape=(1,), dtype=np.float32))
    max_episode_steps: int = STEPS
    render_fps: int = 30
    root_velocity: None = None

    def reward(self, obs: Array, action: Array, next_obs: Array) -> Array:
        return -((next_obs[..., 0] - WANTED) ** 2) - 0.1 * action[..., 0]

    def terminated(self, next_obs: Array) -> Array:
        return next_obs[..., 0] != next_obs[..., 0]  # never

    def sample_start(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        return rng.uniform(8.0, 16.0, size=(n, 2))


class RoomDynamics:
    """Air exchanges heat with the walls, walls with the outside; a heater for each room."""

    lag = 1

    def __init__(self, rooms: int) -> None:
        rng = np.random.default_rng(0)
        self.num_agents = rooms
        self.loss = rng.uniform(0.05, 0.15, size=rooms)  # share of the difference, a step
        self.power = rng.uniform(1.5, 4.0, size=rooms)  # degrees a step at full power

    def step(self, agents: Array, states: Array, actions: Array) -> NDArray[np.float64]:
        air, walls = np.asarray(states, dtype=np.float64).T
        heat = self.power[agents] * np.asarray(actions)[:, 0]
        to_walls, to_outside = 0.2 * (air - walls), self.loss[agents] * (walls - OUTSIDE)
        return np.stack([air + heat - to_walls, walls + to_walls - to_outside], axis=1)


def record(task: RoomTask, dynamics: Dynamics) -> Transitions:
    """One day of each room, heated at random."""
    n = dynamics.num_agents
    envs = SimVectorEnv(task, dynamics, n, agents=range(n))
    envs.action_space.seed(0)
    obs, _ = envs.reset(seed=0)
    rows = []
    for _ in range(STEPS):
        action = envs.action_space.sample()
        following, reward, terminated, truncated, _ = envs.step(action)
        rows.append((obs, action, following, reward, terminated, truncated))
        obs = following
    # From [step, room] to episode after episode.
    flat = [np.stack(column, axis=1).reshape(n * STEPS, -1) for column in zip(*rows, strict=True)]
    obs, action, following, reward, terminated, truncated = flat
    rooms = np.repeat(np.arange(n), STEPS)
    return Transitions(
        agent=rooms,
        obs=obs,
        action=action,
        next_obs=following,
        reward=reward[:, 0],
        terminated=terminated[:, 0],
        truncated=truncated[:, 0],
        episode=rooms,
        num_agents=n,
        task_name=task.name,
    )


def day(policy: Policy, task: RoomTask, dynamics: Dynamics, rooms: NDArray[np.int64]) -> float:
    """Mean reward a step of a true day."""
    envs = SimVectorEnv(task, dynamics, len(rooms), agents=rooms)
    obs, _ = envs.reset(seed=1)
    total, plans = 0.0, None
    for step in range(STEPS):
        action, plans = policy.predict(obs, plans, np.full(len(rooms), step == 0))
        obs, reward, *_ = envs.step(action)
        total += reward.mean()
    return total / STEPS


class Thermostat:
    """Full power below the wanted temperature, nothing above."""

    def predict(
        self,
        observation: NDArray[np.float32],
        state: None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], None]:
        return (observation[:, :1] < WANTED).astype(np.float32), state


def main(rooms: int, epochs: int) -> None:
    task, dynamics = RoomTask(), RoomDynamics(rooms)
    check_env(SimEnv(task, dynamics, agent=3, max_episode_steps=STEPS), skip_render_check=True)
    penv = SimParallelEnv(task, dynamics, range(3))
    penv.reset(seed=0)
    observations, *_ = penv.step({name: np.ones(1, np.float32) for name in penv.agents})
    warm = {name: f"{obs[0]:.1f}" for name, obs in observations.items()}
    print(f"Gymnasium's checker is content; air after a step at full power: {warm}")

    sim = PerSim.fit(
        record(task, dynamics),
        task=task,
        rank=4,
        ensemble_size=3,
        state_hidden=(32,),
        action_hidden=(32,),
        batch_size=64,
        epochs=epochs,
    )
    error = sim.card["metrics"]["heldout_rmse"]
    print(f"{sim}: held-out one-step RMSE {error:.2g} degrees")

    chosen, planner = np.arange(5), CEM(candidates=64, horizon=8, elites=8, rounds=4)
    policies = {
        "thermostat": Thermostat(),
        "MPC in the simulators": MPC(sim, chosen, planner=planner),
        "MPC in the true dynamics": MPC(dynamics, chosen, task=task, planner=planner),
    }
    for name, policy in policies.items():
        print(f"  {name:25} reward a step {day(policy, task, dynamics, chosen):.2f}")


if __name__ == "__main__":
    given = shared.parser(__doc__).parse_args()
    with shared.workplace(given.quick):
        main(rooms=30 if given.quick else 100, epochs=150 if given.quick else 300)
