"""`persim-gym adapt`: new agents from a data set or a table, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import minari
import numpy as np
import pandas as pd
import pytest

from persim_gym.learned import PerSim
from persim_gym.offline import record
from persim_gym.offline.reading import read_transitions
from tests.cli.commands import invoke, refuse

FITTED, NEW = "persim/cartpole/fitted-v0", "persim/cartpole/new-v0"


@pytest.fixture(scope="module", autouse=True)
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A simulator of 40 agents in ``sim/``, and data of six others."""
    folder = tmp_path_factory.mktemp("adapt")
    (folder / "minari").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(folder / "minari"))
        patch.setenv("COLUMNS", "120")
        data = record("cartpole", agents=40, dataset_id=FITTED, progress=False)
        record("cartpole", agents=range(40, 46), episodes=2, dataset_id=NEW, progress=False)
        record("mountain-car", agents=2, max_episode_steps=20, progress=False)
        some = replace(read_transitions(data), num_agents=40)
        sim = PerSim.fit(some, method="als", degree=3, rank=3, threshold=0.0, progress=False)
        sim.save(folder / "sim")
        yield folder


@pytest.mark.slow
def test_agents_of_a_data_set_are_added(ready: Path, tmp_path: Path) -> None:
    result = invoke("adapt", ready / "sim", NEW, "--out", tmp_path / "more", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["agents"]
    data = read_transitions(minari.load_dataset(NEW))
    sim = PerSim.load(tmp_path / "more")
    nobody = sim.adapt()
    assert sim.num_agents == 47
    errors = []
    assert [row["agent"] for row in found] == [str(k) for k in range(40, 46)]
    assert [row["index"] for row in found] == list(range(40, 46))
    for row in found:
        own = data.select(data.agent == int(row["agent"]))
        assert row["held_out"] == len(own) // 5
        assert row["used"] == len(own) - len(own) // 5 == sim.posterior(row["index"]).count
        assert 0 < row["posterior_sd"] < 0.2
        rest = own.select(np.arange(row["used"], len(own)))
        error, other = (
            np.sqrt(np.mean((sim.predict(k, rest.obs, rest.action) - rest.next_obs) ** 2))
            for k in (row["index"], nobody)
        )
        assert row["rmse"] == pytest.approx(error, rel=1e-6)
        errors.append((error, other))
        assert 0 <= row["in_interval"] <= 1
    own_error, mean_error = np.mean(errors, axis=0)
    assert own_error < 0.5 * mean_error
    assert PerSim.load(ready / "sim").num_agents == 40


@pytest.mark.slow
def test_some_agents_and_few_transitions(ready: Path, tmp_path: Path) -> None:
    args = ("adapt", ready / "sim", NEW, "--out", tmp_path / "one")
    result = invoke(*args, "--agents", "45,41", "--transitions", "2")
    assert result.exit_code == 0, result.output
    assert "2 new agents" in result.stdout
    sim = PerSim.load(tmp_path / "one")
    assert sim.num_agents == 42
    data = read_transitions(minari.load_dataset(NEW))
    own = data.select(np.flatnonzero(data.agent == 45)[:2])
    known = sim.new_posterior().update(own.obs, own.action, own.next_obs)
    np.testing.assert_array_equal(sim.posterior(40).mean, known.mean)
    more = (*args, "--agents", "40", "--transitions", "0", "--json")
    refuse(*more, says="holds another simulator: choose another folder, or replace it with --force")
    assert PerSim.load(tmp_path / "one").num_agents == 42
    nothing = invoke(*more, "--force")
    row = json.loads(nothing.stdout)["agents"][0]
    assert (row["used"], row["posterior_sd"]) == (0, pytest.approx(1.0))


@pytest.mark.slow
def test_a_simulator_can_be_added_to_again(ready: Path, tmp_path: Path) -> None:
    out = tmp_path / "twice"
    assert invoke("adapt", ready / "sim", NEW, "--agents", "40", "--out", out).exit_code == 0
    assert invoke("adapt", out, NEW, "--out", out).exit_code == 0
    assert PerSim.load(out).num_agents == 46
    refuse("adapt", out, NEW, "--out", out, says="all 6 agents")
    refuse("adapt", out, NEW, "--agents", "40", "--out", out, says="is agent 40 of the simulator")


@pytest.mark.slow
def test_what_is_true_of_a_new_agent_is_not_known(ready: Path, tmp_path: Path) -> None:
    """Its index is another true agent's: nothing may be compared with that one."""
    out = tmp_path / "more"
    assert invoke("adapt", ready / "sim", NEW, "--agents", "45", "--out", out).exit_code == 0
    video = ("--out", tmp_path / "never.gif")
    refuse("evaluate", out, "--agents", "0,40", says="agent 40 was added")
    refuse("render", out, "--agent", "40", *video, says="agent 40 was added")
    refuse("plan", out, "--agent", "40", says="agent 40 was added")
    done = invoke("evaluate", out, "--agents", "0", "--episodes", "2", "--horizon", "5")
    assert done.exit_code == 0, done.output


@pytest.mark.slow
@pytest.mark.parametrize("kept", [True, False], ids=["posteriors", "an older file"])
def test_networks_with_latents(ready: Path, tmp_path: Path, kept: bool) -> None:
    some = replace(read_transitions(minari.load_dataset(FITTED)), num_agents=40)
    quick = {"latent": 2, "hidden": (8,), "first_steps": 5, "steps": 5, "ensemble_size": 2}
    sim = PerSim.fit(some, method="latent", progress=False, **quick)
    if not kept:
        sim = PerSim(sim.ensemble, sim.task, sim.experience, sim.card)
    sim.save(tmp_path / "latent")
    args = ("adapt", tmp_path / "latent", NEW, "--agents", "40,45", "--out", tmp_path / "more")
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    assert ("has no posterior sd" in result.output) != kept
    rows = json.loads(invoke(*args, "--force", "--json").stdout)["agents"]
    assert [row["index"] for row in rows] == [40, 41]
    for row in rows:
        assert (row["posterior_sd"] is not None) == (row["in_interval"] is not None) == kept
    assert all(row["rmse"] > 0 and row["used"] > 10 for row in rows)
    assert PerSim.load(tmp_path / "more").num_agents == 42


@pytest.mark.slow
def test_a_table(ready: Path, tmp_path: Path) -> None:
    data = read_transitions(minari.load_dataset(NEW))
    own = data.select(data.agent == 42)
    first = own.select(own.episode == own.episode[0])
    names = PerSim.load(ready / "sim").card["obs_names"] or ["x", "v", "angle", "turn"]
    obs = np.concatenate([first.obs, first.next_obs[-1:]])
    table = pd.DataFrame(obs, columns=names)
    table["push"] = [*first.action.tolist(), 0]
    table["who"], table["t"] = "Ada", np.arange(len(table))
    table.to_csv(tmp_path / "ada.csv", index=False)
    result = invoke(
        "adapt", ready / "sim", tmp_path / "ada.csv", "--out", tmp_path / "more", "--json",
        "--agent-column", "who", "--state", ",".join(names), "--action", "push",
        "--step-column", "t",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert PerSim.load(tmp_path / "more").agent_index("Ada") == 40


@pytest.mark.slow
def test_bad_input(ready: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "never")
    sim = ready / "sim"
    refuse("adapt", tmp_path / "none", NEW, *out, says="there is no simulator")
    refuse("adapt", sim, "persim/none-v0", *out, says="persim/none-v0")
    refuse("adapt", sim, "persim/mountain-car/random-v0", *out, says="of task 'mountain-car'")
    refuse("adapt", sim, FITTED, *out, says="no agent to add")
    refuse("adapt", sim, FITTED, "--agents", "3", *out, says="agent 3 of the simulator already")
    refuse("adapt", sim, NEW, "--agents", "3", *out, says="no transitions of agent 3")
    refuse("adapt", sim, NEW, "--agents", "x", *out, says="--agent must be like")
    assert not (tmp_path / "never").exists()
