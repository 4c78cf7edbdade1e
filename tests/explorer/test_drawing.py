from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from persim_gym.explorer.drawing import axis_of, charts, has_reward, readings, sentences
from persim_gym.explorer.scene import Scene
from persim_gym.explorer.view import Plan, View
from tests.explorer.worlds import fitted, patients, scene_of


@pytest.mark.parametrize("which", ["scene", "bare", "carts"])
def test_charts_are_plain_and_hold_everything(which: str, request: pytest.FixtureRequest) -> None:
    scene: Scene = request.getfixturevalue(which)
    view = scene.checked(replace(scene.default_view(), other=Plan("random"), horizon=8))
    courses = scene.courses(view)
    truths = [scene.true_course(view, course) for course in courses.sides]
    drawn = charts(scene, view, courses, truths)
    json.dumps(drawn, allow_nan=False)
    assert [chart["name"] for chart in drawn] == list(view.shown)
    for d, chart in enumerate(drawn):
        assert len(chart["lines"]) == 2
        np.testing.assert_allclose(
            chart["lines"][1]["mean"], courses.sides[1].mean[:, d], rtol=1e-4
        )
        assert (chart["lines"][0]["truth"] is None) == (scene.truth is None)
        assert chart["name"] in chart["words"]
    head, rows = readings(scene, view, courses, truths)
    assert {len(row) for row in rows} == {len(head)}
    assert rows[0][2] == "-"  # the start is known
    later = readings(scene, replace(view, step=8), courses, truths)[1]
    assert " to " in later[0][2]


def test_a_course_that_runs_away_does_not_flatten_the_rest() -> None:
    low, high = axis_of([np.array([1.0, 1e9, np.nan]), np.array([0.0])], 0.0, 10.0)
    assert -3 < low < 0
    assert 20 < high < 25
    low, high = axis_of([np.array([5.0])], 5.0, 5.0)
    assert low < 5 < high


def test_what_is_not_finite_is_left_out(scene: Scene) -> None:
    view = scene.checked(scene.default_view())
    courses = scene.courses(view)
    mean = courses.a.mean.copy()
    mean[3:] = np.inf
    drawn = charts(scene, view, replace(courses, a=replace(courses.a, mean=mean)))
    json.dumps(drawn, allow_nan=False)
    assert drawn[0]["lines"][0]["mean"][3] is None


def test_sentences_say_where_support_and_record_end(scene: Scene) -> None:
    def said(view: View) -> str:
        view = scene.checked(view)
        return " ".join(text for _, text in sentences(scene, view, scene.courses(view)))

    inside = said(View("P-01", 0, 10))
    assert "Inside the support of the data over all 10 steps." in inside
    assert "The record ends at step 4; its last action is held" in said(View("P-01", 8, 10))
    low, high = scene.action_bounds
    much = said(View("P-01", 0, 12, Plan.of([high.tolist()]), Plan.of([low.tolist()]), "P-02"))
    assert "A (P-01): Support ends at step" in much
    assert "leaves the recorded range" in much
    assert "B (P-02): " in much


def test_a_constant_reward_is_none() -> None:
    data = patients(reward=False)
    scene = scene_of(fitted(data), data)
    view = scene.checked(scene.default_view())
    assert not has_reward(scene)
    assert not any("rewards" in text for _, text in sentences(scene, view, scene.courses(view)))
