"""Rules of ``--require``: a small grammar, of which nothing is executed."""

from __future__ import annotations

import math
from typing import Any

import pytest

from persim_gym.evaluation.validation.rules import Rule


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rmse(glucose)<persistence", ("rmse", "glucose", None, "<", "persistence")),
        ("rmse(glucose,10)<=pooled", ("rmse", "glucose", 10, "<=", "pooled")),
        (" rmse ( glucose , 10 ) < 3.5 ", ("rmse", "glucose", 10, "<", 3.5)),
        ("coverage(*)>=0.9", ("coverage", "*", None, ">=", 0.9)),
        ("skill(body mass, 1)>-1e-1", ("skill", "body mass", 1, ">", -0.1)),
        ('r2("dose, mg (max)",5)>0', ("r2", "dose, mg (max)", 5, ">", 0.0)),
        ('width("a ""b""")<2', ("width", 'a "b"', None, "<", 2.0)),
    ],
)
def test_rules_are_read(text: str, expected: tuple[Any, ...]) -> None:
    rule = Rule.parse(text)
    found = (rule.quantity, rule.column, rule.steps, rule.relation, rule.value)
    assert found == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no rule: expected QUANTITY"),
        ("rmse(glucose)", "is no rule: expected QUANTITY"),
        ("rmse(glucose)==1", "is no rule: expected QUANTITY"),
        ("rmse()<1", "is no rule: expected QUANTITY"),
        ("mse(glucose)<1", "the quantities are rmse, skill, r2, coverage and width"),
        ("rmse(glucose)<nothing", "'nothing' is no number"),
        ("rmse(glucose)<nan", "expected a finite number"),
        ("rmse(glucose)<1e999", "expected a finite number"),
        ("skill(glucose)>pooled", "compares skill with a model's"),
        ("rmse(glucose,0)<1", "expected 1 or more"),
        ("rmse(glucose,-1)<1", "is no rule: expected QUANTITY"),
        ("rmse(glucose,1.5)<1", "is no rule: expected QUANTITY"),
        ("__import__('os')<1", "is no rule: expected QUANTITY"),
        ("rmse(glucose)<1; rmse(weight)<1", "is no rule: expected QUANTITY"),
    ],
)
def test_what_is_no_rule_is_refused_with_what_was_expected(text: str, says: str) -> None:
    with pytest.raises(ValueError, match="expected") as error:
        Rule.parse(text)
    assert says in str(error.value)


def test_columns_are_checked() -> None:
    Rule.parse("rmse(*)<1").check_column(("glucose",))
    with pytest.raises(ValueError, match="names column 'sugar': the data have glucose"):
        Rule.parse("rmse(sugar)<1").check_column(("glucose",))
    with pytest.raises(TypeError, match="a rule is text"):
        Rule.parse(3)  # type: ignore[arg-type]


def test_what_is_not_known_meets_no_rule() -> None:
    rule = Rule.parse("r2(x)>=-1000")
    assert rule.holds(-5.0, -1000.0)
    assert not rule.holds(math.nan, -1000.0)
    assert not Rule.parse("rmse(x)<1").holds(math.nan, 1.0)
