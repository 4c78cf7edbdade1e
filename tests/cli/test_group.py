"""How commands fail: one line and an exit code."""

from __future__ import annotations

import io
import warnings
from unittest.mock import Mock

import pytest
import typer

from persim_gym.cli.group import fitting, on_interrupt, say, visible
from tests.cli.commands import invoke, refuse


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["fly"], "no such command 'fly'"),
        (["agents"], "missing argument 'TASK' (see persim-gym agents --help)"),
        (["agents", "cartpole", "--sise", "3"], "no such option: --sise"),
        (["agents", "cartpole", "--population-size", "-3"], "--population-size"),
        (["agents", "cartpole", "--size", "many"], "--population-size"),
        (["agents", "chess"], "unknown task 'chess'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(args: list[str], says: str) -> None:
    refuse(*args, says=says)


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(ValueError, match="unknown task 'chess'"):
        invoke("--debug", "agents", "chess")


@pytest.mark.parametrize(
    "error", [KeyError("x"), AttributeError("x"), OverflowError("x"), MemoryError(), IndexError()]
)
def test_no_error_ends_in_a_traceback(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("persim_gym.envs.suites.find_suite", fail)
    result = invoke("agents", "cartpole")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {type(error).__name__}: ")
    assert result.stderr.count("\n") == 1


def test_ctrl_c_behind_another_error_is_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ImportError("a module could not be begun") from error

    monkeypatch.setattr("persim_gym.envs.suites.find_suite", broken)
    assert invoke("agents", "cartpole").exit_code == 130


def test_what_is_not_the_inputs_fault_has_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (FloatingPointError("it has diverged"), RuntimeError("no driver")):
        monkeypatch.setattr("persim_gym.envs.suites.find_suite", Mock(side_effect=error))
        result = invoke("agents", "cartpole")
        assert result.exit_code == 1
        assert result.stderr == f"error: {error} (persim-gym --debug agents shows where)\n"


@pytest.mark.filterwarnings("default")
def test_a_warning_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(*_: object) -> None:
        warnings.warn("rows are\nleft out", UserWarning, stacklevel=2)
        raise ValueError("no more")

    monkeypatch.setattr("persim_gym.envs.suites.find_suite", warn)
    assert invoke("agents", "cartpole").stderr == "warning: rows are left out\nerror: no more\n"


def test_what_would_steer_a_terminal_is_written_as_an_escape() -> None:
    assert visible("a\x1b[31m\u202eb") == r"a\x1b[31m\u202eb"
    assert visible("naïve 李") == "naïve 李"


class Terminal(io.StringIO):
    """Where lines have to fit."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_lines_that_fit_and_others_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    text = "word " * 30 + "x" * 60
    assert fitting(text, io.StringIO()) == text
    lines = fitting(text, Terminal(), used=7, indent=2).splitlines()
    assert len(lines[0]) + 7 <= 49
    assert max(map(len, lines[1:-1])) <= 49
    assert lines[-1] == "  " + "x" * 60  # what is copied stays whole
    assert all(line.startswith("  ") for line in lines[1:])


def test_an_interrupted_block_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, on_interrupt("nothing was written"):
        raise KeyboardInterrupt
    assert ended.value.exit_code == 130
    assert capsys.readouterr().err == "interrupted: nothing was written\n"


def test_a_command_to_copy_stays_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    for kind, lines in (("next", 1), ("note", 4)):
        screen = Terminal()
        monkeypatch.setattr("sys.stderr", screen)
        say(kind, "word " * 30)
        assert screen.getvalue().count("\n") == lines
