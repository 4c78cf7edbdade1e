"""What is called while long work goes on."""

from __future__ import annotations

import pytest

from persim_gym.progress import duration, reporter, span, time_left


@pytest.mark.parametrize("show", [True, False])
def test_the_callers_own_is_called_with_a_bar_and_without(
    show: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[int, int]] = []
    with reporter("record", show, lambda *now: seen.append(now)) as report:
        report(1, 4)
        report(4, 4, "2/2 other")
    assert seen == [(1, 4), (4, 4)]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert ("2/2 other" in shown.err and "100%" in shown.err) == show
    with reporter("record", show, None) as report:
        report(1, 1)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (0.04, "0 s"), (4.12, "4.1 s"), (59.6, "60 s"), (99.4, "99 s"), (100, "2 min"),
     (1380, "23 min"), (12_600, "3.5 h"),
     (216_000, "2.5 days")],
)  # fmt: skip
def test_durations_are_said_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(604_800, "1 week"), (1_209_600, "2 weeks"), (86_400, "1 day"), (691_200, "8 days"),
     (3600, "1 h"), (5400, "90 min"), (300, "5 min"), (90, "90 s"), (0.5, "0.5 s"), (0, "0 s"),
     (907_200, "252 h"), (604_801, "1 week")],
)  # fmt: skip
def test_times_between_dates_are_said_in_words(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_time_left_is_what_is_known() -> None:
    assert time_left(0, None, 0.2) == ""
    assert time_left(0, 10, 30) == "for 30 s"
    assert time_left(3, None, 30) == "for 30 s"
    assert time_left(5, 10, 30) == "about 30 s left"
    assert time_left(0.25, 1.0, 20, at_most=True) == "at most 60 s left"
    # Between two steps it grows shorter, and late it is not nothing.
    assert time_left(5, 10, 40, then=30) == "about 20 s left"
    assert time_left(5, 10, 90, then=30, at_most=True) == "about 1.0 s left"
    assert time_left(10, 10, 90) == "in 90 s"
