"""What a fit calls on its way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from persim_gym.learned import FitCallback, FitProgress, LogMetrics, PerSim
from persim_gym.metrics import JSON_LINES, open_metrics
from tests.learned.worlds import PlainTask, random_walks

TASK = PlainTask.of(2, actions=3)


class Calls(FitCallback):
    def __init__(self) -> None:
        self.names: list[str] = []

    def on_fit_begin(self) -> None:
        self.names.append("begin")

    def on_trial(self, trial: Any) -> None:
        self.names.append("trial")

    def on_epoch(self, progress: FitProgress) -> None:
        self.names.append("epoch")

    def on_fit_end(self, sim: PerSim) -> None:
        self.names.append("end")


@pytest.mark.slow
@pytest.mark.parametrize("progress", [False, True])
def test_callbacks_are_called(progress: bool) -> None:
    calls, walks = Calls(), random_walks(TASK)
    PerSim.fit(walks, task=TASK, method="sgd", epochs=2, callbacks=[calls], progress=progress)
    assert calls.names == ["begin", "epoch", "epoch", "end"]
    calls.names.clear()
    PerSim.fit(walks, task=TASK, method="als", callbacks=[calls], progress=progress)
    assert calls.names[0] == "begin"
    assert set(calls.names[1:-1]) == {"trial"}
    assert calls.names[-1] == "end"


def test_what_is_no_callback_is_refused() -> None:
    with pytest.raises(TypeError, match="callbacks must be FitCallbacks"):
        PerSim.fit(random_walks(TASK), task=TASK, callbacks=[print])  # type: ignore[list-item]


def test_a_fit_is_logged(tmp_path: Path) -> None:
    log = LogMetrics(open_metrics("json", tmp_path))
    PerSim.fit(
        random_walks(TASK), task=TASK, method="sgd", epochs=3, callbacks=[log], progress=False
    )
    rows = [json.loads(line) for line in (tmp_path / JSON_LINES).read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert all(row["networks_1/loss"] > 0 for row in rows)


def test_networks_that_follow_each_other_are_told_apart(tmp_path: Path) -> None:
    log = LogMetrics(open_metrics("json", tmp_path))
    for epoch in (1, 2, 1, 2):
        log.on_epoch(FitProgress(epoch, 2, (0.1,), 0.2, 0.0))
    rows = [json.loads(line) for line in (tmp_path / JSON_LINES).read_text().splitlines()]
    assert ["networks_2/loss" in row for row in rows] == [False, False, True, True]
