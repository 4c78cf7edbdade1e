"""Tables of a benchmark: known numbers in their places, and what is not there said plainly."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persim_gym.experiments import published
from persim_gym.experiments.ledger import note_start
from persim_gym.experiments.presets import preset_cells
from persim_gym.experiments.report.long_table import results_csv
from persim_gym.experiments.report.main_tables import (
    prediction_parts,
    prediction_tables,
    published_tables,
    reward_tables,
    small_numbers,
    small_table,
)
from persim_gym.experiments.report.page import all_tables
from persim_gym.experiments.report.side_tables import (
    fit_seconds,
    planner_tables,
    scarcity_tables,
    time_tables,
    unseen_tables,
)
from persim_gym.experiments.report.tables import Table
from persim_gym.experiments.results import (
    Findings,
    Slot,
    Variant,
    read_findings,
    slot_of,
)
from persim_gym.experiments.row_files import Row
from persim_gym.pages import Bold
from tests.experiments.paper_rows import (
    cell,
    everything,
    latent,
    predicted,
    rewarded,
    unseen,
    write,
)


def named(tables: list[Table], name: str) -> Table:
    return next(table for table in tables if table.name == name)


def at(table: Table, column: str, *start: str) -> str:
    """The cell of a column, in the row that begins so."""
    row = next(row for row in table.rows if row[: len(start)] == start)
    return row[table.head.index(column)]


def seeds(make: Any, method: str, values: list[Any], *rest: Any, **options: Any) -> list[Row]:
    return [make(method, own, *rest, seed=k, **options) for k, own in enumerate(values)]


# -- prediction ------------------------------------------------------------------------------------


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


def test_best_is_bold_where_it_can_be_told() -> None:
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


def test_authors_geometric_means_are_those_of_their_agents() -> None:
    for task, own in published.RMSE.items():
        mean = math.exp(np.log(own.values).mean())
        assert published.RMSE_ALL[task] == pytest.approx(mean, rel=0.01)


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
    horizon, coordinate = prediction_parts(findings)
    assert [row[1] for row in horizon.rows] == ["1", "5", "10", "25", "50"]
    assert at(horizon, "PerSim", "random", "25") == "0.100"  # the mean 0.2 times 25 / 50
    assert [row[1:] for row in coordinate.rows] == [("x", "0.200"), ("y", "0.200")]


# -- what is not there -----------------------------------------------------------------------------


def test_missing_cells_and_seeds() -> None:
    rows = [
        *seeds(predicted, "persim", [[0.1], [0.1], [0.1]]),
        *seeds(predicted, "persim", [[0.1]], "pure"),
        *seeds(predicted, "one-for-all", [[0.5], [0.5]]),
    ]
    findings = Findings(rows)
    table = named(prediction_tables(findings), "prediction-cartpole-test-policy")
    assert at(table, "Pooled model", "pure", "0") == "missing"
    assert at(table, "Pooled model", "random", "0") == "0.500 ± 0 [2 of 3] (0.500)"
    assert at(table, "PerSim", "pure", "0") == "0.100 [1 of 3] (0.500)"
    missing = {(s.variant.method, s.dataset): own for s, own in findings.missing.items()}
    assert missing == {
        ("persim", "pure"): (1, 2),
        ("one-for-all", "pure"): (0, 1, 2),
        ("one-for-all", "random"): (2,),
    }


def test_scarcity_and_planners_imply_nothing_beyond_themselves() -> None:
    rows = [
        predicted("persim", [0.1]),
        predicted("persim", [0.1], "pure"),
        predicted("one-for-all", [0.1]),
        predicted("one-for-all", [0.1], "pure"),
        predicted("persim", [0.3], train_agents=25),  # of random data and one method alone
        rewarded("persim", [[1.0]], planner="default"),
        rewarded("persim", [[1.0]], "pure", planner="default"),
        rewarded("persim", [[1.0]], planner="paper"),
    ]
    assert Findings(rows).missing == {}


@pytest.mark.parametrize("asked", [False, True])
def test_failed_cells(asked: bool, tmp_path: Path) -> None:
    rows = [predicted("persim", [0.1]), predicted("one-for-all", [0.5], "pure")]
    write(tmp_path, rows)
    failed = cell("prediction", "one-for-all")
    # Of older versions' files, the list of what was asked for says which cells they are of.
    head = "" if asked else f"{json.dumps(failed.to_json())}\n"
    if asked:
        note_start(tmp_path, [failed, *(own.cell for own in rows)])
    (tmp_path / "failed").mkdir()
    for own in (failed, rows[0].cell):
        note = tmp_path / "failed" / f"{own.key}.txt"
        note.write_text(f"{head}Traceback:\n  x\nValueError: no luck\n")
    findings = read_findings(tmp_path)
    # The second was done since.
    (failure,) = findings.failures
    assert failure.error == "ValueError: no luck"
    assert failure.slot == slot_of(failed)
    table = named(prediction_tables(findings), "prediction-cartpole-test-policy")
    assert at(table, "Pooled model", "random", "0") == "failed"
    assert at(table, "PerSim", "pure", "0") == ("\N{EN DASH}" if asked else "missing")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"agents": 3}', "Traceback:\nno luck"])
def test_a_failure_of_an_unknown_cell_has_no_place(text: str, tmp_path: Path) -> None:
    write(tmp_path, [predicted("persim", [0.1])])
    (tmp_path / "failed").mkdir()
    (tmp_path / "failed" / "what.txt").write_text(text)
    (failure,) = read_findings(tmp_path).failures
    assert (failure.key, failure.slot) == ("what", None)
    assert failure.error == (text.splitlines()[-1] if text else "nothing was said")


def test_what_was_asked_for_is_expected(tmp_path: Path) -> None:
    done = predicted("persim", [0.1, 0.1])
    write(tmp_path, [done])
    more = [cell("prediction", "persim", "pure"), cell("prediction", "persim", seed=1)]
    note_start(tmp_path, [done.cell, *more], command="persim-gym benchmark", preset="quick")
    findings = read_findings(tmp_path)
    table = named(prediction_tables(findings), "prediction-cartpole-test-policy")
    assert at(table, "PerSim", "pure", "0") == "missing"
    assert at(table, "PerSim", "random", "0") == "0.100 [1 of 2] (0.500)"


def test_nothing_is_missing_that_no_run_was_asked_for(tmp_path: Path) -> None:
    rows = [predicted("persim", [0.1]), predicted("persim", [0.1], "pure")]
    rows.append(predicted("one-for-all", [0.5]))  # beside the others, on random data alone
    write(tmp_path, rows)
    note_start(tmp_path, [own.cell for own in rows], command="persim-gym benchmark", preset="quick")
    findings = read_findings(tmp_path)
    assert findings.missing == {}
    table = named(prediction_tables(findings), "prediction-cartpole-test-policy")
    assert at(table, "Pooled model", "pure", "0") == "\N{EN DASH}"
    # Of rows that no run was asked for, it is not known what belongs to them.
    write(tmp_path, [predicted("persistence", [0.9], None, task="mountain-car")])
    write(tmp_path, [predicted("persim", [0.9], task="mountain-car")])
    write(tmp_path, [predicted("one-for-all", [0.9], "pure", task="mountain-car")])
    missing = {(s.task, s.variant.method, s.dataset) for s in read_findings(tmp_path).missing}
    assert missing == {
        ("mountain-car", "persim", "pure"),
        ("mountain-car", "one-for-all", "random"),
    }


@pytest.mark.parametrize("preset", ["quick", "laptop", "paper"])
def test_a_complete_preset_lacks_nothing(preset: str) -> None:
    wanted = preset_cells(preset)
    missing = Findings([], wanted=wanted).missing
    assert {(slot, seed) for slot, own in missing.items() for seed in own} == {
        (slot_of(cell), cell.seed) for cell in wanted
    }


def test_what_some_seeds_do_not_know_is_marked() -> None:
    rows = seeds(predicted, "persim", [[0.1, 0.1], [0.3, None], [0.2, None]])
    for own in rows[1:]:  # in these seeds no episode of agent 1 outlives its real steps
        for agents in own.results["families"].values():
            agents[1]["episodes"] = 0
    table = named(prediction_tables(Findings(rows)), "prediction-cartpole-test-policy")
    assert at(table, "PerSim", "random", "0") == "0.200 ± 0.100 (0.500)"
    assert at(table, "PerSim", "random", "1") == "0.100 [1 of 3] (0.500)"


def test_variants_of_a_method_have_columns_of_their_own() -> None:
    rows = [
        predicted("persim", [0.1]),
        predicted("persim", [0.3], fit=(("rank", 2),)),
        rewarded("persim", [[1.0]], planner="default", penalty=0.5),
    ]
    findings = Findings(rows)
    table = named(prediction_tables(findings), "prediction-cartpole-test-policy")
    assert table.head[2:4] == ("PerSim", "PerSim (rank 2)")
    assert "PerSim (penalty 0.5)" in reward_tables(findings)[0].head


def test_of_two_sizes_the_one_with_more_seeds_is_shown() -> None:
    rows = [
        *seeds(predicted, "persim", [[0.1], [0.1]]),
        predicted("persim", [0.9], episodes=50),
    ]
    findings = Findings(rows)
    table = named(prediction_tables(findings), "prediction-cartpole-test-policy")
    assert at(table, "PerSim", "random", "0") == "0.100 ± 0 (0.500)"
    assert [group.cell.episodes for group in findings.beside] == [50]


# -- reward ----------------------------------------------------------------------------------------


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


# -- the others ------------------------------------------------------------------------------------


def test_planners() -> None:
    rows = [
        rewarded("persim", [[4.0]], planner="default", rate=1234.5),
        rewarded("persim", [[5.0]], planner="paper", rate=20.0),
        rewarded("persim", [[6.0]], "pure", planner="default", rate=1.0),
    ]
    (table,) = planner_tables(Findings(rows))
    search = "RandomShooting (1,000 candidates, 50 steps)"
    assert table.rows == (
        ("CartPole", "random", "PerSim", "default", search, "4", "1,234", "40"),
        ("CartPole", "random", "PerSim", "paper", search, "5", "20.0", "40"),
    )


def test_scarcity() -> None:
    rows = [predicted("persim", [0.1 * k], train_agents=10 * k) for k in (1, 2, 4)]
    rows.append(predicted("persim", [0.5], train_agents=20, task="mountain-car"))
    (table,) = scarcity_tables(Findings(rows))
    assert table.head[3:] == ("10 agents", "20 agents", "40 agents")
    assert at(table, "20 agents", "CartPole") == "0.200"
    # One number of agents alone is no curve.
    assert len(table.rows) == 1


def test_unseen_agents() -> None:
    found = {"50": [0.1, 0.2, 0.9], "mean": [1.0, 2.0, None], "5": [0.3, 0.4, 0.5]}
    findings = Findings([unseen(found)])
    (table,) = unseen_tables(findings)
    assert table.head[3:] == ("the mean agent", "5 transitions", "50 transitions")
    assert table.rows[0][3:] == ("2.00", "0.400", "0.200")


def test_latent_factors() -> None:
    rows = [latent(0.98), latent(0.96, seed=1)]
    (table,) = all_tables(Findings(rows))["latent"]
    assert at(table, "R2", "CartPole", "random", "PerSim", "force") == "0.970 ± 0.0141"


def test_time_of_a_fit_is_counted_once() -> None:
    first = predicted("persim", [0.1], made={"seconds": {"data": 0.5, "fit": 30.0, "run": 1.0}})
    again = rewarded("persim", [[1.0]], made={"seconds": {"fit": 0.01, "run": 5.0}})
    took = {"data": 0.5, "fit": 50.0, "run": 3.0}
    other = predicted("persim", [0.1], seed=1, made={"seconds": took})
    # A fit that outlived a kill, whose own cell left no row: what is known is how long it reads.
    read = predicted("persim", [0.1], seed=2, made={"seconds": {"fit": 0.01, "run": 2.0}})
    findings = Findings([first, again, other, read])
    # Agents differ between these cells' experiments, not between their fits.
    assert fit_seconds(findings) == {("cartpole", Variant("persim"), 100): [30.0, 50.0]}
    (table,) = time_tables(findings)
    assert table.rows[0][:3] == ("CartPole", "PerSim", "40 s ± 14 s")
    assert at(table, "prediction", "CartPole") == "2.0 s ± 1.0 s"
    assert at(table, "reward", "CartPole") == "5.0 s"
    assert at(table, "unseen", "CartPole") == "–"


# -- the small table and the CSV -------------------------------------------------------------------


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
        ("CartPole", "random", "PerSim", "0.200 ± 0", "4 ± 2.8"),
        ("CartPole", "–", "Random actions", "–", "1 [1 of 2]"),
    )
    assert [row[1] for row in small_table(findings).rows] == ["pure", "random", "–"]
    first = small_numbers(findings)[1]
    assert (first["method"], first["dataset"]) == ("persim", "random")
    assert first["rmse"]["mean"] == pytest.approx(0.2)
    assert first["return"]["episodes"] == 1


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


def test_all_sections_of_a_whole_benchmark() -> None:
    tables = all_tables(Findings(everything()))
    sections = ["prediction", "reward", "planners", "scarcity", "unseen", "latent", "time"]
    assert list(tables) == sections
    for own in (table for of in tables.values() for table in of):
        assert own.rows
        assert {len(row) for row in own.rows} == {len(own.head)}
        assert not any("missing" in text for row in own.rows for text in row)


# -- reading ---------------------------------------------------------------------------------------


def test_no_rows(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no rows of results"):
        read_findings(tmp_path)
    with pytest.raises(ValueError, match="does not exist"):
        read_findings(tmp_path / "nowhere")


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


def test_markdown_escapes_bars() -> None:
    table = Table("x", "X", "", ("agent", "y"), (("a|b", Bold("1")),))
    assert table.grid().splitlines() == ["| agent | y |", "| --- | ---: |", "| a\\|b | **1** |"]


def test_slots_say_what_they_are() -> None:
    slot = Slot("reward", "cartpole", None, Variant("true"), "paper", None)
    assert slot.describe() == "reward, cartpole, True env + MPC, paper"
