"""Ctrl-C outside of a command: of the command line alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import persim_gym
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


#: Strikes when a module is looked for, or at the end: the process itself says when, not a clock.
STRIKE = """
import atexit, os, signal, sys

when = os.environ["STRIKE_AT"]
# A shell that runs the tests in the background has them ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

def strike():
    os.kill(os.getpid(), signal.SIGINT)

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == when:
            strike()

if when == "the end":
    atexit.register(strike)
sys.meta_path.insert(0, Finder)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(
    ("when", "says"),
    [(m, "interrupted: ") for m in ("gymnasium.spaces", "typer.core", "torch.nn")]
    + [("the end", "next: ")],
)
def test_ctrl_c_at_any_time_is_one_line(when: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(STRIKE)
    path = os.pathsep.join([str(tmp_path), str(Path(persim_gym.__file__).parents[1])])
    ended = subprocess.run(
        [sys.executable, "-m", "persim_gym", "policies", "list", "cartpole"],
        env={**os.environ, "PYTHONPATH": path, "STRIKE_AT": when},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 130, ended.stderr
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith(says)


def test_other_programs_keep_their_ctrl_c() -> None:
    code = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import persim_gym\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
