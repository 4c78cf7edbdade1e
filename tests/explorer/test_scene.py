from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from persim_gym.explorer.scene import Scene
from persim_gym.explorer.view import Plan, View
from persim_gym.learned import PerSim
from tests.explorer.worlds import NAMES


def test_courses_are_the_simulators(scene: Scene) -> None:
    view = scene.checked(View("P-02", 4, 7, Plan.of([[10, 1]]), Plan("recorded"), "P-05"))
    courses = scene.courses(view)
    sim, state = scene.sim, scene.record.state(1, 4)
    actions = np.stack([np.tile(np.float32([10, 1]), (7, 1)), scene.record.actions(1, 4, 7)])
    starts = np.stack([state, state])
    mean = sim.rollout([1, 4], starts, actions).mean(0)
    low, high = sim.rollout_interval([1, 4], starts, actions)
    for i, course in enumerate(courses.sides):
        assert course.low is not None
        assert course.high is not None
        np.testing.assert_array_equal(course.mean, [state, *mean[i]])
        np.testing.assert_array_equal(course.low[1:], low[i])
        np.testing.assert_array_equal(course.high[1:], high[i])
        before = np.stack([state, *mean[i, :-1]])
        assert course.total == pytest.approx(
            float(sim.task.reward(before, actions[i], mean[i]).sum()), rel=1e-2
        )
    assert [course.name for course in courses.sides] == ["P-02", "P-05"]


def test_plans_become_actions(scene: Scene) -> None:
    view = View("P-01", 5, 6)
    assert np.array_equal(
        scene.actions(view, "P-01", Plan.of([[1, 1], [2, 1]]))[:, 0], [1, 1, 1, 2, 2, 2]
    )
    # More rows than steps: the first ones.
    many = Plan.of([[k, 1] for k in range(1, 10)])
    assert np.array_equal(scene.actions(view, "P-01", many)[:, 0], range(1, 7))
    held = scene.actions(view, "P-01", Plan("hold"))
    assert np.array_equal(held, np.repeat(scene.record.actions(0, 4, 1), 6, axis=0))
    drawn = [scene.actions(view, "P-01", Plan("random", seed=s)) for s in (1, 1, 2)]
    low, high = scene.action_bounds
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert (drawn[0] >= low).all()
    assert (drawn[0] <= high).all()


def test_discrete_actions_are_whole(carts: Scene) -> None:
    view = carts.checked(View("3", 0, 5, Plan.of([[1], [0]])))
    acted = carts.actions(view, "3", view.plan)
    assert acted.dtype == np.int64
    assert acted.tolist() == [1, 1, 1, 0, 0]
    assert set(carts.actions(view, "3", Plan("random"))) <= {0, 1}
    with pytest.raises(ValueError, match=r"a whole number from 0 to 1, got 0\.5"):
        carts.actions(view, "3", Plan.of([[0.5]]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"agent": "P-99"}, "no agent 'P-99'"),
        ({"other": Plan(), "other_agent": "x"}, "no agent 'x'"),
        ({"plan": Plan.of([[1]])}, "has 2 numbers"),
        ({"plan": Plan.of([[1e6, 0]])}, "iron must be a number from"),
        ({"shown": ("sodium",)}, "no coordinate 'sodium'"),
    ],
)
def test_what_cannot_be_shown_is_said(
    scene: Scene, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        scene.checked(replace(scene.default_view(), **changes))


def test_what_is_too_large_is_cut(scene: Scene) -> None:
    view = scene.checked(replace(scene.default_view(), start=10**6, horizon=10**6, step=10**6))
    assert view.start == scene.record.starts(0) - 1
    assert view.horizon == scene.most_steps
    assert view.step == view.horizon
    assert scene.checked(replace(view, horizon=0)).horizon == 1


def test_ends_of_the_action_space_survive_an_address(scene: Scene) -> None:
    low, high = scene.action_bounds
    for end in (low, high):
        acted = scene.actions(View("P-01", 0, 3), "P-01", Plan.of([end.tolist()]))
        np.testing.assert_allclose(acted[0], end, rtol=1e-5)
        assert scene.sim.task.action_space.contains(acted[0])


def test_without_a_record_there_is_a_plan_all_the_same(bare: Scene) -> None:
    view = bare.checked(bare.default_view())
    assert view.plan.kind == "values"
    courses = bare.courses(view)
    assert len(courses.recorded) == 1
    with pytest.raises(ValueError, match="record is not there"):
        bare.checked(replace(view, plan=Plan()))


def test_truth_follows_the_same_actions(carts: Scene) -> None:
    view = carts.checked(View("3", 2, 6, Plan.of([[1]])))
    courses = carts.courses(view)
    true = carts.true_course(view, courses.a)
    assert true is not None
    assert true.shape == (7, 4)
    np.testing.assert_array_equal(true[0], courses.a.mean[0])
    assert carts.truth is not None
    step = carts.truth._dynamics.step(np.array([3]), true[2:3], np.array([1]))
    np.testing.assert_array_equal(true[3], step[0])


def test_names(scene: Scene, carts: Scene, patient_sim: PerSim) -> None:
    assert scene.agents == NAMES
    assert scene.coordinates == ("ferritin", "hb")
    assert scene.action_names == ("iron", "epo")
    assert carts.agents[:2] == ("0", "1")
    assert carts.choices == ("0", "1")
    assert patient_sim.agent_names == NAMES
