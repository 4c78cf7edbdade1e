"""Actions outside of the record: counted, uncertain, and refused where that is asked for."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import persim_gym
from persim_gym import LEARNED_ID
from persim_gym.core import Task
from persim_gym.learned import PerSim
from persim_gym.learned.environments.guard import GuardedSimulator
from persim_gym.learned.support import ActionRecord
from persim_gym.offline.transitions import Transitions
from tests.learned.worlds import PlainTask, random_simulator, transitions

AGENTS, STEPS = 5, 20
QUICK: dict[str, Any] = {
    "method": "als", "degree": 1, "rank": 2, "threshold": 0.0, "ensemble_size": 2,
}  # fmt: skip


def patients(discrete: bool = False) -> Transitions:
    """A dose and a level; patient ``k`` had at most ``10 * (k + 1)``, and of four doses three."""
    rng = np.random.default_rng(0)
    agent = np.repeat(np.arange(AGENTS), STEPS)
    dose: Any = rng.uniform(0, 1, len(agent))
    dose[::STEPS] = 1.0
    dose[1::STEPS] = 0.0
    dose = dose * 10 * (agent + 1)
    if discrete:
        dose = np.minimum((dose / 20).astype(np.int64), 2)
    level = np.zeros((len(agent), 1))
    following = np.zeros_like(level)
    for row, who in enumerate(agent):
        level[row] = 100.0 if row % STEPS == 0 else following[row - 1]
        change = -(0.02 + 0.01 * who) * dose[row] - 0.05 * level[row] + rng.normal(0, 0.1)
        following[row] = level[row] + change
    acted = dose if discrete else dose[:, None]
    data = transitions(agent, level, acted, following, num_agents=AGENTS, task_name="doses")
    labels = ("none", "low", "middle", "high") if discrete else None
    names = None if discrete else ("dose",)
    return persim_gym.offline.Transitions(
        **{**vars(data), "action_labels": labels, "action_names": names}
    )


@functools.cache
def fitted(discrete: bool) -> PerSim:
    return PerSim.fit(patients(discrete), **QUICK)


@pytest.fixture(params=["numbers", "choices"])
def sim(request: pytest.FixtureRequest) -> PerSim:
    return fitted(request.param == "choices")


@pytest.fixture
def doses() -> PerSim:
    return fitted(False)


def asked(sim: PerSim, far: float) -> Any:
    """An action inside of what agent 4 was recorded with, or as far outside as that."""
    if hasattr(sim.task.action_space, "n"):
        return 3 if far else 1
    return np.array([50.0 + far])


def faces(sim: PerSim, **options: Any) -> Any:
    """Step each kind of environment once, agent 4 with an action: observation and infos."""

    def scalar(action: Any) -> Any:
        env = sim.env(4, **options)
        env.reset(seed=0)
        obs, reward, _, _, info = env.step(action)
        return obs, reward, info

    def vector(action: Any) -> Any:
        envs = sim.vector_env(2, agents=4, **options)
        envs.reset(seed=0)
        obs, reward, _, _, infos = envs.step(np.stack([action, action]))
        return obs[0], reward[0], {key: values[0] for key, values in infos.items()}

    def parallel(action: Any) -> Any:
        env = sim.parallel_env([4], **options)
        env.reset(seed=0)
        name = env.agents[0]
        obs, reward, _, _, infos = env.step({name: action})
        return obs[name], reward[name], infos[name]

    return scalar, vector, parallel


def test_every_face_counts_what_is_outside_and_is_less_certain(sim: PerSim) -> None:
    for face in faces(sim, guard=False):
        inside, outside = face(asked(sim, 0.0))[2], face(asked(sim, 450.0))[2]
        assert (inside["outside"], inside["outside_own"]) == (0, 0)
        assert (outside["outside"], outside["outside_own"]) == (1, 1)
        assert outside["disagreement"] > inside["disagreement"] + 0.5


def test_every_face_says_the_same(sim: PerSim) -> None:
    (obs, reward, info), *others = (face(asked(sim, 25.0)) for face in faces(sim, guard=False))
    for own, gained, said in others:
        assert own == pytest.approx(obs, rel=1e-5)
        assert gained == pytest.approx(reward, rel=1e-5)
        for key in ("outside", "outside_own", "clipped", "disagreement"):
            assert said[key] == pytest.approx(info[key], rel=1e-4)


def test_a_row_outside_takes_no_other_way_than_one_inside(
    sim: PerSim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch takes several times as long, and an agent may never have taken an action."""
    monkeypatch.setattr(GuardedSimulator, "_of_arrays", None)
    env = sim.env(4, guard=False)
    for far in (0.0, 25.0):
        env.reset(seed=0)
        assert env.step(asked(sim, far))[4]["outside"] == (far > 0)


def test_the_guard_stops_far_outside(doses: PerSim) -> None:
    envs = doses.vector_env(2, agents=4)
    envs.reset(seed=0)
    *_, truncated, infos = envs.step(np.array([[50.0], [500.0]]))
    assert truncated.tolist() == [False, True]
    assert infos["guard"][1] == "disagreement"


def test_disagreement_grows_with_the_distance_from_all_and_from_the_agent(doses: PerSim) -> None:
    actions = np.array([5.0, 10.0, 25.0, 50.0, 60.0, 100.0, 500.0])[:, None]
    obs = np.full((len(actions), 1), 60.0, dtype=np.float32)
    record = doses.action_record
    assert record is not None
    extra = doses.extrapolation(0, actions)
    assert extra is not None
    assert (extra[:2] == 0).all()
    assert (np.diff(extra.numpy())[1:] > 0).all()
    own, stranger = (doses.disagreement(agent, obs, actions) for agent in (4, 0))
    assert own[3] < 0.2 < stranger[6]
    assert own[6] > own[5] > own[4] > 0.15
    assert doses.extrapolation(4, actions[:4]) is None


@pytest.mark.parametrize("shape", ["predict", "rollout", "rollout_report", "rollout_interval"])
def test_predictions_refuse_where_strict(sim: PerSim, shape: str) -> None:
    several = shape.startswith("rollout")
    inside, outside = (np.stack([asked(sim, 0.0), asked(sim, far)]) for far in (0.0, 450.0))
    if several:
        inside, outside = inside[:, None], np.stack([inside, outside], axis=1)
    obs = np.full((2, 1), 60.0, dtype=np.float32)
    call = getattr(sim, shape)
    call(4, obs, inside, strict=True)
    call(4, obs, outside)
    with pytest.raises(ValueError, match=r"row 1.* outside the record: .*fit again"):
        call(4, obs, outside, strict=True)
    with pytest.raises(ValueError, match="strict must be True or False"):
        call(4, obs, inside, strict="yes")


def test_the_refusal_names_action_range_and_agent(doses: PerSim) -> None:
    with pytest.raises(ValueError, match=r"'dose' = 500 of row 0, step 1 \(agent 0\)") as found:
        doses.rollout(0, [[50.0]], [[[5.0], [500.0]]], strict=True)
    assert "0 to 50 was recorded, of this agent 0 to 10" in str(found.value)


def test_every_face_refuses_before_anything_has_moved(sim: PerSim, tmp_path: Path) -> None:
    sim.save(tmp_path)
    for face in faces(sim, strict=True):
        face(asked(sim, 0.0))
        with pytest.raises(ValueError, match="outside the record"):
            face(asked(sim, 450.0))
    made = {"simulator": str(tmp_path), "strict": True}
    env = gym.make(LEARNED_ID, agent=4, **made)
    before, _ = env.reset(seed=0)
    with pytest.raises(ValueError, match="outside the record"):
        env.step(asked(sim, 450.0))
    assert env.unwrapped.state == pytest.approx(before)  # type: ignore[attr-defined]
    env.step(asked(sim, 0.0))
    envs = gym.make_vec(LEARNED_ID, num_envs=1, agents=4, **made)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="outside the record"):
        envs.step(np.stack([asked(sim, 450.0)]))
    parallel = persim_gym.parallel_env(LEARNED_ID, agents=[4], **made)
    parallel.reset(seed=0)
    with pytest.raises(ValueError, match="outside the record"):
        parallel.step({parallel.agents[0]: asked(sim, 450.0)})


def test_the_action_of_a_lane_that_is_over_is_not_refused(doses: PerSim) -> None:
    envs = doses.vector_env(1, agents=4, strict=True, max_episode_steps=1)
    envs.reset(seed=0)
    assert envs.step(np.array([[5.0]]))[3][0]
    envs.step(np.array([[500.0]]))  # its reset
    with pytest.raises(ValueError, match="outside the record"):
        envs.step(np.array([[500.0]]))


def test_a_report_counts_what_a_rollout_leaves(doses: PerSim) -> None:
    actions = np.full((3, 6, 1), 5.0)
    actions[1, 2:4] = 30.0
    actions[2, 1:] = 500.0
    obs = np.full((3, 1), 60.0, dtype=np.float32)
    predicted, report = doses.rollout_report([0, 0, 4], obs, actions)
    assert (predicted == doses.rollout([0, 0, 4], obs, actions)).all()
    assert report.actions.tolist() == [0, 0, 5]
    assert report.own_actions.tolist() == [0, 2, 5]
    assert report.beyond == pytest.approx([0, 0, 9])
    mean = predicted.mean(axis=0)[..., 0]
    known = doses.experience
    assert report.states.tolist() == ((mean < known.low) | (mean > known.high)).sum(1).tolist()
    assert report.trusted.tolist()[:2] == (report.states[:2] == 0).tolist()
    assert "5 of 18 actions are outside it, by up to 9 of its width" in str(report)
    assert "7 are outside their own agent's" in str(report)


def test_intervals_widen_outside_of_the_record(doses: PerSim) -> None:
    actions = np.full((2, 4, 1), 5.0)
    actions[1, 2:] = 500.0
    obs = np.full((2, 1), 60.0, dtype=np.float32)
    centre = doses.rollout(4, obs, actions).mean(axis=0)
    high = doses.rollout_interval(4, obs, actions)[1]
    width = (high - centre)[..., 0]
    assert width[1, :2] == pytest.approx(width[0, :2])
    assert (width[1, 2:] > width[0, 2:]).all()


@pytest.mark.parametrize("far", [0.001, 0.01, 0.1, 1.0])
def test_short_distances_outside_of_the_record_widen_little(doses: PerSim, far: float) -> None:
    """A smooth law has hardly changed there: by the square of a distance under a tenth."""
    actions = np.full((2, 1, 1), 50.0)
    actions[1] += 50.0 * far
    obs = np.full((2, 1), 60.0, dtype=np.float32)
    predicted = doses.rollout(4, obs, actions).astype(np.float64)
    width = doses.rollout_interval(4, obs, actions)[1].astype(np.float64) - predicted.mean(axis=0)
    plain = doses.uncertainty.intervals.around(predicted, 0.95, False)[1]
    added = np.sqrt(np.maximum(np.square(width) - np.square(plain), 0.0))
    added /= doses.experience.change_scale
    distance = 1.1 * far
    assert added[1, 0, 0] == pytest.approx(distance * min(1.0, distance / 0.1), abs=0.004)
    assert added[0, 0, 0] == pytest.approx(0.0, abs=0.004)


def test_the_record_is_kept_in_the_file_and_grows_with_agents(
    doses: PerSim, tmp_path: Path
) -> None:
    sim = doses.view()
    data = patients()
    few = data.select(data.agent == 1)
    new = sim.adapt(few.obs, 6 * few.action, few.next_obs)  # up to 120
    nobody = sim.adapt()
    loaded = PerSim.load(sim.save(tmp_path))
    for one in (sim, loaded):
        record = one.action_record
        assert record is not None
        assert record.high.tolist() == [50.0]  # what the model was fitted to stays
        assert record.own_high[new] == pytest.approx(120.0)
        assert (record.own_low[nobody], record.own_high[nobody]) == (0.0, 50.0)
    sim.update(0, few.obs, few.action, few.next_obs)
    assert sim.action_record is not None
    assert sim.action_record.own_high[0] == pytest.approx(20.0)


def test_without_a_memory_strict_is_refused_and_nothing_is_counted() -> None:
    sim = random_simulator(PlainTask.of(2, action_dim=1))
    assert sim.action_record is None
    env = sim.env(0, guard=False)
    env.reset(seed=0)
    assert env.step([0.5])[4]["outside"] == 0
    for call in (
        lambda: sim.env(0, strict=True),
        lambda: sim.predict(0, np.zeros((1, 2)), np.zeros((1, 1)), strict=True),
        lambda: sim.rollout_report(0, np.zeros((1, 2)), np.zeros((1, 1, 1))),
    ):
        with pytest.raises(ValueError, match="fit it again"):
            call()


def test_without_a_memory_actions_are_cut_to_their_space(doses: PerSim) -> None:
    none = dict.fromkeys(("action_low", "action_high", "own_low", "own_high"))
    old = PerSim.of(replace(doses._parts, experience=replace(doses.experience, **none)))
    end = float(old.task.action_space.high[0])  # type: ignore[union-attr]
    for face in faces(old, guard=False):
        for far, near in ((end + 40.0, end), (-1e6, 0.0)):
            found = [face(np.array([dose])) for dose in (far, near)]
            np.testing.assert_array_equal(found[0][0], found[1][0])


@pytest.mark.slow
def test_a_task_with_a_space_of_its_own_cuts_first() -> None:
    task: Task = PlainTask.of(1, action_dim=1)
    rng = np.random.default_rng(0)
    acted, obs = rng.uniform(-0.5, 0.5, (40, 1)), rng.normal(size=(40, 1))
    data = transitions(np.arange(40) // 20, obs, acted, 0.9 * obs + acted)
    sim = PerSim.fit(data, task=task, **QUICK)
    assert isinstance(sim.action_record, ActionRecord)
    env = sim.env(0, guard=False)
    found = []
    for action in ([0.4], [1.0], [7.0]):
        env.reset(options={"state": [0.3]})
        obs_, *_, info = env.step(action)
        found.append((obs_.tolist(), info["outside"], float(info["disagreement"])))
    assert [count for _, count, _ in found] == [0, 1, 1]
    assert found[1] == found[2]  # what its motor can not give makes no difference
