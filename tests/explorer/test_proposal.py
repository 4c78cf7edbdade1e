from __future__ import annotations

from dataclasses import replace

import pytest

from persim_gym.explorer.proposal import propose
from persim_gym.explorer.scene import Scene
from persim_gym.explorer.view import Plan
from tests.explorer.worlds import fitted, patients, scene_of


@pytest.mark.parametrize("which", ["scene", "carts"])
def test_a_proposal_can_be_shown_and_made_again(which: str, request: pytest.FixtureRequest) -> None:
    scene: Scene = request.getfixturevalue(which)
    view = scene.checked(replace(scene.default_view(), horizon=5))
    plan = propose(scene, view)
    assert plan == propose(scene, view)
    assert len(plan.rows) == 5
    scene.checked(view.with_plan(plan))


def test_a_proposal_is_better_than_chance(scene: Scene) -> None:
    view = scene.checked(replace(scene.default_view(), horizon=6))
    planned = scene.courses(view.with_plan(propose(scene, view))).a.total
    chance = [scene.courses(view.with_plan(Plan("random", seed=s))).a.total for s in range(5)]
    assert planned > max(chance)


def test_a_proposal_can_be_stopped(scene: Scene) -> None:
    view = scene.checked(replace(scene.default_view(), horizon=6))
    assert len(propose(scene, view, on_step=lambda done, of: done == 2).rows) == 6


def test_an_agent_whose_name_is_the_number_of_another() -> None:
    data = replace(patients(), agent_names=("1", "2", "3", "4", "5", "6"))
    scene = scene_of(fitted(data), data)
    view = scene.checked(replace(scene.default_view(), agent="3", horizon=2))
    assert len(propose(scene, view).rows) == 2
