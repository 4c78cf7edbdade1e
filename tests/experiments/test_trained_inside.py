"""Policies trained inside simulators as methods: the last one, of each agent, trained once."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from persim_gym import training
from persim_gym.baselines.face import FILE
from persim_gym.experiments import methods, trained_inside
from persim_gym.experiments.baseline_methods import BEHAVIOUR
from persim_gym.experiments.context import context_of
from persim_gym.experiments.methods import METHODS
from persim_gym.experiments.presets import INSIDE, INSIDE_PENALTY, preset_cells
from persim_gym.experiments.quantities import Quantity, quantities
from persim_gym.experiments.runner import check_cell, is_fitted
from persim_gym.experiments.stages import run_cell
from persim_gym.experiments.trained_inside import InsideConfig, train_config
from persim_gym.policies.saved import POLICY, load_policy
from persim_gym.store import SIMULATOR
from tests.experiments.paper_cells import TINY_FIT, tiny

sb3 = pytest.importorskip("stable_baselines3")

pytestmark = pytest.mark.usefixtures("recorded")

#: A few steps at random, and a few of learning.
STARTS, FEW = 40, (("hidden", (8,)), ("steps", 160))

FITTED, SETTINGS = methods.fitted_simulator, trained_inside._SETTINGS


@pytest.fixture(autouse=True)
def _small_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    small: dict[str, Any] = dict(TINY_FIT)
    monkeypatch.setattr(methods, "fitted_simulator", partial(FITTED, **small))
    early = {task: {**own, "learning_starts": STARTS} for task, own in SETTINGS.items()}
    monkeypatch.setattr(trained_inside, "_SETTINGS", early)


def cell_of(method: str = "persim-dqn", **changes: Any) -> Any:
    return tiny("reward", method=method, **{"fit": FEW, **changes})


def weights(policy: Any) -> torch.Tensor:
    return torch.cat([p.ravel() for p in policy._network.parameters()])


@pytest.mark.slow
def test_each_agent_has_the_last_policy_of_a_training_of_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn, last = sb3.DQN.learn, []

    def watched(self: Any, *arguments: Any, **options: Any) -> Any:
        found = learn(self, *arguments, **options)
        last.append(torch.cat([p.detach().ravel().clone() for p in self.q_net.parameters()]))
        return found

    monkeypatch.setattr(sb3.DQN, "learn", watched)
    monkeypatch.setattr(training, "episode_returns", lambda *a, **b: pytest.fail("it was judged"))
    cell = cell_of()
    check_cell(cell)
    assert not is_fitted(cell, folder)
    told: list[tuple[str, int, int]] = []
    row = run_cell(
        cell, folder, threads=1, on_stage=lambda name, done, of: told.append((name, done, of))
    )
    assert is_fitted(cell, folder)
    assert [own["agent"] for own in row.results["agents"]] == [0, 1]
    place = folder / "models" / str(cell.fit_key)
    kept = [weights(load_policy(place / f"agent-{agent}")) for agent in (0, 1)]
    assert all(torch.equal(a, b) for a, b in zip(kept, last, strict=True))
    assert not torch.equal(*kept)
    assert row.results["fit"]["config"]["steps"] == 160
    fits = [done / of for name, done, of in told if name == "fit"]
    assert fits[-1] == 1.0
    assert any(0.4 < share < 0.6 for share in fits)
    files = {path.suffix for path in place.rglob("*") if path.is_file()}
    assert files <= {".safetensors", ".json"}
    own = quantities([row])[Quantity("training seconds")]
    assert own[0] == pytest.approx(row.results["training"]["seconds"] / 2)


@pytest.mark.slow
def test_a_run_that_was_killed_trains_the_agents_that_are_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = cell_of(seed=1)
    first = run_cell(cell, folder, threads=1)
    place = folder / "models" / str(cell.fit_key)
    held = (place / "agent-0" / POLICY).read_bytes()
    lost = weights(load_policy(place / "agent-1"))
    shutil.rmtree(place / "agent-1")
    (place / "agent-1").mkdir()
    assert not is_fitted(cell, folder)
    train, trained = training.train_in_simulator, []

    def watched(sim: Any, agent: Any, *arguments: Any, **options: Any) -> Any:
        trained.append(agent)
        return train(sim, agent, *arguments, **options)

    monkeypatch.setattr(training, "train_in_simulator", watched)
    again = run_cell(cell, folder, threads=1)
    assert trained == [1]
    assert (place / "agent-0" / POLICY).read_bytes() == held
    assert torch.equal(weights(load_policy(place / "agent-1")), lost)
    assert again.results["agents"] == first.results["agents"]
    assert run_cell(cell, folder, threads=1).results == again.results


@pytest.mark.slow
def test_a_policy_of_other_data_is_refused(folder: Path) -> None:
    cell = cell_of(agents=(0,))
    run_cell(cell, folder, threads=1)
    other = replace(cell, seed=2)
    places = [folder / "models" / str(one.fit_key) / "agent-0" for one in (cell, other)]
    shutil.copytree(places[0], places[1])
    with pytest.raises(ValueError, match="delete the folder, or run with --force"):
        trained_inside.policies_inside(context_of(other, folder / "models"), None, "dqn")  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_simulator_is_that_of_persim_where_it_is_there(tmp_path: Path) -> None:
    models = tmp_path / "models"
    context = context_of(cell_of(), models)
    shared = replace(context, cell=replace(context.cell, method="persim", fit=()))
    made = methods.simulator_of(context)
    assert [path.name for path in models.iterdir()] == [context.folder.name]
    assert not is_fitted(context.cell, tmp_path)
    shutil.move(context.folder / shared.folder.name, shared.folder)
    assert methods.simulator_of(context).sha256 == made.sha256
    assert list(context.folder.iterdir()) == []


@pytest.mark.parametrize("method", ["persim-in-support", "persim-dqn", "persim-bcq-5"])
def test_a_cell_is_fitted_where_its_simulator_is_there_as_well(method: str, tmp_path: Path) -> None:
    cell = tiny("reward", method=method)
    parts = [BEHAVIOUR] if "support" in method else [f"agent-{agent}" for agent in cell.agents]
    place = tmp_path / "models" / str(cell.fit_key)
    fit = cell.fit if "support" in method else ()
    shared = place.with_name(str(replace(cell, method="persim", fit=fit).fit_key))
    for part in parts:
        assert not is_fitted(cell, tmp_path)
        (place / part).mkdir(parents=True)
        (place / part / FILE).touch()
    for folder in (shared, place / shared.name):
        assert not is_fitted(cell, tmp_path)
        folder.mkdir()
        (folder / SIMULATOR).touch()
        assert is_fitted(cell, tmp_path)
        shutil.rmtree(folder)


@pytest.mark.slow
def test_what_is_trained_inside_holds_the_true_pole(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good: dict[str, Any] = {"degree": 3, "rank": 4, "rounds": 40, "threshold": 0.0}
    monkeypatch.setattr(methods, "fitted_simulator", partial(FITTED, **good))
    monkeypatch.setattr(trained_inside, "_SETTINGS", SETTINGS)
    fit = (("hidden", (32, 32)), ("steps", 8000))
    cell = cell_of(fit=fit, agents=(1,), episodes=20, max_episode_steps=None)
    returns = run_cell(cell, folder, threads=1).results["agents"][0]["returns"]
    chance = tiny("reward", method="random", dataset=None, fit=(), episodes=20, agents=(1,),
                  max_episode_steps=None, train_agents=500)  # fmt: skip
    blind = run_cell(chance, folder, threads=1).results["agents"][0]["returns"]
    assert sum(returns) > 4 * sum(blind)


# -- options ---------------------------------------------------------------------------------------


def test_options_reach_the_training() -> None:
    plain = train_config("cartpole", "dqn", InsideConfig().of_task("cartpole"))
    assert (plain.guard, plain.penalty, plain.evaluations) == (True, 0.0, 0)
    assert train_config("mountain-car", "dqn", InsideConfig().of_task("mountain-car")).guard
    given = InsideConfig().replaced({
        "guard": False, "penalty": 2, "exploring_starts": 0.1, "episode_steps": 7, "hidden": [5],
        "steps": 9,
    }).of_task("cartpole", penalty=1.0)  # fmt: skip
    config = train_config("cartpole", "dqn", given)
    assert (config.guard, config.penalty, config.exploring_starts) == (False, 2.0, 0.1)
    assert (config.episode_steps, given.steps) == (7, 9)
    assert config.settings["policy_kwargs"] == {"net_arch": [5]}
    assert config.settings["gamma"] == plain.settings["gamma"]
    assert InsideConfig().of_task("cartpole", penalty=1.0).penalty == 1.0


@pytest.mark.slow
@pytest.mark.parametrize(("method", "penalty"), [("persim-dqn", 0.0), ("persim-dqn-penalty", 1.0)])
def test_the_variant_with_a_penalty_has_one(
    method: str, penalty: float, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[training.TrainConfig] = []

    def watched(*arguments: Any, config: training.TrainConfig, **options: Any) -> Any:
        seen.append(config)
        raise InterruptedError

    monkeypatch.setattr(training, "train_in_simulator", watched)
    with pytest.raises(InterruptedError):
        run_cell(cell_of(method, seed=3), folder, threads=1)
    assert (seen[0].penalty, seen[0].guard) == (penalty, True)


def test_bad_options_and_foreign_tasks_are_refused_before_a_run() -> None:
    for fit, message in (
        ((("degree", 2),), "unknown option 'degree' of a training in a simulator"),
        ((("steps", 0),), "steps must be a positive integer"),
        ((("penalty", -1),), "penalty must be a number of at least 0"),
        ((("guard", 2),), "guard must be"),
        ((("hidden", (0,)),), "hidden must be a list of positive integers"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            check_cell(cell_of(fit=fit))
    with pytest.raises(ValueError, match="learns continuous actions, and those of cartpole are d"):
        check_cell(cell_of("persim-sac"))
    with pytest.raises(ValueError, match="discrete actions, and those of half-cheetah are contin"):
        check_cell(cell_of(task="half-cheetah"))


# -- presets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["laptop", "paper"])
def test_presets_have_them(name: str) -> None:
    cells = preset_cells(name, "cpu")
    for method in ("persim-dqn", "persim-dqn-penalty"):
        own = [cell for cell in cells if cell.method == method]
        assert {cell.task for cell in own} == {"cartpole", "mountain-car"}
        assert {cell.experiment for cell in own} == {"reward"}
        everywhere = method == "persim-dqn" or name == "paper"
        assert len({cell.dataset for cell in own}) == (4 if everywhere else 1)
    cheetah = [cell for cell in cells if cell.task == "half-cheetah"]
    there = {(cell.method, cell.dataset) for cell in cheetah}
    wanted = {
        (method, dataset)
        for method in ("persim-sac", "persim-in-support")
        for dataset in ("random", "pure")
    }
    assert (name == "paper") == (wanted <= there) == (("persim-sac-penalty", "random") in there)


def test_they_are_registered() -> None:
    for method in (*INSIDE, *INSIDE_PENALTY):
        assert METHODS[method].experiments == ("reward",)
        assert METHODS[method].actions == ("discrete" if "dqn" in method else "continuous")


@pytest.mark.slow
def test_sac_acts_where_actions_are_continuous(folder: Path) -> None:
    cell = cell_of(
        "persim-sac-penalty", task="half-cheetah", train_agents=2, episodes=1, max_episode_steps=3,
        fit=FEW,
    )  # fmt: skip
    row = run_cell(cell, folder, threads=1)
    assert row.results["fit"]["trained_by"] == "sac"
    assert row.results["fit"]["config"]["penalty"] == 2.0
