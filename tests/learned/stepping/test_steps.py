"""What is made for steps is made once, up to a number of agents and of sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from persim_gym.learned.stepping import steps as compiled_steps
from persim_gym.learned.stepping.steps import CompiledSteps


class Counted(CompiledSteps):
    """Writes down what it makes."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[str, int]] = []

    def _row_of(self, agent: int) -> Any:
        self.made.append(("row", agent))
        return lambda state, action: ([state[0] + agent], np.zeros(1), 0.0)

    def _lanes_of(self, n: int) -> Any:
        self.made.append(("lanes", n))
        return lambda agents, states, actions: (states + n, states)


def steps(compiled: Counted, n: int) -> Any:
    return compiled.change(np.zeros(n, dtype=np.int64), np.zeros((1, n)), np.zeros(n))[0]


def test_each_agent_and_each_size_is_made_once() -> None:
    compiled = Counted()
    for _ in range(2):
        assert compiled.row(3)([1.0], 0)[0] == [4.0]
        assert compiled.row(4)([1.0], 0)[0] == [5.0]
        np.testing.assert_array_equal(steps(compiled, 2), [[2.0, 2.0]])
    assert compiled.made == [("row", 3), ("row", 4), ("lanes", 2)]


def test_not_more_is_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_steps, "AGENTS", 2)
    monkeypatch.setattr(compiled_steps, "SIZES", 1)
    compiled = Counted()
    for number in (0, 1, 2, 2, 0):
        compiled.row(number)
        steps(compiled, number + 1)
    assert [agent for kind, agent in compiled.made if kind == "row"] == [0, 1, 2, 0]
    assert [n for kind, n in compiled.made if kind == "lanes"] == [1, 2, 3, 1]
    assert len(compiled._rows) == 2
    assert len(compiled._lanes) == 1


def test_a_twin_has_nothing_made_yet() -> None:
    compiled = Counted()
    compiled.row(0)
    twin = compiled._twin()
    assert not twin._rows
    assert not twin._lanes
    twin.row(5)
    assert list(compiled._rows) == [0]
