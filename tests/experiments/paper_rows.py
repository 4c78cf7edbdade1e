"""Rows of a benchmark with known numbers, which no run has made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from persim_gym.envs.suites import SUITES
from persim_gym.experiments.cell import Cell
from persim_gym.experiments.report.tables import Table
from persim_gym.experiments.row_files import Row, RowFiles

VERSIONS = {"python": "3.11.0", "persim-gym": "1.2.3"}
MACHINE = {"cores": 2, "threads": 1, "device": "cpu", "system": "Linux x86_64"}


def row(cell: Cell, results: Mapping[str, Any], **changes: Any) -> Row:
    given: dict[str, Any] = {
        "seconds": {"data": 1.0, "fit": 4.0, "run": 2.0},
        "versions": VERSIONS,
        "machine": MACHINE,
        "finished": "2026-01-02T03:04:05+00:00",
    }
    return Row(cell, results, **{**given, **changes})


def cell(experiment: str, method: str, dataset: str | None = "random", **changes: Any) -> Cell:
    given = {"task": "cartpole", "agents": (0, 1), "episodes": 20, "train_agents": 100}
    if dataset is None:
        del given["train_agents"]
    return Cell(experiment=experiment, method=method, dataset=dataset, **{**given, **changes})


def predicted(
    method: str,
    errors: Sequence[float | None],
    dataset: str | None = "random",
    *,
    r2: float | None = 0.5,
    made: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Row:
    """A row of prediction: the agents' errors under the test policy, twice them under scripts."""
    own = cell("prediction", method, dataset, agents=tuple(range(len(errors))), **changes)
    names = SUITES[own.task].coordinates

    def agent(k: int, error: float | None) -> dict[str, Any]:
        after = {str(h): None if error is None else error * h / 50 for h in (1, 5, 10, 25, 50)}
        return {
            "agent": k, "episodes": 20, "rmse": error, "rmse_sd": 0.1, "r2": r2,
            "rmse_after_steps": after, "rmse_of_coordinates": [error] * len(names),
        }  # fmt: skip

    families = {
        "test-policy": [agent(k, error) for k, error in enumerate(errors)],
        "scripted": [agent(k, error and 2 * error) for k, error in enumerate(errors)],
    }
    results = {"coordinates": list(names), "families": families}
    return row(own, results, **(made or {}))


def rewarded(
    method: str,
    returns: Sequence[Sequence[float]],
    dataset: str | None = "random",
    *,
    rate: float | None = None,
    made: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Row:
    """A row of reward: returns of each agent's episodes, and decisions a second."""
    own = cell("reward", method, dataset, agents=tuple(range(len(returns))), **changes)
    agents = [{"agent": k, "returns": list(values)} for k, values in enumerate(returns)]
    results: dict[str, Any] = {"agents": agents}
    if rate is not None:
        results["planning"] = {
            "planner": "RandomShooting", "settings": {"candidates": 1000, "horizon": 50},
            "decisions": 400, "batches": 10, "seconds": 400 / rate,
        }  # fmt: skip
    return row(own, results, **(made or {}))


def unseen(errors: Mapping[str, Sequence[float | None]], **changes: Any) -> Row:
    """A row of unseen agents, by what is known of them."""
    count = len(next(iter(errors.values())))
    own = cell(
        "unseen", "persim", train_agents=80, **{"agents": tuple(range(80, 80 + count)), **changes}
    )
    known = [{"known": name, "rmse": list(v), "r2": [0.5] * count} for name, v in errors.items()]
    return row(own, {"agents": list(own.agents), "known": known})


def latent(r2: float, **changes: Any) -> Row:
    """A row of latent factors: two covariates, the second ever as well known."""
    own = cell("latent", "persim", **changes)
    names = list(SUITES[own.task].population({"size": 5, "seed": 0}).names)
    rng = np.random.default_rng(own.seed)
    true = rng.uniform(size=(40, len(names)))
    results = {
        "agents": 40, "names": names, "r2": dict.fromkeys(names, r2),
        "rank_correlation": dict.fromkeys(names, 0.9), "explained_by_components": [0.8, 0.1],
        "covariates": true.tolist(), "predicted": (true + rng.normal(0, 0.05, true.shape)).tolist(),
        "components": rng.normal(size=(40, 2)).tolist(),
    }  # fmt: skip
    return row(own, results)


def write(folder: Path, rows: Iterable[Row]) -> Path:
    """A benchmark's folder of rows."""
    for own in rows:
        RowFiles(folder).write(own)
    return folder


def everything(
    seeds: int = 3,
    tasks: Sequence[str] = ("mountain-car", "cartpole"),
    datasets: Sequence[str] = ("pure", "random"),
    counts: Sequence[int] = (25, 50, 100),
    agents: int = 5,
    learners: Sequence[str] = ("persim", "one-for-all"),
) -> list[Row]:
    """Rows of all experiments, the first learner by far the best."""
    rng = np.random.default_rng(0)
    found: list[Row] = []
    for task in tasks:
        worst = {"mountain-car": -500.0, "cartpole": 10.0, "half-cheetah": -200.0}[task]
        best = {"mountain-car": -100.0, "cartpole": 200.0, "half-cheetah": 4000.0}[task]

        def returns(share: float, worst: float = worst, best: float = best) -> list[list[float]]:
            noise = rng.normal(0, 0.03, (agents, 6))
            skill = np.clip(share - 0.05 * np.arange(agents)[:, None] + noise, 0, 1)
            return (worst + (best - worst) * skill).tolist()  # type: ignore[no-any-return]

        def errors(scale: float) -> list[float]:
            return (scale * np.exp(rng.normal(0, 0.1, agents))).tolist()  # type: ignore[no-any-return]

        for seed in range(seeds):
            own = {"task": task, "seed": seed}
            found.append(predicted("persistence", errors(0.5), None, **own))
            for method, share in (("test-policy", 0.6), ("random", 0.1)):
                found.append(rewarded(method, returns(share), None, **own))
            for planner, rate in (("default", 900.0), ("paper", 20.0)):
                more = {**own, "planner": planner}
                found.append(rewarded("true", returns(1), None, rate=3 * rate, **more))
                for k, method in enumerate(learners):
                    found.append(rewarded(method, returns(0.9 - 0.2 * k), rate=rate, **more))
            for dataset in datasets:
                for k, method in enumerate(learners):
                    found.append(predicted(method, errors(1e-4 * 30**k), dataset, **own))
                    if dataset != "random":
                        made = rewarded(
                            method, returns(0.8 - 0.2 * k), dataset, rate=900, planner="default",
                            **own,
                        )  # fmt: skip
                        found.append(made)
                found.append(latent(0.99, dataset=dataset, **own))
            for count in counts:
                if count != 100:
                    few = predicted("persim", errors(0.01 / count), train_agents=count, **own)
                    found.append(few)
            by_known = {"mean": 0.6, "covariates": 2e-4, "1": 0.1, "10": 0.01, "50": 1e-3}
            some = {k: rng.uniform(0.5 * v, v, 8).tolist() for k, v in by_known.items()}
            found.append(unseen(some, **own))
    return found


def named(tables: list[Table], name: str) -> Table:
    return next(table for table in tables if table.name == name)


def at(table: Table, column: str, *start: str) -> str:
    """The cell of a column, in the row that begins so."""
    row = next(row for row in table.rows if row[: len(start)] == start)
    return row[table.head.index(column)]


def seeds(make: Any, method: str, values: list[Any], *rest: Any, **options: Any) -> list[Row]:
    return [make(method, own, *rest, seed=k, **options) for k, own in enumerate(values)]
