# %% [markdown]
# # Your own dynamics and baseline
#
# Two small classes make a world of your own: a *task* knows spaces, reward and start states, a
# *dynamics* maps a state and an action of an agent to the next state. All environments, planners and
# fits take them. A third class is a baseline to beat.
#
# ## A world
#
# Rooms with a heater. They differ in how fast they lose heat, and in how strong the heater is.

# %%
from dataclasses import dataclass, field

import numpy as np
from gymnasium.spaces import Box

WANTED, OUTSIDE = 21.0, 5.0  # degrees Celsius


@dataclass(frozen=True)
class RoomTask:
    """Keep the air at 21 degrees and spare energy."""

    name: str = "room"
    observation_space: Box = field(default_factory=lambda: Box(0.0, 120.0, (2,), np.float32))
    action_space: Box = field(default_factory=lambda: Box(0.0, 1.0, (1,), np.float32))
    max_episode_steps: int = 48
    render_fps: int = 30
    root_velocity: None = None

    def reward(self, obs, action, next_obs):
        return -((next_obs[..., 0] - WANTED) ** 2) - 0.1 * action[..., 0]

    def terminated(self, next_obs):
        return next_obs[..., 0] != next_obs[..., 0]  # never

    def sample_start(self, rng, n):
        return rng.uniform(8.0, 16.0, size=(n, 2))


class RoomDynamics:
    """The air exchanges heat with the walls, the walls with the outside."""

    lag = 1

    def __init__(self, rooms):
        rng = np.random.default_rng(0)
        self.num_agents = rooms
        self.loss = rng.uniform(0.05, 0.15, size=rooms)
        self.power = rng.uniform(1.5, 4.0, size=rooms)

    def step(self, agents, states, actions):
        air, walls = np.asarray(states, dtype=np.float64).T
        heat = self.power[agents] * np.asarray(actions)[:, 0]
        to_walls, to_outside = 0.2 * (air - walls), self.loss[agents] * (walls - OUTSIDE)
        return np.stack([air + heat - to_walls, walls + to_walls - to_outside], axis=1)


task, true = RoomTask(), RoomDynamics(30)

# %% [markdown]
# Gymnasium's checker takes it for what it is, an environment:

# %%
from gymnasium.utils.env_checker import check_env
from persim_gym.envs import SimEnv, SimVectorEnv

check_env(SimEnv(task, true, agent=3, max_episode_steps=48), skip_render_check=True)

# %% [markdown]
# ## One recorded day of each room
#
# All rooms in one vector environment, heated at random.

# %%
from persim_gym.offline import Transitions

envs = SimVectorEnv(task, true, 30, agents=range(30))
envs.action_space.seed(0)
obs, _ = envs.reset(seed=0)
steps = []
for _ in range(48):
    action = envs.action_space.sample()
    following, reward, terminated, truncated, _ = envs.step(action)
    steps.append((obs, action, following, reward, terminated, truncated))
    obs = following
flat = [np.stack(column, axis=1).reshape(30 * 48, -1) for column in zip(*steps)]
rooms = np.repeat(np.arange(30), 48)
data = Transitions(
    agent=rooms, obs=flat[0], action=flat[1], next_obs=flat[2], reward=flat[3][:, 0],
    terminated=flat[4][:, 0], truncated=flat[5][:, 0], episode=rooms,
    num_agents=30, task_name="room",
)

# %% [markdown]
# ## A baseline
#
# Whatever has `lag` and `rollout(agents, obs, actions)` can be compared with a simulator. This one
# takes one linear regression for all rooms, without knowing which is which.

# %%
class LinearRegression:
    """The same linear step for everybody."""

    lag = 1

    def __init__(self, data):
        inputs = np.column_stack([data.obs, data.action, np.ones(len(data))])
        self.weights = np.linalg.lstsq(inputs, data.next_obs, rcond=None)[0]

    def rollout(self, agents, obs, actions):
        """Predictions ``[1, n, h, d]`` of one member."""
        found = []
        for step in range(actions.shape[1]):
            obs = np.column_stack([obs, actions[:, step], np.ones(len(obs))]) @ self.weights
            found.append(obs)
        return np.stack(found, axis=1)[None]


# %% [markdown]
# ## Compare
#
# New episodes under an on-off thermostat, which made no data.

# %%
from persim_gym.evaluation import Persistence, follow, open_loop_error
from persim_gym.learned import PerSim


class Thermostat:
    """Full power below the wanted temperature."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return (observation[:, :1] < WANTED).astype(np.float32), state


sim = PerSim.fit(data, task=task, method="als", effort="quick", progress=False)
episodes = follow(
    task, true, np.arange(5), Thermostat(), episodes=4, seed=1, warmup=2, horizon=24
)
models = {
    "its own simulator": sim,
    "linear regression": LinearRegression(data),
    "persistence": Persistence(),
}
for name, model in models.items():
    print(f"{name:18} RMSE {open_loop_error(model, episodes).rmse.mean():.2g} degrees")

# %% [markdown]
# ## Plan
#
# MPC in a room's simulator, judged in the true room.

# %%
from persim_gym.planning import CEM, MPC

policy = MPC(sim, agent=3, planner=CEM(candidates=64, horizon=8, elites=8, rounds=3))
room = SimEnv(task, true, agent=3, max_episode_steps=48)
obs, _ = room.reset(seed=0)
air = []
for _ in range(24):
    action, _ = policy.predict(obs)
    obs, *_ = room.step(action)
    air.append(obs[0])
print("air of the last six hours, every half hour:", np.round(air[-12:], 1))
