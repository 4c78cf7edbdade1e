"""Errors of the library in the words of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from persim_gym.cli.messages import in_words
from tests.cli.commands import COMMAND, run

ROOT: Any = COMMAND


@pytest.mark.parametrize(
    ("command", "said", "words"),
    [
        ("fit", "leave such rows out with missing='drop'", "leave such rows out with --drop"),
        ("fit", "or short='drop'", "or --drop"),
        ("fit", "give ensemble_size=2 or more", "give --ensemble-size 2 or more"),
        ("adapt", "fit again with method='als'", "fit again with --method als"),
        ("fit", "ensemble_size must be at least 1", "--ensemble-size must be at least 1"),
        ("fit", "seed must be at least 0", "--seed must be at least 0"),
        ("fit", "either time= or step=, and", "either --time-column or --step-column, and"),
        ("fit", "max_gap is 3, but", "--max-gap is 3, but"),
        ("fit", "a longer one with max_gap=1e+06", "a longer one with --max-gap 1e+06"),
        ("fit", "say discrete_actions=False", "say --continuous-actions"),
        ("record", "time limit max_episode_steps", "time limit --max-steps"),
        ("record", "or overwrite=True", "or --force"),
        ("record", "of your own: population={'ranges': {'force': [low, high]}}",
         "of your own: --ranges force=LOW:HIGH"),
        ("fit", "angles names the column 'x' twice", "--angle names the column 'x' twice"),
        ("fit", "units names 'mg', which", "--unit names 'mg', which"),
        ("plan", "is not there: give the data: --data FILE, or data= in Python",
         "is not there: give the data: --data FILE"),
        ("validate", "give them, --data DATA on the command line, sim.validate(data) in Python",
         "give them, --data DATA"),
        ("plan", "penalty=0.5 needs members", "--penalty 0.5 needs members"),
        ("evaluate", "fit it again with PerSim.fit", "fit it again with persim-gym fit"),
        # What is no argument of a command, or is the user's, stays what it is.
        ("plan", "propagation='sample' needs", "propagation='sample' needs"),
        ("record", "a range must be like force=5:15", "a range must be like force=5:15"),
        ("fit", "column 'max_gap' of out/max_gap.csv", "column 'max_gap' of out/max_gap.csv"),
        ("fit", "the file max_gap.csv", "the file max_gap.csv"),
        ("fit", "--ensemble-size must be 2", "--ensemble-size must be 2"),
        ("agents", "max_gap is 3", "max_gap is 3"),
    ],
)  # fmt: skip
def test_arguments_are_said_as_options(command: str, said: str, words: str) -> None:
    assert in_words(said, ROOT.commands[command], ROOT) == words


def test_without_a_command_nothing_changes() -> None:
    assert in_words("missing='drop'", None) == "missing='drop'"


TABLE = "--agent-column a --time-column t --state x --action u --out never"


@pytest.mark.parametrize(
    ("line", "rows", "says"),
    [
        (f"fit t.csv {TABLE}", "p,1,1,0\np,2,,0\np,3,1,0", "with --drop"),
        (f"fit t.csv {TABLE}", "p,1,1,0\np,2,2,0\nq,1,1,0", "--drop"),
        (f"fit t.csv {TABLE} --effort quik", "p,1,1,0\np,2,2,0", "--effort must be one of"),
        (f"fit t.csv {TABLE} --effort quik", "p,1,1,0\np,2,2,0", "(did you mean 'quick'?)"),
        (f"fit t.csv {TABLE} --max-gap 0", "p,1,1,0\np,2,2,0", "--max-gap must be positive"),
        ("record cartpole --agents 0", "", "--agents must be at least 1"),
        ("record cartpole --format hdf6", "", "got 'hdf6' (did you mean 'hdf5'?)"),
        (f"agents cartpole --population-size {2**46}", "", "--population-size 7"),
        (f"fit t.csv {TABLE} --angle y", "p,1,1,0\np,2,2,0", "--angle names 'y', which is no"),
        (f"fit t.csv {TABLE} --unit y=m", "p,1,1,0\np,2,2,0", "--unit names 'y', which is no"),
        (f"fit t.csv {TABLE} u", "p,1,1,0", "several names are one word with commas"),
        ("fit t.csv --out never --state x", "p,1,1,0", "its columns are 'a', 't', 'x', 'u'"),
        ("fit t.xlsx --out never", "p,1,1,0", "a table is a .parquet, .csv or .tsv file"),
        ("fit tt.csv " + TABLE, "p,1,1,0", "no table at tt.csv (did you mean 't.csv'?)"),
    ],
)
def test_provoked_errors(
    line: str, rows: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    (tmp_path / "t.csv").write_text(f"a,t,x,u\n{rows}\n")
    result = run(*line.split(), code=2)
    *before, error = result.stderr.splitlines()
    assert error.startswith("error: ")
    assert says in error
    assert all(line.startswith("read: ") for line in before)
