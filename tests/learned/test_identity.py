"""What a simulator consists of, and whom it knows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from persim_gym.learned.identity import Identity
from persim_gym.learned.parts import Parts
from tests.learned.worlds import PlainTask, random_simulator


def parts_of(seen: tuple[bool, ...] | None = None, names: tuple[str, ...] = ()) -> Parts:
    sim = random_simulator(PlainTask.of(2, actions=3))
    known = None if seen is None else np.array(seen)
    experience = replace(sim.experience, seen=known)
    return Parts(sim.ensemble, sim.task, experience, sim.card).named(names)


def test_it_is_its_parts() -> None:
    parts = parts_of()
    identity = Identity(parts)
    assert identity.ensemble is parts.ensemble
    assert identity.task is parts.task
    assert (identity.num_agents, identity.members, identity.lag) == (4, 3, 1)
    assert identity.latent_factors.shape == (3, 4, 2)


def test_agents_are_known_by_name_and_by_index() -> None:
    identity = Identity(parts_of(names=("a", "b", "c", "d")))
    assert identity.agent_names == ("a", "b", "c", "d")
    assert identity.agent_index("c") == 2
    assert identity.agent_indices(["d", "a"]) == [3, 0]
    with pytest.raises(ValueError, match="not known by name"):
        Identity(parts_of()).agent_index("c")


def test_agents_of_whom_nothing_was_recorded_are_refused() -> None:
    Identity(parts_of()).check_seen(np.arange(4))
    some = Identity(parts_of(seen=(True, False, True, True)))
    some.check_seen(np.array([0, 2]))
    with pytest.raises(ValueError, match="no transitions of agent 1: this simulator knows 3 of 4"):
        some.check_seen(np.array([0, 1]))


def test_actions_that_nobody_has_recorded_are_not_checked_blindly() -> None:
    identity = Identity(parts_of())
    assert identity.action_record is None
    with pytest.raises(ValueError, match="fit it again"):
        identity.check_actions(np.array([0]), np.array([1]))
