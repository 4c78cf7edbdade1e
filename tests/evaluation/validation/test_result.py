"""What came of a validation: grades, rules, tables and files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persim_gym.evaluation.validation import Grade, Validation
from persim_gym.evaluation.validation.result import JSON, SplitResult
from persim_gym.evaluation.validation.scores import Scores
from persim_gym.evaluation.validation.verdict import judge
from tests.evaluation.validation.worlds import COLUMNS, at, scores

AGENTS = ("a", "b", "c")


def split(name: str = "ends", own: Scores | None = None) -> SplitResult:
    found = own or scores()
    return SplitResult(name, 100, AGENTS, found, judge(found, COLUMNS, AGENTS))


def validation(*splits: SplitResult, **more: Any) -> Validation:
    return Validation("patients", COLUMNS, ("mg", ""), {"data": "x"}, splits or (split(),), **more)


def test_the_worst_split_that_could_be_judged_decides() -> None:
    rough, lost = split("time", scores(r2=0.4)), SplitResult.without("agents", "too few agents")
    found = validation(split(), rough, lost)
    assert found.grade is Grade.ROUGH
    assert found.headline == rough.verdict.headline
    assert [own.name for own in found.judged] == ["ends", "time"]
    lines = found.verdict.split("\n")
    assert lines[0] == rough.verdict.headline
    assert sum(line.startswith("Split ") for line in lines) == 3
    assert "too few agents" in lines
    assert validation(lost).grade is Grade.UNKNOWN
    assert not any(line.startswith("Split ") for line in validation().verdict.split("\n"))


def test_what_the_data_cover_and_a_policys_value_end_the_verdict() -> None:
    found = validation(support={"sentences": ["first"]}, off_policy={"sentences": ["second"]})
    assert found.verdict.split("\n")[-2:] == ["first", "second"]


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("rmse(glucose)<persistence", ""),
        ("rmse(*)<=1", ""),
        ("skill(weight)>0.8", ""),
        ("rmse(glucose)<1", "glucose in split ends: rmse at 10 steps is 1, asked for is < 1"),
        ("coverage(*,1)>0.96", "coverage at 1 steps is 0.95, asked for is > 0.96"),
        ("width(weight)<4", "width at 10 steps is 4, asked for is < 4"),
        ("rmse(glucose,50)<9", "the records are too short for 50 steps, 10 is the most"),
        ("r2(glucose)>0.95", "r2 at 10 steps is 0.9, asked for is > 0.95"),
    ],
)
def test_rules_hold_or_it_is_said_why_not(rule: str, why: str) -> None:
    found = validation()
    assert found.meets(rule) == (why == "")
    assert found.failing(rule).endswith(why)
    if why:
        assert found.failing(rule).startswith(f"{rule}: ")


def test_a_rule_needs_enough_predictions_and_the_model_that_it_names() -> None:
    few = validation(split(own=scores(count=9)))
    assert "9 predictions of 10 steps are too few (10 are needed)" in few.failing("rmse(*)<9")
    own = scores()
    alone = replace(own, rmse={"simulator": own.rmse["simulator"]})
    bare = validation(replace(split(), scores=alone))
    assert bare.failing("rmse(weight)<pooled").endswith("there is no pooled model to compare with")
    without = validation(split(), SplitResult.without("time", "too short"))
    assert "split time could not be judged: too short" in without.failing("rmse(*)<9")
    with pytest.raises(ValueError, match="names column 'sugar'"):
        few.meets("rmse(sugar)<1")


def test_of_all_coordinates_a_constant_one_is_left_out() -> None:
    own = scores()
    still = replace(
        own, deviation=np.array([5.0, 0.0]),
        rmse={**own.rmse, "simulator": at(own.rmse["simulator"], 1, 1, 99.0)},
    )  # fmt: skip
    found = validation(replace(split(), scores=still))
    assert found.meets("rmse(*)<2")
    assert not found.meets("rmse(weight)<2")


def test_a_row_for_each_split_coordinate_and_number_of_steps() -> None:
    rows = validation(split(), split("time")).table()
    assert len(rows) == 2 * 2 * 2
    first = {"split": "ends", "coordinate": "glucose", "unit": "mg", "steps": 10}
    assert rows[1] | first == rows[1]
    assert (rows[0]["rmse"], rows[0]["persistence"]) == (1.0, 3.0)
    assert rows[0]["skill over persistence"] == pytest.approx(1 - 1 / 9)
    assert rows[0]["coverage of 95%"] == 0.95
    assert rows[0]["width of 95%"] == 4.0


def test_what_is_not_finite_is_none_in_json(tmp_path: Path) -> None:
    own = scores()
    lost = replace(own, r2=at(own.r2, 0, 0, np.nan))
    found = validation(replace(split(), scores=lost), SplitResult.without("time", "too short"))
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert plain["splits"][0]["coordinates"]["glucose"]["at"][0]["r2"] is None
    assert plain["splits"][0]["coordinates"]["weight"]["rmse_by_agent"]["b"]["pooled"] == [2.0, 2.0]
    assert plain["splits"][1]["failed"] == "too short"
    assert (plain["grade"], plain["columns"]) == ("good", list(COLUMNS))


def test_data_that_cannot_be_read_are_of_no_grade(tmp_path: Path) -> None:
    found = Validation.unreadable("weeks.csv", "column 'weight' is empty")
    assert found.grade is Grade.UNKNOWN
    assert "column 'weight' is empty" in found.verdict
    page = found.save(tmp_path / "new")
    assert "column &#39;weight&#39; is empty" in page.read_text(encoding="utf-8")
    assert json.loads((tmp_path / "new" / JSON).read_text())["title"] == "weeks.csv"
