from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from persim_gym.explorer.scene import Scene
from persim_gym.explorer.support import disagreement_along, support_end
from persim_gym.explorer.view import Plan, View
from persim_gym.learned import Hierarchical, PerSim
from tests.explorer.worlds import patients, scene_of

FAR = np.full(4, 0.0, dtype=np.float32)


def end_of(scene: Scene, **changes: object) -> tuple[int, str] | None:
    known = scene.sim.experience
    middle = (known.low + known.high) / 2
    given = {
        "actions": np.ones((4, 2), dtype=np.float32),
        "mean": np.tile(middle, (4, 1)),
        "disagreement": FAR,
        **changes,
    }
    found = support_end(
        scene.sim, given["actions"], given["mean"], given["disagreement"],  # type: ignore[arg-type]
        scene.coordinates, scene.action_names, (np.zeros(2), np.full(2, 2.0)),
    )  # fmt: skip
    return found and (found.step, found.reason)


def test_each_rule_ends_it(scene: Scene) -> None:
    known = scene.sim.experience
    assert end_of(scene) is None
    mean = np.tile((known.low + known.high) / 2, (4, 1))
    mean[2, 1] = known.high[1] + 1
    step, reason = end_of(scene, mean=mean) or (0, "")
    assert (step, reason.startswith("hb leaves the recorded range")) == (3, True)
    actions = np.ones((4, 2), dtype=np.float32)
    actions[1, 0] = 3
    step, reason = end_of(scene, actions=actions) or (0, "")
    assert (step, "the action iron leaves" in reason) == (2, True)
    torn = np.array([0, 0, 0, known.disagreement_limit * 1.01])
    step, reason = end_of(scene, disagreement=torn) or (0, "")
    assert (step, "disagree" in reason) == (4, True)
    # The first counts.
    assert (end_of(scene, disagreement=torn, mean=mean, actions=actions) or (0,))[0] == 2


def test_recorded_extremes_are_inside(scene: Scene) -> None:
    known = scene.sim.experience
    assert end_of(scene, mean=np.stack([known.low, known.high] * 2)) is None
    actions = np.array([[0, 0], [2, 2]] * 2, dtype=np.float32)
    assert end_of(scene, actions=actions) is None


@pytest.mark.parametrize("lag", [1, 2])
def test_disagreement_is_that_of_single_steps(lag: int) -> None:
    data = patients(reward=False)
    scene = scene_of(PerSim.fit(data, Hierarchical(degree=1, lag=lag), progress=False), data)
    sim = scene.sim
    view = scene.checked(replace(View("P-02", 3, 5), plan=Plan.of([[5, 1]])))
    state, acted = scene.state(view)[None], scene.actions(view, "P-02", view.plan)[None]
    mean = sim.rollout([1], state, acted).mean(0)
    found = disagreement_along(sim, np.array([1]), state, acted, mean)
    states = state
    for step in range(5):
        one = sim.disagreement([1], states, acted[:, step])
        np.testing.assert_allclose(found[:, step], one, rtol=1e-4)
        states = mean[:, step] if lag == 1 else sim.follow(states, acted[:, step], mean[:, step])
