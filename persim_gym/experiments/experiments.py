"""The paper's experiments, each a function from a cell and what a method has learned to results."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from persim_gym.envs.suites import SUITES, coordinate_names
from persim_gym.evaluation.episodes import follow
from persim_gym.evaluation.latent_factors import probe_covariates
from persim_gym.evaluation.open_loop import open_loop_error
from persim_gym.evaluation.returns import episode_outcomes
from persim_gym.experiments import unseen
from persim_gym.experiments.cell import Cell
from persim_gym.experiments.methods import (
    Contender,
    Context,
    context_of,
    find_method,
    fitted_simulator,
)
from persim_gym.experiments.probe_policies import policy_families
from persim_gym.experiments.recordings import population_of
from persim_gym.experiments.row_files import Row, machine, versions
from persim_gym.planning import MPC
from persim_gym.progress import OnProgress
from persim_gym.writing import finite

#: Told of a stage and how much of it is done, and of how much.
OnStage = Callable[[str, int, int], None]


def run_cell(
    cell: Cell,
    folder: str | Path,
    device: str = "cpu",
    threads: int | None = None,
    on_stage: OnStage | None = None,
) -> Row:
    """Learn and judge: the row of a cell. Nothing but fitted models is written.

    Args:
        cell: The cell.
        folder: The benchmark's folder; fitted models go to its ``models``.
        device: Where to compute.
        threads: Threads of torch; by default as they are.
        on_stage: Told of the stages ``data``, ``fit`` and ``run``, first when they begin.

    Raises:
        ValueError: If the method cannot take part in the experiment.
    """
    method = find_method(cell.method)
    if cell.experiment not in method.experiments:
        raise ValueError(
            f"{method.name} takes part in {', '.join(method.experiments)}, not in {cell.experiment}"
        )
    if threads is not None:
        torch.set_num_threads(threads)
    clock = _Clock(on_stage)
    context = context_of(cell, Path(folder) / "models", device, clock.progress("fit"))
    context = dataclasses.replace(context, data=clock.timed("data", context.data))
    experiment = _EXPERIMENTS[cell.experiment]
    contender = clock.timed("fit", method.make)(context)
    results = clock.timed("run", experiment)(context, contender, clock.progress("run"))
    results["fit"] = contender.facts
    return Row(
        cell=cell,
        results=finite(results),
        seconds=clock.seconds,
        versions=versions(),
        machine=machine(device, torch.get_num_threads()),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


class _Clock:
    """Time of each stage, one within another counted once, and who is told of them."""

    def __init__(self, on_stage: OnStage | None) -> None:
        self.seconds: dict[str, float] = {}
        self._inner = 0.0
        self._on_stage = on_stage

    def progress(self, stage: str) -> OnProgress | None:
        told = self._on_stage
        return None if told is None else lambda done, of: told(stage, done, of)

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*arguments: Any) -> Any:
            outer, self._inner = self._inner, 0.0
            if self._on_stage is not None:
                self._on_stage(stage, 0, 1)
            began = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                spent = time.perf_counter() - began
                known = self.seconds.get(stage, 0.0)
                self.seconds[stage] = round(known + spent - self._inner, 3)
                self._inner = outer + spent

        return measured


# -- prediction error (Section 5.2) ----------------------------------------------------------------


def _prediction(
    context: Context, contender: Contender, on_progress: OnProgress | None
) -> dict[str, Any]:
    """Open-loop error under two families of policies that made no data."""
    cell = context.cell
    suite = SUITES[cell.task]
    task, true = suite.task(), suite.dynamics(population_of(cell))
    assert contender.predictor is not None
    families = policy_families(task, cell.seed)
    found: dict[str, Any] = {}
    for i, (name, policy) in enumerate(families.items()):
        followed = follow(task, true, cell.agents, policy, episodes=cell.episodes, seed=cell.seed)
        error = open_loop_error(contender.predictor, followed, traces=1)
        found[name] = error.to_json()["agents"]
        if on_progress is not None:
            on_progress(i + 1, len(families))
    names = coordinate_names(task.name, task.observation_space.shape[0])
    return {"coordinates": list(names), "families": found}


# -- reward (Section 5.3) --------------------------------------------------------------------------


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


def _reward(
    context: Context, contender: Contender, on_progress: OnProgress | None
) -> dict[str, Any]:
    """Returns in the true environment, all agents and episodes as one batch."""
    cell = context.cell
    suite = SUITES[cell.task]
    task, true = suite.task(), suite.dynamics(population_of(cell))
    policy, mpc = contender.policy, None
    if policy is None:
        assert contender.dynamics is not None
        policy = mpc = TimedMPC(
            contender.dynamics,
            list(cell.agents),
            task=task,
            planner=cell.planner or "default",
            penalty=cell.penalty,
            seed=cell.seed,
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


# -- latent factors --------------------------------------------------------------------------------


def _latent(
    context: Context, contender: Contender, on_progress: OnProgress | None
) -> dict[str, Any]:
    """Whether the hidden covariates can be read off the latent factors."""
    cell = context.cell
    sim: Any = contender.dynamics
    people = population_of(cell)
    covariates = people.values[: cell.train_agents]
    probe = probe_covariates(sim.latent_factors, covariates, people.names, seed=cell.seed)
    return {
        **probe.to_json(),
        "names": list(probe.names),
        "covariates": np.round(probe.true, 6),
        "predicted": np.round(probe.predicted, 6),
        "components": np.round(probe.components, 4),
    }


# -- agents that were not in training --------------------------------------------------------------


def _unseen(
    context: Context, contender: Contender, on_progress: OnProgress | None
) -> dict[str, Any]:
    """Error for agents of whom only covariates, or a few transitions, are known."""
    cell = context.cell
    return unseen.judge(cell, fitted_simulator(context), on_progress)


_EXPERIMENTS: dict[str, Callable[[Context, Contender, OnProgress | None], dict[str, Any]]] = {
    "prediction": _prediction,
    "reward": _reward,
    "latent": _latent,
    "unseen": _unseen,
}
