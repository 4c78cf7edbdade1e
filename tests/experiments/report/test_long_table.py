"""All numbers as one long table."""

from __future__ import annotations

import csv
import io
import math

import pytest

from persim_gym.experiments.report.long_table import results_csv
from persim_gym.experiments.results import (
    Findings,
)
from tests.experiments.paper_rows import (
    predicted,
    rewarded,
    seeds,
)


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
