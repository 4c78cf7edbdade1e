"""The panel of a plan: what its controls show, and which view an edit makes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from persim_gym.explorer.scene import Scene
from persim_gym.explorer.view import Plan, View
from tests.explorer.edits import edit, text_of

pytestmark = pytest.mark.usefixtures("client")


class Page:
    """What a panel needs of a page: a view that edits change."""

    def __init__(self, scene: Scene, plan: Plan) -> None:
        self.scene = scene
        self.view = scene.checked(replace(scene.default_view(), plan=plan, horizon=8))

    def change(self, make: Callable[[View], View]) -> None:
        self.view = self.scene.checked(make(self.view))


def panel(scene: Scene, plan: Plan, b: bool = False) -> tuple[Any, Page]:
    from persim_gym.explorer.plans import PlanPanel

    page: Any = Page(scene, plan)
    made = PlanPanel(page, b)
    made.show()
    return made, page


def chosen(made: Any) -> str:
    return next(mode for mode, radio in made._modes.items() if radio.held)


@pytest.mark.parametrize(
    ("plan", "mode", "sliders"),
    [
        (Plan(), "recorded", 0),
        (Plan("hold"), "hold", 0),
        (Plan("random", seed=3), "random", 0),
        (Plan.of([[5, 1]]), "constant", 2),
        (Plan.of([[5, 1], [6, 1]]), "blocks", 4),
        (Plan.of([[5, 1]] * 8), "schedule", 0),
    ],
)
def test_controls_say_what_the_plan_is(scene: Scene, plan: Plan, mode: str, sliders: int) -> None:
    made, _ = panel(scene, plan)
    assert chosen(made) == mode
    assert len(made._sliders) == sliders
    assert made._for_random.visible == (mode == "random")
    assert made._for_blocks.visible == (mode == "blocks")
    if mode == "random":
        assert made._seed.held == "3"
    if mode == "blocks":
        assert made._count.held == "2"
        labels = [control.props["aria-label"] for control, _ in made._sliders]
        assert labels == ["iron, steps 1 to 4", "epo, steps 1 to 4", "iron, steps 5 to 8",
                          "epo, steps 5 to 8"]  # fmt: skip


def test_sliders_that_are_there_stay(scene: Scene) -> None:
    made, page = panel(scene, Plan.of([[5, 1]]))
    before = made._sliders
    edit(made._sliders[0][0], "input", "7")
    assert page.view.plan == Plan.of([[7, 1]])
    made.show()
    assert made._sliders is before
    assert text_of(made._sliders[0][1]) == "7"
    page.view = page.view.with_plan(Plan.of([[5, 1], [6, 1]]))
    made.show()
    assert len(made._sliders) == 4


def test_a_mode_is_chosen(scene: Scene) -> None:
    made, page = panel(scene, Plan.of([[5, 1]]))
    for mode, kind in (("recorded", "recorded"), ("random", "random"), ("hold", "hold")):
        edit(made._modes[mode], "change", mode)
        assert page.view.plan.kind == kind


def test_blocks_are_two_at_least_and_as_many_as_have_sliders_at_most(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("persim_gym.explorer.blocks.MOST_BLOCKS", 5)
    made, page = panel(scene, Plan.of([[5, 1], [6, 1]]))
    for given, count in (("1", 2), ("3", 3), ("99", 5)):
        edit(made._count, "change", given)
        assert len(page.view.plan.rows) == count
    with pytest.raises(ValueError, match="the number of blocks"):
        edit(made._count, "change", "many")


def test_a_seed_is_a_whole_number(scene: Scene) -> None:
    made, page = panel(scene, Plan("random"))
    edit(made._seed, "change", "12")
    assert page.view.plan == Plan("random", seed=12)
    with pytest.raises(ValueError, match="the seed"):
        edit(made._seed, "change", "-1")


def test_a_schedule_is_painted_and_drawn(scene: Scene) -> None:
    made, page = panel(scene, Plan.of([[5, 1]]))
    edit(made._schedules[0], "paint", {"values": [1.0] * 8})
    assert page.view.plan == Plan.of([[1, 1]] * 8)
    made.draw(scene.courses(page.view))
    assert json.loads(made._schedules[0].held) == [1.0] * 8
    assert json.loads(made._schedules[1].held) == [1.0] * 8
    assert made._schedules[0].props["name"] == "iron"


def test_plan_b_may_be_another_agents(scene: Scene) -> None:
    made, page = panel(scene, Plan("hold"), b=True)
    page.view = replace(page.view, other=Plan("random"))
    made.show()
    assert made._agent.held == page.view.agent
    edit(made._agent, "change", "P-05")
    assert page.view.other_agent == "P-05"
    edit(made._agent, "change", page.view.agent)
    assert page.view.other_agent is None
    edit(made._modes["hold"], "change", "hold")
    assert (page.view.plan, page.view.other) == (Plan("hold"), Plan("hold"))


def test_without_a_record_there_is_nothing_recorded_to_choose(bare: Scene, scene: Scene) -> None:
    off = [
        mode
        for mode, radio in panel(bare, Plan("random"))[0]._modes.items()
        if radio.props["disabled"]
    ]
    assert off == ["recorded", "hold"]
    assert not any(radio.props["disabled"] for radio in panel(scene, Plan())[0]._modes.values())


def test_a_planner_needs_a_reward(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "disabled" not in panel(scene, Plan())[0]._ask.props
    monkeypatch.setattr("persim_gym.explorer.plans.has_reward", lambda scene: False)
    made, _ = panel(scene, Plan())
    assert made._ask.props["disabled"] is True
    assert "no reward" in text_of(made._status)
