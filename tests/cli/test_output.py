"""What commands print, on any console."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest

from persim_gym.cli.group import print_anything, say
from persim_gym.cli.output import (
    cell,
    print_facts,
    print_json,
    print_table,
    progress_bar,
    statistics,
)
from tests.cli.commands import invoke

NAMES = "李 🚗 \udce4 é"


@pytest.mark.parametrize("charset", ["cp1252", "ascii", "utf-8"])
def test_any_name_can_be_printed(charset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def printed(*_: object) -> None:
        print_table(NAMES, [NAMES, "n"], [[NAMES, 1]])
        print_facts(NAMES, [(NAMES, NAMES)])
        say("note", NAMES)
        raise ValueError(NAMES)

    monkeypatch.setattr("persim_gym.envs.suites.find_suite", printed)
    result = invoke("agents", "cartpole", charset=charset)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 2
    assert ("李" if charset == "utf-8" else "\\u674e") in result.stdout


@pytest.mark.parametrize("charset", ["cp1252", "utf-8"])
def test_json_stays_json(charset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "persim_gym.envs.suites.find_suite", lambda *_: (print_json([NAMES[:3]]), exit(0))
    )
    result = invoke("agents", "cartpole", charset=charset)
    assert json.loads(result.stdout) == [NAMES[:3]]


@pytest.mark.parametrize("charset", ["cp1252", "ascii", "utf-8"])
def test_a_bar_can_be_drawn(charset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    drawn = io.BytesIO()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, Terminal(drawn, encoding=charset, write_through=True))
    print_anything()
    with progress_bar(NAMES) as report:
        report(1, 2)
    assert drawn.getvalue()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"), (float("nan"), "-"), (float("inf"), "inf"), (True, "True"),
        (1234567, "1,234,567"),
        (12345.6, "12,346"), (9999.4, "9999"), (1.23456, "1.235"), (0.0123456, "0.0123"),
        (12345678.9, "1.235e+07"), ("a\x07b", "a\\x07b"),
    ],
)  # fmt: skip
def test_a_cell_has_three_or_four_digits(value: object, text: str) -> None:
    assert cell(value) == text


def test_statistics_of_episodes() -> None:
    assert statistics(np.array([1.0, 2.0, 6.0])) == [3, 3.0, pytest.approx(7**0.5), 1.0, 6.0]
    assert statistics(np.array([4.0])) == [1, 4.0, None, 4.0, 4.0]


def test_a_table_has_names_in_brackets_and_folds_nothing_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    print_table("A [bold]title", ["name", "n"], [["[red]x", 3], ["y" * 50, 1.5]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "A [bold]title"
    assert lines[3].split() == ["[red]x", "3"]
    assert "".join(line.split()[0] for line in lines[4:] if line.strip()) == "y" * 50


def test_what_is_not_a_number_is_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": float("nan"), "b": [float("inf"), 1.5], "c": "\x1b"})
    text = capsys.readouterr().out
    assert json.loads(text) == {"a": None, "b": [None, 1.5], "c": "\x1b"}
    assert "\x1b" not in text
