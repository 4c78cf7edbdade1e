"""What the shell offers, through the protocol of completion."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from persim_gym.cli import complete
from persim_gym.learned.config import METHODS
from persim_gym.planning.planner_choice import PLANNER_NAMES
from persim_gym.policies.paper_behaviours import BEHAVIOURS
from tests.cli.commands import COMMAND
from tests.cli.completion import offered


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    for name in ("persim/cartpole/random-v0", "mine-v1"):
        (tmp_path / "minari" / name / "data").mkdir(parents=True)
    for folder, file in (
        ("one", "simulator"),
        ("two", "simulator"),
        ("acts", "policy"),
        ("bcq", "baseline"),
    ):
        (tmp_path / "runs" / folder).mkdir(parents=True)
        (tmp_path / "runs" / folder / f"{file}.safetensors").touch()
    (tmp_path / "patients.csv").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("record c", ["cartpole"]),
        ("record cartpole --behaviour pure-", ["pure-eps-20", "pure-eps-40"]),
        ("fit persim", ["persim/cartpole/random-v0"]),
        ("fit pat", ["patients.csv"]),
        ("fit x --method h", ["hierarchical"]),
        ("fit x --effort q", ["quick"]),
        ("datasets show m", ["mine-v1"]),
        ("evaluate ru", ["runs/one", "runs/two"]),
        ("evaluate runs/t", ["runs/two"]),
        ("plan runs/o", ["runs/one"]),
        ("plan mo", ["mountain-car"]),
        ("plan x --planner i", ["icem"]),
        ("render x --policy ru", ["runs/acts", "runs/bcq"]),
        ("baseline cl", ["cloning"]),
        ("train x --algorithm s", ["sac"]),
        ("validate x --split e", ["ends"]),
        ("evalu", ["evaluate"]),
        ("fit x --ense", ["--ensemble-size"]),
    ],
)
def test_names_are_offered(line: str, words: list[str]) -> None:
    assert offered(line) == words


def test_the_words_are_those_of_the_library() -> None:
    assert {*BEHAVIOURS} <= {*complete.BEHAVIOURS}
    assert {*PLANNER_NAMES} == {*complete.PLANNERS}
    assert {*complete.words("auto", "als", "sgd", "hierarchical", "latent")("")} == {*METHODS}


def test_completion_imports_nothing_heavy() -> None:
    code = (
        "import sys; from persim_gym.cli import complete\n"
        "complete.runs_or_data(''); complete.behaviours('')\n"
        "sys.exit(','.join({'torch', 'minari', 'gymnasium'} & {*sys.modules}) or 0)"
    )
    assert complete.__file__
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() in ("", "gymnasium")  # the package itself brings Gymnasium


def test_completion_is_installed_by_an_option() -> None:
    names = {opt for option in COMMAND.params for opt in option.opts}
    assert {"--install-completion", "--show-completion"} <= names
