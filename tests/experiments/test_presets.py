"""Presets hold what the paper's experiments are made of, each cell once, and can be cut down."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product

import pytest

from persim_gym.experiments import preset_cells, select_cells
from persim_gym.experiments.cell import Cell
from persim_gym.experiments.methods import METHODS
from persim_gym.experiments.presets import BASELINES, MODELS, PRESETS
from persim_gym.experiments.runner import check_cell
from persim_gym.policies.paper_behaviours import BEHAVIOURS

SMALL = ("mountain-car", "cartpole")
ALL = (*SMALL, "half-cheetah")


def of(cells: list[Cell], **fields: object) -> list[Cell]:
    return [c for c in cells if all(getattr(c, name) == v for name, v in fields.items())]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("name", PRESETS)
def test_every_cell_is_there_once_and_can_be_run(name: str, device: str) -> None:
    cells = preset_cells(name, device)
    assert max(Counter(cells).values()) == 1
    assert len({cell.key for cell in cells}) == len(cells)
    for cell in {replace(cell, seed=0) for cell in cells}:
        check_cell(cell)


def test_quick_is_both_small_tasks_with_every_experiment() -> None:
    cells = preset_cells("quick")
    assert {cell.task for cell in cells} == set(SMALL)
    assert {cell.experiment for cell in cells} == {"prediction", "reward", "unseen", "latent"}
    assert {cell.dataset for cell in cells} == {"random", None}
    assert {cell.seed for cell in cells} == {0, 1}
    assert len(cells) < 60


@pytest.mark.parametrize("name", ["laptop", "paper"])
def test_the_small_tasks_are_complete(name: str) -> None:
    cells = preset_cells(name)
    for task, dataset, seed in product(SMALL, BEHAVIOURS, range(5)):
        for experiment in ("prediction", "reward", "latent"):
            found = of(
                cells, task=task, dataset=dataset, seed=seed, experiment=experiment,
                method="persim", train_agents=500,
            )  # fmt: skip
            planners = {cell.planner for cell in found}
            assert len(found) == len(planners) >= 1
            assert planners == ({None} if experiment != "reward" else planners - {None})
    for task, seed in product(SMALL, range(5)):
        for method in ("true", "test-policy", "random"):
            assert of(cells, task=task, seed=seed, experiment="reward", method=method)
        assert of(cells, task=task, seed=seed, experiment="prediction", method="persistence")
        counts = [
            cell.train_agents
            for cell in of(
                cells, task=task, seed=seed, experiment="prediction", method="persim",
                dataset="random",
            )
        ]  # fmt: skip
        assert sorted(counts) == [25, 50, 100, 250, 500]
        (unseen,) = of(cells, task=task, seed=seed, experiment="unseen", method="persim")
        assert unseen.train_agents == 450
        assert unseen.agents == tuple(range(450, 500))


@pytest.mark.slow
def test_the_papers_numbers() -> None:
    cells = preset_cells("paper", "cuda")
    judged = [cell for cell in cells if cell.experiment in ("prediction", "reward")]
    assert {cell.agents for cell in judged} == {(0, 1, 2, 3, 4)}
    assert {cell.episodes for cell in judged if cell.experiment == "prediction"} == {200}
    planned = [cell for cell in judged if cell.planner]
    assert {cell.episodes for cell in planned} == {20}
    assert {cell.max_episode_steps for cell in planned} == {None}


def test_half_cheetah_is_reduced_where_there_is_no_gpu() -> None:
    full, reduced = (
        of(preset_cells("paper", device), task="half-cheetah") for device in ("cuda", "cpu")
    )
    assert {cell.task for cell in preset_cells("paper")} == set(ALL)
    assert {cell.seed for cell in full} == set(range(5))
    assert {cell.dataset for cell in full} == {*BEHAVIOURS, None}
    assert {cell.seed for cell in reduced} == {0}
    assert 0 < len(reduced) < len(full) / 5
    learned = [cell for cell in reduced if cell.fit_key]
    assert {cell.train_agents for cell in learned} == {500}
    assert of(preset_cells("paper", "cuda"), task="cartpole") == of(
        preset_cells("paper"), task="cartpole"
    )


def test_other_numbers_of_seeds() -> None:
    assert {cell.seed for cell in preset_cells("quick", seeds=1)} == {0}
    more = preset_cells("quick", seeds=4)
    assert {cell.seed for cell in more} == {0, 1, 2, 3}
    assert set(preset_cells("quick")) < set(more)
    for wrong in (0, 1.5, True):
        with pytest.raises(ValueError, match="seeds must be an integer of at least 1"):
            preset_cells("quick", seeds=wrong)  # type: ignore[arg-type]


def test_a_preset_that_is_none() -> None:
    with pytest.raises(ValueError, match="unknown preset 'huge': there are quick, laptop, paper"):
        preset_cells("huge")


def test_a_part() -> None:
    cells = preset_cells("laptop")
    assert select_cells(cells) == cells
    some = select_cells(cells, tasks=["cartpole"], experiments=["prediction", "latent"])
    assert {(cell.task, cell.experiment) for cell in some} == {
        ("cartpole", "prediction"), ("cartpole", "latent"),
    }  # fmt: skip
    assert [cell for cell in cells if cell in set(some)] == some
    # What learns from no data belongs to all data sets, what does not plan to all planners.
    some = select_cells(cells, datasets=["pure"], planners=["default"])
    assert {cell.dataset for cell in some} == {"pure", None}
    assert {cell.planner for cell in some} == {"default", None}
    assert {cell.method for cell in select_cells(cells, methods=["true", "random"])} == {
        "true", "random",
    }  # fmt: skip


def test_a_part_that_is_none() -> None:
    cells = preset_cells("quick")
    with pytest.raises(ValueError, match="no cell has task 'half-cheetah': there are cartpole, m"):
        select_cells(cells, tasks=["half-cheetah"])
    with pytest.raises(ValueError, match="no cell has dataset 'pure': there are random"):
        select_cells(cells, datasets=["pure"])
    with pytest.raises(ValueError, match="experiment latent, method true, all at once"):
        select_cells(cells, methods=["true"], experiments=["latent"])


def test_baselines_are_repeated_less_often() -> None:
    cells = preset_cells("laptop")
    assert {cell.seed for cell in cells if cell.method == "persim"} == set(range(5))
    for name in (*BASELINES, *MODELS):
        assert {cell.seed for cell in cells if cell.method == name} == {0, 1, 2}


@pytest.mark.parametrize("name", ["laptop", "paper"])
def test_every_baseline_is_on_every_data_set(name: str) -> None:
    cells = [cell for cell in preset_cells(name) if cell.method in BASELINES]
    for method in BASELINES:
        own = [cell for cell in cells if cell.method == method and cell.task == "cartpole"]
        assert {cell.experiment for cell in own} == {"reward"}
        assert len({cell.dataset for cell in own}) == 4
        assert {cell.episodes for cell in own} == {100}
        few = {cell.train_agents for cell in own}
        assert (few == {25, 50, 100, 250, 500}) == method.endswith("-p")
        assert {cell.fit for cell in own} == {METHODS[method].paper if name == "paper" else ()}


def test_presets_have_model_methods_with_the_first_planner_and_with_fewer_agents() -> None:
    own = [one for one in preset_cells("laptop", seeds=1) if one.method in MODELS]
    assert {one.method for one in own} == set(MODELS)
    assert {one.planner for one in own} == {None, "default"}
    scarce = {one.method for one in own if one.train_agents == 25}
    assert scarce == set(MODELS) - {"morel-a"}
    assert all(one.fit == () for one in own)
    every = preset_cells("paper", seeds=1)
    paper = [one for one in every if (one.method, one.task) == ("pets-cadm", "cartpole")]
    assert paper
    assert all(dict(one.fit)["hidden"] == (200, 200, 200, 200) for one in paper)
