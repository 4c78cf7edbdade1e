"""Speed of learned environments: many lanes beside the processor's limit, one beside Gymnasium."""

from __future__ import annotations

from collections.abc import Iterator

import gymnasium as gym
import numpy as np
from environments import LANES, scalar_steps, vector_steps
from measure import Effort, Row, amount, interleave, main, multiply_add, row
from samples import AGENTS, multiply_adds, simulator

from persim_gym.learned import PerSim


def rows(effort: Effort) -> Iterator[Row]:
    sim = simulator("cartpole", effort.scaled(AGENTS, 10))
    yield vector(sim, effort)
    yield scalar(sim, effort)


def vector(sim: PerSim, effort: Effort) -> Row:
    lanes = effort.scaled(LANES, 4)
    env = sim.vector_env(lanes)
    times = interleave(
        effort, ours=vector_steps(env, lanes, effort), multiply_add=multiply_add(effort)
    )
    count = multiply_adds(sim) * sim.members * lanes
    limit = times["multiply_add"] * count
    env.close()
    return row(
        f"learned CartPole, {lanes} lanes, {sim.members} members",
        amount(lanes / float(np.median(times["ours"])), "steps/s"),
        f"its multiply-adds alone: {amount(lanes / float(np.median(limit)), 'steps/s')}",
        100 * limit / times["ours"],
        unit="%",
    )


def scalar(sim: PerSim, effort: Effort) -> Row:
    envs = {"ours": sim.env(agent=3), "gymnasium": gym.make("CartPole-v1")}
    times = interleave(effort, **{name: scalar_steps(e, effort) for name, e in envs.items()})
    for env in envs.values():
        env.close()
    ours, gymnasium = (float(np.median(t)) for t in times.values())
    return row(
        f"learned CartPole, scalar, {sim.members} members",
        amount(ours, "s") + " a step",
        f"Gymnasium CartPole-v1: {amount(gymnasium, 's')} ({ours / gymnasium:.3g} times less)",
        times["ours"] * 1e6,
        unit="µs",
        better="less",
        target=150,
    )


if __name__ == "__main__":
    main({"learned_env": rows})
