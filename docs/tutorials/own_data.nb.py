# %% [markdown]
# # From a CSV to a what-if
#
# Twenty patients take a drug by mouth. Each clears it at a rate of their own, and of each there are
# two days of hourly readings, with noise. What would another dose have done?
#
# The table is made here, so that the answer can be compared with the truth. With a file of your
# own, begin at *Read*.

# %%
import numpy as np
import pandas as pd

HOURS = 48
rng = np.random.default_rng(0)
clearance = rng.uniform(0.05, 0.25, size=20)  # share that is lost in an hour


def next_hour(patients, gut, blood, dose):
    """The truth: half of what is in the gut is absorbed in an hour."""
    return 0.5 * gut + dose, blood + 0.05 * gut - clearance[patients] * blood


rows, patients = [], np.arange(20)
gut, blood = np.zeros(20), np.zeros(20)
for hour in range(HOURS):
    dose = np.where(rng.random(20) < 0.25, rng.uniform(20, 100, size=20), 0.0)
    read = blood + rng.normal(scale=0.05, size=20)  # the instrument's noise
    rows += [(f"P{p:02}", hour, gut[p], read[p], dose[p]) for p in patients]
    gut, blood = next_hour(patients, gut, blood, dose)
names = ["patient", "hour", "gut_mg", "blood_mg_per_l", "dose_mg"]
pd.DataFrame(rows, columns=names).to_csv("patients.csv", index=False)

# %% [markdown]
# ## Read
#
# One row for each observation: whose it is, when, the state, and the action taken in it. The state
# must be enough to go on from: here what is still in the gut is part of it.

# %%
from persim_gym.offline import read_table

data = read_table(
    "patients.csv", agent="patient", time="hour",
    state=["gut_mg", "blood_mg_per_l"], action=["dose_mg"],
)
print(data.num_agents, "patients,", len(data), "transitions")

# %% [markdown]
# ## Fit, and hold the last twelve hours out
#
# What a simulator is worth shows only where it was not fitted. The pooled model, which does not
# know who is who, and persistence, which says that nothing changes, are what it must beat.

# %%
from persim_gym.evaluation import Persistence, PooledModel, pooled
from persim_gym.learned import PerSim

late = data.step >= HOURS - 13
train = data.select(~late)
options = {"method": "als", "effort": "quick", "progress": False}
sim = PerSim.fit(train, **options)
one = PooledModel(PerSim.fit(pooled(train), task=sim.task, **options))

starts = np.flatnonzero(data.step == HOURS - 13)
ahead = starts[:, None] + np.arange(12)
true = data.next_obs[ahead, 1]
for name, model in {"own": sim, "pooled": one, "persistence": Persistence()}.items():
    members = model.rollout(data.agent[starts], data.obs[starts], data.action[ahead])
    rmse = np.sqrt(np.mean((members.mean(0)[..., 1] - true) ** 2))
    print(f"{name:12} RMSE over 12 held-out hours: {rmse:.3f} mg/L")

# %% [markdown]
# ## Validate
#
# The same as one call, for every coordinate, with intervals, the worst patients and a verdict. Its
# last sentences say what the data cover: whether a question about doses has an answer in them.

# %%
found = sim.validate(train, horizons=(1, 6, 12))
print(found.verdict)
found.save("trust");  # a page, index.html, and validation.json

# %% [markdown]
# ## What if?
#
# Every patient gets 80 mg at once, and nothing after. The intervals hold what will be observed in 95
# of 100 cases.

# %%
agents = np.arange(20)
begin = np.zeros((20, 2), dtype=np.float32)
doses = np.zeros((20, 24, 1), dtype=np.float32)
doses[:, 0] = 80.0
answer = sim.rollout(agents, begin, doses).mean(0)[..., 1]
low, high = sim.rollout_interval(agents, begin, doses, level=0.95)

truth, gut, blood = [], np.zeros(20), np.zeros(20)
for hour in range(24):
    gut, blood = next_hour(agents, gut, blood, doses[:, hour, 0])
    truth.append(blood)
truth = np.stack(truth, axis=1)
print(f"largest error of the peak: {np.abs(answer.max(1) - truth.max(1)).max():.3f} mg/L")

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
slow, fast = clearance.argmin(), clearance.argmax()
hours = np.arange(1, 25)
for agent, color, line in ((slow, "tab:blue", "-"), (fast, "tab:orange", "--")):
    axes.plot(hours, truth[agent], "o", ms=3, color=color)
    axes.plot(hours, answer[agent], line, color=color, label=data.agent_names[agent])
    axes.fill_between(hours, low[agent, :, 1], high[agent, :, 1], color=color, alpha=0.2)
axes.set(xlabel="hours after 80 mg", ylabel="blood, mg/L")
axes.set_title("lines: simulator with 95 % interval, dots: truth")
axes.legend();

# %% [markdown]
# ## Who was different?
#
# The clearance was in no column. The equations of a patient's simulator say it:

# %%
print(sim.equations(data.agent_names[slow]))
print(f"true clearance: {clearance[slow]:.3f} of the concentration in an hour")

# %% [markdown]
# More: [tables](../tables.md), [validation](../validation.md), [a protocol for real
# use](../protocol.md), and [thirty virtual patients at length](../your-data.md).
