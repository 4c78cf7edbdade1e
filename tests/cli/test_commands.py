from __future__ import annotations

import csv
import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import imageio_ffmpeg
import minari
import numpy as np
import pytest

import persim_gym
from persim_gym.cli import resolve
from persim_gym.cli.options import parse_agents, parse_ranges
from persim_gym.cli.output import cell
from persim_gym.demo import run as demo
from persim_gym.envs.suites import find_suite
from persim_gym.evaluation import open_loop as evaluation
from persim_gym.evaluation import returns as playing
from persim_gym.learned import PerSim
from persim_gym.offline.reading import read_transitions
from persim_gym.training import load_policy
from tests.cli.commands import invoke, refuse, run

DATASET = "persim/cartpole/small-v0"
TINY = ["--ensemble-size", "2", "--epochs", "4", "--threads", "1"]


@pytest.fixture(scope="module", autouse=True)
def minari_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("minari")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(folder))
        patch.setenv("COLUMNS", "80")
        yield folder


@pytest.fixture(scope="module")
def dataset(minari_folder: Path) -> str:
    """Six agents of a population of eight that is not the default one."""
    run(
        "record", "cartpole", "--agents", "6", "--seed", "1", "--dataset-id", DATASET,
        "--population-size", "8", "--population-seed", "3",
    )  # fmt: skip
    return DATASET


@pytest.fixture(scope="module")
def simulator(dataset: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("runs") / "cartpole")
    run("fit", dataset, "--out", folder, *TINY)
    return folder


# -- help, version, usage --------------------------------------------------------------------------

COMMANDS = [
    "demo", "agents", "policies", "record", "datasets", "fit", "adapt", "evaluate", "validate",
    "equations", "export", "hub", "plan", "train", "baseline", "generate", "render", "explore",
    "benchmark", "report",
]  # fmt: skip


def test_every_command_is_in_this_list_and_in_the_help() -> None:
    listed = run("--help").stdout.split("Commands:\n")[1].split("\n\n")[0]
    assert [line.split()[0] for line in listed.splitlines()] == COMMANDS
    assert all(not line.endswith("...") for line in listed.splitlines())


def test_no_command_shows_the_help() -> None:
    assert run().stdout == run("--help").stdout
    assert "delete" in run("datasets").stdout


def test_version() -> None:
    assert run("--version").stdout == f"persim-gym {persim_gym.__version__}\n"


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from persim_gym.cli import app\n"
        "try: app(['fit', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'minari', 'mujoco', 'pygame', 'stable_baselines3', 'matplotlib'}\n"
        "sys.exit(','.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_python_m_runs_the_command_line() -> None:
    command = [sys.executable, "-m", "persim_gym", "agents", "chess"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown task 'chess'")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["fly"], "no such command 'fly'"),
        (["agents"], "missing argument 'TASK' (see persim-gym agents --help)"),
        (["agents", "cartpole", "--sise", "3"], "no such option: --sise"),
        (["agents", "cartpole", "--population-size", "-3"], "--population-size"),
        (["agents", "cartpole", "--size", "many"], "--population-size"),
        (["agents", "chess"], "unknown task 'chess'"),
        (["agents", "cartpole", "--ranges", "force=1"], "force=5:15"),
        (["agents", "cartpole", "--ranges", "mass=1:2"], "unknown covariate 'mass'"),
        (["agents", "cartpole", "--ranges", "force=2:1"], "lower first"),
        (["agents", "cartpole", "--ranges", "force=1:2", "--ranges", "force=1:3"], "two ranges"),
        (["agents", "cartpole", "--csv", "--json"], "give one"),
        (["datasets", "show", "persim/none-v0"], "no local data set 'persim/none-v0'"),
        (["datasets", "delete", "persim/none-v0", "--yes"], "no local data set 'persim/none-v0'"),
        (["record", "chess"], "unknown task 'chess'"),
        (["record", "cart-pole"], "unknown task 'cart-pole' (did you mean 'cartpole'?)"),
        (["record", "cartpole", "--agents", "3", "--agent", "0"], "give one"),
        (["record", "cartpole", "--behaviour", "clever"], "unknown behaviour 'clever'"),
        (["record", "cartpole", "--epsilon", "0.5"], "--epsilon"),
        (["record", "cartpole", "--epsilon", "2"], "--epsilon"),
        (["record", "cartpole", "--agents", "4-2"], "write 2-4"),
        (["record", "cartpole", "--agents", "0"], "agents must be at least 1"),
        (["record", "cartpole", "--agents", "9", "--population-size", "8"], "has 8"),
        (["record", "cartpole", "--dataset-id", "nonsense"], "'nonsense' is no id"),
        (["fit", "persim/none-v0", "--out", "nowhere"], "no local data set 'persim/none-v0'"),
        (
            ["render", "nowhere", "--agent", "0", "--out", "a.gif"],
            "there is no simulator at nowhere",
        ),
        (["render", "cartpole", "--agent", "500", "--out", "a.gif"], "agent 500 does not exist"),
        (["render", "cartpole", "--agent", "0", "--out", "a.avi"], "--out must end in"),
        (["render", "cartpole", "--agent", "0", "--out", "a.gif", "--policy", "x"], "policy 'x'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(args: list[str], says: str) -> None:
    refuse(*args, says=says)


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(ValueError, match="unknown task 'chess'"):
        invoke("--debug", "agents", "chess")


@pytest.mark.parametrize(
    ("text", "agents"),
    [("3", [3]), ("0-4", [0, 1, 2, 3, 4]), ("0,3,7", [0, 3, 7]), ("5-6, 0-1,5", [5, 6, 0, 1])],
)
def test_lists_of_agents(text: str, agents: list[int]) -> None:
    assert parse_agents(text) == agents


@pytest.mark.parametrize("text", ["", "a", "-1", "1-", "1,,2", "1.5", "3-1", "0-9999999"])
def test_no_lists_of_agents(text: str) -> None:
    with pytest.raises(ValueError, match="agents"):
        parse_agents(text)


def test_ranges() -> None:
    assert parse_ranges(["force=5:15", "length=.2:.3"]) == {"force": (5, 15), "length": (0.2, 0.3)}


# -- agents ----------------------------------------------------------------------------------------


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


# -- data ------------------------------------------------------------------------------------------


def test_record_writes_what_was_asked_for(dataset: str) -> None:
    data = minari.load_dataset(dataset)
    assert len(data) == 6
    assert data.env_spec.kwargs["population"] == {"size": 8, "seed": 3}


@pytest.mark.slow
def test_record_options_show(dataset: str) -> None:
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


# -- fit -------------------------------------------------------------------------------------------


def test_fit_writes_a_simulator_with_the_given_options(dataset: str, tmp_path: Path) -> None:
    out = tmp_path / "sim"
    options = ["--rank", "2", "--batch-size", "16", "--learning-rate", "0.01", "--seed", "5"]
    text = run("fit", dataset, "--out", str(out), *TINY, *options).stdout
    assert re.search(r"rank +2\n", text)
    config = PerSim.load(out).card["config"]
    assert (config["rank"], config["ensemble_size"], config["epochs"]) == (2, 2, 4)
    assert (config["batch_size"], config["learning_rate"], config["seed"]) == (16, 0.01, 5)


def test_fit_with_the_preset_of_the_paper(dataset: str, tmp_path: Path) -> None:
    out = str(tmp_path / "sim")
    card = json.loads(
        run("fit", dataset, "--out", out, "--preset", "paper", *TINY, "--json").stdout
    )
    assert (card["preset"], card["config"]["activation"]) == ("paper", "relu")
    refuse("fit", dataset, "--out", out + "2", "--preset", "best", says="unknown preset 'best'")


def test_fit_does_not_repeat_or_overwrite(simulator: str, dataset: str) -> None:
    file = Path(simulator) / "simulator.safetensors"
    before = file.stat().st_mtime_ns
    again = run("fit", dataset, "--out", simulator, *TINY)
    assert again.stderr.startswith("done: ")
    refuse("fit", dataset, "--out", simulator, *TINY, "--rank", "2", says="--force")
    assert file.stat().st_mtime_ns == before


def test_fit_replaces_with_force(dataset: str, tmp_path: Path) -> None:
    out = str(tmp_path)
    run("fit", dataset, "--out", out, *TINY)
    run("fit", dataset, "--out", out, *TINY, "--rank", "2", "--force")
    assert PerSim.load(out).card["config"]["rank"] == 2


def _half_a_fit(dataset: str, out: Path) -> None:
    """A fit that a Ctrl-C ended in its third epoch."""

    def stop(progress: Any) -> None:
        if progress.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PerSim.fit(
            dataset, out=out, ensemble_size=2, epochs=4, seed=0, on_epoch=stop, save_every=0.0
        )


def test_fit_goes_on_and_says_so(simulator: str, dataset: str, tmp_path: Path) -> None:
    _half_a_fit(dataset, tmp_path)
    result = run("fit", dataset, "--out", str(tmp_path), *TINY)
    assert result.stderr.startswith("resuming: ")
    assert "2 of 4 epochs" in result.stderr
    resumed, whole = PerSim.load(tmp_path), PerSim.load(simulator)
    assert np.array_equal(resumed.latent_factors, whole.latent_factors)


def test_fit_with_force_begins_anew(dataset: str, tmp_path: Path) -> None:
    _half_a_fit(dataset, tmp_path)
    refuse("fit", dataset, "--out", str(tmp_path), *TINY, "--rank", "2", says="another fit")
    result = run("fit", dataset, "--out", str(tmp_path), *TINY, "--rank", "2", "--force")
    assert "resuming" not in result.stderr
    # Four epochs are not enough to be better than a polynomial, and that is said.
    assert "warning: 7 steps ahead the simulator predicts worse" in result.stderr
    assert result.stderr.endswith(f"next: persim-gym evaluate {tmp_path}\n")


@pytest.mark.slow
def test_a_fit_and_a_training_are_logged(dataset: str, tmp_path: Path) -> None:
    run, policy = tmp_path / "run", tmp_path / "policy"
    result = invoke("fit", dataset, "--out", str(run), *TINY, "--log", "json")
    assert result.exit_code == 0, result.stderr
    assert json.loads((run / "logs" / "metrics.jsonl").read_text().splitlines()[0])["step"] == 1
    short = ("--steps", "600", "--episodes", "1")
    trained = invoke(
        "train", str(run), "--agent", "0", "--out", str(policy), *short, "--log", "json"
    )
    assert trained.exit_code == 0, trained.stderr
    assert (policy / "logs" / "progress.json").exists()
    wrong = invoke("fit", dataset, "--out", str(tmp_path / "x"), *TINY, "--log", "csv")
    assert wrong.exit_code == 2
    assert "must be one of json, tensorboard, got 'csv'" in wrong.stderr


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    _half_a_fit(dataset, tmp_path)
    monkeypatch.setattr(PerSim, "fit", interrupt)
    result = invoke("fit", dataset, "--out", str(tmp_path), *TINY)
    assert result.exit_code == 130
    last = result.stderr.splitlines()[-1]
    assert last == f"interrupted: the same command goes on from the checkpoint in {tmp_path}"
    result = invoke("fit", dataset, "--out", str(tmp_path / "new"), *TINY)
    assert result.exit_code == 130
    assert re.match(r"interrupted: .* the same command begins anew\n$", result.stderr)
    monkeypatch.setattr("persim_gym.offline.summaries.summaries", interrupt)
    result = invoke("datasets", "list")
    assert result.exit_code == 130
    assert re.match(r"interrupted: .*\n$", result.stderr)


def test_a_failure_that_is_not_the_inputs_has_exit_code_1(dataset: str, tmp_path: Path) -> None:
    result = invoke("fit", dataset, "--out", str(tmp_path), *TINY, "--learning-rate", "1e30")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: the fit has diverged")
    assert result.stderr.count("\n") == 1


# -- evaluate, plan, train -------------------------------------------------------------------------


def test_evaluate_is_the_librarys_error_of_these_agents(simulator: str) -> None:
    args = ["--agents", "1,5", "--episodes", "3", "--horizon", "6", "--warmup", "2", "--seed", "4"]
    content = json.loads(run("evaluate", simulator, *args, "--json").stdout)
    expected = evaluation.evaluate(
        PerSim.load(simulator), [1, 5], episodes=3, horizon=6, warmup=2, seed=4,
        population={"size": 8, "seed": 3},
    )  # fmt: skip
    assert content["agents"] == expected.to_json()["agents"]
    lines = run("evaluate", simulator, *args).stdout.splitlines()
    assert lines[0].endswith(": 6 steps after 2 real ones, RMSE of")
    assert all(len(line) <= 80 for line in lines[1:])
    rows = [line.split() for line in lines if line[:1] in ("1", "5")]
    assert [row[0] for row in rows] == ["1", "5", "1", "5"]
    alone = [*expected.by_coordinate.values(), expected.r2]
    assert rows[0][2:] == [cell(float(own[0])) for own in alone]
    together = [expected.rmse, *(expected.horizon_rmse(h) for h in (1, 5))]
    assert rows[2][1:] == [cell(float(own[0])) for own in together]


def test_evaluate_refuses_agents_that_do_not_exist(simulator: str) -> None:
    refuse("evaluate", simulator, "--agents", "0-8", says="agent 8 does not exist")


def _plan(*args: str) -> Any:
    return json.loads(run("plan", *args, "--threads", "1", "--json").stdout)


@pytest.mark.slow
def test_plan_in_a_simulator_acts_in_truth(simulator: str) -> None:
    """What is planned with is seen from the outcome: planning in truth is better than in a model
    that was hardly fitted, and both last longer than nothing at all."""
    args = ["--agent", "2,5", "--candidates", "40", "--horizon", "12", "--max-steps", "40"]
    model = _plan(simulator, *args, "--episodes", "2", "--seed", "3")
    truth = _plan("cartpole", *args, "--episodes", "2", "--seed", "3")
    assert [row["agent"] for row in model["agents"]] == [2, 5]
    assert [len(row["returns"]) for row in model["agents"]] == [2, 2]
    assert (model["planner"], model["candidates"], model["horizon"]) == ("RandomShooting", 40, 12)
    assert model["ms_per_decision"] > 0
    assert truth["agents"][0]["returns"] == [40, 40]
    assert np.mean(model["agents"][0]["returns"]) < 40


@pytest.mark.slow
def test_plan_with_planners_by_name(simulator: str) -> None:
    brief = ["--agent", "0", "--episodes", "1", "--max-steps", "2", "--horizon", "3"]
    args = ["half-cheetah", *brief]
    kinds = {"cem": "CEM", "icem": "ICEM", "mppi": "MPPI", "shooting": "RandomShooting"}
    for name, kind in kinds.items():
        plan = _plan(*args, "--candidates", "8", "--planner", name)
        assert (plan["planner"], plan["candidates"], plan["horizon"]) == (kind, 8, 3)
    assert _plan(*args, "--candidates", "8", "--planner", "paper")["planner"] == "CEM"
    # Fewer candidates than the usual number of elites.
    plan = _plan(*args, "--planner", "cem", "--candidates", "2", "--rounds", "5")
    assert (plan["candidates"], plan["elites"], plan["rounds"]) == (2, 1, 5)
    plan = _plan(simulator, *brief, "--planner", "categorical-cem", "--candidates", "8")
    assert (plan["planner"], plan["horizon"]) == ("CategoricalCEM", 3)
    plan = _plan(simulator, *brief, "--candidates", "8")
    assert (plan["planner"], plan["decide"], plan["penalty"]) == ("RandomShooting", "mean", 0)
    plan = _plan(simulator, *brief, "--candidates", "8", "--penalty", "0.5")
    assert (plan["penalty"], plan["propagation"]) == (0.5, "members")


def test_plan_refuses_planners_that_do_not_suit(simulator: str) -> None:
    listed = "default, paper, shooting, categorical-cem"
    refuse("plan", simulator, "--agent", "0", "--planner", "cem", says=listed)
    refuse("plan", simulator, "--agent", "0", "--planner", "dqn", says=listed)
    args = ["plan", "cartpole", "--agent", "0"]
    refuse(*args, "--rounds", "2", says="RandomShooting has no rounds")
    refuse(*args, "--penalty", "1", says="needs a dynamics of several members")
    refuse(*args, "--penalty", "-1", says="penalty must be finite and not negative")
    args = ["plan", "half-cheetah", "--agent", "0", "--planner"]
    refuse(*args, "categorical-cem", says="default, paper, shooting, cem, icem, mppi")


def test_plan_table(simulator: str) -> None:
    args = ["--agent", "0", "--candidates", "8", "--horizon", "3", "--max-steps", "4"]
    text = run("plan", simulator, *args).stdout
    # Nobody falls in four steps: five episodes of four.
    assert re.search(r"^0 +5 +4 +0 +4 +4 +4$", text, re.MULTILINE)
    assert re.search(r"ms per decision \(RandomShooting, 8 candidates of 3 steps\)\n$", text)


@pytest.fixture(scope="module")
def policy(simulator: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("policies") / "dqn")
    args = ["--agent", "3", "--steps", "80", "--episodes", "2", "--seed", "1", "--out", folder]
    text = run("train", simulator, *args).stdout
    assert re.search(r"^true environment +2 ", text, re.MULTILINE)
    return folder


def test_train_writes_a_policy_and_says_how_it_came_about(policy: str, simulator: str) -> None:
    card = load_policy(policy).card
    assert (card["task"], card["agent"], card["steps"], card["seed"]) == ("cartpole", 3, 80, 1)
    assert card["simulator"] == simulator
    assert load_policy(policy).name == "dqn"


@pytest.mark.slow
def test_train_judges_in_the_true_environment_of_the_agent(policy: str, simulator: str) -> None:
    args = ["train", simulator, "--agent", "3", "--steps", "80", "--episodes", "2", "--seed", "1"]
    refuse(*args, "--out", policy, says="--force")
    content = json.loads(run(*args, "--out", policy, "--force", "--json").stdout)
    suite = find_suite("cartpole")
    true = suite.dynamics(suite.population({"size": 8, "seed": 3}))
    expected = playing.episode_returns(suite.task(), true, [3], load_policy(policy), 2, 1)
    assert content["returns"]["true_environment"] == expected[0].tolist()
    assert len(content["returns"]["in_the_simulator"]) == 2


@pytest.mark.slow
def test_train_with_another_algorithm(simulator: str, tmp_path: Path) -> None:
    args = ["train", simulator, "--agent", "0", "--episodes", "1", "--out", str(tmp_path)]
    refuse(*args, "--algorithm", "sac", says="sac cannot act in task 'cartpole'")
    refuse(*args, "--algorithm", "magic", says="unknown algorithm 'magic'")
    run(*args, "--algorithm", "ppo", "--steps", "512")
    assert load_policy(tmp_path).name == "ppo"


@pytest.mark.slow
def test_a_trained_policy_is_recorded_and_rendered(
    policy: str, simulator: str, tmp_path: Path
) -> None:
    text = run("record", "cartpole", "--behaviour", policy, "--agents", "2").stdout
    assert text.startswith("persim/cartpole/dqn-v0\n")
    args = ["record", "cartpole", "--behaviour", policy, "--agents", "2", "--epsilon", "0.2"]
    assert run(*args).stdout.startswith("persim/cartpole/dqn-eps-20-v0\n")
    refuse("record", "mountain-car", "--behaviour", policy, says="acts in another task")
    refuse("record", "cartpole", "--behaviour", str(tmp_path), says="there is no policy at")
    out = str(tmp_path / "video.gif")
    run("render", simulator, "--agent", "1", "--out", out, "--steps", "2", "--policy", policy)
    assert len(imageio.mimread(out)) == 3


# -- demo ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_demo_runs_keeps_and_ends_with_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = demo.DemoSettings(
        agents=12, fit={"epochs": 2, "ensemble_size": 2}, episodes=6, return_episodes=1,
        plan_episodes=1, plan_steps=5, planner={"candidates": 4, "horizon": 3}, train_steps=20,
        clip_steps=2,
    )  # fmt: skip
    monkeypatch.setattr(demo, "demo_settings", lambda *asked: {("cartpole", True): tiny}[asked])
    args = ["demo", "--task", "cartpole", "--quick", "--out", str(tmp_path / "demo")]
    result = run(*args)
    stages = [line.split()[:2] for line in result.stderr.splitlines()[:-1]]
    assert stages == [[f"[{i}/6]", stage] for i, stage in enumerate(demo.STAGES, start=1)]
    assert (tmp_path / "demo" / "index.html").is_file()
    assert result.stdout.endswith(f"{tmp_path / 'demo' / 'index.html'}\n")
    numbers = json.loads((tmp_path / "demo" / "results.json").read_text())
    errors = numbers["open_loop"]["errors"]["PerSim"]["agents"][3]
    rmse = errors["rmse_of_coordinates"][find_suite("cartpole").headline]
    row = re.search(r"^3 +force 10, length 0.85 +(\S+)", result.stdout, re.MULTILINE)
    assert row is not None
    assert row[1] == cell(rmse)
    assert max(map(len, result.stdout.splitlines()[:-1])) <= 80
    again = run(*args)
    assert [line.split()[2] for line in again.stderr.splitlines()[:5]] == ["kept"] * 5
    assert again.stdout == result.stdout
    refuse(*args, "--seed", "1", says="a demo of other settings")


def test_demo_tells_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run_demo", interrupt)
    result = invoke("demo", "--out", str(tmp_path))
    assert result.exit_code == 130
    assert result.stderr.startswith("interrupted: the same command goes on from the last stage")


# -- render ----------------------------------------------------------------------------------------


def test_population_of_a_simulator_is_its_data_sets(simulator: str) -> None:
    assert resolve.population_of(PerSim.load(simulator)) == {"size": 8, "seed": 3}


def test_population_of_a_simulator_of_the_first_agents_alone(dataset: str) -> None:
    data = read_transitions(dataset)
    first = dataclasses.replace(data.select(data.agent < 5), num_agents=5)
    sim = PerSim.fit(first, ensemble_size=1, epochs=1)
    assert resolve.population_of(sim) == {"size": 8, "seed": 3}


def test_population_is_not_guessed_when_the_data_set_has_changed(
    simulator: str, dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "data"))
    sim = PerSim.load(simulator)
    assert resolve.population_of(sim) == {"size": 8, "seed": 3}  # its own card says so
    sim.card["dataset"]["population"] = None
    simulator = str(sim.save(tmp_path / "simulator"))
    note = run("evaluate", simulator, "--agents", "0", "--episodes", "1", "--json").stderr
    assert note.startswith(f"note: data set '{dataset}' is not on this machine")
    run("record", "cartpole", "--agents", "6", "--dataset-id", dataset)
    refuse("evaluate", simulator, says="has been recorded anew")


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["random", "mpc"])
def test_render_truth_beside_its_simulator(policy: str, simulator: str, tmp_path: Path) -> None:
    out = tmp_path / "video.gif"
    args = ["render", simulator, "--agent", "1", "--out", str(out), "--steps", "3"]
    assert run(*args, "--policy", policy).stdout == f"{out}\n"
    frames = imageio.mimread(out)
    assert (len(frames), frames[0].shape[:2]) == (4, (432, 1208))


@pytest.mark.slow
def test_render_the_true_environment_alone(tmp_path: Path) -> None:
    out = tmp_path / "video.mp4"
    run("render", "cartpole", "--agent", "1", "--out", str(out), "--steps", "3")
    # Not through imageio's reader of films, which leaves pipes open.
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(out))
    assert frames == 4
    assert seconds == pytest.approx(4 / 50, abs=0.021)
