"""Pictures of an episode: the true environment alone, or beside its learned simulator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from persim_gym import checks
from persim_gym.core import Policy
from persim_gym.envs.env import SimEnv
from persim_gym.envs.rendering import Frame, side_by_side
from persim_gym.envs.suites import make_env, suite_of
from persim_gym.learned.simulator import PerSim


def episode_frames(
    task: str,
    agent: int,
    policy: Policy,
    *,
    population: object = None,
    steps: int | None = None,
    seed: int = 0,
) -> Iterator[Frame]:
    """Frames of one episode in the true environment.

    Args:
        task: Task name or environment id.
        agent: The agent.
        policy: Who acts, on what is observed.
        population: As for the environment.
        steps: Steps at most; by default the task's time limit.
        seed: Seed of the start state.

    Yields:
        Frames ``[height, width, 3]``: the start, then one a step until the episode ends.

    Raises:
        TypeError: If the agent is no integer.
        ValueError: If task, agent or ``steps`` is invalid.
    """
    seed = checks.integer("seed", seed)
    checks.with_attributes("policy", policy, ("predict",), "an object with predict()")
    env = make_env(task, agent, population=population, render_mode="rgb_array")
    limit = _limit(steps, env.task.max_episode_steps)
    return _episode(env, policy, limit, seed)


def _episode(env: SimEnv, policy: Policy, limit: int, seed: int) -> Iterator[Frame]:
    try:
        obs, _ = env.reset(seed=seed)
        yield _draw(env)
        state: Any = None
        for step in range(limit):
            action, state = policy.predict(obs, state, np.array([step == 0]), True)
            obs, _, terminated, truncated, _ = env.step(action)
            yield _draw(env)
            if terminated or truncated:
                return
    finally:
        env.close()


def comparison_frames(
    sim: PerSim,
    agent: int,
    policy: Policy,
    *,
    population: object = None,
    steps: int | None = None,
    seed: int = 0,
) -> Iterator[Frame]:
    """The true environment beside the learned simulator: one start state, the same actions.

    The policy acts on what the true environment shows. The simulator is given its actions and
    nothing else: from the start on it goes by its own predictions. The side whose episode is over
    stands still until the other's is.

    Args:
        sim: The simulators.
        agent: The agent.
        policy: Who acts.
        population: The population that the simulators were fitted on, as for the environment.
        steps: Steps at most; by default the task's time limit.
        seed: Seed of the start state.

    Yields:
        Frames ``[height, width, 3]``: the start, then one a step.

    Raises:
        TypeError: If the agent is no integer.
        ValueError: If agent or ``steps`` is invalid, or the task has no true environment.
    """
    seed = checks.integer("seed", seed)
    checks.with_attributes("policy", policy, ("predict",), "an object with predict()")
    checks.with_attributes("sim", sim, ("task", "env"), "a simulator")
    agents = suite_of(sim.task).population(population)
    agent = sim.agent_index(agent)
    true = make_env(sim.task.name, agent, population=agents, render_mode="rgb_array")
    limit = _limit(steps, sim.task.max_episode_steps)
    # Drawn with the true covariates, so that what differs between the sides is the motion alone.
    learned = sim.env(
        agent,
        guard=False,
        render_mode="rgb_array",
        max_episode_steps=limit + 1,  # the end of the film is no end of the episode
        covariates=agents.covariates(agent),
    )
    return _comparison(true, learned, policy, limit, seed)


def _comparison(
    true: SimEnv, learned: SimEnv, policy: Policy, limit: int, seed: int
) -> Iterator[Frame]:
    sides = {"true": true, "learned": learned}
    try:
        obs, _ = true.reset(seed=seed)
        learned.reset(seed=seed, options={"state": obs})
        pictures = {name: _draw(env) for name, env in sides.items()}
        titles = {name: name for name in sides}
        yield side_by_side(*pictures.values(), left_title="true", right_title="learned")
        state: Any = None
        for step in range(limit):
            # Once the true episode is over, its last observation is what there is to act on.
            action, state = policy.predict(obs, state, np.array([step == 0]), True)
            for name, env in sides.items():
                if titles[name] != name:
                    continue
                seen, _, terminated, truncated, _ = env.step(action)
                pictures[name] = _draw(env)
                if name == "true":
                    obs = seen
                if terminated or truncated:
                    titles[name] = f"{name}: over after {step + 1} steps"
            yield side_by_side(
                *pictures.values(), left_title=titles["true"], right_title=titles["learned"]
            )
            if all(titles[name] != name for name in sides):
                return
    finally:
        for env in sides.values():
            env.close()


def _draw(env: SimEnv) -> Frame:
    frame = env.render()
    assert frame is not None  # the render mode is rgb_array
    return frame


def _limit(steps: int | None, most: int) -> int:
    if steps is None:
        return most
    return checks.positive_integer("steps", steps)
