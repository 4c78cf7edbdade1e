"""The next command to try."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from persim_gym.cli.next_step import agent_word, reward_words, say_next, say_next_of, say_plan
from persim_gym.envs.suites import find_suite
from persim_gym.learned import PerSim
from tests.learned.worlds import PlainTask, random_simulator


def test_next_lines_can_be_copied(capsys: pytest.CaptureFixture[str]) -> None:
    say_next("plan", Path("my runs/p"), "--agent", "it's")
    line = capsys.readouterr().err
    assert shlex.split(line)[2:] == ["plan", "my runs/p", "--agent", "it's"]
    say_next("plan", "a\x1b[31mb")
    assert capsys.readouterr().err == ""


def simulator(names: tuple[str, ...] = ("ann", "bob", "carl", "dan")) -> PerSim:
    sim = random_simulator(PlainTask.of(2, actions=3))
    sim.rename(names)
    return sim


def test_an_agent_is_named_as_it_is_found_again() -> None:
    sim = simulator()
    assert [agent_word(sim, 1), agent_word(None, 3)] == ["bob", "3"]
    assert agent_word(random_simulator(PlainTask.of(2, actions=3)), 2) == "2"
    sim.rename(("1", "0", "a", "b"))
    for index in range(4):
        assert sim.names.parse(agent_word(sim, index)) == index


def test_a_simulator_is_judged_before_anything_is_planned_in_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    own, true = simulator(), random_simulator(find_suite("cartpole").task())
    say_next_of(own, "runs/p", fitted=True)
    say_next_of(true, "runs/c", fitted=True)
    say_next_of(own, "runs/p", index=2)
    say_plan(random_simulator(PlainTask.of(2, actions=1)), "runs/one", "0")
    say_plan(random_simulator(PlainTask.of(2, actions=1)), "runs/one", "0", drawn=True)
    assert [line.split(" ", 2)[2] for line in capsys.readouterr().err.splitlines()] == [
        "validate runs/p --out runs/p-trust",
        "evaluate runs/c",
        "plan runs/p --agent carl",
        "render runs/one --agent 0 --out runs/one.png",
        "explore runs/one",
    ]


def test_a_reward_that_was_given_is_said_again() -> None:
    sim = simulator()
    assert reward_words(sim) == []
    given = sim.with_reward("-abs(next.obs_0)")
    assert reward_words(given) == ["--reward", "-abs(next.obs_0)"]
