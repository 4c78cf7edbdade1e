"""Options that several commands share, and how their text is read."""

from __future__ import annotations

import pytest

from persim_gym.cli.options import examples, parse_agents, parse_ranges, population


@pytest.mark.parametrize(
    ("text", "agents"),
    [("3", [3]), ("0-4", [0, 1, 2, 3, 4]), ("0,3,7", [0, 3, 7]), ("5-6, 0-1,5", [5, 6, 0, 1])],
)
def test_lists_of_agents(text: str, agents: list[int]) -> None:
    assert parse_agents(text) == agents


@pytest.mark.parametrize("text", ["", "a", "-1", "1-", "1,,2", "1.5", "3-1", "0-9999999"])
def test_no_lists_of_agents(text: str) -> None:
    with pytest.raises(ValueError, match="agents"):
        parse_agents(text)


def test_ranges() -> None:
    assert parse_ranges(["force=5:15", "length=.2:.3"]) == {"force": (5, 15), "length": (0.2, 0.3)}


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["force=5"], "like force=5:15"),
        (["force=a:b"], "like force=5:15"),
        (["force=1:2", "force =1:3"], "two ranges of 'force'"),
    ],
)
def test_no_ranges(texts: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_ranges(texts)


def test_a_population_is_what_was_given() -> None:
    assert population(None, None, None) is None
    assert population(8, 0, None) == {"size": 8, "seed": 0}
    assert population(None, None, ["force=5:6"]) == {"ranges": {"force": (5.0, 6.0)}}


def test_examples_are_lines_that_can_be_copied() -> None:
    assert examples("demo", "agents cartpole").splitlines()[1:] == [
        "Examples:", "  persim-gym demo", "  persim-gym agents cartpole",
    ]  # fmt: skip
