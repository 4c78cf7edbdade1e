"""Plans from records: in truth they earn what planning in truth earns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persim_gym.learned import PerSim
from persim_gym.learned.outcomes.given_reward import rewarded
from persim_gym.learned.record import read_record
from persim_gym.offline import RandomPolicy
from persim_gym.planning import (
    CEM,
    ICEM,
    MPC,
    RandomShooting,
    foresee,
    recommend,
    recommend_all,
)
from persim_gym.planning.recommending import reward_text
from tests.learned.compartments import COLUMNS, GAIN, KEPT, Compartments, fitted, table

SMALL = ICEM(candidates=40, horizon=4, elites=8, rounds=3, action="mean")


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory) -> PerSim:
    folder = tmp_path_factory.mktemp("plans")
    return fitted(folder / "patients.csv", folder / "sim")


def worth(agent: int, level: float, doses: Any) -> float:
    """What doses earn in truth."""
    total = 0.0
    for dose in np.asarray(doses, dtype=np.float64)[:, 0]:
        level = KEPT[agent] * level + dose
        total += -((level - 5.0) ** 2) - 0.1 * dose
    return total


def test_agents_whose_names_are_other_agents_numbers(tmp_path: Path) -> None:
    """Patients 1 to 6: 3 is the name of one and the index of the next."""
    frame = table(("1", "2", "3", "4", "5", "6"))
    numbered = PerSim.fit(frame, columns=COLUMNS, method="hierarchical", degree=1)
    given: dict[str, Any] = {"data": frame, "steps": 2, "reward": GAIN, "planner": SMALL}
    found = recommend_all(numbered, ["name:3", "name:4"], **given)
    assert [one.agent for one in found] == ["3", "4"]
    assert foresee(numbered, "name:3", data=frame, steps=2).agent == "3"


@pytest.mark.slow
@pytest.mark.parametrize("reward", [GAIN, None], ids=["given", "learned"])
def test_a_plan_is_worth_in_truth_what_planning_in_truth_is(sim: PerSim, reward: Any) -> None:
    planner = CEM(candidates=200, horizon=4, elites=20, rounds=8)
    agents = ["alice", "dan", "fay"]
    found = recommend_all(sim, agents, steps=6, reward=reward, planner=planner)
    truth = Compartments()
    for one in found:
        agent, level = sim.agent_index(one.agent), float(one.state[0])
        mpc = MPC(truth, agent, task=rewarded(sim.task, GAIN), planner=planner)
        state, doses = level, []
        for _ in range(6):
            dose, _ = mpc.predict(np.array([state]))
            doses.append(dose)
            state = float(truth.step([agent], [[state]], [dose])[0, 0])
        best = worth(agent, level, doses)
        own = worth(agent, level, one.plan.actions)
        assert own == pytest.approx(best, abs=0.05 * abs(best) + 0.1)
        assert own == pytest.approx(one.plan.total, abs=0.02 * abs(best) + 0.02)
        assert own > one.done.total + 1  # type: ignore[union-attr]
        assert np.isfinite(one.plan.low).all()
        assert (one.plan.low <= one.plan.obs).all()
        assert (one.plan.obs <= one.plan.high).all()


def test_from_the_end_and_from_the_middle(sim: PerSim) -> None:
    frame = table()
    levels = frame[frame["who"] == "bob"]["level"].to_numpy(dtype=np.float32)
    gains = frame[frame["who"] == "bob"]["gain"].to_numpy()
    end = recommend(sim, "bob", steps=4, planner=SMALL, reward=GAIN)
    assert (end.start, end.agent, end.repeated, end.unsure) == (29, "bob", True, 0)
    assert end.state[0] == levels[-1]
    assert len(end.recorded_after) == 0
    np.testing.assert_array_equal(end.recorded_before[:, 0], levels[-5:])
    np.testing.assert_allclose(end.before.obs[:, 0], levels[-4:], atol=1e-3)  # type: ignore[union-attr]
    np.testing.assert_array_equal(end.done.actions, end.before.actions)  # type: ignore[union-attr]
    middle = recommend(sim, "bob", start=-3, steps=4, planner=SMALL, reward=GAIN)
    assert (middle.start, middle.repeated) == (26, False)
    assert recommend(sim, 1, start=26, steps=4, planner=SMALL, reward=GAIN).to_json() == (
        middle.to_json()
    )
    np.testing.assert_array_equal(middle.recorded_after[:, 0], levels[27:])
    np.testing.assert_allclose(middle.rewards_after, gains[26:29], atol=1e-4)
    np.testing.assert_allclose(middle.rewards_before, gains[22:26], atol=1e-4)
    np.testing.assert_allclose(middle.done.rewards, gains[26:29], atol=1e-2)  # type: ignore[union-attr]
    assert [line[:2] for line in middle.summary()] == [
        ("the plan", 4), ("the recorded actions", 3), ("before the start", 4)
    ]  # fmt: skip
    first = recommend(sim, "bob", start=0, steps=2, planner=SMALL, reward=GAIN)
    assert first.before is None
    head, rows = first.rows()
    assert head == [
        "agent", "course", "step", "dose", "next level", "next level low", "next level high",
        "next level recorded", "reward",
    ]  # fmt: skip
    assert [row[1:3] for row in rows] == [
        ["plan", "0"],
        ["plan", "1"],
        ["done", "0"],
        ["done", "1"],
    ]
    assert all(len(row) == len(head) for row in rows)


@pytest.mark.slow
def test_courses_stay_in_their_episode() -> None:
    """Of two episodes neither history nor recorded actions reach into the other."""
    frame = table(steps=20)
    frame["part"] = frame["t"] // 10
    frame["over"] = (frame["t"] == 19) & (frame["who"] == "alice")
    columns = COLUMNS | {"episode": "part", "terminated": "over"}
    options: dict[str, Any] = {"method": "als", "degree": 1, "rank": 1, "ensemble_size": 1}
    sim = PerSim.fit(frame, columns=columns, progress=False, **options)
    options = {"data": frame, "steps": 5, "planner": SMALL}
    before = recommend(sim, "bob", start=7, **options)
    assert (len(before.recorded_before), len(before.recorded_after)) == (6, 2)
    after = recommend(sim, "bob", start=9, **options)  # the second episode begins
    assert (len(after.recorded_before), len(after.recorded_after)) == (1, 5)
    assert after.before is None
    # From the state in which an episode has ended nothing can be done.
    assert recommend(sim, "alice", **options).start == 17
    assert recommend(sim, "bob", **options).start == 18


@pytest.mark.slow
def test_foreseen_courses(sim: PerSim) -> None:
    found = foresee(sim, "eve", steps=6)
    assert found.start == 23
    np.testing.assert_allclose(found.plan.obs, found.recorded_after, atol=1e-3)
    np.testing.assert_array_equal(found.plan.actions, found.done.actions)  # type: ignore[union-attr]
    assert foresee(sim, "eve").start == 0
    policy = RandomPolicy(sim.task.action_space, seed=3)
    acted = foresee(sim, "eve", policy, steps=6)
    doses = acted.plan.actions[:, 0]
    assert len(np.unique(doses)) == 6
    level = float(acted.state[0])
    for dose, predicted in zip(doses, acted.plan.obs[:, 0], strict=True):
        level = KEPT[4] * level + dose
        assert predicted == pytest.approx(level, abs=1e-2)
    planned = foresee(sim.with_reward(GAIN), "eve", MPC(sim, "eve", reward=GAIN, planner=SMALL))
    assert planned.plan.total > planned.done.total  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="nothing was done after step 29"):
        foresee(sim, "eve", start=29)


def test_with_a_lag_the_past_is_the_record() -> None:
    frame = table()
    sim = PerSim.fit(
        frame, columns=COLUMNS, progress=False, method="sgd", lag=3, epochs=2, ensemble_size=2,
        rank=2, state_hidden=(8,), action_hidden=(8,),
    )  # fmt: skip
    data = read_record(sim, frame)
    record = sim.states_of(data.select(data.agent == 1))
    one = recommend(sim, "bob", data=frame, start=10, steps=3, planner=RandomShooting(8, 2))
    expected = sim.rollout(1, record[10][None], one.plan.actions[None]).mean(0)[0]
    np.testing.assert_allclose(one.plan.obs, expected, rtol=1e-6)


@pytest.mark.slow
def test_the_default_planner_is_no_worse_than_what_was_done() -> None:
    """With discrete actions as well: drugs of which two are needed."""
    frame = table(steps=25)
    rng = np.random.default_rng(0)
    strength = {"none": 0.0, "A": 0.7, "B b": 1.4}
    drugs = rng.choice(list(strength), len(frame))
    level, rows = 0.0, []
    for (who, t), drug in zip(frame[["who", "t"]].itertuples(index=False), drugs, strict=True):
        level = 4.0 if t == 0 else level
        rows.append((who, t, level, drug))
        level = 0.8 * level + strength[drug]
    frame[["who", "t", "level", "dose"]] = rows
    columns = COLUMNS | {"reward": "level"}
    options: dict[str, Any] = {"method": "als", "degree": 1, "rank": 1, "ensemble_size": 1}
    sim = PerSim.fit(frame, columns=columns, progress=False, **options)
    reward = "-abs(next.level - 5) - 0.1*(dose == 'A')"
    found = recommend_all(sim, ["alice", "eve"], data=frame, reward=reward, steps=8)
    for one in found:
        assert one.done is not None
        assert one.plan.total > one.done.total
        assert one.plan.total > -8.0
        assert one.action_text(one.plan.actions[0]) in strength


@pytest.mark.slow
def test_bad_input(sim: PerSim, tmp_path: Path) -> None:
    for options, says in (
        ({"start": 30}, "start"),
        ({"start": -30}, "start"),
        ({"steps": 0}, "steps must be"),
        ({"level": 1.0}, "between 0 and 1"),
        ({"reward": "nothing"}, "there is no column"),
        ({"planner": "best"}, "unknown planner"),
    ):
        with pytest.raises(ValueError, match=says):
            recommend(sim, "bob", **options)
    with pytest.raises(ValueError, match=r"no agent 'bobb'.*did you mean 'bob'"):
        recommend(sim, "bobb")
    with pytest.raises(ValueError, match="nothing is recorded of agent 'bob'"):
        recommend(sim, "bob", data=table(("alice",), (0.5,)))
    with pytest.raises(ValueError, match="nothing to choose by"):
        recommend(fitted(tmp_path / "p.csv", reward=None), "bob")
    assert reward_text(sim).startswith("learned from the data (held-out R2 ")
    assert reward_text(sim.with_reward("dose")) == "dose"
    assert reward_text(sim.with_reward(lambda o, a, n: n[..., 0])) == "a Python function"
