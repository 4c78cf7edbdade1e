# %% [markdown]
# # The five-minute tour
#
# Record agents, fit a simulator of each, see how far it predicts, and plan in it.
#
# Forty CartPoles differ in the force of their motor and the length of their pole. The
# learner does not know them: it sees one short recording of random actions of each.

# %%
import numpy as np
from persim_gym.offline import record

data = record("cartpole", agents=40, seed=0, dataset_id="tour/poles-v0", overwrite=True)
print(data.id, "-", data.total_episodes, "trajectories,", data.total_steps, "steps in all")

# %% [markdown]
# ## Fit
#
# One fit makes all forty simulators. `method="als"` is the closed form: seconds, no GPU. Without
# it, four families of models are compared and the best one is taken.

# %%
from persim_gym.learned import PerSim

sim = PerSim.fit(data, method="als", effort="quick", progress=False)
print("rank", sim.latent_factors.shape[-1], "-", sim.members, "members")

# %% [markdown]
# Agent 0 has a weak motor, agent 2 a strong one. The same push, from the same state (position,
# velocity, angle, angular velocity):

# %%
state, push_right = np.zeros((2, 4), dtype=np.float32), np.array([1, 1])
for agent, following in zip((0, 2), sim.predict([0, 2], state, push_right)):
    print(f"agent {agent}: velocity after one push {following[1]:.3f} m/s")

# %% [markdown]
# ## How far does it predict?
#
# Open loop: ten real steps, then the simulator goes on by itself for fifty, under a policy that
# made no data. The pooled model is the same model, but it does not know who is who.

# %%
from persim_gym.evaluation import PooledModel, follow, open_loop_error, pooled
from persim_gym.envs import find_suite
from persim_gym.offline import read_transitions
from persim_gym.policies import scripted_policy

suite = find_suite("cartpole")
rows = read_transitions(data)
one = PooledModel(PerSim.fit(pooled(rows), method="als", effort="quick", progress=False))
episodes = follow(
    sim.task, suite.dynamics(suite.population()), np.arange(5),
    scripted_policy("cartpole", 0), episodes=10, seed=0, warmup=10, horizon=50,
)
errors = {
    "its own simulator": open_loop_error(sim, episodes),
    "pooled model": open_loop_error(one, episodes),
}
for name, error in errors.items():
    print(f"{name:18} RMSE of the angle, rad:", error.by_coordinate["angle (rad)"].round(4))

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
for (name, error), style in zip(errors.items(), ("-", "--")):
    axes.semilogy(np.nanmean(error.step_rmse, axis=0), style, label=name)
axes.set(xlabel="steps since the last real one", ylabel="RMSE, all coordinates (paper's)")
axes.legend();

# %% [markdown]
# ## Use it as an environment

# %%
env = sim.env(agent=2)
obs, info = env.reset(seed=0)
obs, reward, terminated, truncated, info = env.step(1)
print("observation", obs.round(3), "reward", reward)
print("the members disagree by", round(float(info["disagreement"]), 5))

# %% [markdown]
# ## Plan in it
#
# MPC searches in agent 2's simulator and acts in the true environment. 200 is the most there is.

# %%
import gymnasium as gym
from persim_gym.planning import MPC

policy, true = MPC(sim, agent=2), gym.make("PerSim-CartPole-v0", agent=2)
obs, _ = true.reset(seed=1)
total, over = 0.0, False
while not over:
    action, _ = policy.predict(obs)
    obs, reward, terminated, truncated, _ = true.step(action)
    total, over = total + reward, terminated or truncated
print("return in the true environment:", total)

# %% [markdown]
# Next: [your own table](own_data.nb.py), [train in a simulator](train_in_a_simulator.nb.py), or
# [a new agent](new_agent.nb.py).
