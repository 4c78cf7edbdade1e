"""Agents of data are found among a simulator's."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from persim_gym.evaluation.matching import agents_by_name
from persim_gym.learned import PerSim
from tests.learned.worlds import PlainTask, random_simulator, random_walks

TASK = PlainTask.of(2, actions=3)


def sim(names: tuple[str, ...] | None = None, seen: list[bool] | None = None) -> PerSim:
    own = random_simulator(TASK)
    card = {**own.card, "agent_names": list(names)} if names else own.card
    known = None if seen is None else np.array(seen)
    return PerSim(own.ensemble, TASK, dataclasses.replace(own.experience, seen=known), card)


def test_without_names_an_agent_is_its_number() -> None:
    data = random_walks(TASK, agents=6)
    assert agents_by_name(data, sim()).tolist() == [0, 1, 2, 3, -1, -1]
    some = sim(seen=[True, False, True, True])
    assert agents_by_name(data, some).tolist() == [0, -1, 2, 3, -1, -1]


def test_names_decide_where_there_are_some() -> None:
    data = dataclasses.replace(random_walks(TASK, agents=3), agent_names=("c", "x", "a"))
    assert agents_by_name(data, sim(names=("a", "b", "c", "d"))).tolist() == [2, -1, 0]


def test_data_of_nobody_who_is_known_are_refused() -> None:
    data = dataclasses.replace(random_walks(TASK), agent_names=("u", "v", "w", "x"))
    with pytest.raises(ValueError, match=r"none of the data's agents \(u, v, w, \.\.\.\)"):
        agents_by_name(data, sim(names=("a", "b", "c", "d")))
