"""The commands fit and evaluate."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persim_gym.cli.output import cell
from persim_gym.evaluation import open_loop as evaluation
from persim_gym.learned import PerSim
from tests.cli.commands import TINY, invoke, refuse, run

pytestmark = pytest.mark.usefixtures("shared_store")


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
    refuse(
        "fit",
        dataset,
        "--out",
        str(tmp_path),
        *TINY,
        "--rank",
        "2",
        says="another fit (other options)",
    )
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


def test_fit_needs_data_that_are_there(tmp_path: Path) -> None:
    says = "no local data set 'persim/none-v0'"
    refuse("fit", "persim/none-v0", "--out", str(tmp_path / "sim"), says=says)
