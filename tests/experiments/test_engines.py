"""Cells in processes of their own and on Ray: the same rows, and nobody who takes others along."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from persim_gym import checks
from persim_gym.experiments import engines, run_cells
from persim_gym.experiments.cell import Cell
from persim_gym.experiments.engines import Done, ProcessEngine, Settings, make_engine
from persim_gym.experiments.row_files import Row, RowFiles
from persim_gym.experiments.runner import Watch, failure_path, model_path
from tests.experiments.paper_cells import quick, tiny

ROOT = Path(__file__).parents[2]

#: Minutes of work: what only ends in time if it is stopped.
LONG = quick(
    experiment="reward", method="true", planner="default", episodes=300, max_episode_steps=None
)


def results(folder: Path) -> dict[str, Any]:
    """All but how long a fit took."""
    return {
        row.cell.key: {name: part for name, part in row.results.items() if name != "fit"}
        for row in RowFiles(folder)
    }


def until_done(engine: ProcessEngine) -> list[Done]:
    while True:
        if done := engine.wait(600.0):
            return done


# -- processes -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_give_the_rows_of_one(recorded: Path, tmp_path: Path) -> None:
    cells = [tiny(), tiny("latent", episodes=1), quick(), tiny(fit=(("rank", 2),))]
    broken = model_path(tmp_path / "two", cells[3])
    assert broken is not None
    broken.mkdir(parents=True)
    (broken / "simulator.safetensors").write_text("no simulator")
    stages: set[tuple[Cell, str]] = set()
    running: set[Cell] = set()
    together: list[int] = []

    class Told(Watch):
        def started(self, cell: Cell) -> None:
            running.add(cell)
            together.append(len(running))

        def stage(self, cell: Cell, stage: str, done: int, of: int) -> None:
            assert cell in running
            stages.add((cell, stage))

        def ended(self, done: Done, seconds: float, left: float) -> None:
            running.remove(done.cell)

    done = run_cells(cells, tmp_path / "two", jobs=2, threads=1, watch=Told())
    run_cells(cells[:3], tmp_path / "one", threads=1)
    assert max(together) == 2
    assert results(tmp_path / "two") == results(tmp_path / "one")
    assert {(cells[0], "data"), (cells[0], "fit"), (cells[0], "run")} <= stages
    (failed,) = [one for one in done if one.row is None]
    assert failed.cell == cells[3]
    assert "Traceback" in failure_path(tmp_path / "two", failed.cell).read_text()
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_a_process_that_is_killed_fails_its_cell_alone(tmp_path: Path) -> None:
    def kill(cell: Cell, stage: str, done: int, of: int) -> None:
        if cell == LONG and stage == "run":
            (child,) = multiprocessing.active_children()
            child.kill()

    engine = ProcessEngine(2, Settings(str(tmp_path), threads=1), kill)
    try:
        engine.start(LONG)
        (done,) = until_done(engine)
        assert done.cell == LONG
        assert done.row is None
        assert done.error.startswith("the cell's process was killed by SIGKILL, most likely for")
        engine.start(quick())
        (done,) = until_done(engine)
        assert done.row is not None
        assert done.row.machine["threads"] == 1
        (idle,) = multiprocessing.active_children()
        idle.kill()
        idle.join()
        engine.start(quick(seed=1))  # another process, because that one is gone
        (done,) = until_done(engine)
        assert done.row is not None
    finally:
        engine.close()
    assert multiprocessing.active_children() == []


def test_processes_that_cannot_begin_end_the_run(tmp_path: Path) -> None:
    engine = ProcessEngine(2, Settings(str(tmp_path)), lambda *_: None)
    try:
        engine.start(quick())
        (child,) = multiprocessing.active_children()
        child.kill()
        with pytest.raises(RuntimeError, match="if __name__ == '__main__':"):
            until_done(engine)
    finally:
        engine.close()


def test_what_a_process_starts_with(monkeypatch: pytest.MonkeyPatch) -> None:
    for before in (None, "7"):
        if before is None:
            monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        else:
            monkeypatch.setenv("OMP_NUM_THREADS", before)
        with engines._handed_down(3):
            assert os.environ["OMP_NUM_THREADS"] == "3"
            assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        assert os.environ.get("OMP_NUM_THREADS") == before
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_threads_are_shared_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def make(name: str, jobs: int | None, settings: Settings, on_stage: Any) -> None:
        asked.append((name, jobs, settings.threads))
        raise RuntimeError("enough")

    monkeypatch.setattr("persim_gym.experiments.runner.make_engine", make)
    monkeypatch.setattr("persim_gym.checks.cores", lambda: 9)
    for jobs, threads in ((None, None), (1, None), (2, None), (20, None), (2, 3)):
        with pytest.raises(RuntimeError, match="enough"):
            run_cells([quick()], tmp_path, jobs=jobs, threads=threads)
    assert [threads for _, _, threads in asked] == [None, None, 4, 1, 3]
    assert checks.cores() >= 1


def test_one_job_runs_here(tmp_path: Path) -> None:
    engine = make_engine("local", None, Settings(str(tmp_path)), lambda *_: None)
    assert isinstance(engine, engines.HereEngine)
    engine = make_engine("local", 2, Settings(str(tmp_path)), lambda *_: None)
    assert isinstance(engine, engines.ProcessEngine)
    assert multiprocessing.active_children() == []  # none before the first cell


SCRIPT = """
import os, signal, sys

if __name__ == "__main__":
    # A shell that runs the tests in the background has them ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from persim_gym.experiments import Cell
    from persim_gym.experiments import run_cells
    from persim_gym.experiments.runner import Watch

    class Told(Watch):
        def started(self, cell):
            if {early}:
                os.{how}

        def stage(self, cell, stage, done, of):
            if stage == "run":
                os.{how}

    cell = Cell.from_json({cell})
    run_cells([cell], sys.argv[1], jobs=2, threads=1, watch=Told())
"""


def ended(tmp_path: Path, how: str, early: bool) -> tuple[int, str]:
    """Exit code and stderr of a run that signals itself, when all its processes are gone.

    It does so when its process for cells has said that it runs, or before that one has begun.
    """
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(how=how, early=early, cell=LONG.to_json()))
    # Processes hold the pipe as long as they live.
    run = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "out")],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        start_new_session=True,
    )  # fmt: skip
    return run.returncode, run.stderr


@pytest.mark.slow
@pytest.mark.parametrize("early", [False, True])
def test_processes_end_with_a_parent_that_is_killed(early: bool, tmp_path: Path) -> None:
    code, _ = ended(tmp_path, "kill(os.getpid(), signal.SIGKILL)", early)
    assert code == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("early", [False, True])
def test_ctrl_c_ends_all_processes_and_one_alone_answers(early: bool, tmp_path: Path) -> None:
    code, said = ended(tmp_path, "killpg(0, signal.SIGINT)", early)
    assert code == -signal.SIGINT
    assert said.count("Traceback") == said.count("KeyboardInterrupt") == 1


# -- Ray -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # files that Ray leaves to be closed
def test_two_workers_of_ray_give_the_rows_of_this_process(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # for the workers
    cells = [tiny(), quick(seed=3)]
    broken = tiny(fit=(("rank", 2),))
    place = model_path(tmp_path / "ray", broken)
    assert place is not None
    place.mkdir(parents=True)
    (place / "simulator.safetensors").write_text("no simulator")
    done = run_cells([*cells, broken], tmp_path / "ray", engine="ray", jobs=2, threads=1)
    run_cells(cells, tmp_path / "here", threads=1)
    assert results(tmp_path / "ray") == results(tmp_path / "here")
    assert {row.machine["threads"] for row in RowFiles(tmp_path / "ray")} == {1}
    (failed,) = [one for one in done if one.row is None]
    assert failed.cell == broken
    assert "Traceback" in failed.trace


class FakeRay:
    """As much of Ray as the engine uses, with tasks that end when they are waited for."""

    class exceptions:
        class RayError(Exception):
            pass

    def __init__(self, **resources: float) -> None:
        self.resources, self.said = resources, []
        self.broken = False

    def is_initialized(self) -> bool:
        return False

    def init(self, **options: Any) -> None:
        self.said.append(("init", options))

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def remote(self, **needs: Any) -> Callable[[Any], Any]:
        self.said.append(("needs", needs))

        class Task:
            def __init__(self, function: Any) -> None:
                self.remote = lambda *args: f"{function.__name__} of {len(args)}"

        return Task

    def cancel(self, reference: Any, force: bool) -> None:
        self.said.append(("cancel", force))

    def shutdown(self) -> None:
        self.said.append(("shutdown", None))


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay(CPU=8.0, GPU=2.0)
    monkeypatch.setitem(sys.modules, "ray", fake)  # type: ignore[arg-type]
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return fake


def test_a_cluster_is_joined_and_not_another_begun(
    ray: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(str(tmp_path), threads=2)
    engine = engines.RayEngine(3, settings)
    assert engine.slots == 3
    assert ray.said[0][1]["num_cpus"] == 6
    assert ray.said[1][1] == {"num_cpus": 2, "max_retries": 0}
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    ray.said.clear()
    assert engines.RayEngine(None, settings).slots == 4
    assert ray.said[0][1]["address"] == "auto"
    assert "num_cpus" not in ray.said[0][1]


def test_gpus_are_shared_out(ray: FakeRay, tmp_path: Path) -> None:
    for jobs, share in ((1, 1.0), (2, 1.0), (8, 0.25), (3, 0.666)):
        engines.RayEngine(jobs, Settings(str(tmp_path), "cuda"))
        assert ray.said[-1][1]["num_gpus"] == share
    ray.resources = {"CPU": 8.0}
    with pytest.raises(ValueError, match="no GPU in the Ray cluster for device cuda"):
        engines.RayEngine(1, Settings(str(tmp_path), "cuda"))


def test_a_run_that_stops_cancels_its_tasks(ray: FakeRay, tmp_path: Path) -> None:
    engine = engines.RayEngine(2, Settings(str(tmp_path)))
    engine.start(quick())
    engine.close()
    assert ray.said[-2:] == [("cancel", True), ("shutdown", None)]


def test_a_worker_that_is_lost_fails_its_cell(
    ray: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(reference: Any) -> None:
        raise ray.exceptions.RayError("the worker died\nunexpectedly")

    monkeypatch.setattr(FakeRay, "wait", lambda self, refs, timeout: (refs, []), raising=False)
    monkeypatch.setattr(FakeRay, "get", staticmethod(lost), raising=False)
    engine = engines.RayEngine(2, Settings(str(tmp_path)))
    engine.start(quick())
    (done,) = engine.wait(1.0)
    assert done.row is None
    assert done.error == "RayError: the worker died unexpectedly"
    assert isinstance(torch.get_num_threads(), int)


def test_an_error_is_an_answer(tmp_path: Path) -> None:
    settings = Settings(str(tmp_path))
    assert isinstance(engines._run(quick(), settings).row, Row)
    done = engines._run(quick(method="guess"), settings)
    assert done.row is None
    assert done.error.startswith("ValueError: unknown method 'guess'")
    assert done.trace.startswith("Traceback")
