"""The command line with values that it cannot take, on small consoles, and under Ctrl-C."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from persim_gym.envs.suites import find_suite
from tests.cli.commands import invoke
from tests.learned.worlds import random_simulator


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


def test_a_home_folder_is_understood(place: Path) -> None:
    assert invoke("equations", "~/sim").stderr.startswith("error: there is no simulator at")
    random_simulator(find_suite("cartpole").task()).save("~/sim")
    assert (place / "home" / "sim" / "simulator.safetensors").is_file()
    assert "networks" in invoke("equations", "~/sim").stderr


# -- consoles without all characters ---------------------------------------------------------------


# -- Ctrl-C ----------------------------------------------------------------------------------------
