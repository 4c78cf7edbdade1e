"""What a planner proposes: actions that promise the largest sum of rewards in the simulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from gymnasium.spaces import Discrete

from persim_gym.core import Task
from persim_gym.envs.suites import SUITES
from persim_gym.explorer.scene import Scene
from persim_gym.explorer.view import Plan, View
from persim_gym.learned.naming import AgentIndex
from persim_gym.planning import MPC
from persim_gym.planning.planner_choice import PlannerChoice, choose_planner

#: Sizes of the search for tasks without a planner of their own: a proposal takes seconds.
CANDIDATES, AHEAD = 64, 20


def planner_for(task: Task, horizon: int) -> PlannerChoice:
    """The task's own planner, or a small one."""
    if task.name in SUITES:
        return choose_planner(task)
    name = "shooting" if isinstance(task.action_space, Discrete) else "icem"
    choice = choose_planner(task, name, candidates=CANDIDATES, horizon=min(AHEAD, horizon))
    return replace(choice, propagation="mean")


def propose(
    scene: Scene,
    view: View,
    b: bool = False,
    on_step: Callable[[int, int], bool] | None = None,
) -> Plan:
    """The actions that model-predictive control takes in the simulator, as a plan.

    It plans in each step anew, and goes on from the members' mean. It is not given the rewards of
    what comes after: it plans as far ahead as its planner does.

    Args:
        scene: What computes.
        view: From where, how far, and for whom.
        b: For the agent of plan B.
        on_step: Called with steps done and steps in all; what it returns stops the search.

    Raises:
        ValueError: If the view does not fit.
    """
    sim, h = scene.sim, view.horizon
    agent = np.array([scene.index(view.side(b)[0])])
    mpc = MPC(sim, AgentIndex(agent[0]), planner=planner_for(sim.task, h))
    state = scene.state(view)[None]
    d = sim.ensemble.obs_dim
    memory, rows = None, []
    for step in range(h):
        if on_step is not None and on_step(step, h):
            break
        obs = np.asarray(state.reshape(1, -1)[:, -d:], dtype=np.float32)
        action, memory = mpc.plan(agent, obs, memory)
        following = sim.predict(agent, state, action)
        state = following if sim.lag == 1 else np.asarray(sim.follow(state, action, following))
        rows.append(np.asarray(action).reshape(-1).tolist())
        if bool(np.asarray(sim.task.terminated(following))[0]):
            break
    rows += [rows[-1]] * (h - len(rows))  # what comes after the end does not matter
    return Plan.of(np.clip(rows, *scene.action_bounds).tolist())
