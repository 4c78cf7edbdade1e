# %% [markdown]
# # Train in a simulator
#
# A DQN of Stable-Baselines3 learns to balance agent 3's pole without ever touching it: it trains in
# the simulator, and only the finished policy meets the truth.

# %%
from persim_gym.learned import PerSim
from persim_gym.offline import record

data = record("cartpole", agents=60, seed=0, dataset_id="tour/trained-v0", overwrite=True)
sim = PerSim.fit(data, method="als", effort="quick", progress=False)

# %% [markdown]
# ## With the settings that ship
#
# `train_in_simulator` judges the policy in the simulator on the way and keeps the best one. Most
# episodes begin anywhere in the recorded range, which a simulator can do and the true system
# cannot.

# %%
from persim_gym.training import train_in_simulator

model = train_in_simulator(sim, agent=3, steps=8_000, seed=0)

# %%
import gymnasium as gym
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

true = Monitor(gym.make("PerSim-CartPole-v0", agent=3))
mean, deviation = evaluate_policy(model, true, n_eval_episodes=10)
print(f"return in the true environment: {mean:.0f} +- {deviation:.0f} (random actions: 35)")

# %% [markdown]
# ## With settings of your own
#
# A simulator is an environment like any other. Many lanes at once go to Stable-Baselines3 by
# `to_sb3`.

# %%
from persim_gym.learned import to_sb3
from stable_baselines3 import PPO

lanes = to_sb3(sim.vector_env(8, agents=3))
ppo = PPO("MlpPolicy", lanes, n_steps=128, seed=0, device="cpu").learn(4_096)
mean, _ = evaluate_policy(ppo, true, n_eval_episodes=10)
print(f"PPO after 4,096 steps: {mean:.0f}")

# %% [markdown]
# So few steps do not always make a good policy: the [results](../results/simulators.md#the-demo)
# are of 30,000.
#
# ## Where a simulator is not to be trusted
#
# A policy may find where a model is wrong, and live there. The guard ends such episodes, and says
# why in `info["guard"]`. More: [learned environments](../learned-environments.md).

# %%

env = sim.env(agent=3)
obs, _ = env.reset(seed=0)
over = False
while not over:
    obs, reward, terminated, truncated, info = env.step(1)  # always to the right
    over = terminated or truncated
print("terminated:", terminated, "- stopped by the guard:", info["guard"] or "no")
