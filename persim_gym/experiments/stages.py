"""Runs one cell: its stages are data, fit and run (judging), each of them timed."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from persim_gym.experiments import latent, prediction, reward, unseen
from persim_gym.experiments.cell import Cell
from persim_gym.experiments.context import Context, Model, context_of
from persim_gym.experiments.methods import find_method
from persim_gym.experiments.row_files import Row, machine, versions
from persim_gym.progress import OnProgress
from persim_gym.writing import finite

#: Called with a stage, how much of it is done, and of how much.
OnStage = Callable[[str, int, int], None]


#: What judges a model, by experiment.
JUDGES: dict[str, Callable[[Context, Model, OnProgress | None], dict[str, Any]]] = {
    "prediction": prediction.judge,
    "reward": reward.judge,
    "latent": latent.judge,
    "unseen": unseen.judge,
}


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
        on_stage: Called at the stages ``data``, ``fit`` and ``run``, first when they begin.

    Raises:
        ValueError: If the method cannot take part in the experiment.
    """
    method = find_method(cell.method, cell.experiment)
    if threads is not None:
        torch.set_num_threads(threads)
    clock = _Clock(on_stage)
    context = context_of(cell, Path(folder) / "models", device, clock.progress("fit"))
    context = dataclasses.replace(context, data=clock.timed("data", context.data))
    model = clock.timed("fit", method.make)(context)
    judge = clock.timed("run", JUDGES[cell.experiment])
    results = {**judge(context, model, clock.progress("run")), "fit": model.facts}
    if model.training is not None:
        results["training"] = model.training
    return Row(
        cell=cell,
        results=finite(results),
        seconds=clock.seconds,
        versions=versions(),
        machine=machine(device, torch.get_num_threads()),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


class _Clock:
    """Time of each stage, one within another counted once, and who is called at them."""

    def __init__(self, on_stage: OnStage | None) -> None:
        self.seconds: dict[str, float] = {}
        self._inner = 0.0
        self._on_stage = on_stage

    def progress(self, stage: str) -> OnProgress | None:
        report = self._on_stage
        return None if report is None else functools.partial(report, stage)

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
