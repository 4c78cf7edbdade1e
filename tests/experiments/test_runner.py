"""Cells run, go on after a kill, fail without stopping others; all is checked before any work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import minari
import pytest

from persim_gym.experiments import engines, run_cells, runner
from persim_gym.experiments.cell import Cell
from persim_gym.experiments.engines import Done, HereEngine
from persim_gym.experiments.recordings import recording_of
from persim_gym.experiments.row_files import Row, RowFiles
from persim_gym.experiments.runner import Watch, failure_path, model_path
from persim_gym.learned.simulator import PerSim
from persim_gym.offline import record
from tests.experiments.paper_cells import quick, row_of, tiny

CELLS = [quick(), quick(seed=1), quick(seed=2)]

Runs = list[Cell]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Nothing is run: each cell has a row at once, or fails where its seed is 13."""
    seen: Runs = []

    def run(cell: Cell, *_: Any) -> Row:
        seen.append(cell)
        if cell.seed == 13:
            raise RuntimeError("thirteen\nis too many")
        return row_of(cell)

    monkeypatch.setattr("persim_gym.experiments.stages.run_cell", run)
    return seen


# -- which cells are run ---------------------------------------------------------------------------


def test_rows_that_are_there_are_not_made_again(runs: Runs, tmp_path: Path) -> None:
    done = run_cells([*CELLS[:2], CELLS[0]], tmp_path)
    assert runs == CELLS[:2]
    assert [one.cell for one in done] == CELLS[:2]
    assert [row.cell for row in RowFiles(tmp_path)] == sorted(CELLS[:2], key=lambda cell: cell.key)
    run_cells(CELLS, tmp_path)
    assert runs == CELLS
    assert run_cells(CELLS, tmp_path) == []


def test_a_damaged_row_is_made_again(runs: Runs, tmp_path: Path) -> None:
    run_cells(CELLS, tmp_path)
    path = RowFiles(tmp_path).path(CELLS[1])
    path.write_text(path.read_text()[:50])
    with pytest.warns(UserWarning, match=f"{path.name} is damaged"):
        run_cells(CELLS, tmp_path)
    assert runs == [*CELLS, CELLS[1]]
    assert len(list(RowFiles(tmp_path))) == 3


def test_a_failure_stops_no_other_and_is_tried_again(runs: Runs, tmp_path: Path) -> None:
    bad = quick(seed=13)
    done = run_cells([CELLS[0], bad, CELLS[1]], tmp_path)
    assert [one.row is None for one in done] == [False, True, False]
    assert done[1].error == "RuntimeError: thirteen is too many"
    note = failure_path(tmp_path, bad)
    assert note == tmp_path / "failed" / f"{bad.key}.txt"
    assert "Traceback" in note.read_text()
    assert "thirteen\nis too many" in note.read_text()
    assert not RowFiles(tmp_path).has(bad)
    assert run_cells([bad], tmp_path)[0].row is None
    assert runs.count(bad) == 2


def test_a_success_takes_the_note_of_failure_away(runs: Runs, tmp_path: Path) -> None:
    note = failure_path(tmp_path, CELLS[0])
    note.parent.mkdir()
    note.write_text("old")
    run_cells(CELLS, tmp_path)
    assert not note.exists()


def test_force_makes_all_anew_models_too(
    runs: Runs, tmp_path: Path, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [tiny(), CELLS[0]]
    run_cells(cells, tmp_path)
    model = model_path(tmp_path, tiny())
    assert model is not None
    model.mkdir(parents=True)
    (model / "simulator.safetensors").write_text("old")

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(HereEngine, "wait", killed)
        with pytest.raises(KeyboardInterrupt):
            run_cells(cells, tmp_path, force=True)
    # So that the next run, forced or not, makes what this one has not made.
    assert not model.exists()
    assert list(RowFiles(tmp_path)) == []
    run_cells(cells, tmp_path, force=True)
    assert runs == [*cells, *cells]


def test_a_watch_is_called_in_order(runs: Runs, tmp_path: Path) -> None:
    calls: list[Any] = []

    class Calls(Watch):
        def begins(self, missing: Sequence[Cell], known: int, seconds: float) -> None:
            calls.append(("begins", list(missing), known, seconds > 0))

        def started(self, cell: Cell) -> None:
            calls.append(("started", cell))

        def ended(self, done: Done, seconds: float, left: float) -> None:
            calls.append(("ended", done.cell, left > 0))

    run_cells(CELLS[:1], tmp_path)
    run_cells(CELLS, tmp_path, watch=Calls())
    assert calls == [
        ("begins", CELLS[1:], 1, True),
        ("started", CELLS[1]), ("ended", CELLS[1], True),
        ("started", CELLS[2]), ("ended", CELLS[2], False),
    ]  # fmt: skip
    calls.clear()
    run_cells(CELLS, tmp_path, watch=Calls())
    assert calls == [("begins", [], 3, False)]


# -- recordings ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_is_missing_is_recorded_before_the_first_cell(
    runs: Runs, tmp_path: Path, root: Path
) -> None:
    calls: list[tuple[str, int, int]] = []

    class Calls(Watch):
        def recording(self, dataset_id: str, done: int, of: int) -> None:
            calls.append((dataset_id, done, of))

        def started(self, cell: Cell) -> None:
            assert minari.list_local_datasets()

    cells = [tiny(task="mountain-car"), tiny("latent", task="mountain-car", episodes=1)]
    run_cells(cells, tmp_path, watch=Calls())
    assert set(minari.list_local_datasets()) == {"persim/mountain-car/random-v0"}
    assert {name for name, _, _ in calls} == {"persim/mountain-car/random-v0"}
    assert calls[0][1:] == (0, 1)
    assert calls[-1][1:] == (1, 1)
    assert len(calls) > 100


@pytest.mark.slow
def test_another_run_may_record_the_same_meanwhile(runs: Runs, tmp_path: Path, root: Path) -> None:
    cell = tiny()

    class Other(Watch):
        def recording(self, dataset_id: str, done: int, of: int) -> None:
            if (done, of) == (0, 1):
                recording_of(cell).run(progress=False)

    assert [done.cell for done in run_cells([cell], tmp_path, watch=Other())] == [cell]


def test_a_data_set_with_other_options_is_refused(runs: Runs, tmp_path: Path, root: Path) -> None:
    record("cartpole", agents=2, max_episode_steps=5, progress=False)
    with pytest.raises(ValueError, match=r"agents 0-1 instead of 0-499.*datasets delete persim/c"):
        run_cells([tiny()], tmp_path)
    assert runs == []


# -- checks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        (quick(method="guess"), "unknown method 'guess'"),
        (quick(experiment="latent"), "persistence takes part in prediction, not in latent"),
        (tiny(dataset=None, fit=()), "persim learns from data"),
        (tiny(method="persistence", fit=()), "persistence learns nothing"),
        (tiny("prediction", planner="default"), "plans nothing, but has planner 'default'"),
        (quick(experiment="reward", method="random", penalty=1.0), "plans nothing, but has pen"),
        (tiny("reward", planner="cem"), "cem does not plan discrete actions"),
        (tiny("reward", planner="guess"), "unknown planner 'guess'"),
        (tiny(fit=(("colour", 1),)), "unknown option 'colour' of a fit"),
    ],
)
def test_cells_that_cannot_be_run(runs: Runs, tmp_path: Path, cell: Cell, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        run_cells([CELLS[0], cell], tmp_path / "never")
    assert runs == []
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"engine": "abacus"}, "unknown engine 'abacus': there are local, ray"),
        ({"device": "abacus"}, "device 'abacus' is not available"),
        ({"jobs": 0}, "jobs must be at least 1"),
        ({"threads": 0}, "threads must be at least 1"),
    ],
)
def test_options_that_cannot_be(
    runs: Runs, tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        run_cells(CELLS, tmp_path, **options)
    with pytest.raises(TypeError, match="jobs must be an integer"):
        run_cells(CELLS, tmp_path, jobs=2.0)  # type: ignore[arg-type]
    assert runs == []


def test_a_folder_that_cannot_be_written_to(runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"folder .* cannot be"):
        run_cells(CELLS, tmp_path / "file" / "below")
    assert runs == []


def test_ray_that_is_not_installed(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'persim-gym\[ray\]'"):
        run_cells(CELLS, tmp_path, engine="ray")


# -- order -----------------------------------------------------------------------------------------


class FakeEngine:
    """Runs nothing; a test says when which cell has ended."""

    def __init__(self, slots: int, script: Callable[[FakeEngine], list[Done]]) -> None:
        self.slots, self.script = slots, script
        self.running: list[Cell] = []
        self.started: list[Cell] = []
        self.stage: Any = None
        self.closed = False

    def start(self, cell: Cell) -> None:
        assert len(self.running) < self.slots
        self.running.append(cell)
        self.started.append(cell)

    def wait(self, seconds: float) -> list[Done]:
        done = self.script(self)
        for one in done:
            self.running.remove(one.cell)
        return done

    def close(self) -> None:
        self.closed = True


def faked(monkeypatch: pytest.MonkeyPatch, engine: FakeEngine) -> FakeEngine:
    def make(name: str, jobs: int, settings: Any, on_stage: Any) -> FakeEngine:
        engine.stage = on_stage
        return engine

    monkeypatch.setattr(runner, "make_engine", make)
    return engine


@pytest.mark.usefixtures("recorded")
def test_nothing_is_fitted_twice_at_the_same_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    together = [tiny(), tiny(episodes=3), tiny(episodes=4)]
    assert len({cell.fit_key for cell in together}) == 1
    seen: list[set[Cell]] = []

    def script(engine: FakeEngine) -> list[Done]:
        seen.append(set(engine.running))
        step = len(seen)
        if step == 1:  # the first fits; alone of its kind, beside what fits nothing
            return []
        if step == 2:
            engine.stage(engine.started[0], "run", 0, 1)  # from now on it is on disk
            return []
        return [Done(cell, row_of(cell)) for cell in engine.running]

    engine = faked(monkeypatch, FakeEngine(3, script))
    run_cells([*together, quick()], tmp_path, jobs=3)
    (first,) = seen[0] & set(together)
    assert seen[0] == {first, quick()}
    assert seen[1] == seen[0]
    assert len(seen[2]) == 3
    assert engine.closed


@pytest.mark.usefixtures("recorded")
def test_a_fit_that_lies_on_disk_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As on a cluster, whose machines tell of no stages but may share the disk."""
    together = [tiny(), tiny(episodes=3)]
    place = model_path(tmp_path, tiny())
    assert place is not None
    seen: list[int] = []

    def script(engine: FakeEngine) -> list[Done]:
        seen.append(len(engine.running))
        if len(seen) == 1:
            place.mkdir(parents=True)
            (place / "simulator.safetensors").write_text("")
            return []
        return [Done(cell, row_of(cell)) for cell in engine.running]

    faked(monkeypatch, FakeEngine(2, script))
    run_cells(together, tmp_path, jobs=2)
    assert seen == [1, 2]


@pytest.mark.usefixtures("recorded")
def test_a_fit_that_fails_lets_the_next_try(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[int] = []

    def script(engine: FakeEngine) -> list[Done]:
        seen.append(len(engine.running))
        return [Done(cell, None, "no", "no") for cell in engine.running]

    faked(monkeypatch, FakeEngine(2, script))
    done = run_cells([tiny(), tiny(episodes=3)], tmp_path, jobs=2)
    assert seen == [1, 1]
    assert len(done) == 2


def test_the_long_ones_first_where_several_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cells = [quick(), quick(experiment="reward", method="true", planner="default", episodes=50)]

    def script(engine: FakeEngine) -> list[Done]:
        return [Done(cell, row_of(cell)) for cell in engine.running]

    assert run_cells.__module__ == runner.__name__
    several = faked(monkeypatch, FakeEngine(2, script))
    run_cells(cells, tmp_path / "two", jobs=2)
    assert several.started == cells[::-1]
    one = faked(monkeypatch, FakeEngine(1, script))
    run_cells(cells, tmp_path / "one", jobs=1)
    assert one.started == cells


# -- killed ----------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from persim_gym.experiments import run_cells
from tests.experiments.test_runner import CELLS, Watch

class Kill(Watch):
    def ended(self, done, seconds, left):
        os.kill(os.getpid(), signal.SIGKILL)

run_cells(CELLS, sys.argv[1], watch=Kill())
"""


@pytest.mark.slow
def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    environ = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "killed")]
    ended = subprocess.run(command, env=environ)
    assert ended.returncode == -signal.SIGKILL
    rows = RowFiles(tmp_path / "killed")
    assert [row.cell for row in rows] == CELLS[:1]
    first = rows.path(CELLS[0]).read_bytes()
    done = run_cells(CELLS, tmp_path / "killed")
    assert [one.cell for one in done] == CELLS[1:]
    assert rows.path(CELLS[0]).read_bytes() == first
    run_cells(CELLS, tmp_path / "whole")
    results = [[row.results for row in RowFiles(tmp_path / name)] for name in ("killed", "whole")]
    assert results[0] == results[1]


@pytest.mark.slow
def test_a_fit_is_shared_by_cells_and_survives(tmp_path: Path, recorded: Path) -> None:
    cells = [tiny(), tiny("latent", episodes=1)]
    done = run_cells(cells, tmp_path, threads=1)
    assert [one.error for one in done] == ["", ""]
    assert "data" in done[0].row.seconds  # type: ignore[union-attr]
    assert "data" not in done[1].row.seconds  # type: ignore[union-attr]
    place = model_path(tmp_path, tiny())
    assert place is not None
    assert PerSim.load(place).num_agents == 25
    assert len(list((tmp_path / "models").iterdir())) == 1
    plain = json.loads(RowFiles(tmp_path).path(tiny()).read_text())
    assert Cell.from_json(plain["cell"]) == tiny()
