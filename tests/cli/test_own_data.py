"""The command line on own data: plan, train, render and adapt, without any true environment."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import pytest
from typer.testing import Result

from persim_gym.cli.own_data import units_of
from persim_gym.learned import PerSim
from persim_gym.training import load_policy
from tests.cli.commands import refuse, run
from tests.learned.compartments import GAIN, NAMES, fitted, table

SMALL = ("--planner", "icem", "--candidates", "20", "--horizon", "3", "--rounds", "2")


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder to work in, with ``patients.csv`` and ``runs/p``."""
    folder = tmp_path_factory.mktemp("own data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COLUMNS", "120")
        fitted(Path("patients.csv"), folder / "runs" / "p")
        yield folder


def next_words(result: Result) -> list[str]:
    """The command that a result says to try next; it is the last line."""
    line = result.stderr.splitlines()[-1]
    assert line.startswith("next: persim-gym ")
    return shlex.split(line)[2:]


@pytest.mark.slow
def test_a_plan_is_printed_and_written(place: Path) -> None:
    result = run("plan", "runs/p", "--agent", "alice,bob", "--steps", "3", *SMALL)
    assert "Plan for alice from step 29 of its record" in result.stdout
    assert "Sum of rewards of bob" in result.stdout
    assert "the last 3 recorded actions once more" in result.stdout
    assert "learned from the data (held-out R2" in result.stdout
    words = next_words(result)
    assert words == ["plan", "runs/p", "--agent", "alice", "--out", "runs/p-plan"]
    again = run(*words, "--steps", "3", *SMALL, "--reward", GAIN)
    assert next_words(again) == ["render", "runs/p", "--agent", "alice", "--out", "runs/p.png"]
    with open(place / "runs/p-plan/plan.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["course"] for row in rows} == {"plan", "done", "before"}
    assert all(row["agent"] == "alice" for row in rows)
    recorded = [row for row in rows if row["course"] == "before"]
    for row in recorded:
        assert float(row["next level"]) == pytest.approx(
            float(row["next level recorded"]), abs=0.01
        )
    page = (place / "runs/p-plan/plan.html").read_text()
    assert "Plans for alice" in page
    assert "http" not in re.sub(r"data:image/png;base64,[^\"]*", "", page)
    assert imageio.imread(place / "runs/p-plan/plan.png").ndim == 3


def test_a_plan_as_json_from_the_middle_by_index() -> None:
    given = ("--steps", "3", *SMALL, "--reward", GAIN, "--json", "--seed", "4")
    result = run("plan", "runs/p", "--agents", "1", "--start", "-5", *given)
    (plan,) = json.loads(result.stdout)["plans"]
    assert (plan["agent"], plan["start"], plan["reward"]) == ("bob", 24, GAIN)
    assert plan["done"]["total"] == pytest.approx(plan["recorded_total"], abs=0.01)
    assert plan["plan"]["total"] > plan["done"]["total"]
    assert "next:" not in result.stderr
    other = run(
        "plan", "runs/p", "--agent", "bob", "--start", "24", *given, "--data", "patients.csv"
    )
    assert json.loads(other.stdout)["plans"] == [plan]


def test_a_reward_of_a_file(place: Path) -> None:
    (place / "reward.py").write_text(
        "def high(obs, action, next_obs):\n    return next_obs[..., 0]\n"
    )
    args = ("plan", "runs/p", "--agent", "bob", "--steps", "2", *SMALL, "--json")
    by_file = json.loads(run(*args, "--reward", "reward.py:high").stdout)["plans"][0]
    by_text = json.loads(run(*args, "--reward", "next.level").stdout)["plans"][0]
    assert by_file["plan"]["actions"] == by_text["plan"]["actions"]
    assert by_file["reward"] == "a Python function"


@pytest.mark.slow
def test_time_series_are_drawn(place: Path) -> None:
    result = run("render", "runs/p", "--agent", "bob", "--steps", "6", "--out", "bob.png")
    assert result.stdout == "bob.png\n"
    assert next_words(result) == ["plan", "runs/p", "--agent", "bob"]
    run(
        "render", "runs/p", "--agent", "bob", "--policy", "random", "--steps", "3", "--out", "b.gif"
    )
    assert len(imageio.mimread(place / "b.gif")) == 4 + 3
    refuse("render", "runs/p", "--agent", "bob", "--out", "bob.txt", says=".png")
    refuse("render", "cartpole", "--agent", "0", "--out", "c.png", says="must end in .mp4 or .gif")


@pytest.mark.slow
def test_a_policy_is_trained_and_judged_inside(place: Path) -> None:
    args = ("train", "runs/p", "--agent", "bob", "--steps", "60", "--episodes", "2", "--out", "pol")
    result = run(*args, "--reward", GAIN, "--algorithm", "ppo")
    assert "Returns of agent bob of patients, ppo after 60 steps" in result.stdout
    assert "true environment" not in result.stdout
    assert "there is no true environment of own data" in result.stderr
    card = load_policy(place / "pol").card
    assert (card["agent_name"], card["reward"]) == ("bob", GAIN)
    words = next_words(result)
    assert words[:6] == ["render", "runs/p", "--agent", "bob", "--policy", "pol"]
    run(*words, "--steps", "3")
    assert (place / "pol.png").exists()
    default = json.loads(run(*args, "--force", "--json").stdout)
    assert default["algorithm"] == "sac"
    assert set(default["returns"]) == {"in_the_simulator", "in_the_simulator_random_actions"}


@pytest.mark.slow
def test_adapt_knows_the_columns(place: Path) -> None:
    new = table(("ida", "jo"), (0.55, 0.75), steps=20, seed=3).drop(columns="gain")
    new.to_csv(place / "new.csv", index=False)
    result = run("adapt", "runs/p", "new.csv", "--out", "runs/more")
    assert next_words(result) == ["plan", "runs/more", "--agent", "ida"]
    assert PerSim.load(place / "runs/more").agent_names == (*NAMES, "ida", "jo")
    planned = run(*next_words(result), "--steps", "2", *SMALL)
    assert "Plan for ida from step 19" in planned.stdout
    other = new.rename(columns={"level": "lvl", "dose": "mg"})
    other.to_csv(place / "other.csv", index=False)
    refuse(
        "adapt", "runs/p", "other.csv", "--out", "never",
        says="no column 'level' (did you mean 'lvl'?), 'dose': it has 'who', 't', 'lvl', 'mg'",
    )  # fmt: skip
    named = ("--state", "lvl", "--action", "mg", "--agents", "jo")
    run("adapt", "runs/p", "other.csv", "--out", "runs/named", *named)
    one, two = (PerSim.load(place / "runs" / name) for name in ("more", "named"))
    np.testing.assert_allclose(
        one.latent_factors[:, one.agent_index("jo")],
        two.latent_factors[:, two.agent_index("jo")],
        rtol=1e-5,
    )
    new[new["t"] % 2 == 0].to_csv(place / "sparse.csv", index=False)
    sparse = run("adapt", "runs/p", "sparse.csv", "--out", "runs/sparse")
    assert "warning: the rows are 2 apart, those of the fit were 1" in sparse.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ("plan runs/p --agent bobb", "did you mean 'bob'?"),
        ("plan runs/p --agent nobody", "there is 'alice', 'bob', 'carol' and 3 more"),
        ("plan runs/p --agent 6", "agent 6 does not exist"),
        ("plan runs/p --agent bob --reward levl", "did you mean 'level'?"),
        ("plan runs/p --agent bob --reward __import__('os')", "there is no function __import__"),
        ("plan runs/p --agent bob --reward none.py:f", "there is no file none.py"),
        ("plan runs/p --agent bob --start 99", "start must be at most 29"),
        ("plan runs/p --agent bob --episodes 3", "--episodes is for acting in a true environment"),
        ("plan runs/p --agent bob --data none.csv", "there is no table at none.csv"),
        ("plan cartpole --agent 0 --start 3", "--start is for simulators of own data"),
        ("plan cartpole --agent 0 --reward nothing", "there is no column 'nothing'"),
        ("render runs/p --agent bobb --out b.png", "did you mean 'bob'?"),
        ("train runs/p --agent bob --reward 1/0 --out never", "no finite number"),
        ("train runs/p --agent bob --algorithm dqn --out never", "dqn cannot act"),
    ],
)
def test_bad_input(args: str, says: str, place: Path) -> None:
    refuse(*shlex.split(args), says=says)
    assert not (place / "never").exists()


def test_units_are_shown_where_they_are_known(place: Path) -> None:
    sim = PerSim.load(place / "runs/p")
    assert units_of(sim) == {}
    sim.task.obs_units = ("mg",)  # type: ignore[attr-defined]
    assert units_of(sim.with_reward(GAIN)) == {"level": "mg"}


@pytest.mark.slow
def test_data_that_are_not_there_are_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nicegui", reason="the explorer's library is not installed")

    def served(*_: Any) -> None:
        raise AssertionError("the explorer was started without the data that were asked for")

    monkeypatch.setattr("persim_gym.explorer.server.serve", served)
    for command in (
        ("explore", "runs/p", "--no-browser"),
        ("plan", "runs/p", "--agent", "bob"),
        ("render", "runs/p", "--agent", "bob", "--out", "x.png"),
        ("evaluate", "runs/p"),
        ("validate", "runs/p", "--out", "trust"),
    ):
        refuse(*command, "--data", "nowhere.csv", says="nowhere.csv")


@pytest.mark.parametrize("command", ["plan", "train"])
def test_a_reward_without_a_column_says_nothing_to_choose_by(command: str) -> None:
    out = ("--out", "nothing")
    refuse(command, "runs/p", "--agent", "bob", *out, "--reward", "7", says="the same everywhere")
    assert not Path("nothing").exists()


def test_the_next_command_is_of_the_same_agent() -> None:
    words = next_words(run("equations", "runs/p", "--agent", "bob"))
    assert words[words.index("--agent") + 1] == "bob"


@pytest.mark.parametrize("option", [("--agent", "bob"), ("--episodes", "3"), ("--warmup", "2")])
def test_evaluate_refuses_what_own_data_have_no_use_for(option: tuple[str, str]) -> None:
    refuse("evaluate", "runs/p", *option, says="of true environments, and own data have none")
