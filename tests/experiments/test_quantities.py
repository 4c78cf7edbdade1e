"""Results as numbers."""

from __future__ import annotations

import pytest

from persim_gym.experiments.results import (
    Findings,
)
from persim_gym.experiments.row_files import Row
from tests.experiments.paper_rows import (
    predicted,
    rewarded,
)


def test_results_of_another_kind_are_damaged() -> None:
    row = predicted("persim", [0.1])
    bad = Row(row.cell, {"families": {}}, {}, {}, {}, "")
    good = Row(row.cell, {"families": {"a": [{"agent": 0}]}}, {}, {}, {}, "")
    assert Findings([bad]).groups[0].values == {}
    with pytest.raises(ValueError, match=rf"{row.cell.key}.json are damaged \(KeyError"):
        _ = Findings([good]).groups[0].values


def test_other_numbers_of_episodes_are_refused() -> None:
    rows = [rewarded("random", [[1.0, 2.0]], None), rewarded("random", [[1.0]], None, seed=1)]
    with pytest.raises(ValueError, match="other numbers of episodes"):
        _ = Findings(rows).groups[0].values
