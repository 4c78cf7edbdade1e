"""The paper's main tables: known numbers in their places."""

from __future__ import annotations

import numpy as np
import pytest

from persim_gym.envs.suites import SUITES
from persim_gym.experiments import published
from persim_gym.experiments.report.main_tables import (
    prediction_parts,
    prediction_tables,
    published_tables,
    reward_tables,
    small_numbers,
    small_table,
)
from persim_gym.experiments.report.tables import results_csv
from persim_gym.experiments.results import (
    Findings,
)
from persim_gym.pages import Bold
from tests.experiments.paper_rows import (
    at,
    named,
    predicted,
    rewarded,
    seeds,
)


def test_prediction_means_over_seeds_and_geometric_means_over_agents() -> None:
    findings = Findings(seeds(predicted, "persim", [[0.1, 0.4], [0.2, 0.4], [0.3, 0.4]]))
    table = named(prediction_tables(findings), "prediction-cartpole-test-policy")
    assert at(table, "PerSim", "random", "0") == "0.200 ± 0.100 (0.500)"
    assert at(table, "PerSim", "random", "1") == "0.400 ± 0 (0.500)"
    means = np.sqrt([0.04, 0.08, 0.12])
    expected = f"{means.mean():.3f} ± {means.std(ddof=1):.4f}"
    assert at(table, "PerSim", "random", "geometric mean") == expected
    scripted = named(prediction_tables(findings), "prediction-cartpole-scripted")
    assert at(scripted, "PerSim", "random", "0") == "0.400 ± 0.200 (0.500)"
    assert published.TITLE not in scripted.head


def test_best_is_bold_where_it_is_certain() -> None:
    rows = [
        *seeds(predicted, "persim", [[0.1, 0.4], [0.2, 0.5], [0.15, 0.6]]),
        *seeds(predicted, "one-for-all", [[0.5, 0.45], [0.6, 0.55], [0.7, 0.3]]),
    ]
    table = named(prediction_tables(Findings(rows)), "prediction-cartpole-test-policy")
    assert isinstance(at(table, "PerSim", "random", "0"), Bold)
    assert not isinstance(at(table, "Pooled model", "random", "0"), Bold)
    # The second agent's intervals overlap.
    assert not isinstance(at(table, "PerSim", "random", "1"), Bold)
    assert not isinstance(at(table, "Pooled model", "random", "1"), Bold)
    assert "| **0.150 ± 0.0500 (0.500)** |" in table.to_markdown()
    # One seed has no interval: nothing is bold.
    single = named(prediction_tables(Findings(rows[::3])), "prediction-cartpole-test-policy")
    assert not any(isinstance(text, Bold) for row in single.rows for text in row)


def test_methods_without_data_stand_in_every_block() -> None:
    rows = [
        predicted("persim", [0.1]),
        predicted("persim", [0.2], "pure"),
        predicted("persistence", [0.5], None),
    ]
    table = named(prediction_tables(Findings(rows)), "prediction-cartpole-test-policy")
    assert table.head[2:4] == ("PerSim", "Persistence")
    for dataset in ("pure", "random"):
        assert at(table, "Persistence", dataset, "0") == "0.500 (0.500)"
    assert [row[0] for row in table.rows] == ["pure", "pure", "random", "random"]


def test_authors_code_stands_beside_random_data_and_is_never_bold() -> None:
    rows = [
        *seeds(predicted, "persim", [[0.5, 9.0], [0.6, 9.1]]),
        *seeds(predicted, "persim", [[0.1, 0.1], [0.1, 0.1]], "pure"),
        *seeds(predicted, "one-for-all", [[0.7, 9.0], [0.8, 9.1]]),
        *seeds(predicted, "one-for-all", [[0.9, 0.1], [0.9, 0.1]], "pure"),
    ]
    findings = Findings(rows)
    table = named(prediction_tables(findings), "prediction-cartpole-test-policy")
    # It is far better here, and neither bold nor in the way of the one that is.
    authors = at(table, published.TITLE, "random", "0")
    assert authors == "0.0174 (0.974)"
    assert not isinstance(authors, Bold)
    assert isinstance(at(table, "PerSim", "random", "0"), Bold)
    assert at(table, published.TITLE, "random", "geometric mean") == "0.0191"
    assert at(table, published.TITLE, "pure", "0") == "–"
    assert "other recordings" in table.caption
    assert "nearly the same" in table.caption
    assert "authors" not in results_csv(findings).lower()


def test_infinite_errors_are_said_and_lose() -> None:
    rows = [
        *seeds(predicted, "persim", [[0.1], [0.2]]),
        *seeds(predicted, "one-for-all", [[None], [None]], r2=None),
    ]
    table = named(prediction_tables(Findings(rows)), "prediction-cartpole-test-policy")
    assert at(table, "Pooled model", "random", "0") == "∞ (< −99)"
    assert isinstance(at(table, "PerSim", "random", "0"), Bold)


def test_error_by_horizon_and_coordinate() -> None:
    findings = Findings([predicted("persim", [0.1, 0.4])])
    coordinate, horizon = prediction_parts(findings)
    assert [row[1] for row in horizon.rows] == ["1", "5", "10", "25", "50"]
    assert at(horizon, "PerSim", "random", "25") == "0.100"  # the mean 0.2 times 25 / 50
    names = SUITES["cartpole"].coordinates
    assert [row[1:] for row in coordinate.rows] == [(name, "0.200") for name in names]


def test_returns() -> None:
    rows = [
        *seeds(rewarded, "persim", [[[1.0, 3.0], [10.0, 10.0]], [[5.0, 7.0], [20.0, 20.0]]]),
        rewarded("random", [[0.0], [0.5]], None),
    ]
    (table,) = reward_tables(Findings(rows))
    assert at(table, "PerSim", "random", "0") == "4 ± 2.8"
    assert at(table, "PerSim", "random", "1") == "15 ± 7.1"
    assert at(table, "PerSim", "random", "mean") == "9.5 ± 4.9"  # seeds: 6 and 13
    assert at(table, "Random actions", "random", "mean") == "0.2 [1 of 2]"
    assert at(table, published.TITLE, "random", "0") == "200"
    assert at(table, published.TITLE, "random", "mean") == "150"


def test_planning_in_the_truth_is_no_competitor() -> None:
    low, high = [[[1.0, 2.0]], [[2.0, 3.0]]], [[[90.0, 91.0]], [[91.0, 92.0]]]
    middle = [[[50.0, 51.0]], [[51.0, 52.0]]]
    rows = [
        *seeds(rewarded, "true", high, None, planner="default"),
        *seeds(rewarded, "persim", middle, planner="default"),
        *seeds(rewarded, "random", low, None),
    ]
    (table,) = reward_tables(Findings(rows))
    assert isinstance(at(table, "PerSim", "random", "0"), Bold)
    assert not isinstance(at(table, "True env + MPC", "random", "0"), Bold)


def test_time_limits_are_said() -> None:
    rows = [
        rewarded("random", [[1.0]], None, max_episode_steps=7),
        rewarded("test-policy", [[1.0]], None),
    ]
    for table in (reward_tables(Findings(rows))[0], small_table(Findings(rows))):
        assert "Episodes are cut off after 7 steps (Random actions on CartPole)." in table.caption
    assert "cut off" not in small_table(Findings(rows[1:])).caption


def test_returns_of_the_authors_code() -> None:
    (table,) = published_tables(Findings([rewarded("random", [[1.0]], None)]))
    assert {row[0] for row in table.rows} == {"CartPole"}
    assert len(table.rows) == 3
    assert "other recordings" in table.caption
    assert published_tables(Findings([predicted("persim", [1.0])])) == []


def test_small_table() -> None:
    rows = [
        *seeds(predicted, "persim", [[0.1, 0.4], [0.1, 0.4]]),
        predicted("persim", [0.3, 0.3], "pure"),
        *seeds(rewarded, "persim", [[[1.0], [3.0]], [[5.0], [7.0]]]),
        rewarded("random", [[0.0], [2.0]], None),
    ]
    findings = Findings(rows)
    table = small_table(findings, ["random"])
    assert table.rows == (
        ("CartPole", "random", "PerSim", "0.200 ± 0 rad", "0.200 ± 0", "4 ± 2.8"),
        ("CartPole", "–", "Random actions", "–", "–", "1 [1 of 2]"),
    )
    assert [row[1] for row in small_table(findings).rows] == ["pure", "random", "–"]
    first = small_numbers(findings)[1]
    assert (first["method"], first["dataset"]) == ("persim", "random")
    assert first["headline"] == "angle (rad)"
    for name in ("rmse", "headline_rmse"):
        assert first[name]["mean"] == pytest.approx(0.2)
    assert first["return"]["episodes"] == 1
