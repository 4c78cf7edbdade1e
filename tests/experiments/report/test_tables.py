"""Tables as Markdown, and all of a whole benchmark."""

from __future__ import annotations

import pytest

from persim_gym.experiments.report.page import all_tables
from persim_gym.experiments.report.tables import Table
from persim_gym.experiments.results import (
    Findings,
)
from persim_gym.pages import Bold
from tests.experiments.paper_rows import (
    everything,
)


@pytest.mark.slow
def test_all_sections_of_a_whole_benchmark() -> None:
    tables = all_tables(Findings(everything()))
    sections = ["prediction", "reward", "planners", "scarcity", "unseen", "latent", "time"]
    assert list(tables) == sections
    for own in (table for of in tables.values() for table in of):
        assert own.rows
        assert {len(row) for row in own.rows} == {len(own.head)}
        assert not any("missing" in text for row in own.rows for text in row)


def test_markdown_escapes_bars() -> None:
    table = Table("x", "X", "", ("agent", "y"), (("a|b", Bold("1")),))
    assert table.grid().splitlines() == ["| agent | y |", "| --- | ---: |", "| a\\|b | **1** |"]
