"""Where cells are run: in this process, in processes beside each other, or on Ray.

An engine takes cells as long as it has a slot free, and gives back what became of them. It knows
nothing of rows on disk, of order or of progress: see :mod:`~persim_gym.experiments.runner`.
Torch is imported where cells are run, so that a process can choose its number of threads before.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from persim_gym.experiments.cell import Cell
from persim_gym.experiments.row_files import Row

ENGINES = ("local", "ray")

#: Told of a cell, its stage, how much of the stage is done, and of how much.
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
        on_stage: Told of stages.

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
        raise ValueError(f"unknown engine {name!r}: there are {', '.join(ENGINES)}")
    if name == "ray" and importlib.util.find_spec("ray") is None:
        raise ImportError("the engine 'ray' needs Ray: pip install 'persim-gym[ray]'")


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _run(cell: dict[str, Any], settings: dict[str, Any], on_stage: Any = None) -> dict[str, Any]:
    """Run a cell, in whatever process: plain types in, a row or an error as plain types out."""
    from persim_gym.experiments.experiments import run_cell

    own = Settings(**settings)
    try:
        row = run_cell(Cell.from_json(cell), own.folder, own.device, own.threads, on_stage)
    except Exception as error:  # the others must go on
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return {"error": text, "trace": traceback.format_exc()}
    return {"row": row.to_json()}


def _done(cell: Cell, said: dict[str, Any]) -> Done:
    if "row" in said:
        return Done(cell, Row.from_json(said["row"]))
    return Done(cell, None, said["error"], said["trace"])


# -- in this process -------------------------------------------------------------------------------


class HereEngine:
    """One cell after the other, in this process: what fails can be looked at in a debugger."""

    slots = 1

    def __init__(self, settings: Settings, on_stage: OnCellStage) -> None:
        self._settings, self._on_stage = asdict(settings), on_stage
        self._cell: Cell | None = None

    def start(self, cell: Cell) -> None:
        """See :class:`Engine`."""
        self._cell = cell

    def wait(self, seconds: float) -> list[Done]:
        """Run the cell that was started, however long that takes."""
        cell, self._cell = self._cell, None
        assert cell is not None
        told = self._on_stage
        said = _run(cell.to_json(), self._settings, lambda *stage: told(cell, *stage))
        return [_done(cell, said)]

    def close(self) -> None:
        """Nothing runs."""


# -- in processes of this machine ------------------------------------------------------------------


class ProcessEngine:
    """Cells beside each other, each in a process that lives for many of them.

    A process that is killed fails the cell it was at, and another takes its place. Processes end
    with this one, however that ends.
    """

    def __init__(self, jobs: int, settings: Settings, on_stage: OnCellStage) -> None:
        self.slots = jobs
        self._settings, self._on_stage = asdict(settings), on_stage
        self._threads = settings.threads or 1
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, _Worker] = {}
        self._proven = False

    def start(self, cell: Cell) -> None:
        """See :class:`Engine`."""
        self._idle = [worker for worker in self._idle if worker.process.is_alive()]
        worker = self._idle.pop() if self._idle else _Worker(self._settings, self._threads)
        worker.cell = cell
        self._busy[worker.pipe] = worker
        # A process that dies in this very moment is noticed when the answer is waited for.
        with contextlib.suppress(OSError):
            worker.pipe.send_bytes(json.dumps(cell.to_json()).encode())

    def wait(self, seconds: float) -> list[Done]:
        """See :class:`Engine`."""
        done = []
        for pipe in wait(list(self._busy), seconds):
            assert isinstance(pipe, Connection)
            worker = self._busy[pipe]
            cell = worker.cell
            assert cell is not None
            try:
                said = json.loads(pipe.recv_bytes())
            except (EOFError, OSError):
                done.append(self._lost(worker, cell))
                continue
            if "ready" in said:
                self._proven = True
            elif "stage" in said:
                self._on_stage(cell, *said["stage"])
            else:
                self._idle.append(self._busy.pop(pipe))
                done.append(_done(cell, said))
        return done

    def _lost(self, worker: _Worker, cell: Cell) -> Done:
        del self._busy[worker.pipe]
        worker.process.join()
        code = worker.process.exitcode
        if not self._proven:
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
        workers = [*self._idle, *self._busy.values()]
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.join(5)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()
        self._idle, self._busy = [], {}


class _Worker:
    """A process for cells, and the pipe to it."""

    def __init__(self, settings: dict[str, Any], threads: int) -> None:
        # Not fork: torch's threads do not survive it.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, settings), daemon=True)
        with _handed_down(threads):
            self.process.start()
        theirs.close()
        self.cell: Cell | None = None


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


def _work(pipe: Connection, settings: dict[str, Any]) -> None:
    """The life of a process for cells."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def say(what: dict[str, Any]) -> None:
        pipe.send_bytes(json.dumps(what).encode())

    last = [0.0]

    def tell(stage: str, done: int, of: int) -> None:
        now = time.monotonic()
        if done == 0 or now - last[0] > PACE:
            last[0] = now
            say({"stage": [stage, done, of]})

    say({"ready": True})
    with contextlib.suppress(EOFError, BrokenPipeError):  # the parent has gone
        while True:
            cell = json.loads(pipe.recv_bytes())
            say(_run(cell, settings, tell))


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
        if self._own:
            _join(ray, jobs, threads)
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
        self._settings = asdict(settings)
        self._running: dict[Any, Cell] = {}

    def start(self, cell: Cell) -> None:
        """See :class:`Engine`."""
        names = ("MINARI_DATASETS_PATH",)
        environ = {name: os.environ[name] for name in names if name in os.environ}
        reference = self._task.remote(cell.to_json(), self._settings, environ)
        self._running[reference] = cell

    def wait(self, seconds: float) -> list[Done]:
        """See :class:`Engine`."""
        ready, _ = self._ray.wait(list(self._running), timeout=seconds)
        done = []
        for reference in ready:
            cell = self._running.pop(reference)
            try:
                done.append(_done(cell, self._ray.get(reference)))
            except self._ray.exceptions.RayError as error:  # the worker or its machine is gone
                text = " ".join(f"{type(error).__name__}: {error}".split())
                done.append(Done(cell, None, text, traceback.format_exc()))
        return done

    def close(self) -> None:
        """See :class:`Engine`."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running = {}
        if self._own:
            self._ray.shutdown()


def _join(ray: Any, jobs: int | None, threads: int) -> None:
    quiet = {"log_to_driver": False, "logging_level": "error"}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(address="auto", **quiet)
        return
    # A Ray of one's own sends nobody a report of its use, unless its user has asked for that.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        num_cpus=(jobs or max(1, cores() // threads)) * threads, include_dashboard=False, **quiet
    )


def _run_on_ray(
    cell: dict[str, Any], settings: dict[str, Any], environ: dict[str, str]
) -> dict[str, Any]:
    os.environ.update(environ)
    Path(settings["folder"]).mkdir(parents=True, exist_ok=True)
    return _run(cell, settings)
