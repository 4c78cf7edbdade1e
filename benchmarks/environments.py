"""Speed of the true environments, beside Gymnasium's own.

Vector environments have a different agent in every lane; Gymnasium's have one physics for all.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from measure import Effort, Row, Side, amount, at_most_two_cores, interleave, main, repeated, row

import persim_gym  # noqa: F401 (registers the environments)

LANES = 1024
CHEETAH_LANES = 64


def rows(effort: Effort) -> Iterator[Row]:
    yield from vector(effort)
    yield from scalar(effort)
    yield cheetah(effort)
    yield imports(effort)


def vector(effort: Effort) -> Iterator[Row]:
    lanes = effort.scaled(LANES, 4)
    envs = {
        "cartpole": gym.make_vec("PerSim-CartPole-v0", num_envs=lanes, population=lanes),
        "mountain_car": gym.make_vec("PerSim-MountainCar-v0", num_envs=lanes, population=lanes),
        "gymnasium": gym.make_vec("CartPole-v1", num_envs=lanes),
    }
    times = interleave(
        effort, **{name: vector_steps(env, lanes, effort) for name, env in envs.items()}
    )
    rates = {name: amount(lanes / np.median(t), "steps/s") for name, t in times.items()}
    for name, title in (("cartpole", "CartPole"), ("mountain_car", "MountainCar")):
        yield row(
            f"{title}, {lanes} lanes",
            rates[name],
            f"Gymnasium CartPole-v1 vector: {rates['gymnasium']}",
            times["gymnasium"] / times[name],
            target=1,
            goal=2,
        )
    for env in envs.values():
        env.close()


def vector_steps(env: gym.vector.VectorEnv[Any, Any, Any], lanes: int, effort: Effort) -> Side:
    """Seconds of a step of all lanes under random actions, the drawing of which is not counted."""
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(effort.scaled(200, 3))]

    def steps() -> None:
        for action in actions:
            env.step(action)

    side = repeated(steps, effort.seconds)
    return lambda: side() / len(actions)


def scalar(effort: Effort) -> Iterator[Row]:
    for title, theirs in (("CartPole", "CartPole-v1"), ("MountainCar", "MountainCar-v0")):
        envs = {"ours": gym.make(f"PerSim-{title}-v0"), "gymnasium": gym.make(theirs)}
        times = interleave(effort, **{name: scalar_steps(e, effort) for name, e in envs.items()})
        rates = {name: amount(1 / np.median(t), "steps/s") for name, t in times.items()}
        yield row(
            f"{title}, scalar",
            rates["ours"],
            f"Gymnasium {theirs}: {rates['gymnasium']}",
            times["gymnasium"] / times["ours"],
            target=0.8,
        )
        for env in envs.values():
            env.close()


def scalar_steps(env: gym.Env[Any, Any], effort: Effort) -> Side:
    """Seconds of a step under random actions, resets included."""
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(effort.scaled(2000, 20))]

    def steps() -> None:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    side = repeated(steps, effort.seconds)
    return lambda: side() / len(actions)


def cheetah(effort: Effort) -> Row:
    lanes = effort.scaled(CHEETAH_LANES, 2)
    with at_most_two_cores():
        envs = {
            "ours": gym.make_vec("PerSim-HalfCheetah-v0", num_envs=lanes),
            "gymnasium": gym.make_vec("HalfCheetah-v5", num_envs=lanes, vectorization_mode="sync"),
        }
        few = Effort(effort.rounds, effort.best_of, effort.size / 10, effort.seconds)
        times = interleave(effort, **{n: vector_steps(e, lanes, few) for n, e in envs.items()})
        for env in envs.values():
            env.close()
    rates = {name: amount(lanes / np.median(t), "steps/s") for name, t in times.items()}
    return row(
        f"HalfCheetah, {lanes} lanes, two cores",
        rates["ours"],
        f"Gymnasium HalfCheetah-v5, sync: {rates['gymnasium']}",
        times["gymnasium"] / times["ours"],
        target=2.2,
    )


def imports(effort: Effort) -> Row:
    times = interleave(effort, ours=importing("persim_gym"), gymnasium=importing("gymnasium"))
    return row(
        "import persim_gym",
        amount(float(np.median(times["ours"])), "s"),
        f"import gymnasium: {amount(float(np.median(times['gymnasium'])), 's')}",
        times["ours"] / times["gymnasium"],
        better="less",
        target=1.2,
    )


def importing(module: str) -> Side:
    """Seconds of an import in a fresh process, without the interpreter's own start."""
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"

    def side() -> float:
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
        return float(done.stdout)

    side()  # files come from the disk once
    return side


if __name__ == "__main__":
    main({"environments": rows})
