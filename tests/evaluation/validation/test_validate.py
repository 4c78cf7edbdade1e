"""Validation in worlds of known truth: what is good is praised, what is bad condemned."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persim_gym.evaluation.validation import Grade, Validation, validate
from persim_gym.evaluation.validation.validate import _notes
from persim_gym.evaluation.validation.verdict import WORSE
from persim_gym.learned import PerSim
from persim_gym.offline.transitions import Transitions
from tests.evaluation.validation.worlds import FIT, as_data, patients, shuffled


def test_a_good_simulator_is_praised(good: Validation) -> None:
    assert [split.name for split in good.splits] == ["ends", "agents"]
    ends = good.splits[0]
    assert ends.verdict.grade is Grade.GOOD
    assert ends.verdict.not_used == ()
    assert ends.verdict.headline.startswith("Values may be read off, of every coordinate, up to 5")
    assert good.grade in (Grade.GOOD, Grade.LIMITED)
    assert good.meets("rmse(glucose)<persistence")
    assert good.meets("skill(*,1)>0.8")
    assert not good.meets("rmse(glucose)<0.001")
    scores = ends.scores
    assert scores is not None
    assert scores.steps == (1, 5)
    # The noise of a step is 0.2 * 15 and 0.2 * 0.4: no error can be far below it.
    np.testing.assert_allclose(scores.rmse["simulator"][0], [3.0, 0.08], rtol=0.5)
    assert (scores.rmse["simulator"] < scores.rmse["pooled"]).all()


@pytest.mark.slow
def test_shuffled_agents_are_condemned(sim: PerSim, data: Transitions) -> None:
    found = shuffled(sim).validate(data, horizons=(1, 5))
    assert found.grade is Grade.BAD
    assert "not what its way of fitting makes of these data" in found.verdict
    assert "not for use" in found.headline
    # The same on data that it has not seen.
    longer = patients(12, 60, noise=0.2)
    new = longer.select(longer.step >= 45)
    bad, fine = (one.validate(new, horizons=(1, 5), fitted_on=data) for one in (shuffled(sim), sim))
    assert [split.name for split in bad.splits] == ["new"]
    assert fine.grade in (Grade.GOOD, Grade.LIMITED)
    assert bad.grade is Grade.BAD
    assert not bad.meets("rmse(glucose,5)<pooled")


def test_time_is_one_cut_for_all(data: Transitions) -> None:
    """The agents end at different times; those that ended before the cut are not judged."""
    length = np.where(np.arange(12) < 3, 20, 45)
    short = data.select(data.step < length[data.agent])
    (split,) = validate(short, splits="time", horizons=(1, 5), **FIT).splits
    assert split.agents == tuple(f"patient {k}" for k in range(3, 12))
    assert "3 agents have nothing after it" in " ".join(split.notes)


def test_another_behaviour_is_kept_whole(data: Transitions) -> None:
    labels = np.where(data.step < 30, "usual", "new")
    parts = dataclasses.replace(data, episode=data.episode * 2 + (data.step >= 30))
    (split,) = validate(parts, splits="behaviour", behaviour=labels, horizons=(1, 5), **FIT).splits
    assert split.scores is not None
    assert split.fitted == (labels == "usual").sum()
    assert "behaviour new" in split.notes[0]


def still(column: int) -> Transitions:
    own = patients(6, 20)
    obs, next_obs = own.obs.copy(), own.next_obs.copy()
    obs[:, column] = next_obs[:, column] = 3.0
    return dataclasses.replace(own, obs=obs, next_obs=next_obs)


BAD: dict[str, tuple[Callable[[], Transitions], str]] = {
    "one agent": (lambda: patients(1, 24), "There is one agent"),
    "three rows": (lambda: patients(1, 3), "1 prediction is too few"),
    "one row": (lambda: patients(1, 1), "no agent has two transitions"),
    "two rows of each": (lambda: patients(8, 2), "8 predictions are too few"),
    "all alike": (lambda: patients(8, 24, differ=0.0, noise=0.5), "do not show that the agents di"),
    "a constant coordinate": (lambda: still(1), "weight: constant in the data"),
    "nothing changes": (
        lambda: as_data(np.full((4, 13, 2), 3.0), np.full((4, 12, 1), 0.5)),
        "dose: never varied",
    ),
    "one dose": (lambda: patients(6, 20, dose=0.5), "dose: never varied"),
}


@functools.cache
def judged(name: str) -> Validation:
    """Bad data, judged together with what they say of a policy."""
    policy: dict[str, Any] = {"policy": "hold", "reward": "-abs(next.glucose-100)"}
    return validate(BAD[name][0](), horizons=(1, 5), **policy, **FIT)


@pytest.mark.parametrize("name", BAD)
def test_bad_data_get_a_verdict_that_says_so(name: str) -> None:
    found = judged(name)
    assert BAD[name][1] in "\n".join([found.verdict, *found.notes])
    assert found.to_json()["grade"] == str(found.grade)
    assert not found.meets("rmse(glucose)<0.0001")
    if found.grade is Grade.UNKNOWN:
        assert found.failing("rmse(glucose)<persistence") != ""


def test_three_rows_by_all_families() -> None:
    """A single transition is left to fit, in which nothing varies."""
    found = validate(patients(1, 3), effort="quick", ensemble_size=1)
    assert found.grade is Grade.UNKNOWN
    assert "there is nothing to learn from" in found.verdict


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"splits": "middle"}, ValueError, "splits must be one of ends"),
        ({"splits": ()}, ValueError, "got none"),
        ({"horizons": (0,)}, ValueError, "horizons must be at least 1"),
        ({"horizons": ()}, ValueError, "got none"),
        ({"horizons": 5}, TypeError, "horizons must be a sequence"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"behaviour": [1, 2]}, ValueError, "behaviour must be one value for each"),
        ({"time": ["a"] * 540}, ValueError, "time must be finite numbers"),
        ({"effort": "quick"}, TypeError, "option of a fit"),
    ],
)
def test_wrong_arguments_are_refused(
    sim: PerSim, data: Transitions, arguments: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        sim.validate(data, **arguments)


@pytest.mark.slow
def test_a_policys_value_is_a_part_of_it(sim: PerSim, data: Transitions) -> None:
    asked: dict[str, Any] = {"horizons": (1,), "policy": "hold", "reward": "-abs(next.glucose-100)"}
    found = sim.validate(data, **asked, steps=5)
    assert found.off_policy is not None
    assert found.off_policy["steps"] == 5
    assert found.off_policy["relied_on"]
    assert "Policy hold over 5 steps" in found.verdict
    spoilt = shuffled(sim).validate(data, **asked, steps=5)
    assert spoilt.off_policy is not None
    fitted, simulated = (spoilt.off_policy["mean"][name] for name in ("fitted_q", "simulated"))
    assert fitted == pytest.approx(found.off_policy["mean"]["fitted_q"])
    assert abs(simulated - fitted) > 3 * abs(found.off_policy["mean"]["simulated"] - fitted)
    # Data that are not fitted yet are.
    short = validate(patients(3, 12), **asked, **FIT)
    assert short.off_policy is not None
    assert "failed" not in short.off_policy
    lost = validate(patients(3, 12), **asked, steps=40, **FIT)
    assert lost.off_policy is not None
    assert "no record has a stretch of 40 steps" in lost.verdict


@pytest.mark.parametrize("name", BAD)
def test_bad_data_are_no_error_of_a_policy(name: str) -> None:
    found = judged(name)
    assert found.off_policy is not None
    assert found.off_policy["sentences"][0].startswith(("Policy hold", "The policy has no value"))


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"reward": "glucose"}, TypeError, "give policy="),
        ({"steps": 3}, TypeError, "give policy="),
        ({"policy": "hold"}, ValueError, "no reward|without a reward|reward"),
        ({"policy": "hold", "reward": "sugar"}, ValueError, "no column 'sugar'"),
        ({"policy": "magic", "reward": "glucose"}, ValueError, "unknown behaviour"),
        ({"policy": "hold", "reward": "glucose", "steps": 0}, ValueError, "steps must be"),
    ],
)
def test_what_is_asked_of_a_policy_is_checked_before_any_work(
    sim: PerSim, data: Transitions, arguments: dict[str, Any], error: type[Exception], says: str
) -> None:
    def no_work(done: int, of: int) -> None:
        raise AssertionError

    with pytest.raises(error, match=says):
        sim.validate(data, on_progress=no_work, **arguments)


@pytest.mark.slow
def test_every_fit_of_a_split_is_progress(sim: PerSim, data: Transitions) -> None:
    told: list[tuple[int, int]] = []
    splits = ("ends", "time")
    sim.validate(data, splits=splits, on_progress=lambda done, of: told.append((done, of)))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {done for done, _ in told} >= {0, 1, 2, 3, 4, 5, 6}
    assert {of for _, of in told} == {6}


def test_options_of_a_fit_are_checked_before_any_work(data: Transitions) -> None:
    with pytest.raises(ValueError, match="unknown method"):
        validate(data, method="magic")
    with pytest.raises(ValueError, match="'new' is of a simulator"):
        validate(data, splits="new")
    with pytest.raises(TypeError, match="give one of both"):
        validate(data, data)


def test_others_agents_are_refused_with_a_verdict(sim: PerSim) -> None:
    others = dataclasses.replace(patients(3, 10), agent_names=("x", "y", "z"))
    found = sim.validate(others)
    assert found.grade is Grade.UNKNOWN
    assert "knows none of the data's agents (x, y, z" in found.verdict


@pytest.mark.slow
def test_a_table_that_lacks_an_action_is_judged_by_their_names() -> None:
    rng = np.random.default_rng(0)
    effect = {"a": -1.0, "b": 0.0, "c": 1.0}

    def table(actions: str) -> pd.DataFrame:
        rows = []
        for who in ("x", "y"):
            level = 0.0
            for t in range(40):
                drug = str(rng.choice(list(actions)))
                rows.append({"who": who, "t": t, "level": level, "drug": drug})
                level += effect[drug] - 0.1 * level
        return pd.DataFrame(rows)

    columns = {"agent": "who", "time": "t", "state": ["level"], "action": "drug"}
    options = {"method": "als", "degree": 1, "ensemble_size": 1, "progress": False}
    sim = PerSim.fit(table("abc"), columns=columns, **options)
    found = sim.validate(table("bc"), columns=columns, horizons=(1,))
    assert found.splits[0].scores.rmse["simulator"][0, 0] < 1e-3


def test_what_counts_as_worse_is_more_than_a_rounding() -> None:
    assert 1 < WORSE < 1.2


@pytest.mark.parametrize("size", [1.0, 1e30])
def test_what_is_constant_is_said_of_values_of_any_size(size: float) -> None:
    data = patients(3, 10)
    obs = (data.obs * size).astype(np.float32)
    obs[:, 1] = size
    notes = _notes(dataclasses.replace(data, obs=obs), ("glucose", "other"))
    assert notes == ("Constant in the data: other.",)
