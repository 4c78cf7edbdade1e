"""The true environments: agents with hidden covariates, one by one, in lanes and side by side.

One agent as a Gymnasium environment, eight as a vector environment, five as a PettingZoo parallel
environment; and a picture of one of them, written as a PNG.
"""

from __future__ import annotations

import time
from pathlib import Path

import gymnasium as gym
import imageio.v3 as imageio
import numpy as np
import shared

import persim_gym
from persim_gym.envs import find_suite


def one_agent() -> None:
    population = find_suite("cartpole").population()
    print(f"CartPole's default population has {len(population)} agents; the first five:")
    for agent in range(5):
        env = gym.make("PerSim-CartPole-v0", agent=agent)
        env.reset(seed=0)
        for _ in range(5):
            obs, *_ = env.step(1)
        covariates = population.covariates(agent)
        print(f"  agent {agent} {covariates}: cart at {obs[1]:.2f} m/s after five pushes")

    # An agent that is in no population, and the options of reset.
    env = gym.make("PerSim-CartPole-v0", covariates={"force": 2.0, "length": 0.5})
    env.reset(seed=0)
    for _ in range(5):
        same, *_ = env.step(1)
    print(f"  force 2, length 0.5, by covariates: {same[1]:.2f} m/s")
    env = gym.make("PerSim-CartPole-v0", agent=3)
    obs, info = env.reset(seed=0, options={"agent": 7, "state": np.array([0.5, 0, 0, 0])})
    print(f"reset to agent {info['agent']} at position {obs[0]:.1f} m")


def many_lanes(steps: int) -> None:
    envs = gym.make_vec("PerSim-HalfCheetah-v0", num_envs=8, agents=range(8))
    envs.action_space.seed(0)
    envs.reset(seed=0)
    total = np.zeros(envs.num_envs)
    began = time.perf_counter()
    for _ in range(steps):
        obs, rewards, *_ = envs.step(envs.action_space.sample())
        total += rewards
    rate = steps * envs.num_envs / (time.perf_counter() - began)
    print(
        f"HalfCheetah, 8 lanes, {steps} random steps: {rate:,.0f} steps/s, observations {obs.shape}"
    )
    print(f"  returns {np.array2string(total, precision=1)}")


def side_by_side() -> None:
    penv = persim_gym.parallel_env("PerSim-CartPole-v0", agents=range(5))
    penv.reset(seed=0)
    for name in penv.agents:
        penv.action_space(name).seed(0)
    lasted = dict.fromkeys(penv.agents, 0)
    while penv.agents:
        for name in penv.agents:
            lasted[name] += 1
        penv.step({name: penv.action_space(name).sample() for name in penv.agents})
    print(f"PettingZoo, the same random actions for all: steps until the end {lasted}")


def picture(path: Path) -> None:
    env = gym.make("PerSim-CartPole-v0", agent=3, render_mode="rgb_array")
    env.reset(seed=0, options={"state": np.array([0.0, 0.0, 0.15, 0.0])})
    frame = env.render()
    env.close()
    path.parent.mkdir(parents=True, exist_ok=True)
    imageio.imwrite(path, frame)
    print(f"a frame of {frame.shape[1]} x {frame.shape[0]} pixels: {path}")


def main(steps: int, out: Path) -> None:
    one_agent()
    many_lanes(steps)
    side_by_side()
    picture(out)


if __name__ == "__main__":
    options = shared.parser(__doc__)
    options.add_argument("--out", type=Path, help="the picture, by default runs/cartpole.png")
    given = options.parse_args()
    with shared.workplace(given.quick) as folder:
        main(100 if given.quick else 1000, given.out or folder / "cartpole.png")
