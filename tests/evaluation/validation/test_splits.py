"""Splits: what is fitted and what is predicted never meet."""

from __future__ import annotations

import numpy as np
import pytest

from persim_gym.evaluation.validation.splits import (
    NotPossible,
    Split,
    compact,
    make_split,
    place_in_record,
)
from tests.evaluation.validation.worlds import patients

DATA = patients(10, 30)
LABELS = np.where(DATA.agent % 2 == 0, np.where(DATA.step < 20, "a", "b"), "a")


def predicted(split: Split) -> set[int]:
    rows = zip(split.start.tolist(), split.length.tolist(), strict=True)
    return {row for start, length in rows for row in range(start, start + length)}


@pytest.mark.parametrize("name", ["ends", "agents", "behaviour", "time"])
def test_nothing_that_is_predicted_was_fitted(name: str) -> None:
    split = make_split(name, DATA, behaviour=LABELS)
    used = {*split.fitted.tolist(), *split.known.tolist()}
    assert predicted(split)
    assert not predicted(split) & used
    # Predictions stay inside one agent's record, and one episode of it.
    for start, length in zip(split.start, split.length, strict=True):
        assert len(set(DATA.episode[start : start + length].tolist())) == 1


def test_ends_are_ends() -> None:
    split = make_split("ends", DATA)
    assert (DATA.step[split.start] >= 20).all()
    assert set(DATA.agent[split.start].tolist()) == set(range(10))


def test_whole_agents_are_adapted_from_their_first_half() -> None:
    split = make_split("agents", DATA, seed=1)
    new = set(DATA.agent[split.known].tolist())
    assert len(new) == 2
    assert set(DATA.agent[split.fitted].tolist()) == set(range(10)) - new
    assert (DATA.step[split.known] < 15).all()
    assert (DATA.step[split.start] >= 15).all()


def test_time_may_be_given() -> None:
    split = make_split("time", DATA, time=np.where(DATA.agent < 5, DATA.step, DATA.step + 15.0))
    last = DATA.step + np.where(DATA.agent < 5, 0, 15)
    assert last[split.fitted].max() < last[split.start].min()


@pytest.mark.parametrize(
    ("name", "agents", "steps", "says"),
    [
        ("ends", 3, 1, "no agent has two transitions"),
        ("agents", 3, 30, "to keep whole agents from the fit takes 4"),
        ("behaviour", 3, 30, "nothing says which behaviour"),
        ("time", 3, 1, "no agent has transitions before and after"),
    ],
)
def test_what_data_do_not_allow_is_said(name: str, agents: int, steps: int, says: str) -> None:
    with pytest.raises(NotPossible, match=says):
        make_split(name, patients(agents, steps))


def test_one_behaviour_is_none_to_compare_with() -> None:
    with pytest.raises(NotPossible, match="all transitions are of one behaviour"):
        make_split("behaviour", DATA, behaviour=np.zeros(len(DATA)))
    with pytest.raises(NotPossible, match="no agent acted by behaviour"):
        make_split("behaviour", DATA, behaviour=DATA.agent < 2)


def test_few_agents_are_predicted_more_often() -> None:
    assert len(make_split("ends", patients(2, 200)).start) >= 50


def test_compact_data_hold_the_agents_that_are_there() -> None:
    rows = np.flatnonzero(np.isin(DATA.agent, (3, 7)) & (DATA.step != 10))
    found = compact(DATA, rows)
    assert found.num_agents == 2
    assert found.agent_names == ("patient 3", "patient 7")
    # A step is missing in each: what comes after it is another episode.
    assert found.lengths.tolist() == [10, 19, 10, 19]


def test_place_in_record_counts_over_episodes() -> None:
    assert place_in_record(np.array([0, 1, 0, 0, 1])).tolist() == [0, 0, 1, 2, 1]
