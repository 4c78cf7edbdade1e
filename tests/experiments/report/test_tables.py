"""Tables as Markdown, and all of a whole benchmark."""

from __future__ import annotations

import csv
import io
import math

import pytest

from persim_gym.experiments.report.page import all_tables
from persim_gym.experiments.report.tables import Table, results_csv
from persim_gym.experiments.results import (
    Findings,
)
from persim_gym.pages import Bold
from tests.experiments.paper_rows import (
    everything,
    predicted,
    rewarded,
    seeds,
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


def test_everything_is_in_the_csv() -> None:
    rows = [
        *seeds(predicted, "persim", [[0.1], [0.3]], fit=(("rank", 2),)),
        rewarded("true", [[1.0, 5.0]], None, planner="paper"),
    ]
    lines = list(csv.DictReader(io.StringIO(results_csv(Findings(rows)))))
    own = [
        line
        for line in lines
        if (line["measure"], line["agent"], line["policy"]) == ("rmse", "0", "test-policy")
    ]
    (error,) = own
    assert error["fit"] == '{"rank": 2}'
    assert error["train_agents"] == "100"
    assert float(error["mean"]) == pytest.approx(0.2)
    assert float(error["sd"]) == pytest.approx(0.2 / math.sqrt(2))
    assert (float(error["low"]), float(error["high"])) == (0.1, 0.3)
    assert (error["seeds"], error["episodes"]) == ("2", "20")
    (reward,) = [x for x in lines if x["measure"] == "return" and x["agent"] == "0"]
    assert (reward["planner"], reward["dataset"], reward["mean"]) == ("paper", "", "3.0")
    assert (reward["sd"], reward["low"], reward["train_agents"]) == ("", "", "")
