"""Rows put in order: repeats together, and what is not there said plainly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from persim_gym.experiments.ledger import note_start
from persim_gym.experiments.presets import preset_cells
from persim_gym.experiments.report.main_tables import (
    prediction_tables,
    reward_tables,
)
from persim_gym.experiments.results import (
    Findings,
    Slot,
    Variant,
    read_findings,
    slot_of,
)
from tests.experiments.paper_rows import (
    at,
    cell,
    named,
    predicted,
    rewarded,
    seeds,
    write,
)


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


def test_no_rows(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no rows of results"):
        read_findings(tmp_path)
    with pytest.raises(ValueError, match="does not exist"):
        read_findings(tmp_path / "nowhere")


def test_slots_say_what_they_are() -> None:
    slot = Slot("reward", "cartpole", None, Variant("true"), "paper", None)
    assert slot.describe() == "reward, cartpole, True env + MPC, paper"
