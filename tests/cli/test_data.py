"""The commands around data sets: record one or all, show a card."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import minari
import numpy as np
import pytest
from minari.cli import app as minari_app
from typer.testing import CliRunner

from persim_gym.core import Task
from persim_gym.envs.suites import find_suite
from persim_gym.offline import FunctionPolicy, recorder
from persim_gym.offline.datasets import CARD, load
from persim_gym.offline.provenance import content_hash
from persim_gym.offline.reading import read_transitions
from persim_gym.policies.behaviours import as_policy
from tests.cli.commands import invoke, refuse, run

ID = "persim/cartpole/random-v0"
SMALL = ("--agents", "3", "--max-steps", "9")


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path / "minari"


@pytest.fixture
def _scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something for every name that begins with pure, without the policies that ship."""

    def scripted(policy: Any, task: Task | None = None) -> Any:
        if not isinstance(policy, str) or not policy.startswith("pure"):
            return as_policy(policy, task)
        assert task is not None
        zero = task.action_space.sample() * 0
        return FunctionPolicy(lambda obs: np.stack([zero] * len(obs)), name=policy)

    monkeypatch.setattr(recorder, "as_policy", scripted)
    monkeypatch.setattr("persim_gym.policies.behaviours.as_policy", scripted)


def ids() -> list[str]:
    return sorted(minari.list_local_datasets())


# -- record ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("_scripted")
def test_record_all_is_the_twelve() -> None:
    result = run("record", "all", *SMALL)
    assert len(ids()) == 12
    *lines, following = result.stderr.splitlines()
    assert following == "next: persim-gym datasets list"
    assert len(lines) == 12
    said = r"recorded: persim/\S+-v0 in [\d.]+ s, about [\d.]+ s left"
    assert all(re.match(said, line) for line in lines)
    assert "about 0 s left" in lines[-1]
    assert all(f"\n{name}" in result.stdout for name in ids())
    hashes = {name: content_hash(load(name)) for name in ids()}
    again = run("record", "all", *SMALL)
    assert again.stderr == f"{following}\n"
    assert again.stdout.count("was there") == 12
    assert {name: content_hash(load(name)) for name in ids()} == hashes


@pytest.mark.slow
@pytest.mark.usefixtures("_scripted")
def test_all_behaviours_of_a_task_and_all_tasks_of_a_behaviour() -> None:
    run("record", "cartpole", "--behaviour", "all", *SMALL)
    assert [name.split("/")[1] for name in ids()] == ["cartpole"] * 4
    run("record", "all", "--behaviour", "random", *SMALL, "--namespace", "my")
    assert [name for name in ids() if name.startswith("my/")] == [
        f"my/{task}/random-v0" for task in ("cartpole", "half-cheetah", "mountain-car")
    ]


@pytest.mark.usefixtures("_scripted")
def test_a_named_behaviour_and_a_mixture_of_it() -> None:
    run("record", "cartpole", "--behaviour", "pure-eps-20", *SMALL)
    run("record", "cartpole", "--behaviour", "pure", "--epsilon", "0.3", *SMALL)
    assert ids() == ["persim/cartpole/pure-eps-20-v0", "persim/cartpole/pure-eps-30-v0"]
    card = load("persim/cartpole/pure-eps-30-v0").storage.metadata[CARD]
    assert card["command"] == (
        "persim-gym record cartpole --behaviour pure --epsilon 0.3 --agents 3 --seed 0 "
        "--max-steps 9"
    )


@pytest.mark.slow
def test_force_replaces_and_nothing_else_does() -> None:
    run("record", "cartpole", *SMALL)
    before = content_hash(load(ID))
    refuse("record", "cartpole", *SMALL, "--seed", "1", says="--force")
    refuse(
        "record", "all", "--behaviour", "random", *SMALL, "--seed", "1",
        says="exists already, with seed 0 instead of 1",
    )  # fmt: skip
    assert content_hash(load(ID)) == before
    assert ids() == [ID]
    run("record", "cartpole", *SMALL, "--seed", "1", "--force")
    assert content_hash(load(ID)) != before
    run("record", "all", "--behaviour", "random", *SMALL, "--force")
    assert content_hash(load(ID)) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "key", "value"),
    [
        (("--agents", "0,4-5"), "agents", "0,4-5"),
        (("--agents", "25"), "agents", "0-24"),
        (("--seed", "7"), "seed", 7),
        (("--episodes", "2"), "episodes", 2),
        (("--max-steps", "5"), "max_episode_steps", 5),
        (("--population-size", "9"), "population", {"size": 9, "seed": 0}),
        (("--population-seed", "2"), "population", {"size": 500, "seed": 2}),
        (
            ("--ranges", "force=5:6"),
            "population",
            {"size": 500, "seed": 0, "ranges": {"force": [5.0, 6.0]}},
        ),
    ],
)
@pytest.mark.parametrize("which", ["random", "all"])
@pytest.mark.usefixtures("_scripted")
def test_every_option_reaches_the_data(
    which: str, options: tuple[str, ...], key: str, value: Any
) -> None:
    run("record", "cartpole", "--behaviour", which, *SMALL, *options)
    assert len(ids()) == 1 if which == "random" else len(ids()) > 1
    for name in ids():
        assert load(name).storage.metadata[CARD][key] == value


@pytest.mark.slow
def test_format_namespace_and_id() -> None:
    run("record", "cartpole", *SMALL, "--format", "arrow")
    assert load(ID).storage.metadata["data_format"] == "arrow"
    run("record", "cartpole", *SMALL, "--namespace", "small/n3")
    run("record", "cartpole", *SMALL, "--dataset-id", "own-v2")
    assert ids() == ["own-v2", ID, "small/n3/cartpole/random-v0"]
    assert len({content_hash(load(name)) for name in ids()}) == 1


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("chess",), "unknown task 'chess'"),
        (("chess", "--behaviour", "all"), "unknown task 'chess'"),
        (("cart-pole",), "unknown task 'cart-pole' (did you mean 'cartpole'?)"),
        (("cartpole", "--behaviour", "clever"), "unknown behaviour 'clever'"),
        (("cartpole", "--agents", "3", "--agent", "0"), "give one"),
        (("cartpole", "--agents", "4-2"), "write 2-4"),
        (("cartpole", "--agents", "0"), "agents must be at least 1"),
        (("cartpole", "--agents", "9", "--population-size", "8"), "has 8"),
        (("cartpole", "--epsilon", "0.5"), "--epsilon"),
        (("cartpole", "--dataset-id", "nonsense"), "'nonsense' is no id"),
        (("all", "--behaviour", "clever"), "unknown behaviour 'clever'"),
        (("cartpole", "--behaviour", "pure-eps-120"), "0 to 100 percent"),
        (("cartpole", "--behaviour", "pure", "--epsilon", "1.5"), "--epsilon"),
        (("all", "--epsilon", "0.2"), "--epsilon is of one data set"),
        (("cartpole", "--behaviour", "all", "--dataset-id", "a-v0"), "--dataset-id is of one"),
        (("cartpole", "--namespace", "a", "--dataset-id", "a-v0"), "give one"),
        (("all", "--behaviour", "random", "--agents", "0"), "agents must be at least 1"),
        (("all", "--behaviour", "random", "--agents", "7-500"), "agent 500 does not exist"),
        (("all", "--behaviour", "random", "--ranges", "force=1:2"), "unknown covariate 'force'"),
        (("cartpole", "--namespace", "no good"), "is no id of a data set"),
        (("cartpole", "--format", "csv"), "format must be arrow, hdf5, parquet, got 'csv'"),
    ],
)
def test_bad_input_is_one_line_before_any_work(
    args: tuple[str, ...], says: str, root: Path
) -> None:
    refuse("record", *args, says=says)
    assert not root.exists() or not any(root.iterdir())


@pytest.mark.slow
def test_no_room_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    run("record", "cartpole", *SMALL)
    before = content_hash(load(ID))
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    refuse("record", "cartpole", *SMALL, "--seed", "3", "--force", says="No space left on device")
    assert content_hash(load(ID)) == before


def test_ctrl_c_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from persim_gym.offline.recorder import Recording

    original = Recording.run

    def run(self: Recording, *args: Any, **kwargs: Any) -> Any:
        if self.suite.name == "cartpole":
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Recording, "run", run)
    result = invoke("record", "all", "--behaviour", "random", *SMALL)
    assert result.exit_code == 130
    assert "goes on with the data sets that are missing" in result.stderr
    monkeypatch.undo()


@pytest.mark.slow
def test_minari_lists_and_shows_what_was_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    run("record", "all", "--behaviour", "random", *SMALL)
    monkeypatch.setenv("COLUMNS", "300")
    listed = CliRunner().invoke(minari_app, ["list", "local"])
    assert listed.exit_code == 0
    for name in ids():
        row = next(line for line in listed.stdout.splitlines() if name in line)
        assert re.search(r"\b3\b", row)
        assert "persim_gym" in row
    shown = CliRunner().invoke(minari_app, ["show", ID])
    assert shown.exit_code == 0
    text = " ".join(shown.stdout.split())
    assert "3 agents that differ in force and length, 1 episode each" in text
    assert "persim-gym record cartpole --behaviour random --agents 3 --seed 0 --max-steps 9" in text
    assert re.search(r"Algorithm\W+random", text)
    assert re.search(r"Total Episodes\W+3\b", text)
    assert "PerSim-CartPole-v0" in text


# -- show ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", ["1e37:1e38", "1e200:1e201", "1e307:1e308"])
def test_covariates_beyond_single_precision_leave_nothing(ends: str) -> None:
    refuse(
        "record", "cartpole", "--agents", "2", "--ranges", f"force={ends}", says="single precision"
    )
    assert ids() == []


def test_agents_table_marks_the_test_agents() -> None:
    text = run("agents", "cartpole", "--show", "7").stdout
    rows = [line.split() for line in text.splitlines() if re.match(r" *\d", line)]
    assert rows[3] == ["3", "test", "agent", "10", "0.85"]
    assert [row[0] for row in rows] == [str(agent) for agent in range(7)]
    assert ["test" in row for row in rows] == [True] * 5 + [False] * 2


def test_agents_as_csv_and_json_are_the_population() -> None:
    people = find_suite("cartpole").population({"size": 9, "seed": 4})
    args = ["agents", "cartpole", "--size", "9", "--seed", "4"]
    rows = list(csv.DictReader(run(*args, "--csv").stdout.splitlines()))
    assert [float(row["force"]) for row in rows] == people.column("force").tolist()
    content = json.loads(run(*args, "--json").stdout)
    assert [row["length"] for row in content["agents"]] == people.column("length").tolist()
    assert [row["test_agent"] for row in content["agents"]] == [True] * 5 + [False] * 4
    assert find_suite("cartpole").population(content["population"]) == people


def test_agents_of_own_ranges_lie_in_them_and_are_no_test_agents() -> None:
    args = ["agents", "cartpole", "--ranges", "force=5:6", "--ranges", "length=.3:.4", "--json"]
    agents = json.loads(run(*args).stdout)["agents"]
    assert all(5 <= row["force"] <= 6 and 0.3 <= row["length"] <= 0.4 for row in agents)
    assert not any(row["test_agent"] for row in agents)


@pytest.mark.usefixtures("shared_store")
def test_record_writes_what_was_asked_for(dataset: str) -> None:
    data = minari.load_dataset(dataset)
    assert len(data) == 6
    assert data.env_spec.kwargs["population"] == {"size": 8, "seed": 3}


@pytest.mark.slow
def test_record_options_show() -> None:
    other = "persim/cartpole/other-v0"
    args = ["record", "cartpole", "--agents", "2,5", "--episodes", "3", "--max-steps", "7"]
    text = run(*args, "--dataset-id", other, "--ranges", "force=5:6").stdout
    assert re.search(r"episodes +6\n", text)
    transitions = read_transitions(other)
    assert np.unique(transitions.agent).tolist() == [2, 5]
    assert transitions.lengths.max() == 7
    refuse(*args, "--dataset-id", other, says="--force")
    before = transitions.obs
    run(*args, "--dataset-id", other, "--ranges", "force=5:6", "--force", "--seed", "9")
    assert not np.array_equal(read_transitions(other).obs[:3], before[:3])
    assert invoke("datasets", "delete", other, input="n\n").exit_code == 1
    assert other in minari.list_local_datasets()
    run("datasets", "delete", other, input="y\n")
    assert other not in minari.list_local_datasets()


@pytest.mark.slow
@pytest.mark.usefixtures("shared_store")
def test_datasets_are_listed_and_described(dataset: str) -> None:
    summary = json.loads(run("datasets", "show", dataset, "--json").stdout)
    assert (summary["agents"], summary["episodes"], summary["behaviour"]) == (6, 6, "random")
    assert summary["transitions"] == len(read_transitions(dataset))
    listed = json.loads(run("datasets", "list", "--json").stdout)
    assert dataset in [entry["id"] for entry in listed]
    assert dataset in run("datasets", "list").stdout
    assert f"transitions  {summary['transitions']}" in run("datasets", "show", dataset).stdout


def test_no_data_sets_says_what_makes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    assert "persim-gym record" in run("datasets", "list").stdout


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("agents cartpole --ranges force=1", "force=5:15"),
        ("agents cartpole --ranges mass=1:2", "unknown covariate 'mass'"),
        ("agents cartpole --ranges force=2:1", "lower first"),
        ("agents cartpole --csv --json", "give one"),
        ("datasets show persim/none-v0", "no local data set 'persim/none-v0'"),
        ("datasets delete persim/none-v0 --yes", "no local data set 'persim/none-v0'"),
    ],
)
def test_bad_input_is_one_line(line: str, says: str) -> None:
    refuse(*line.split(), says=says)
