"""The progress bar of a fit, and what the caller hears."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from persim_gym.learned.closed_form.search import Trial
from persim_gym.learned.fitting.progress import reporter
from persim_gym.learned.networks.optimise import FitProgress


def epoch(number: int, heldout: float) -> FitProgress:
    values: dict[str, Any] = dict.fromkeys(FitProgress.__dataclass_fields__, 0)
    values |= {"epoch": number, "epochs": 4, "loss": (0.25, 0.75), "heldout_rmse": heldout}
    return FitProgress(**values)


def test_without_a_bar_the_caller_alone_hears(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[int] = []
    with reporter(False, lambda now: heard.append(now.epoch)) as report:
        report.on_epoch(epoch(1, 0.5))
    with reporter(None, None) as report:  # standard error is no terminal here
        report.on_epoch(epoch(2, 0.5))
    assert heard == [1]
    assert capsys.readouterr().err == ""


def test_a_bar_shows_the_last_held_out_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    heard: list[int] = []
    with reporter(True, lambda now: heard.append(now.epoch)) as report:
        report.on_epoch(epoch(1, 0.125))
        report.on_epoch(epoch(2, math.nan))
    assert heard == [1, 2]
    assert "epoch 2/4: loss 0.5, held-out RMSE 0.125" in capsys.readouterr().err


def test_a_bar_shows_the_candidate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with reporter(True, None) as report:
        report.on_trial(Trial(2, 3, 0.0, score=0.4, error=0.5, one_step=0.1, escapes=0.0, terms=6))
    assert "degree 2, rank 3: held-out error 0.5" in capsys.readouterr().err


def test_a_bar_names_the_part_and_says_what_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with reporter(True, None) as report:
        report.on_part("compare closed form")
        report.on_share(0.25)
    assert re.search("compare closed form .* left", capsys.readouterr().err)
    with reporter(True, None) as report:
        report.on_part("fit closed form")
        report.on_share(0.25)
        report.on_share(1.0)
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.search("fit closed form .*fitting the members", last)
    assert "left" not in last
