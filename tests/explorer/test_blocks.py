from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from persim_gym.explorer import blocks
from persim_gym.explorer.scene import Scene
from persim_gym.explorer.view import Plan, View


@pytest.mark.parametrize("mode", blocks.MODES)
@pytest.mark.parametrize("which", ["scene", "carts"])
def test_every_mode_can_be_shown(mode: str, which: str, request: pytest.FixtureRequest) -> None:
    scene: Scene = request.getfixturevalue(which)
    view = replace(scene.default_view(), other=Plan("random", seed=4), horizon=10)
    plan = blocks.in_mode(scene, view, True, mode)
    assert blocks.mode_of(plan, view.horizon) == mode
    scene.checked(view.with_plan(plan, b=True))


def test_a_schedule_is_what_was_shown(scene: Scene) -> None:
    view = scene.default_view()
    plan = blocks.in_mode(scene, view, False, "schedule")
    before, after = (scene.actions(view, view.agent, p) for p in (view.plan, plan))
    np.testing.assert_allclose(before, after, rtol=1e-5)


def test_blocks_are_means_in_round_numbers(scene: Scene) -> None:
    view = View("P-01", 0, 4, Plan.of([[1, 1], [3.04, 1], [5, 1.5], [5, 1.5]]))
    assert blocks.in_mode(scene, view, False, "blocks", 2).rows == ((2, 1), (5, 1.5))
    assert blocks.in_mode(scene, view, False, "constant").rows == ((3.5, 1.25),)


def test_scales_hold_round_numbers_inside_the_range(scene: Scene, carts: Scene) -> None:
    low, high = scene.action_bounds
    for k, scale in enumerate(blocks.scales(scene)):
        assert low[k] <= scale.low < scale.high <= high[k]
        assert scale.high - scale.low > 0.95 * (high[k] - low[k])
        assert scale.snapped(-1e9) == scale.low
        assert scale.snapped(1e9) == scale.high
    assert blocks.scales(scene)[0].increment == 0.1
    assert blocks.scales(carts) == [blocks.Scale(0, 1, 1)]


def test_one_value_and_one_column_are_changed(scene: Scene) -> None:
    assert blocks.with_value(Plan.of([[1, 2], [3, 4]]), 1, 0, 9).rows == ((1, 2), (9, 4))
    view = View("P-01", 0, 3, Plan.of([[5, 1]]))
    plan = blocks.with_column(scene, view, False, 1, [0, 0.5, 1])
    assert plan.rows == ((5, 0), (5, 0.5), (5, 1))


def test_more_steps_hold_the_last_of_a_schedule() -> None:
    rows = [[float(k)] for k in range(20)]
    view = View("a", horizon=20, plan=Plan.of(rows), other=Plan.of([[7]]), step=20)
    longer, shorter = blocks.with_horizon(view, 22), blocks.with_horizon(view, 15)
    assert longer.plan.rows[-4:] == ((18,), (19,), (19,), (19,))
    assert len(shorter.plan.rows) == shorter.step == 15
    assert longer.other == view.other
