"""What is called while long work goes on."""

from __future__ import annotations

import pytest

from persim_gym.progress import reporter


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
