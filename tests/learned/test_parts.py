"""The parts of a simulator are a value."""

from __future__ import annotations

import dataclasses

import pytest

from persim_gym.learned.parts import Parts
from tests.learned.worlds import PlainTask, random_simulator


def parts(**card: object) -> Parts:
    sim = random_simulator(PlainTask.of(2, actions=3))
    return Parts(sim.ensemble, sim.task, sim.experience, dict(card))


def test_they_do_not_change() -> None:
    own = parts()
    with pytest.raises(dataclasses.FrozenInstanceError):
        own.card = {}  # type: ignore[misc]


def test_names_are_the_card_s() -> None:
    own = parts()
    assert own.agent_names is None
    assert own.named(None) is own
    named = own.named(["a", "b"])
    assert named.agent_names == ("a", "b")
    assert own.agent_names is None


def test_no_folder_of_this_machine_is_left() -> None:
    own = parts(
        source={"path": "/home/me/table.csv", "columns": {}},
        adapted={"new": {"path": "/home/me/new.csv"}, "known": {"id": "a/b-v0"}},
    )
    card = own.without_folders().card
    assert card["source"] == {"path": "table.csv", "columns": {}}
    assert card["adapted"] == {"new": {"path": "new.csv"}, "known": {"id": "a/b-v0"}}
    assert own.card["source"]["path"] == "/home/me/table.csv"
