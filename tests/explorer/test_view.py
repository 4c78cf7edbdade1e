from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persim_gym.explorer.view import MOST_STEPS, Plan, View

NUMBERS = st.floats(-1e30, 1e30, allow_nan=False)
WHOLE = st.integers(0, 10_000)


def rows(width: int) -> st.SearchStrategy[list[list[float]]]:
    return st.lists(
        st.lists(NUMBERS, min_size=width, max_size=width), min_size=1, max_size=MOST_STEPS // 20
    )


PLANS = st.one_of(
    st.just(Plan()),
    st.just(Plan("hold")),
    st.builds(Plan, st.just("random"), seed=WHOLE),
    st.integers(1, 3).flatmap(rows).map(Plan.of),
)
NAMES = st.text(min_size=1, max_size=8)
VIEWS = st.builds(
    View,
    agent=NAMES,
    start=WHOLE,
    horizon=WHOLE,
    plan=PLANS,
    other=st.none() | PLANS,
    step=WHOLE,
    shown=st.lists(NAMES, unique=True, max_size=3).map(tuple),
)


@pytest.mark.slow
@given(VIEWS)
def test_an_address_holds_the_whole_view(view: View) -> None:
    pairs = parse_qsl(view.query, keep_blank_values=True)
    assert View.from_query(pairs, View(agent="another")) == view


def test_the_other_agent_is_held_where_there_is_a_plan_b() -> None:
    view = View("a", other=Plan("hold"), other_agent="b & c")
    assert View.from_query(parse_qsl(view.query), View("x")) == view
    assert view.sides == (("a", Plan()), ("b & c", Plan("hold")))


def test_equal_rows_in_sequence_are_short() -> None:
    plan = Plan.of([[10, 0]] * 40 + [[0, 0]])
    assert plan.text == "values:10,0*40;0,0"
    assert Plan.parse(plan.text) == plan


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("start", "-1"), ("start", "1.5"), ("horizon", "x"), ("step", "9" * 30), ("step", "²"),
        ("a", ""), ("a", "values:"), ("a", "values:1,x"), ("a", "values:nan"),
        ("a", "values:1;2,3"),
        ("a", "values:1*501"), ("a", "values:1*0"), ("b", "random:-1"), ("a", "recorded:1"),
        ("a", "values:1e999"), ("elsewhere", "1"),
    ],
)  # fmt: skip
def test_what_is_no_view_is_refused_in_a_sentence(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"must be|is recorded|are|ha[sv]e?") as caught:
        View.from_query([(name, value)], View("a"))
    assert "\n" not in str(caught.value)


def test_what_an_address_leaves_out_stays() -> None:
    default = View("a", 3, 20, Plan("hold"))
    assert View.from_query([], default) == default
