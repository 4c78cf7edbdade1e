"""What a run shows of its progress, on a terminal and elsewhere."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from persim_gym.cli.watching import BarWatch, LineWatch, watching
from persim_gym.experiments.engines import Done
from persim_gym.experiments.row_files import Row
from tests.cli.cells import quick


def test_elsewhere_there_is_a_line_for_each_cell_that_has_ended(
    capsys: pytest.CaptureFixture[str],
) -> None:
    begun: list[int] = []
    watch, cells = LineWatch(lambda: begun.append(1)), [quick(seed=seed) for seed in range(2)]
    watch.begins(cells, 8, 100.0)
    assert begun == [1]
    watch.recording("persim/x-v0", 0, 10)
    watch.recording("persim/x-v0", 5, 10)
    watch.started(cells[0])
    watch.stage(cells[0], "fit", 3, 4)
    watch.ended(Done(cells[0], Row(cells[0], {}, {}, {}, {}, "")), 1.0, 50.0)
    watch.ended(Done(cells[1], None, "no luck"), 2.0, 0.0)
    assert capsys.readouterr().err.splitlines() == [
        "2 cells to run, 8 are there: about 2 min",
        "recording persim/x-v0",
        f"[ 9/10] {cells[0].describe()}  1.0 s  (about 50 s left)",
        f"[10/10] {cells[1].describe()}  2.0 s  FAILED: no luck",
    ]


def test_bars_of_the_whole_and_of_what_runs() -> None:
    screen = io.StringIO()
    bars = Progress(TextColumn("{task.description}"), console=Console(file=screen))
    watch = BarWatch(lambda: None, bars)
    cells = [quick(seed=seed) for seed in range(2)]

    def shown() -> list[tuple[Any, ...]]:
        return [(t.description, t.completed, t.total, t.fields["note"]) for t in bars.tasks]

    watch.begins(cells, 1, 100.0)
    assert shown() == [("benchmark", 1, 3, "1/3 cells, about 2 min left")]
    watch.recording("persim/x-v0", 0, 1)
    watch.recording("persim/x-v0", 5, 10)
    assert shown()[1:] == [("record persim/x-v0", 5, 10, "")]
    watch.recording("persim/x-v0", 1, 1)
    watch.started(cells[0])
    watch.stage(cells[0], "fit", 0, 1)
    assert shown()[1:] == [(cells[0].describe(), 0, None, "fit")]
    watch.stage(cells[0], "fit", 3, 4)
    watch.started(cells[1])
    assert [line[1:] for line in shown()[1:]] == [(3, 4, "fit"), (0, None, "")]
    watch.ended(Done(cells[0], Row(cells[0], {}, {}, {}, {}, "")), 1.0, 50.0)
    watch.ended(Done(cells[1], None, "no luck"), 1.0, 0.0)
    assert shown() == [("benchmark", 3, 3, "3/3 cells, about 0 s left")]
    assert f"failed: {cells[1].describe()}: no luck" in screen.getvalue().replace("\n", " ")


def test_a_terminal_has_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    begun: list[int] = []
    with watching(lambda: begun.append(1)) as watch:
        assert not isinstance(watch, BarWatch)
    monkeypatch.setattr("sys.stderr", Terminal())
    with watching(lambda: begun.append(2)) as watch:
        assert isinstance(watch, BarWatch)
        watch.begins([quick()], 0, 1.0)
    assert begun == [2]
