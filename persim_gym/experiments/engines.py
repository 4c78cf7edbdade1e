"""Where cells are run: in this process, in processes beside each other, or on Ray.

An engine takes cells as long as it has a slot free, and gives back what became of them. It knows
nothing of rows on disk, of order or of progress: see :mod:`~persim_gym.experiments.runner`.
Torch is imported where cells are run, so that a process can choose its number of threads before.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any, Protocol

from persim_gym import checks
from persim_gym.experiments.cell import Cell
from persim_gym.experiments.row_files import Row

ENGINES = ("local", "ray")

#: A stage of a cell, how much of it is done, and of how much.
Stage = tuple[str, int, int]
#: Called with a cell and its stage's parts.
OnCellStage = Callable[[Cell, str, int, int], None]

#: Seconds between two reports of a stage.
PACE = 0.2


@dataclass(frozen=True, slots=True)
class Settings:
    """What all cells of a run share.

    Attributes:
        folder: The benchmark's folder.
        device: Where to compute.
        threads: Threads of torch for each cell; ``None`` leaves them as they are.
    """

    folder: str
    device: str = "cpu"
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """A cell that was run.

    Attributes:
        cell: The cell.
        row: What came of it; ``None`` if it failed.
        error: What went wrong, in one line; ``""`` if nothing did.
        trace: The same with the traceback.
    """

    cell: Cell
    row: Row | None
    error: str = ""
    trace: str = ""


class Engine(Protocol):
    """Runs cells."""

    slots: int

    def start(self, cell: Cell) -> None:
        """Begin with a cell; there is a slot for it."""

    def wait(self, seconds: float) -> list[Done]:
        """What was done meanwhile; nothing if nothing is before the time is over."""

    def close(self) -> None:
        """Stop what still runs."""


def make_engine(name: str, jobs: int | None, settings: Settings, on_stage: OnCellStage) -> Engine:
    """The engine of a name.

    Args:
        name: ``"local"`` or ``"ray"``.
        jobs: Cells beside each other; by default one, and on a Ray cluster as many as it has
            processors for.
        settings: What all cells share.
        on_stage: Called at stages.

    Raises:
        ImportError: If Ray is not installed.
        ValueError: If there is no such engine.
    """
    check_engine(name)
    if name == "ray":
        return RayEngine(jobs, settings)
    if jobs is None or jobs == 1:
        return HereEngine(settings, on_stage)
    return ProcessEngine(jobs, settings, on_stage)


def check_engine(name: str) -> None:
    """Check that there is an engine of a name; errors as of :func:`make_engine`."""
    if name not in ENGINES:
        raise ValueError(checks.unknown("engine", name, ENGINES))
    if name == "ray" and importlib.util.find_spec("ray") is None:
        raise ImportError("the engine 'ray' needs Ray: pip install 'persim-gym[ray]'")


def _run(cell: Cell, settings: Settings, on_stage: Any = None) -> Done:
    """Run a cell, in whatever process; an error is an answer, too."""
    from persim_gym.experiments.stages import run_cell

    try:
        row = run_cell(cell, settings.folder, settings.device, settings.threads, on_stage)
    except Exception as error:  # the others must go on
        return _failed(cell, error)
    return Done(cell, row)


def _failed(cell: Cell, error: BaseException) -> Done:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return Done(cell, None, text, "".join(traceback.format_exception(error)))


# -- in this process -------------------------------------------------------------------------------


class HereEngine:
    """One cell after the other, in this process: what fails can be followed in a debugger."""

    slots = 1

    def __init__(self, settings: Settings, on_stage: OnCellStage) -> None:
        self._settings, self._on_stage = settings, on_stage
        self._cells: list[Cell] = []

    def start(self, cell: Cell) -> None:
        """See :class:`Engine`."""
        self._cells.append(cell)

    def wait(self, seconds: float) -> list[Done]:
        """Run the cell that was started, however long that takes."""
        cell = self._cells.pop()
        return [_run(cell, self._settings, functools.partial(self._on_stage, cell))]

    def close(self) -> None:
        """Nothing runs."""


# -- in processes of this machine ------------------------------------------------------------------


class ProcessEngine:
    """Cells beside each other, each in a process that lives for many of them.

    Each process is a pool of its own: one that is killed fails the cell it was at, and another
    takes its place. Processes end with this one, however that ends.
    """

    def __init__(self, jobs: int, settings: Settings, on_stage: OnCellStage) -> None:
        self.slots = jobs
        self._settings, self._on_stage = settings, on_stage
        self._idle: list[_Worker] = []
        self._busy: dict[Future[Done], tuple[_Worker, Cell]] = {}
        self._first: Future[int] | None = None

    def start(self, cell: Cell) -> None:
        """See :class:`Engine`."""
        self._idle = [worker for worker in self._idle if worker.process.is_alive()]
        worker = self._idle.pop() if self._idle else _Worker(self._settings.threads or 1)
        self._first = self._first or worker.ready
        try:
            future = worker.pool.submit(_work, cell, self._settings)
        except BrokenProcessPool as error:  # it has ended in this very moment
            future = Future()
            future.set_exception(error)
        self._busy[future] = worker, cell

    def wait(self, seconds: float) -> list[Done]:
        """See :class:`Engine`; stages are reported while it waits."""
        until = time.monotonic() + seconds
        while True:
            left = until - time.monotonic()
            ended, _ = futures.wait(self._busy, min(left, PACE), futures.FIRST_COMPLETED)
            for worker, cell in self._busy.values():
                while not worker.stages.empty():
                    self._on_stage(cell, *worker.stages.get())
            if ended or left <= PACE:
                return [self._ended(future) for future in ended]

    def _ended(self, future: Future[Done]) -> Done:
        worker, cell = self._busy.pop(future)
        if not isinstance(future.exception(), BrokenProcessPool):
            self._idle.append(worker)
            return future.result()
        code = worker.end()
        if self._first is not None and self._first.exception():
            raise RuntimeError(
                f"the processes for cells end before they begin (exit code {code}): a script that "
                "runs cells side by side must do so below `if __name__ == '__main__':`"
            )
        how = f"ended with exit code {code}"
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        text = f"the cell's process {how}"
        if code == -getattr(signal, "SIGKILL", 9):
            text += ", most likely for want of memory: run fewer cells beside each other (jobs)"
        return Done(cell, None, text, text + "\n")

    def close(self) -> None:
        """See :class:`Engine`."""
        for worker in (*self._idle, *(worker for worker, _ in self._busy.values())):
            worker.end()
        self._idle, self._busy = [], {}


class _Context(SpawnContext):
    """Keeps hold of the process that a pool starts. Not fork: torch's threads do not survive it."""

    process: SpawnProcess

    def Process(self, *args: Any, **options: Any) -> SpawnProcess:  # type: ignore[override]
        """A process, not started."""
        self.process = SpawnProcess(*args, **options)
        return self.process


class _Worker:
    """A pool of one process, and a queue for the stages of its cells.

    Nothing is shared with other workers: a process that is killed holds no lock that they need.
    """

    def __init__(self, threads: int) -> None:
        context = _Context()
        self.stages: SimpleQueue[Stage] = context.SimpleQueue()
        self.pool = ProcessPoolExecutor(1, context, _begin, (self.stages,))
        with _handed_down(threads):
            self.ready = self.pool.submit(int)  # starts the process
        self.process = context.process

    def end(self) -> int | None:
        """End the process, and return its exit code."""
        self.process.kill()
        self.pool.shutdown()
        return self.process.exitcode


@contextlib.contextmanager
def _handed_down(threads: int) -> Iterator[None]:
    """What a process that is started inside has from its first moment on.

    Its number of threads, which libraries read when they are imported; and deafness to Ctrl-C,
    which a terminal sends to all processes, while this one alone should answer.
    """
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(threads)
    mask = getattr(signal, "pthread_sigmask", None)  # not on Windows
    if mask:  # begun by the first process that is started, it lets Ctrl-C through again
        resource_tracker.ensure_running()
    held = mask(signal.SIG_BLOCK, {signal.SIGINT}) if mask else set()
    try:
        yield
    finally:
        if mask:
            mask(signal.SIG_SETMASK, held)
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


#: In a process for cells: where it reports stages.
_stages: SimpleQueue[Stage]


def _begin(stages: SimpleQueue[Stage]) -> None:
    """The first thing that a process for cells does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    global _stages
    _stages = stages


def _work(cell: Cell, settings: Settings) -> Done:
    last = 0.0

    def report(stage: str, done: int, of: int) -> None:
        nonlocal last
        if done == 0 or time.monotonic() - last > PACE:
            last = time.monotonic()
            _stages.put((stage, done, of))

    return _run(cell, settings, report)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


# -- on Ray ----------------------------------------------------------------------------------------


class RayEngine:
    """Cells as tasks of Ray: on the cluster of ``RAY_ADDRESS``, else on a local Ray of its own.

    Rows come back to this process, which alone writes them. Where workers do not see this machine's
    disks, each machine records and fits what it lacks.
    """

    def __init__(self, jobs: int | None, settings: Settings) -> None:
        import ray

        self._ray: Any = ray
        threads = settings.threads or 1
        self._own = not ray.is_initialized()
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
        if self._own and os.environ.get("RAY_ADDRESS"):
            ray.init(address="auto", **quiet)
        elif self._own:
            # A Ray of one's own sends no report of its use, unless its user has asked for that.
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            beside = jobs or max(1, checks.cores() // threads)
            ray.init(num_cpus=beside * threads, include_dashboard=False, **quiet)
        total = self._ray.cluster_resources()
        processors = int(total.get("CPU", 1))
        self.slots = jobs or max(1, processors // threads)
        needs: dict[str, Any] = {"num_cpus": min(threads, processors), "max_retries": 0}
        if settings.device != "cpu":
            gpus = total.get("GPU", 0.0)
            if not gpus:
                raise ValueError(f"there is no GPU in the Ray cluster for device {settings.device}")
            # Several cells share a GPU where there are more of them than GPUs.
            needs["num_gpus"] = min(1.0, int(1000 * gpus / self.slots) / 1000)
        self._task = ray.remote(**needs)(_run_on_ray)
        self._settings = settings
        self._running: dict[Any, Cell] = {}

    def start(self, cell: Cell) -> None:
        """See :class:`Engine`."""
        names = ("MINARI_DATASETS_PATH",)
        environ = {name: os.environ[name] for name in names if name in os.environ}
        reference = self._task.remote(cell, self._settings, environ)
        self._running[reference] = cell

    def wait(self, seconds: float) -> list[Done]:
        """See :class:`Engine`."""
        ready, _ = self._ray.wait(list(self._running), timeout=seconds)
        done = []
        for reference in ready:
            cell = self._running.pop(reference)
            try:
                done.append(self._ray.get(reference))
            except self._ray.exceptions.RayError as error:  # the worker or its machine is gone
                done.append(_failed(cell, error))
        return done

    def close(self) -> None:
        """See :class:`Engine`."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running = {}
        if self._own:
            self._ray.shutdown()


def _run_on_ray(cell: Cell, settings: Settings, environ: dict[str, str]) -> Done:
    os.environ.update(environ)
    Path(settings.folder).mkdir(parents=True, exist_ok=True)
    return _run(cell, settings)
