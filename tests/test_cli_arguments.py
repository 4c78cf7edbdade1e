"""The command line with values that it cannot take, on small consoles, and under Ctrl-C."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import persim_gym
from persim_gym.cli.group import print_anything, say
from persim_gym.cli.output import print_facts, print_json, print_table, progress_bar
from persim_gym.envs.suites import find_suite
from tests.cli.commands import invoke
from tests.learned.worlds import random_simulator

ROOT = Path(persim_gym.__file__).parents[1]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a simulator and a file, and no data sets."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    random_simulator(find_suite("cartpole").task()).save(tmp_path / "sim")
    (tmp_path / "file").write_text("kept")
    (tmp_path / "data.csv").write_text("id,t,x,u\n")
    return tmp_path


def contents(place: Path) -> dict[Path, bytes]:
    """All files but those in the home folder, where libraries keep caches."""
    files = [path for path in place.rglob("*") if path.is_file()]
    return {path: path.read_bytes() for path in files if "home" not in path.parts}


HUGE = "9" * 23
TABLE = "data.csv --agent-column id --time-column t --state x --action u"

# What no option of a kind can be, and a line for every command that has such an option.
BAD_OUT = ["''", "file", "file/inside", "/proc/nothing/inside", "x" * 300, "~nobody_of_this_name/x"]
FOLDERS = [
    f"fit {TABLE} --out", "adapt sim nowhere --out", "train sim --agent 0 --out",
    "policies train cartpole --out", "benchmark --out", "demo --out", "report nowhere --out",
    f"validate {TABLE} --out",
    f"baseline bcq {TABLE} --out",
]  # fmt: skip
FILES = ["render cartpole --agent 0 --out", "datasets show nowhere --plot"]
NUMBERS = [
    f"fit {TABLE} --out new --degree", f"fit {TABLE} --out new --seed", "agents cartpole --size",
    "agents cartpole --seed", "record cartpole --agents", "record cartpole --episodes",
    "record cartpole --population-size", "record cartpole --max-steps",
    "plan cartpole --agent 0 --episodes", "plan cartpole --agent 0 --candidates",
    "plan cartpole --agent 0 --horizon", "plan cartpole --agent 0 --threads",
    "plan cartpole --agent 0 --seed", "plan cartpole --max-steps 2 --agent",
    "evaluate sim --episodes", "evaluate sim --horizon", "evaluate sim --warmup",
    "evaluate sim --agents", f"validate {TABLE} --out new --horizons",
    f"validate {TABLE} --out new --seed", "train sim --agent 0 --out new --seed", "demo --seed",
    "benchmark --seeds", "benchmark --jobs", "benchmark --threads",
    "explore sim --port",
    f"baseline bcq {TABLE} --out new --seed", f"baseline bcq {TABLE} --out new --agent",
    "generate sim --episodes", "generate sim --seed", "generate sim --max-steps",
    "generate sim --agents",
]  # fmt: skip
EMPTY = [
    "fit {} --out new", "adapt {} nowhere --out new", "adapt sim {} --out new", "evaluate {}",
    "equations {}", "plan {} --agent 0", "plan cartpole --agent {}", "train {} --agent 0 --out new",
    "train sim --agent 0 --out new --algorithm {}", "render {} --agent 0 --out a.gif",
    "render cartpole --agent 0 --out a.gif --policy {}", "record {}", "agents {}", "report {}",
    "record cartpole --behaviour {}", "record cartpole --dataset-id {}",
    "agents cartpole --ranges {}",
    "record cartpole --namespace {}", "record cartpole --format {}", "datasets show {}",
    "datasets delete {} --yes", "datasets import {} --task cartpole", "policies list {}",
    "datasets import file --task {}", "policies evaluate {}",
    "policies evaluate cartpole --policy {}",
    "policies train {}", "demo --task {}", "benchmark --task {}", "benchmark --preset {}",
    "benchmark --experiment {}", "benchmark --engine {}", "benchmark --device {}",
    "plan cartpole --agent 0 --planner {}", "plan cartpole --agent 0 --reward {}",
    f"fit {TABLE} --out new --method {{}}",
    "explore {}", "explore sim --host {}", "explore sim --data {}",
    "baseline {} nowhere --out new", "baseline bcq {} --out new",
    f"baseline bcq {TABLE} --out new --set {{}}", f"baseline bcq {TABLE} --out new --device {{}}",
    "generate {}", "generate sim --policy {}", "generate sim --dataset-id {}",
    "generate sim --propagation {}",
    f"fit {TABLE} --out new --preset {{}}", f"fit {TABLE} --out new --device {{}}",
    "validate {} --out new", f"validate {TABLE} --out new --require {{}}",
    f"validate {TABLE} --out new --method {{}}", f"validate {TABLE} --out new --split {{}}",
]  # fmt: skip


def crossed(lines: list[str], values: Sequence[str]) -> Iterator[Any]:
    """Every line with every value; those in which line and value come again are slow."""
    for i, line in enumerate(lines):
        for j, value in enumerate(values):
            whole = line.format(value) if "{}" in line else f"{line} {value}"
            yield pytest.param(whole, marks=() if j == i % len(values) else pytest.mark.slow)


LINES = [
    *crossed(FOLDERS, BAD_OUT),
    *crossed(FILES, ("''", ".", "file", "file/a.png", "a.txt")),
    *crossed(NUMBERS, (HUGE, "-1", "nan", "1.5", "''", "x")),
    *crossed(EMPTY, ("''", "' '")),
    "record cartpole --epsilon nan", "plan cartpole --agent 0 --penalty nan",
    "equations sim --tolerance nan", "record cartpole --agents 2 --ranges force=1e37:1e38",
    "explore nowhere", "explore sim --state x", "explore sim --data nowhere.csv",
    "explore sim --port 65536",
    f"agents cartpole --size {2**46}", f"plan cartpole --agent 0 --candidates {2**50}",
]  # fmt: skip


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[:90])
def test_bad_input_is_one_line_and_exit_code_2(line: str, place: Path) -> None:
    before = contents(place)
    result = invoke(*shlex.split(line))
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert contents(place) == before


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


def test_a_home_folder_is_understood(place: Path) -> None:
    assert invoke("equations", "~/sim").stderr.startswith("error: there is no simulator at")
    random_simulator(find_suite("cartpole").task()).save("~/sim")
    assert (place / "home" / "sim" / "simulator.safetensors").is_file()
    assert "networks" in invoke("equations", "~/sim").stderr


# -- consoles without all characters ---------------------------------------------------------------

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


# -- Ctrl-C ----------------------------------------------------------------------------------------

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
def test_ctrl_c_at_any_time_is_one_line(when: str, says: str, place: Path) -> None:
    (place / "sitecustomize.py").write_text(STRIKE)
    ended = subprocess.run(
        [sys.executable, "-m", "persim_gym", "policies", "list", "cartpole"],
        env={**os.environ, "PYTHONPATH": f"{place}{os.pathsep}{ROOT}", "STRIKE_AT": when},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 130, ended.stderr
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith(says)


def test_ctrl_c_behind_another_error_is_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ImportError("a module could not be begun") from error

    monkeypatch.setattr("persim_gym.envs.suites.find_suite", broken)
    assert invoke("agents", "cartpole").exit_code == 130


def test_other_programs_keep_their_ctrl_c() -> None:
    code = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import persim_gym\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
