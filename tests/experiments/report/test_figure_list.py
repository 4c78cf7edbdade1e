"""Which figures a report has."""

from __future__ import annotations

from matplotlib.colors import to_rgba

from persim_gym.experiments.report.figure_list import drawings
from persim_gym.experiments.results import Findings
from persim_gym.plots.style import DARK
from tests.experiments.paper_rows import latent, predicted, rewarded, unseen


def test_figures_only_of_what_there_is() -> None:
    assert [own.name for own in drawings(Findings([predicted("persim", [0.1])]))] == [
        "horizon-cartpole"
    ]
    assert [own.name for own in drawings(Findings([unseen({"1": [0.1]})]))] == ["unseen"]
    assert [own.name for own in drawings(Findings([latent(0.9)]))] == ["latent-cartpole"]


def test_a_figure_for_each_task_says_which() -> None:
    rows = [predicted("persim", [0.1], task=task) for task in ("cartpole", "mountain-car")]
    found = drawings(Findings([*rows, rewarded("persim", [[1.0]])]))
    assert {own.name: own.section for own in found} == {
        "horizon-mountain-car": "prediction", "horizon-cartpole": "prediction",
        "returns-cartpole": "reward",
    }  # fmt: skip
    assert found[0].alt == "MountainCar: error by open-loop steps"
    assert all(own.caption.startswith(own.alt.partition(":")[0]) for own in found)
    assert found[0].draw(theme=DARK).get_facecolor() == to_rgba(DARK.paper)


def test_planners_need_a_speed() -> None:
    slow = rewarded("persim", [[1.0]], planner="default", rate=30.0)
    assert "planners" in [own.name for own in drawings(Findings([slow]))]
    unknown = rewarded("persim", [[1.0]], planner="default")
    assert "planners" not in [own.name for own in drawings(Findings([unknown]))]


def test_latent_factors_are_of_random_data_if_there_are() -> None:
    rows = [latent(0.9, dataset=name) for name in ("pure", "random")]
    (found,) = drawings(Findings(rows))
    assert "data set random" in found.caption
    (found,) = drawings(Findings(rows[:1]))
    assert "data set pure" in found.caption
