"""Logs: what was written can be read, in either form."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from persim_gym.metrics import JSON_LINES, open_metrics


def test_json_lines(tmp_path: Path) -> None:
    for step in (1, 2):  # opened again, it goes on
        log = open_metrics("json", tmp_path / "logs")
        log.write(step, {"loss": 0.5, "error": math.nan})
        log.close()
    rows = [json.loads(line) for line in (tmp_path / "logs" / JSON_LINES).read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert all(row["loss"] == 0.5 and "error" not in row for row in rows)


def test_tensorboard_reads_its_events(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = open_metrics("tensorboard", tmp_path)
    for step in (1, 2, 3):
        log.write(step, {"loss": 1.0 / step})
    log.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(e.step, round(e.value, 3)) for e in events.Scalars("loss")] == [
        (1, 1.0), (2, 0.5), (3, 0.333),
    ]  # fmt: skip


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="log must be one of json, tensorboard, got 'csv'"):
        open_metrics("csv", tmp_path)
    assert not list(tmp_path.iterdir())
