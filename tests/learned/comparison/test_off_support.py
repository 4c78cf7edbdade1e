"""How much less sure a candidate is of an agent where only others were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from persim_gym.learned.comparison.family_choice import compare
from persim_gym.learned.comparison.holdout import Record, held_out
from persim_gym.learned.comparison.off_support import doubt_off_support
from tests.learned.comparison.records import of

AGENTS, STEPS = 20, 90


def record() -> Record:
    """Levels that stay where each agent is, at its own height."""
    rng = np.random.default_rng(0)
    walk = np.arange(AGENTS)[:, None] + rng.uniform(-0.3, 0.3, (AGENTS, STEPS + 1))
    who = np.repeat(np.arange(AGENTS), STEPS)
    before, after = (part.reshape(-1, 1) for part in (walk[:, :-1], walk[:, 1:]))
    return Record(who, who, before, np.zeros((len(who), 1)), after, np.ones(1))


class Apart:
    """Two members that differ by so much near an agent's height, and by so much elsewhere."""

    def __init__(self, near: float, far: float, off: float = 0.1) -> None:
        self.near, self.far, self.off = near, far, off

    def rollouts(
        self, agents: NDArray[np.int64], states: NDArray[Any], actions: NDArray[Any]
    ) -> NDArray[Any]:
        away = np.abs(states[:, 0] - agents) > 1
        size = np.where(away, self.far, self.near)[:, None, None]
        mean = np.repeat(states[:, None] + self.off, actions.shape[1], axis=1)
        return np.stack([mean - size, mean + size])

    def rollout(
        self, agents: NDArray[np.int64], states: NDArray[Any], actions: NDArray[Any]
    ) -> NDArray[Any]:
        return np.asarray(self.rollouts(agents, states, actions).mean(0))


@pytest.mark.parametrize(
    ("near", "far", "doubt"), [(0.1, 10.0, 100.0), (0.1, 0.1, 1.0), (0.2, 0.1, 1.0), (0.0, 0.0, 1)]
)
def test_doubt_is_how_much_more_members_differ(near: float, far: float, doubt: float) -> None:
    data, rng = record(), np.random.default_rng(0)
    part = held_out(data, rng)[-1]
    found = doubt_off_support(Apart(near, far), part, data, [1, 10], rng)
    assert np.exp(found) == pytest.approx(doubt, rel=0.2)
    assert doubt_off_support(object(), part, data, [1, 10], rng) == 0.0


def test_what_is_lost_where_others_were_is_not_chosen() -> None:
    """A little doubt costs nothing; a hundred times more is worse than twice the error."""
    plain = of(Apart(0.05, 0.06, off=0.3))
    usual, lost = of(Apart(0.05, 0.2, off=0.1)), of(Apart(0.05, 5.0, off=0.1))
    found = compare(record(), {"plain": plain, "usual": usual}, mix=False)
    assert found.winner == "usual"
    found = compare(record(), {"plain": plain, "lost": lost})
    assert found.weights == {"plain": 1.0}, "nor has it a part in a mixture"
    assert found.scores["lost"].score < found.scores["plain"].score
    assert found.scores["lost"].to_json()["doubt"] == pytest.approx(np.log(100), abs=0.2)


def test_a_horizon_that_no_held_out_stretch_reaches_says_nothing() -> None:
    data = record()
    part = held_out(data, np.random.default_rng(0))[0]
    most = int(part.length.max())
    rng = np.random.default_rng(1)
    found = [doubt_off_support(Apart(0.1, 10.0), part, data, s, rng) for s in ([1], [1, most + 5])]
    assert found[0] == pytest.approx(found[1], rel=0.1)
