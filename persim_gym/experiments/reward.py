"""Reward (Section 5.3): returns in the true environment."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from persim_gym.envs.suites import SUITES
from persim_gym.evaluation.returns import episode_outcomes
from persim_gym.experiments.context import Context, Model
from persim_gym.experiments.recordings import population_of
from persim_gym.planning import MPC
from persim_gym.progress import OnProgress


class TimedMPC(MPC):
    """MPC that counts its decisions and the seconds they take."""

    seconds, decisions, calls = 0.0, 0, 0

    def plan(self, agents: Any, obs: Any, *args: Any, **options: Any) -> Any:
        """As :meth:`MPC.plan`."""
        began = time.perf_counter()
        result = super().plan(agents, obs, *args, **options)
        self.seconds += time.perf_counter() - began
        self.decisions += len(obs)
        self.calls += 1
        return result


def judge(context: Context, model: Model, on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Returns in the true environment, all agents and episodes as one batch."""
    cell = context.cell
    suite = SUITES[cell.task]
    task, true = suite.task(), suite.dynamics(population_of(cell))
    policy, mpc = model.policy, None
    if policy is None:
        assert model.dynamics is not None
        policy = mpc = TimedMPC(
            model.dynamics,
            list(cell.agents),
            task=task,
            planner=cell.planner or "default",
            penalty=cell.penalty,
            seed=cell.seed,
            proposal=model.proposal,
        )
    outcomes = episode_outcomes(
        task,
        true,
        cell.agents,
        policy,
        cell.episodes,
        cell.seed,
        max_episode_steps=cell.max_episode_steps,
        on_progress=on_progress,
    )
    results: dict[str, Any] = {
        "agents": [
            {"agent": agent, "returns": own.tolist(), **_stopped(stopped)}
            for agent, own, stopped in zip(
                cell.agents, outcomes.returns, outcomes.stopped, strict=True
            )
        ]
    }
    if mpc is not None:
        results["planning"] = {
            **_described(mpc),
            "decisions": mpc.decisions,
            "batches": mpc.calls,
            "seconds": mpc.seconds,
        }
    return results


def _stopped(episodes: Any) -> dict[str, int]:
    """How many episodes broken physics has cut off, where it has."""
    return {"stopped": int(episodes.sum())} if episodes.any() else {}


def _described(mpc: MPC) -> dict[str, Any]:
    planner: Any = mpc.planner
    shaping = mpc.objective.shaping
    return {
        "planner": type(planner).__name__,
        "settings": dataclasses.asdict(planner),
        "propagation": mpc.objective.propagation,
        "shaping": None if shaping is None else dataclasses.asdict(shaping),
        "penalty": getattr(mpc.objective, "penalty", 0.0),
    }
