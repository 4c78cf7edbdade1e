"""The verdict follows its rules, which the documentation lists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from persim_gym.cli.output import cell
from persim_gym.evaluation.off_policy.value import OFF_POLICY_RULES
from persim_gym.evaluation.validation import RULES, Grade
from persim_gym.evaluation.validation.support import SUPPORT_RULES
from persim_gym.evaluation.validation.verdict import judge, number
from tests.evaluation.validation.worlds import at, scores

PAGE = Path(__file__).parents[3] / "docs" / "validation.md"
NAMES, AGENTS = ("glucose", "weight"), ("a", "b", "c")


def test_the_documentation_lists_the_rules() -> None:
    text = PAGE.read_text()
    for rule in (*RULES, *SUPPORT_RULES, *OFF_POLICY_RULES):
        assert f"\n* {rule}\n" in text, rule


def test_grades() -> None:
    grades = {
        Grade.GOOD: scores(),
        Grade.LIMITED: replace(scores(), r2=at(scores().r2, 1, 0, 0.4)),
        Grade.ROUGH: scores(r2=0.4),
        Grade.BAD: scores(own=2.9, still=3.0, pooled=4.0),
        Grade.UNKNOWN: scores(count=9),
    }
    for grade, own in grades.items():
        assert judge(own, NAMES, AGENTS).grade is grade


def test_each_rule_alone_takes_values_away() -> None:
    for lost, says in (
        (scores(r2=0.49), "R2 is 0.49 only"),
        (scores(r2=-1.0), "no better than each agent's own mean"),
        (scores(coverage=0.84), "intervals are too narrow: those of 95% hold 84%"),
        (scores(own=2.87), "hardly better than persistence"),
        (scores(own=2.2), "worse than the pooled model"),
        (scores(own=4.0), "worse than persistence"),
    ):
        for reading in judge(lost, NAMES, AGENTS).readings:
            assert reading.values == 0
            # Over all steps the agents are fine, so that it is said of each coordinate why not.
        text = str(judge(replace(lost, course_rmse=scores().course_rmse), NAMES, AGENTS))
        assert says in text


def test_what_is_as_good_as_exact_may_have_narrow_intervals() -> None:
    """The standard deviation is 5."""
    assert judge(scores(own=0.09, coverage=0.1), NAMES, AGENTS).grade is Grade.GOOD
    assert judge(scores(own=0.11, coverage=0.1), NAMES, AGENTS).grade is Grade.ROUGH


def test_values_end_where_a_reference_is_better_on_the_way() -> None:
    early = scores()
    rmse = {**early.rmse, "pooled": at(early.rmse["pooled"], 0, 0, 0.5)}
    glucose, weight = judge(replace(early, rmse=rmse), NAMES, AGENTS).readings
    assert (glucose.values, glucose.course) == (0, 10)
    assert (weight.values, weight.course) == (10, 10)


def test_agents_are_named_that_are_not_to_be_used() -> None:
    own = scores()
    course = {**own.course_rmse}
    course["simulator"] = np.array([[1.0, 1.0], [9.0, 9.0], [1.0, 1.0]])
    found = judge(replace(own, course_rmse=course), NAMES, AGENTS)
    assert found.not_used == ("b",)
    assert "the simulators of b (1 of 3 agents)" in str(found)
    assert found.grade is Grade.GOOD
    course["simulator"] = np.array([[9.0, 9.0], [9.0, 9.0], [1.0, 1.0]])
    found = judge(replace(own, course_rmse=course), NAMES, AGENTS)
    assert found.grade is Grade.BAD
    assert all(reading.values == 0 for reading in found.readings)


def test_agents_that_are_unlike_the_others_are_to_be_checked() -> None:
    """Better than persistence, which is 3 for all, but far from what the others are."""
    own = scores(own=0.6)
    course = {**own.course_rmse}
    for error, named in ((2.5, True), (1.4, False)):
        course["simulator"] = np.array([[0.6, 0.6], [error, error], [0.6, 0.6]])
        found = judge(replace(own, course_rmse=course), NAMES, AGENTS)
        assert ("Check the records of b:" in str(found)) is named
        assert found.not_used == ()
    course["simulator"] = np.array([[0.01, 0.01], [0.4, 0.4], [0.01, 0.01]])
    assert "Check" not in str(judge(replace(own, course_rmse=course), NAMES, AGENTS))


def test_a_constant_coordinate_is_not_judged() -> None:
    own = replace(scores(), deviation=np.array([5.0, 0.0]))
    glucose, weight = judge(own, NAMES, AGENTS).readings
    assert glucose.values == 10
    assert not weight.judged
    assert "constant in the data" in weight.text


def test_without_a_pooled_model_persistence_decides() -> None:
    own = scores()
    models = ("simulator", "persistence")
    found = judge(replace(own, rmse={m: own.rmse[m] for m in models}), NAMES, AGENTS)
    assert found.grade is Grade.GOOD
    assert "pooled" not in str(found)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.01234, "0.0123"),
        (12.34, "12.3"),
        (999.7, "1,000"),
        (4230.4, "4,230"),
        (9999.7, "10,000"),
        (-65432.1, "-65,432"),
        (1.2e9, "1.2e+09"),
    ],
)
def test_numbers_of_any_size_can_be_read(value: float, text: str) -> None:
    assert number(value) == text
    assert cell(value) in (text, f"{value:.4g}")
    assert len(cell(value)) < 10
    assert ("e" in cell(value)) == (abs(value) >= 1e7)
