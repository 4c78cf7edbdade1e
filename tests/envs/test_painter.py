"""What environments draw, and with which caption."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from persim_gym.envs import painter
from persim_gym.envs.painter import REMEMBERED, Painter, check_render_mode
from tests.contract.worlds import CountingDynamics, CountingTask

DYNAMICS = CountingDynamics()


class Spy:
    """A renderer that notes what it is given."""

    def __init__(self) -> None:
        self.drawn: list[Any] = []
        self.closed = 0

    def draw(self, obs: Any, covariates: Any, *, x: float, label: str) -> Any:
        self.drawn.append((obs.tolist(), dict(covariates), x, label))
        return np.zeros((4, 6, 3), np.uint8)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    made = Spy()
    monkeypatch.setattr(painter, "make_renderer", lambda name: made)
    return made


def running() -> Any:
    """A task whose root's velocity is the first coordinate, in steps of half a second."""
    task: Any = SimpleNamespace(name="running", root_velocity=(0, 0.5), render_fps=10)
    return task


def test_the_root_goes_where_its_velocities_take_it_and_back_with_an_episode(spy: Spy) -> None:
    own = Painter(running(), lambda agent: {"force": 10.0 + agent}, "true", DYNAMICS)
    own.begin(np.zeros(1))
    for velocity in (1.0, 3.0):
        own.move(np.array([velocity]), 0)
    own.draw(2, np.array([3.0]))
    own.begin(np.zeros(1))
    own.draw(0, np.zeros(1))
    assert spy.drawn == [
        ([3.0], {"force": 12.0}, 2.0, "true agent 2"),
        ([0.0], {"force": 10.0}, 0.0, "true agent 0"),
    ]


def test_agents_of_own_data_are_called_by_their_names(spy: Spy) -> None:
    named: Any = SimpleNamespace(agent_names=("ann", "bob"))
    Painter(CountingTask(), None, "", named).draw(1, np.zeros(1))
    assert spy.drawn == [([0.0], {}, 0.0, "agent bob")]


def test_what_is_closed_opens_again(spy: Spy) -> None:
    own = Painter(CountingTask(), None, "", DYNAMICS)
    own.close()
    own.draw(0, np.zeros(1))
    own.close()
    own.close()
    assert spy.closed == 1
    own.draw(0, np.zeros(1))
    assert len(spy.drawn) == 2


def test_a_copy_has_no_renderer_and_no_window() -> None:
    own = Painter(CountingTask(), None, "", DYNAMICS)
    own._renderer, own._window = object(), object()  # type: ignore[assignment]
    own.begin(np.ones(1))
    twin = pickle.loads(pickle.dumps(own))
    assert twin._renderer is twin._window is None
    assert own._renderer is not None
    assert [obs.tolist() for obs in twin._obs] == [[1.0]]


def test_a_drawing_that_a_task_brings_may_show_the_episode_so_far() -> None:
    class Remembering(Spy):
        def remember(self, obs: Any, actions: Any) -> None:
            self.past = [len(obs), len(actions), float(obs[-1][0])]

    drawing, task = Remembering(), running()
    task.renderer = lambda: drawing
    own = Painter(task, None, "", DYNAMICS)
    own.begin(np.zeros(1))
    for step in range(REMEMBERED + 50):
        own.move(np.array([float(step)]), step)
    own.draw(0, np.zeros(1))
    assert drawing.past == [REMEMBERED + 1, REMEMBERED, REMEMBERED + 49.0]
    own.begin(np.zeros(1))
    own.draw(0, np.zeros(1))
    assert drawing.past == [1, 0, 0.0]


def test_a_render_mode_is_one_of_those_allowed() -> None:
    check_render_mode(None)
    check_render_mode("human")
    with pytest.raises(ValueError, match="None or one of human, rgb_array, got 'ansi'"):
        check_render_mode("ansi")
    with pytest.raises(ValueError, match="None or one of rgb_array, got 'human'"):
        check_render_mode("human", ("rgb_array",))
