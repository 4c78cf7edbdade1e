"""The commands `baseline` and `generate`, and what `evaluate` says of a baseline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from persim_gym.baselines import Baseline
from persim_gym.cli.baselines import _policy, parse_options
from persim_gym.envs.suites import find_suite
from persim_gym.planning.planner_choice import planner_for_data
from tests.cli import commands
from tests.learned.worlds import PlainTask, random_simulator


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setenv("COLUMNS", "100")
    random_simulator(find_suite("cartpole").task()).save(tmp_path / "sim")


def run(*args: str, code: int = 0) -> str:
    return commands.run(*args, code=code).output


GENERATE = (
    "generate", "sim", "--agents", "0-2", "--episodes", "2", "--max-steps", "8",
    "--dataset-id", "persim/synthetic/a-v0",
)  # fmt: skip


@pytest.mark.slow
def test_generate_then_baseline_then_evaluate(tmp_path: Path) -> None:
    pytest.importorskip("tianshou", reason="pip install 'persim-gym[baselines]'")
    said = run(*GENERATE)
    assert "next: persim-gym baseline bcq persim/synthetic/a-v0" in said
    assert "synthetic" in run("datasets", "show", "persim/synthetic/a-v0")
    run(*GENERATE, code=2)
    assert json.loads(run(*GENERATE, "--force", "--json"))["synthetic"]["guard"]
    fit = ("baseline", "CQL", "persim/synthetic/a-v0", "--out", "cql", "--set", "updates=5")
    said = run(*fit, "--agent", "1")
    assert "next: persim-gym evaluate cql" in said
    assert "agent 1 alone" in said
    assert Baseline.load("cql").agents == (1,)
    assert "holds a baseline" in run(*fit, code=2)
    card = json.loads(run(*fit, "--force", "--json", "--set", "hidden=[8]"))
    assert (card["config"]["updates"], card["config"]["hidden"]) == (5, [8])
    rows = json.loads(
        run("evaluate", "cql", "--agents", "0,1", "--episodes", "3", "--json")
    )["agents"]  # fmt: skip
    assert [row["agent"] for row in rows] == [0, 1]
    assert len(rows[0]["returns"]) == 3
    said = run("evaluate", "cql", "--episodes", "2")
    assert "Returns of CQL in the true cartpole" in said
    assert "next: persim-gym render cartpole --agent 0 --policy cql --out cql.mp4" in said
    # A baseline acts wherever a policy does.
    run("record", "cartpole", "--behaviour", "cql", "--agents", "2", "--max-steps", "5")
    run(
        "generate", "sim", "--policy", "cql", "--agents", "0", "--max-steps", "5",
        "--dataset-id", "persim/synthetic/b-v0",
    )  # fmt: skip


def test_bad_baselines_are_refused_before_data_are_read() -> None:
    assert "unknown baseline" in run("baseline", "dqn", "nowhere", "--out", "new", code=2)
    said = run("baseline", "bcq", "nowhere", "--out", "new", "--set", "depth=3", code=2)
    assert "unknown option 'depth' of BCQ" in said


def test_a_missing_library_is_said_before_data_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = run("baseline", "bcq", "nowhere", "--out", "new", code=2)
    assert "pip install 'persim-gym[baselines]'" in said


@pytest.mark.parametrize(
    "given",
    [("--data", "x.csv"), ("--horizon", "3"), ("--warmup", "2"), ("--agent-column", "who")],
)
def test_evaluate_refuses_what_it_would_not_use_of_a_baseline(
    tmp_path: Path, given: tuple[str, str]
) -> None:
    (tmp_path / "bcq").mkdir()
    (tmp_path / "bcq" / "baseline.safetensors").touch()
    said = run("evaluate", "bcq", *given, code=2)
    assert "bcq holds a baseline" in said


def test_in_own_data_generate_plans_as_plan_does() -> None:
    sim = random_simulator(PlainTask.of(2, action_dim=1))
    acting = _policy("mpc", sim, seed=0)
    assert acting.planner == planner_for_data(sim.task).planner


def test_options_are_json_or_words() -> None:
    assert parse_options(["a=3", "b=[1, 2]", "c=word", "d=0.5", "e=true"]) == {
        "a": 3, "b": [1, 2], "c": "word", "d": 0.5, "e": True,
    }  # fmt: skip
    for texts in (["a"], ["=3"], ["a=1", "a=2"]):
        with pytest.raises(ValueError, match="--set"):
            parse_options(texts)
