from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from persim_gym.explorer.record import Record
from persim_gym.explorer.scene import Scene
from persim_gym.learned import Hierarchical, PerSim
from tests.explorer.worlds import STEPS, patients


def test_courses_end_with_their_episode(scene: Scene) -> None:
    data, record = patients(), scene.record
    start = STEPS // 2 - 3
    rows = np.flatnonzero(data.agent == 2)[start : start + 3]
    course = record.course(2, start, 10)
    np.testing.assert_array_equal(course, [*data.obs[rows], data.next_obs[rows[-1]]])
    assert record.left(2, start, 10) == 3
    acted = record.actions(2, start, 6)
    np.testing.assert_array_equal(acted[:3], data.action[rows])
    np.testing.assert_array_equal(acted[3:], np.repeat(data.action[rows[-1:]], 3, axis=0))


def test_the_action_before_is_of_the_same_episode(scene: Scene) -> None:
    own = patients().action[patients().agent == 1]
    half = STEPS // 2
    np.testing.assert_array_equal(scene.record.before(1, half - 1), own[half - 2])
    np.testing.assert_array_equal(scene.record.before(1, half), own[half])


def test_with_a_lag_the_true_past_is_taken() -> None:
    data = patients(reward=False)
    sim = PerSim.fit(data, Hierarchical(degree=1, lag=2), progress=False)
    state = Record(sim, data).state(3, 5)
    np.testing.assert_array_equal(state, sim.states_of(data)[np.flatnonzero(data.agent == 3)[5]])
    assert Record(sim).state(3, 3).shape == state.shape


def test_without_data_courses_start_in_recorded_first_observations(bare: Scene) -> None:
    record = bare.record
    assert record.starts(0) == len(bare.sim.experience.starts)
    np.testing.assert_array_equal(record.state(0, 3), bare.sim.experience.starts[3])
    assert record.left(0, 0, 5) == 0
    assert record.action_range() is None
    with pytest.raises(ValueError, match="the record is not there"):
        record.actions(0, 0, 5)


def test_other_data_are_noticed(scene: Scene, patient_sim: PerSim) -> None:
    data = patients()
    assert scene.record.same
    assert not Record(patient_sim, dataclasses.replace(data, reward=data.reward + 1)).same
    assert not Record(patient_sim, data.select(data.step > 0)).same
    assert Record(patient_sim).same


def test_a_simulator_of_the_first_agents_takes_their_part(scene: Scene) -> None:
    data = patients()
    sim = PerSim.fit(data.select(data.agent < 3), Hierarchical(degree=1), progress=False)
    record = Record(sim, data.select(data.agent < 3))
    assert record.same
    np.testing.assert_array_equal(record.state(2, 4), scene.record.state(2, 4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"agent_names": tuple("abcdef")}, "other agents"),
        ({"agent": patients().agent + 1, "num_agents": 7, "agent_names": None}, "of agent 6"),
        ({"action": patients().action[:, :1], "action_names": ("iron",)}, "another task"),
        (
            {
                "obs": patients().obs[:, :1],
                "next_obs": patients().next_obs[:, :1],
                "obs_names": ("hb",),
                "changes": None,
            },
            "another task",
        ),
    ],
)
def test_data_that_do_not_fit_are_refused(
    patient_sim: PerSim, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Record(patient_sim, dataclasses.replace(patients(), **changes))
