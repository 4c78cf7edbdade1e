"""Speed of learned environments, beside Gymnasium's own CartPole and beside the same in torch.

The default simulators are those of 500 agents under random actions: a closed form, networks, and
networks that latents enter. The weights of networks are those after a few steps of their fit.
Lanes are of different agents, and disagreement, guard and effects of bounds are part of every step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from environments import LANES, scalar_steps, vector_steps
from measure import Effort, Row, amount, interleave, main, multiply_add, row
from samples import AGENTS, multiply_adds, simulator, transitions

from persim_gym.envs import SimEnv, SimVectorEnv
from persim_gym.learned import PerSim
from persim_gym.learned.environments.guard import GuardedSimulator
from persim_gym.learned.stepping.member_steps import MemberSteps


class TorchSteps(MemberSteps):
    """Members' steps by the ensemble's own methods, as where nothing is compiled."""

    def ready(self) -> None:
        return None


class InTorch(GuardedSimulator):
    """The same guard over steps in torch."""

    def __init__(self, sim: PerSim) -> None:
        super().__init__(sim)
        self._members = TorchSteps(sim, self.propagation)


def rows(effort: Effort) -> Iterator[Row]:
    agents = effort.scaled(AGENTS, 10)
    data = transitions("cartpole", agents, steps=23)
    closed = PerSim.fit(data, method="als", progress=False)
    yield from beside(closed, "closed form", effort, 3.0, 0.5)
    networks = PerSim.fit(data, method="sgd", epochs=1, progress=False)
    yield from beside(networks, "networks", effort)
    yield vector(networks, "default networks", effort)
    short = {"first_steps": 20, "steps": 20, "window_steps": 0, "max_agents": 50}
    latent = PerSim.fit(data, method="latent", progress=False, **short)
    yield from beside(latent, "latent networks", effort)
    sim = simulator("cartpole", agents)
    yield vector(sim, "the paper's networks", effort)
    yield scalar(sim, effort)


def beside(
    sim: PerSim,
    kind: str,
    effort: Effort,
    times: float | None = None,
    share: float | None = None,
) -> Iterator[Row]:
    """A default simulator, scalar and vector: beside Gymnasium's CartPole, and beside torch."""
    lanes = effort.scaled(LANES, 4)
    scalars: dict[str, gym.Env[Any, Any]] = {
        "ours": sim.env(agent=3),
        "torch": SimEnv(sim.task, InTorch(sim), agent=3, max_episode_steps=200),
        "gymnasium": gym.make("CartPole-v1"),
    }
    vectors = {
        "ours": sim.vector_env(lanes),
        "torch": SimVectorEnv(sim.task, InTorch(sim), lanes),
        "gymnasium": gym.make_vec("CartPole-v1", num_envs=lanes),
    }
    few = Effort(effort.rounds, effort.best_of, effort.size / 5, effort.seconds)
    for name, envs, steps in (
        ("scalar", scalars, {n: scalar_steps(e, few) for n, e in scalars.items()}),
        (f"{lanes} lanes", vectors, {n: vector_steps(e, lanes, few) for n, e in vectors.items()}),
    ):
        took = interleave(effort, **steps)
        median = {n: amount(float(np.median(t)), "s") for n, t in took.items()}
        title = f"default learned CartPole, {kind}, {name}"
        one = name == "scalar"
        yield row(
            title + (", times Gymnasium's" if one else ", share of Gymnasium's rate"),
            median["ours"] + " a step",
            f"Gymnasium CartPole-v1: {median['gymnasium']}",
            took["ours"] / took["gymnasium"] if one else took["gymnasium"] / took["ours"],
            better="less" if one else "more",
            target=times if one else share,
        )
        yield row(
            title + ", beside torch",
            median["ours"] + " a step",
            f"the same in torch: {median['torch']}",
            took["torch"] / took["ours"],
            target=3.0 if one else None,
        )
        for env in envs.values():
            env.close()


def vector(sim: PerSim, kind: str, effort: Effort) -> Row:
    """Networks beside what the machine takes for their products alone."""
    lanes = effort.scaled(LANES, 4)
    env = sim.vector_env(lanes)
    times = interleave(
        effort, ours=vector_steps(env, lanes, effort), multiply_add=multiply_add(effort)
    )
    count = multiply_adds(sim) * sim.members * lanes
    limit = times["multiply_add"] * count
    env.close()
    return row(
        f"learned CartPole, {kind}, {lanes} lanes, {sim.members} members",
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
