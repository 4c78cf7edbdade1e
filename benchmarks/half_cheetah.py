"""HalfCheetah on one machine: what a fit costs, how far it predicts, and where its error is.

Random actions of a population are recorded, one trajectory an agent; simulators are fitted; the
five test agents then act for 60 steps, ten observed and fifty predicted open loop, under the
scripted gait and under random actions. Beside the simulator stands the true physics itself, started
from states that are a little off: contacts amplify any difference, so that this is what a
prediction from rounded states could reach at best.

    python benchmarks/half_cheetah.py [--agents 100] [--preset paper] [--epochs 5] [--members 1]
        [--encoder product] [--precision single] [--save OUT | --simulator OUT]
    python benchmarks/half_cheetah.py --method latent    # another family, with its own settings

The data set is recorded once, in the folder that MINARI_DATASETS_PATH names.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import minari
import numpy as np
from numpy.typing import NDArray

from persim_gym.envs.suites import find_suite
from persim_gym.envs.tasks.half_cheetah import (
    FRAME_SKIP,
    POSITIONS,
    VELOCITIES,
    HalfCheetahDynamics,
    base_model,
)
from persim_gym.evaluation.episodes import HORIZON, WARMUP, Episodes, follow
from persim_gym.evaluation.latent_factors import probe_covariates
from persim_gym.evaluation.open_loop import HORIZONS, open_loop_error
from persim_gym.evaluation.references import Persistence, Predictor
from persim_gym.learned import PerSim
from persim_gym.offline import read_transitions, record
from persim_gym.offline.transitions import Transitions
from persim_gym.policies.behaviours import RandomPolicy
from persim_gym.policies.scripted import scripted_policy

TASK, ENV = "half-cheetah", "PerSim-HalfCheetah-v0"
TEST_AGENTS = range(5)
#: Errors of the start state, in units of each coordinate's deviation.
OFF = (1e-6, 1e-3, 1e-2)
#: Groups of coordinates that are alike.
GROUPS = {
    "forward velocity": [0],
    "height": [1],
    "pitch": [2],
    "joint angles": [*range(3, 9)],
    "x velocity": [9],
    "z velocity": [10],
    "pitch velocity": [11],
    "joint velocities": [*range(12, 18)],
}


@dataclass(frozen=True, slots=True)
class OffTruth:
    """The true dynamics from a start state that is a little off.

    Attributes:
        dynamics: The true dynamics.
        size: Deviation of the start state's error ``[d]``.
    """

    dynamics: HalfCheetahDynamics
    size: NDArray[np.float64]
    lag: int = 1

    def rollout(self, agents: Any, obs: Any, actions: Any) -> NDArray[np.float64]:
        """Predictions ``[1, n, h, d]``."""
        obs = np.asarray(obs, dtype=np.float64)
        noise = np.random.default_rng(0).normal(size=obs.shape)
        return self.dynamics.rollout(agents, obs + noise * self.size, actions)[None]


def recorded(agents: int) -> Transitions:
    """Random actions of the default population's first agents."""
    name = f"persim/{TASK}/random-v0"
    if name in minari.list_local_datasets():
        data = read_transitions(name)
    else:
        data = read_transitions(record(ENV, policy="random", agents=agents, seed=0))
    if data.num_agents < agents:
        raise SystemExit(f"{name} has {data.num_agents} agents: delete it, or ask for no more")
    return replace(data.select(data.agent < agents), num_agents=agents)


def fitted(data: Transitions, options: dict[str, Any]) -> PerSim:
    """A simulator, and on standard output what it cost."""
    wall, used = time.perf_counter(), time.process_time()
    sim = PerSim.fit(data, **options)
    wall, used = time.perf_counter() - wall, time.process_time() - used
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    config = sim.card["config"]
    print(
        f"{len(data):,} transitions of {data.num_agents} agents, {sim.members} members, "
        f"{config.get('epochs')} passes: {wall:.0f} s, of one processor {used:.0f} s; "
        f"peak of the process {peak:.0f} MB; load {os.getloadavg()[0]:.1f}"
    )
    return sim


def table(title: str, head: Sequence[str], rows: Mapping[str, Sequence[float]]) -> None:
    """Print a table in Markdown."""
    print(f"\n{title}\n\n| | {' | '.join(head)} |\n|{' --- |' * (len(head) + 1)}")
    for name, values in rows.items():
        print(f"| {name} | {' | '.join(f'{value:.3f}' for value in values)} |")


def errors(models: dict[str, Predictor], episodes: Episodes, unit: NDArray[np.float64]) -> None:
    """Print errors by agent, horizon and coordinate."""
    by_agent, by_step, by_group, r2 = {}, {}, {}, {}
    for name, model in models.items():
        found = open_loop_error(model, episodes)
        by_agent[name] = [*found.rmse, found.rmse.mean()]
        r2[name] = list(found.r2)
        error = (episodes.predicted_by(model).mean(0) - episodes.true) / unit
        by_step[name] = [float(np.sqrt(np.square(error[:, h - 1]).mean())) for h in HORIZONS]
        if isinstance(model, PerSim):
            for group, columns in GROUPS.items():
                squares = np.square(error[:, :, columns]).mean(axis=(0, 2))
                by_group[group] = [float(np.sqrt(squares[h - 1])) for h in HORIZONS]
    agents = [*(f"agent {k}" for k in TEST_AGENTS), "mean"]
    table("RMSE over 50 steps, raw units", agents, by_agent)
    table("median R2 over 50 steps", agents[:-1], r2)
    horizons = [f"after {h}" for h in HORIZONS]
    table("RMSE after some steps, in units of each coordinate's deviation", horizons, by_step)
    if by_group:
        table("the simulator's, by coordinates", horizons, by_group)


def in_contact(dynamics: HalfCheetahDynamics, episodes: Episodes) -> NDArray[np.bool_]:
    """Whether the body touches the ground during each step ``[n, steps]``."""
    import mujoco

    touching = np.zeros((len(episodes.agents), WARMUP + HORIZON), dtype=np.bool_)
    data = mujoco.MjData(base_model())
    for row, agent in enumerate(episodes.agents):
        model = dynamics.model(int(agent))
        for step in range(touching.shape[1]):
            mujoco.mj_resetData(model, data)
            data.qpos[1:] = episodes.obs[row, step, POSITIONS]
            data.qvel[:] = episodes.obs[row, step, VELOCITIES]
            data.ctrl[:] = episodes.actions[row, step]
            for _ in range(FRAME_SKIP):
                mujoco.mj_step(model, data)
                touching[row, step] |= data.ncon > 0
    return touching


def attribute(
    sim: PerSim, dynamics: HalfCheetahDynamics, episodes: Episodes, unit: NDArray[np.float64]
) -> None:
    """Print where the error of single steps comes from: contacts, and agents."""
    touching = in_contact(dynamics, episodes).reshape(-1)
    d = episodes.obs.shape[-1]
    before = episodes.obs[:, :-1].reshape(-1, d).astype(np.float32)
    after = episodes.obs[:, 1:].reshape(-1, d)
    actions = episodes.actions.reshape(len(before), -1).astype(np.float32)
    agents = np.repeat(episodes.agents, episodes.actions.shape[1])
    parts = np.array_split(np.arange(len(before)), max(1, len(before) // 4096))
    predicted = np.concatenate([sim.predict(agents[i], before[i], actions[i]) for i in parts])
    left = np.square((predicted - after) / unit).mean(1)
    moved = np.square((after - before) / unit).mean(1)
    rows = {}
    names = [*(f"agent {k}" for k in TEST_AGENTS), "all"]
    groups = [agents == k for k in TEST_AGENTS] + [np.ones(len(agents), dtype=np.bool_)]
    rows["share of steps with contact"] = [touching[g].mean() for g in groups]
    rows["share of the squared error in them"] = [
        left[g & touching].sum() / left[g].sum() for g in groups
    ]
    rows["one-step RMSE, contact"] = [np.sqrt(left[g & touching].mean()) for g in groups]
    rows["one-step RMSE, free"] = [np.sqrt(left[g & ~touching].mean()) for g in groups]
    rows["one-step R2, contact"] = [
        1 - left[g & touching].sum() / moved[g & touching].sum() for g in groups
    ]
    rows["one-step R2, free"] = [
        1 - left[g & ~touching].sum() / moved[g & ~touching].sum() for g in groups
    ]
    rows["share of all squared error"] = [left[g].sum() / left.sum() for g in groups]
    table("single steps, in units of the changes' deviation", names, rows)


def latent(sim: PerSim, population: Any) -> None:
    """Print how well mass and damping can be read off the latent factors."""
    names = ("mass", "damping")
    hidden = np.stack([population.column(n)[: sim.num_agents] for n in names], axis=1)
    probe = probe_covariates(sim.latent_factors, hidden, names)
    of_one = probe_covariates(sim.latent_factors[:1], hidden, names)
    print(
        "\nlatent factors, cross-validated R2: "
        + ", ".join(f"{n} {a:.4f} (one member {b:.4f})"
                    for n, a, b in zip(names, probe.r2, of_one.r2, strict=True))
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Record, fit, compare and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agents", type=int, default=500)
    parser.add_argument("--preset")
    parser.add_argument("--method", help="a family, instead of the task's")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--members", type=int)
    parser.add_argument("--encoder", choices=("product", "joint"))
    parser.add_argument("--precision", choices=("single", "mixed"))
    parser.add_argument("--seed", type=int)
    parser.add_argument("--episodes", type=int, default=50, help="of each test agent")
    parser.add_argument("--save", type=Path, help="keep the simulator in this folder")
    parser.add_argument("--simulator", type=Path, help="one that was kept, instead of a fit")
    given = parser.parse_args(arguments)
    options = {
        "epochs": given.epochs, "ensemble_size": given.members, "encoder": given.encoder,
        "precision": given.precision, "seed": given.seed, "preset": given.preset,
        "method": given.method,
    }  # fmt: skip
    data = recorded(given.agents)
    unit = data.next_obs.std(axis=0, dtype=np.float64)
    change = (data.next_obs - data.obs).std(axis=0, dtype=np.float64)
    if given.simulator:
        sim = PerSim.load(given.simulator)
    else:
        chosen = {name: value for name, value in options.items() if value is not None}
        sim = fitted(data, chosen)
    if given.save:
        sim.save(given.save)
    suite = find_suite(TASK)
    population = suite.population(None)
    dynamics = HalfCheetahDynamics(population)
    for name, policy in {
        "scripted gait": scripted_policy(TASK, 0),
        "random actions": RandomPolicy(suite.task().action_space),
    }.items():
        episodes = follow(sim.task, dynamics, TEST_AGENTS, policy, episodes=given.episodes, seed=0)
        print(f"\n## {name}")
        models: dict[str, Predictor] = {"simulator": sim}
        models |= {f"truth, start off by {off:g}": OffTruth(dynamics, off * unit) for off in OFF}
        models["nothing changes"] = Persistence()
        errors(models, episodes, unit)
        attribute(sim, dynamics, episodes, change)
    latent(sim, population)


if __name__ == "__main__":
    main()
