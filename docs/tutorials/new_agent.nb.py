# %% [markdown]
# # Adapt to a new agent
#
# Somebody comes who was not in the data. A handful of transitions, the population as prior, and a
# millisecond give a simulator of their own.

# %%
import numpy as np
from persim_gym.learned import PerSim
from persim_gym.offline import read_transitions, record

data = record("cartpole", agents=60, seed=0, dataset_id="tour/agents-v0", overwrite=True)
rows = read_transitions(data)
known = rows.agent < 55
sim = PerSim.fit(rows.select(known), method="als", effort="quick", progress=False)

# %% [markdown]
# Agent 57 was left out. Before anything is known of it, it is the population's mean agent, as
# uncertain as the population is wide.

# %%
own = rows.select(rows.agent == 57)
ada = sim.add_agent(name="Ada")
print(f"standard deviation before any transition: {np.mean(sim.posterior('Ada').deviation):.2f}")

# %% [markdown]
# ## Transitions as they arrive

# %%
def error():
    """RMSE of one-step predictions of all that was recorded of the agent."""
    predicted = sim.predict(ada, own.obs, own.action)
    return float(np.sqrt(np.mean((predicted - own.next_obs) ** 2)))


errors = [error()]
for t in range(min(8, len(own))):
    row = slice(t, t + 1)
    posterior = sim.update("Ada", own.obs[row], own.action[row], own.next_obs[row])
    errors.append(error())
    print(f"{posterior.count} transitions: one-step RMSE {errors[-1]:.5f}")

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
axes.semilogy(errors, "o-")
axes.set(xlabel="transitions known of the new agent", ylabel="one-step RMSE");

# %% [markdown]
# ## What is not known yet
#
# The posterior is over the agent's factor. It gives intervals of what comes next, here of the
# velocity after one push:

# %%
low, high = sim.posterior("Ada").interval(own.obs[:1], own.action[:1], level=0.8)
print(f"velocity: {low[0, 1]:.5f} to {high[0, 1]:.5f} m/s")
print(f"observed: {own.next_obs[0, 1]:.5f} m/s")

# %% [markdown]
# ## The new agent is an agent
#
# Environments and planners take it by its name.

# %%
from persim_gym.planning import MPC

env = sim.env(agent="Ada", guard=False)
obs, _ = env.reset(seed=0)
action, _ = MPC(sim, agent="Ada").predict(obs)
print("planned action:", action)

# %% [markdown]
# Several agents at once, agents by their covariates, and whether the posterior is right:
# [new agents](../adaptation.md).
