"""Each experiment on worlds with known answers, and from end to end in sizes of a second."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persim_gym.core import Policy
from persim_gym.envs.suites import SUITES
from persim_gym.evaluation import follow
from persim_gym.evaluation.returns import episode_returns
from persim_gym.experiments import experiments, methods, unseen
from persim_gym.experiments.cell import Cell
from persim_gym.experiments.experiments import run_cell
from persim_gym.experiments.methods import METHODS, Contender, Method
from persim_gym.experiments.probe_policies import policy_families
from persim_gym.experiments.recordings import (
    missing_recordings,
    population_of,
    recording_of,
    transitions_of,
)
from persim_gym.experiments.row_files import Row
from persim_gym.learned.simulator import PerSim
from persim_gym.offline.transitions import Transitions
from persim_gym.planning import MPC
from tests.experiments.paper_cells import TINY_FIT, TrueRollout, quick, tiny

pytestmark = pytest.mark.usefixtures("recorded")

FAMILIES = ("test-policy", "scripted")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tests share it: what one has fitted, the others need not fit again."""
    return tmp_path_factory.mktemp("benchmark")


def register(monkeypatch: pytest.MonkeyPatch, name: str, make: Any, **options: Any) -> None:
    method = Method(name, name, make, ("prediction", "reward"), learns=False, **options)
    monkeypatch.setitem(METHODS, name, method)


def errors(row: Row, family: str) -> np.ndarray:
    return np.array([own["rmse"] for own in row.results["families"][family]], dtype=np.float64)


# -- prediction ------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["cartpole", "mountain-car"])
def test_the_truth_predicts_without_error(
    task: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def truth(context: methods.Context) -> Contender:
        people = population_of(context.cell)
        return Contender(predictor=TrueRollout(SUITES[context.cell.task].dynamics(people)))

    register(monkeypatch, "truth", truth)
    cell = quick(task=task, method="truth", episodes=5, agents=(0, 1, 2, 3, 4), seed=3)
    row, nothing = run_cell(cell, folder), run_cell(replace(cell, method="persistence"), folder)
    for family in FAMILIES:
        assert errors(row, family).max() < 1e-4
        # Else it might be that nothing moves.
        assert errors(nothing, family).min() > 100 * errors(row, family).max()


def test_the_error_of_persistence_is_how_far_it_goes(folder: Path) -> None:
    cell = quick(episodes=3, agents=(0, 3))
    row = run_cell(cell, folder)
    assert (
        row.results["coordinates"] == ["x", "x_dot", "theta", "theta_dot"]
        or len(row.results["coordinates"]) == 4
    )
    suite = SUITES["cartpole"]
    task, true = suite.task(), suite.dynamics(population_of(cell))
    for family, policy in policy_families(task, cell.seed).items():
        seen = follow(task, true, cell.agents, policy, episodes=3, seed=0)
        moved = np.square(seen.true - seen.obs[:, seen.warmup].astype(np.float32)[:, None])
        lived = seen.valid.any(axis=1)
        each = [np.sqrt(moved[i][seen.valid[i]].mean()) for i in np.flatnonzero(lived)]
        agents = seen.agents[lived]
        known = [np.mean(np.array(each)[agents == agent]) for agent in cell.agents]
        np.testing.assert_allclose(errors(row, family), known, rtol=1e-9)


@pytest.mark.slow
def test_a_simulator_predicts_better_than_nothing(folder: Path) -> None:
    told: list[tuple[str, int, int]] = []
    cell = tiny(fit=())
    row = run_cell(cell, folder, threads=1, on_stage=lambda *stage: told.append(stage))
    assert row.cell == cell
    assert set(row.results["families"]) == set(FAMILIES)
    assert row.results["fit"]["members"] == 5
    assert set(row.seconds) == {"data", "fit", "run"}
    assert row.machine["device"] == "cpu"
    assert row.machine["threads"] == 1
    assert {"python", "persim-gym", "torch"} <= set(row.versions)
    assert [stage for stage in told if stage[1:] == (0, 1)] == [
        ("fit", 0, 1), ("data", 0, 1), ("run", 0, 1),
    ]  # fmt: skip
    assert told[-1] == ("run", 2, 2)
    nothing = run_cell(quick(episodes=2), folder)
    for family in FAMILIES:
        assert (errors(row, family) < errors(nothing, family)).all()


@pytest.mark.slow
def test_the_same_cell_gives_the_same_results(folder: Path, tmp_path: Path) -> None:
    first = run_cell(tiny(), folder, threads=1)  # from the model of another cell, or not
    fresh = run_cell(tiny(), tmp_path, threads=1)
    assert first.results["families"] == fresh.results["families"]
    other = run_cell(tiny(fit=(*TINY_FIT, ("ridge", 1e-3))), tmp_path, threads=1)
    assert other.results["families"] != first.results["families"]


@pytest.mark.slow
def test_a_simulator_of_other_data_does_not_pass_for_a_cells_own(
    folder: Path, tmp_path: Path
) -> None:
    run_cell(tiny(), folder, threads=1)
    other = tiny(seed=1)
    lying = tmp_path / "models" / str(other.fit_key)
    shutil.copytree(folder / "models" / str(tiny().fit_key), lying)
    with pytest.raises(ValueError, match=r"random-v0'.*random-seed-1-v0'.*--force"):
        run_cell(other, tmp_path, threads=1)


@pytest.mark.slow
def test_one_simulator_for_all_answers_all_agents_alike(folder: Path) -> None:
    cell = tiny(method="one-for-all", fit=(*TINY_FIT[:1], ("rank", 1), *TINY_FIT[2:]))
    context = methods.context_of(cell, folder / "models")
    contender = METHODS["one-for-all"].make(context)
    assert contender.predictor is not None
    assert contender.dynamics is not None
    assert contender.dynamics.num_agents == 25
    obs, actions = np.full((2, 4), 0.02), np.ones((2, 3), dtype=np.int64)
    seen = np.asarray(contender.predictor.rollout(np.array([0, 7]), obs, actions))
    np.testing.assert_array_equal(seen[:, 0], seen[:, 1])
    steps = contender.dynamics.step(np.array([0, 7]), obs, actions[:, 0])
    np.testing.assert_array_equal(steps[0], steps[1])
    own = run_cell(cell, folder, threads=1)
    assert own.results["families"] != run_cell(tiny(), folder, threads=1).results["families"]


# -- data ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_few_agents_are_the_first_ones_and_the_judged_among_them() -> None:
    many, few = transitions_of(tiny(train_agents=500)), transitions_of(tiny())
    assert (many.num_agents, few.num_agents) == (500, 25)
    assert sorted(set(few.agent.tolist())) == list(range(25))
    kept = many.agent < 25
    np.testing.assert_array_equal(few.obs, many.obs[kept])
    np.testing.assert_array_equal(few.agent, many.agent[kept])
    # The data's population is that of the judged agents.
    people = SUITES["cartpole"].population(few.population)
    whole = population_of(tiny())
    np.testing.assert_array_equal(people.values, whole.values[:25])
    np.testing.assert_array_equal(whole.values[:5], SUITES["cartpole"].population().values[:5])


def test_each_seed_has_agents_and_a_recording_of_its_own() -> None:
    first, second = tiny(), tiny(seed=1)
    a, b = population_of(first).values, population_of(second).values
    np.testing.assert_array_equal(a[:5], b[:5])  # the paper's test agents
    assert (a[5:] != b[5:]).all()
    assert recording_of(first).dataset_id == "persim/cartpole/random-v0"
    assert recording_of(second).dataset_id == "persim/cartpole/random-seed-1-v0"
    more = recording_of(tiny(train_agents=600))
    assert more.dataset_id == "persim/cartpole/random-agents-600-v0"
    assert more.steps == 600 * 200
    with pytest.raises(ValueError, match="learns from no data"):
        recording_of(quick())


def test_what_is_missing_is_recorded_once(root: Path) -> None:
    cells = [tiny(), tiny("reward"), tiny(train_agents=30), quick(), tiny(seed=1)]
    missing = [recording.dataset_id for recording in missing_recordings(cells)]
    assert missing == ["persim/cartpole/random-seed-1-v0"]  # that of seed 0 is recorded


# -- reward ----------------------------------------------------------------------------------------


def reference(cell: Cell, policy: Policy | str) -> np.ndarray:
    suite = SUITES[cell.task]
    return episode_returns(
        suite.task(), suite.dynamics(population_of(cell)), cell.agents, policy, cell.episodes,
        cell.seed, max_episode_steps=cell.max_episode_steps,
    )  # fmt: skip


@pytest.mark.parametrize(("method", "policy"), [("random", "random"), ("test-policy", "test")])
def test_returns_of_a_policy_are_those_of_the_evaluation(
    method: str, policy: str, folder: Path
) -> None:
    cell = quick(experiment="reward", method=method, episodes=3, agents=(0, 4), seed=5)
    row = run_cell(cell, folder)
    found = [own["returns"] for own in row.results["agents"]]
    assert [own["agent"] for own in row.results["agents"]] == [0, 4]
    np.testing.assert_array_equal(found, reference(cell, policy))
    assert "planning" not in row.results
    short = run_cell(replace(cell, max_episode_steps=7), folder)
    assert {value for own in short.results["agents"] for value in own["returns"]} == {7.0}


@pytest.mark.slow
def test_planning_is_that_of_the_named_planner(folder: Path) -> None:
    cell = tiny("reward", planner="paper", penalty=0.25, episodes=2)
    row = run_cell(cell, folder, threads=1)
    sim = PerSim.load(folder / "models" / str(cell.fit_key))
    mpc = MPC(sim, list(cell.agents), planner="paper", penalty=0.25, seed=0)
    found = [own["returns"] for own in row.results["agents"]]
    np.testing.assert_array_equal(found, reference(cell, mpc))
    said = row.results["planning"]
    assert said["planner"] == "RandomShooting"
    assert said["penalty"] == 0.25
    assert said["decisions"] == 2 * 2 * 5
    assert said["batches"] == 5
    assert 0 < said["seconds"] <= row.seconds["run"]
    other = run_cell(replace(cell, planner="categorical-cem"), folder, threads=1)
    assert other.results["planning"]["planner"] == "CategoricalCEM"


def test_planning_in_the_truth_learns_nothing(root: Path, tmp_path: Path) -> None:
    cell = quick(experiment="reward", method="true", max_episode_steps=3, planner="default")
    row = run_cell(cell, tmp_path, threads=1)
    assert row.results["planning"]["decisions"] == 2 * 1 * 3
    assert not (tmp_path / "models").exists()


# -- latent factors, unseen agents -----------------------------------------------------------------


def test_latent_factors_are_probed_for_the_agents_of_the_fit(folder: Path) -> None:
    row = run_cell(tiny("latent", episodes=1), folder, threads=1)
    assert row.results["names"] == ["force", "length"]
    np.testing.assert_allclose(
        row.results["covariates"], population_of(tiny()).values[:25], atol=1e-6
    )
    assert np.shape(row.results["predicted"]) == (25, 2)


@pytest.mark.slow
def test_unseen_agents_are_not_in_the_fit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = tiny("unseen")
    fitted: list[Transitions] = []
    fit = PerSim.fit

    def spy(data: Any, **options: Any) -> PerSim:
        fitted.append(data)
        return fit(data, **options)

    monkeypatch.setattr(PerSim, "fit", spy)
    told: list[tuple[str, int, int]] = []
    row = run_cell(
        replace(cell, train_agents=24), folder, threads=1, on_stage=lambda *s: told.append(s)
    )
    assert row.results["agents"] == [30, 31]
    assert [set(data.agent.tolist()) for data in fitted] == [set(range(24))]
    known = [entry["known"] for entry in row.results["known"]]
    assert known == ["mean", "covariates", *map(str, unseen.COUNTS)]
    assert all(np.shape(entry["rmse"]) == (2,) for entry in row.results["known"])
    assert told[-1] == ("run", len(known), len(known))


def test_agents_of_the_fit_are_not_unseen(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"agents \[3\] are among the 25 agents of the fit"):
        run_cell(tiny("unseen", agents=(3, 30)), folder)


@pytest.mark.slow
def test_knowing_an_agent_helps(folder: Path) -> None:
    """Of 25 CartPoles in closed form, 50 transitions tell more than nothing does."""
    agents = (30, 31, 32, 33, 34, 35)
    row = run_cell(tiny("unseen", agents=agents, episodes=4, fit=()), folder, threads=1)
    error = {entry["known"]: np.mean(entry["rmse"]) for entry in row.results["known"]}
    assert error["50"] < 0.5 * error["mean"]
    assert error["covariates"] < error["mean"]


# -- methods ---------------------------------------------------------------------------------------


def test_every_experiment_has_a_function() -> None:
    named = {name for method in METHODS.values() for name in method.experiments}
    assert named == set(experiments._EXPERIMENTS)


def test_a_method_takes_part_in_what_it_can(folder: Path) -> None:
    with pytest.raises(ValueError, match="persistence takes part in prediction, not in latent"):
        run_cell(quick(experiment="latent"), folder)
    with pytest.raises(ValueError, match="unknown method 'guess': there are persim"):
        run_cell(quick(method="guess"), folder)


@pytest.mark.slow
def test_networks_are_networks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = (("epochs", 1), ("ensemble_size", 2), ("spare_members", 0))
    told: list[tuple[str, int, int]] = []
    row = run_cell(
        tiny(method="persim-networks", fit=options), folder, threads=1,
        on_stage=lambda *stage: told.append(stage),
    )  # fmt: skip
    assert row.results["fit"]["fitted_by"] == "sgd"
    assert row.results["fit"]["members"] == 2
    assert ("fit", 1, 1) in told
    asked: dict[str, Any] = {}

    def fit(data: Any, **rest: Any) -> PerSim:
        asked.update(rest)
        raise RuntimeError("asked")

    monkeypatch.setattr(PerSim, "fit", fit)
    with pytest.raises(RuntimeError, match="asked"):
        run_cell(tiny(method="persim-paper", fit=(("epochs", 2),)), folder)
    assert (asked["method"], asked["preset"], asked["epochs"]) == ("sgd", "paper", 2)
