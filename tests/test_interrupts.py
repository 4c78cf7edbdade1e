"""Ctrl-C outside of a command: of the command line alone."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest

from persim_gym import interrupts


@pytest.fixture(autouse=True)
def _handler_kept() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    # A shell that runs the tests in the background has them ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("words", "is_one"),
    [
        (["python", "/usr/bin/persim-gym", "fit"], True),
        (["persim-gym.exe", "fit"], True),
        (["python", "-X", "utf8", "-m", "persim_gym", "fit"], True),
        (["python", "train.py", "persim-gym"], False),
        (["python", "-m", "pytest"], False),
    ],
)
def test_who_is_the_command_line(
    words: list[str], is_one: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "orig_argv", words)
    assert interrupts.is_command_line() == is_one
    before = signal.getsignal(signal.SIGINT)
    interrupts.leave_at_once()
    assert (signal.getsignal(signal.SIGINT) is not before) == is_one
    interrupts.raise_again()
    assert signal.getsignal(signal.SIGINT) is (signal.default_int_handler if is_one else before)


def test_what_is_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["persim-gym"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupts.leave_at_once()
    interrupts.raise_again()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
