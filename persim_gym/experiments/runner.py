"""Runs cells: those alone whose rows are missing, side by side, one row on disk after the other."""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from persim_gym import checks
from persim_gym.baselines.face import FILE
from persim_gym.envs.suites import SUITES
from persim_gym.experiments.baseline_methods import BEHAVIOUR
from persim_gym.experiments.cell import Cell
from persim_gym.experiments.context import context_of
from persim_gym.experiments.costs import Estimate
from persim_gym.experiments.engines import (
    Done,
    Engine,
    Settings,
    check_engine,
    make_engine,
)
from persim_gym.experiments.methods import actions_of, find_method, lacks_simulator
from persim_gym.experiments.recordings import missing_recordings, record_missing
from persim_gym.experiments.row_files import RowFiles
from persim_gym.learned.preparation import check_device
from persim_gym.offline.recorder import Recording
from persim_gym.planning.planner_choice import choose_planner
from persim_gym.store import POLICY, SIMULATOR
from persim_gym.writing import write_bytes

#: Seconds after which it is checked whether a fit that others wait for lies on disk.
PATIENCE = 1.0


class Watch:
    """Called as a run goes on; the methods do nothing, and are there to be replaced."""

    def begins(self, missing: Sequence[Cell], known: int, seconds: float) -> None:
        """All is checked: these cells are run, of so many the row is there, it takes about this."""

    def recording(self, dataset_id: str, done: int, of: int) -> None:
        """A data set is recorded."""

    def started(self, cell: Cell) -> None:
        """A cell has begun."""

    def stage(self, cell: Cell, stage: str, done: int, of: int) -> None:
        """A cell's stage, ``data``, ``fit`` or ``run``: how much is done, and of how much."""

    def ended(self, done: Done, seconds: float, left: float) -> None:
        """A cell has ended after some seconds; about so many are left of the whole."""


def run_cells(
    cells: Iterable[Cell],
    folder: str | Path,
    *,
    device: str = "cpu",
    jobs: int | None = None,
    engine: str = "local",
    threads: int | None = None,
    force: bool = False,
    watch: Watch | None = None,
) -> list[Done]:
    """Run the cells whose rows are missing.

    Everything is checked before any work, and recordings that are missing are made before the first
    cell. A row is written as soon as its cell is done, so that the same call goes on after a kill
    at any moment. A cell that fails stops no other; its traceback goes to ``failed``. Of two cells
    that learn the same from the same data the second waits, and reads what the first has fitted.

    Args:
        cells: The cells.
        folder: The benchmark's folder: ``rows``, ``models`` and ``failed`` are in it.
        device: Where to compute.
        jobs: Cells beside each other; one by default, in this process; on Ray as many as fit.
        engine: ``"local"``, or ``"ray"``: the cluster of ``RAY_ADDRESS``, else a local Ray.
        threads: Of torch for each cell; by default its choice for one, an equal share for several.
        force: Run all cells anew: their rows and fitted models are deleted first.
        watch: Called as the run goes on.

    Returns:
        What became of the cells that were run, in the order in which they ended.

    Raises:
        ImportError: If Ray is asked for and not installed.
        ValueError: If a cell, a planner, a device or an engine cannot be, the folder cannot be
            written to, or a data set of one of the ids was recorded with other options.
    """
    folder = checks.output_folder("folder", folder)
    cells = _as_cells(cells)
    settings = _checked(cells, folder, device, jobs, engine, threads)
    rows = RowFiles(folder)
    missing = cells if force else [cell for cell in cells if not rows.has(cell)]
    recordings = missing_recordings(missing)
    watch = watch or Watch()
    if not missing:
        watch.begins([], len(cells), 0.0)
        return []

    def stage(cell: Cell, name: str, done: int, of: int) -> None:
        if name == "run":
            queue.release(cell)
        watch.stage(cell, name, done, of)

    with contextlib.closing(make_engine(engine, jobs, settings, stage)) as running:
        if force:
            _clear(rows, folder, cells)
        queue = _Queue(missing, folder, in_order=running.slots == 1)
        watch.begins(missing, len(cells) - len(missing), queue.left({}, running.slots))
        _record(recordings, watch)
        return _run(queue, running, rows, folder, watch)


def _as_cells(cells: Iterable[Cell]) -> list[Cell]:
    for cell in checks.a_sequence("cells", cells):
        if not isinstance(cell, Cell):
            raise TypeError(f"cells must be cells, got {checks.shown(cell)} among them")
    return list(dict.fromkeys(cells))


def _run(
    queue: _Queue,
    engine: Engine,
    rows: RowFiles,
    folder: Path,
    watch: Watch,
) -> list[Done]:
    results: list[Done] = []
    begun: dict[Cell, float] = {}
    while queue.pending or begun:
        while len(begun) < engine.slots and (cell := queue.take()) is not None:
            begun[cell] = time.monotonic()
            watch.started(cell)
            engine.start(cell)
        for done in engine.wait(PATIENCE):
            now = time.monotonic()
            took = now - begun.pop(done.cell)
            _keep(done, rows, folder)
            queue.ended(done)
            results.append(done)
            ages = {cell: now - since for cell, since in begun.items()}
            watch.ended(done, took, queue.left(ages, engine.slots))
    return results


class _Queue:
    """The cells that have not begun, and which of them may."""

    def __init__(self, cells: Sequence[Cell], folder: Path, in_order: bool) -> None:
        self.pending = list(cells)
        fitted = (cell.fit_key for cell in cells if cell.fit_key and is_fitted(cell, folder))
        self.estimate = Estimate(fitted)
        self._folder = folder
        self._learning: dict[str, Cell] = {}
        if not in_order:
            # The long ones first: at the end no slot is idle while one that began last runs on.
            seconds = dict(zip(cells, self.estimate.of_all(cells), strict=True))
            self.pending.sort(key=lambda cell: -seconds[cell])

    def left(self, running: Mapping[Cell, float], slots: int) -> float:
        """Seconds until all is done, given for how many those that run have been running."""
        return self.estimate.left(self.pending, running, slots)

    def take(self) -> Cell | None:
        """The next cell that may begin; ``None`` if all wait for fits of others."""
        for cell in self.pending:
            key = cell.fit_key
            if key is not None and key in self._learning:
                if not is_fitted(cell, self._folder):
                    continue
                self.release(self._learning[key])
            self.pending.remove(cell)
            if key is not None and not is_fitted(cell, self._folder):
                self._learning[key] = cell
            return cell
        return None

    def release(self, cell: Cell) -> None:
        """A cell has learned what it needs: others may read it."""
        if self._free(cell):
            self.estimate.mark_fitted(cell)

    def ended(self, done: Done) -> None:
        """A cell has ended, well or not."""
        self._free(done.cell)
        if done.row is not None:
            self.estimate.learn(done.cell, done.row.seconds)

    def _free(self, cell: Cell) -> bool:
        key = cell.fit_key
        learned_here = key is not None and self._learning.get(key) == cell
        if key is not None and learned_here:
            del self._learning[key]
        return learned_here


def _keep(done: Done, rows: RowFiles, folder: Path) -> None:
    note = failure_path(folder, done.cell)
    if done.row is None:
        write_bytes(note, f"{json.dumps(done.cell.to_json())}\n{done.trace}".encode())
    else:
        rows.write(done.row)
        note.unlink(missing_ok=True)


def failure_path(folder: str | Path, cell: Cell) -> Path:
    """Where a cell and its traceback are, if it has failed and not succeeded since."""
    return Path(folder) / "failed" / f"{cell.key}.txt"


def model_path(folder: str | Path, cell: Cell) -> Path | None:
    """Where the fitted model of a cell is, or will be; ``None`` if it learns nothing."""
    return None if cell.fit_key is None else Path(folder) / "models" / cell.fit_key


def is_fitted(cell: Cell, folder: Path) -> bool:
    """Whether all that a cell learns is on disk already."""
    place = model_path(folder, cell)
    if place is None or lacks_simulator(context_of(cell, place.parent)):
        return False
    each = [place / f"agent-{agent}" for agent in cell.agents]
    if any(own.exists() for own in each):
        return all((own / FILE).is_file() or (own / POLICY).is_file() for own in each)
    return any((place / own).is_file() for own in (FILE, SIMULATOR, f"{BEHAVIOUR}/{FILE}"))


def _clear(rows: RowFiles, folder: Path, cells: Sequence[Cell]) -> None:
    # All of it before the first cell: a run that is killed goes on with what it had not yet made.
    for cell in cells:
        rows.delete(cell)
        failure_path(folder, cell).unlink(missing_ok=True)
        if (place := model_path(folder, cell)) is not None:
            shutil.rmtree(place, ignore_errors=True)


def _record(recordings: Sequence[Recording], watch: Watch) -> None:
    for recording in recordings:
        report = functools.partial(watch.recording, recording.dataset_id)
        report(0, 1)
        record_missing(recording, report)
        report(1, 1)


# -- checks ----------------------------------------------------------------------------------------


def _checked(
    cells: Sequence[Cell],
    folder: Path,
    device: str,
    jobs: int | None,
    engine: str,
    threads: int | None,
) -> Settings:
    checks.text("device", device)
    for name, value in (("jobs", jobs), ("threads", threads)):
        if value is not None:
            checks.integer(name, value, 1, 1024)  # more is a mistake, and no machine begins it
    check_engine(engine)
    for cell in cells:
        check_cell(cell)
    if engine == "local":
        check_device(device)
        if threads is None and jobs is not None and jobs > 1:
            threads = max(1, checks.cores() // jobs)
    return Settings(str(folder.resolve()), device, threads)


def check_cell(cell: Cell) -> None:
    """Check that a cell can be run, as far as that is known without running it.

    Raises:
        ValueError: If its method does not exist or cannot take part in the experiment, the method
            or the planner does not suit the cell, or an option of the fit is none.
    """
    method = find_method(cell.method, cell.experiment)
    if method.learns and cell.dataset is None:
        raise ValueError(f"{method.name} learns from data: a cell of it needs a data set")
    if not method.learns and (cell.dataset is not None or cell.fit):
        raise ValueError(f"{method.name} learns nothing: a cell of it has neither data nor fit")
    if not method.suits(cell.task):
        raise ValueError(
            f"{method.name} learns {method.actions} actions, and those of {cell.task} are "
            f"{actions_of(cell.task)}: leave it out"
        )
    plans = method.plans and cell.experiment == "reward"
    for name, value in (("planner", cell.planner), ("penalty", cell.penalty)):
        if value is not None and not plans:
            raise ValueError(f"{cell.describe()} plans nothing, but has {name} {value!r}")
    if plans:
        choose_planner(SUITES[cell.task].task(), cell.planner or "default")
    if cell.fit:
        method.check(cell)
