"""Panels and their references: what is predicted was not fitted, and what is said adds up."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks.panels import __main__ as panels  # noqa: E402
from benchmarks.panels import data, references  # noqa: E402
from benchmarks.worlds.references import Windows  # noqa: E402
from persim_gym.offline import read_table  # noqa: E402

sys.path.remove(str(ROOT))

PANEL = data.Panel(("made", "up"), "who", "year", ("level",), ("price",))


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Levels that fall to an agent's own mean as prices say, of 12 agents and 9 years."""
    rng = np.random.default_rng(0)
    own, level, rows = rng.normal(10, 2, 12), rng.normal(10, 2, 12), []
    for year in range(9):
        price = rng.uniform(-1, 1, 12)
        rows += [
            {"who": f"a{k}", "year": 2000 + year, "level": level[k], "price": price[k]}
            for k in range(12)
        ]
        level = level + 0.3 * (own - level) - price
    found = pd.DataFrame(rows).query("who != 'a3' or year != 2007")
    stand_in = SimpleNamespace(data=lambda *source: found if source == PANEL.source else None)
    monkeypatch.setattr(data, "import_module", lambda name: stand_in)
    return found


def test_what_is_predicted_comes_after_what_is_fitted(table: pd.DataFrame) -> None:
    found = data.split(PANEL)
    assert len(found.table) == len(table) == 12 * 9 - 1
    assert found.fitted["year"].max() == 2005
    years = found.table["year"].to_numpy()
    who = found.table["who"].to_numpy()
    assert set(years[found.begins]) == {2005, 2006, 2007}
    for step in range(max(data.HORIZONS)):
        valid = found.valid[:, step]
        begins, ahead = found.begins[valid], found.ahead[valid, step]
        assert (years[ahead] == years[begins] + step + 1).all()
        assert (who[ahead] == who[begins]).all()
    assert not found.valid[(who[found.begins] == "a3") & (years[found.begins] == 2006), 0].any()
    assert (years[found.past[:, -1]] == years[found.begins]).all()
    assert (who[found.past] == who[found.begins][:, None]).all()


def test_references_are_what_they_are_called(table: pd.DataFrame) -> None:
    """The world is linear with an intercept of each agent: fixed effects nearly find it."""
    parts = data.split(PANEL)
    fitted = read_table(parts.fitted, **PANEL.columns)
    tests = panels._tests(PANEL, parts, fitted.agent_names or ())
    off = {
        name: panels.errors(kind(Windows(fitted, lag, ())).rollout(tests), tests, np.ones(1))["1"]
        for name, (kind, lag) in references.REFERENCES.items()
    }
    assert off["fixed effects"] < 0.3 * off["linear"] < 0.3 * off["persistence"]
    exact = panels.errors(tests.truth, tests, np.ones(1))
    assert exact == {"1": 0.0, "3": 0.0}  # no agent has six years left
    assert off["trend"] != off["persistence"]


@pytest.mark.slow
def test_a_panel_is_a_row_that_is_not_computed_again(
    table: pd.DataFrame, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: references.REFERENCES[name] for name in ("persistence", "fixed effects")}
    monkeypatch.setattr(panels, "METHODS", few)
    monkeypatch.setattr(panels, "PANELS", {"made": PANEL})
    monkeypatch.setattr(panels, "find_spec", lambda name: True)
    panels.main(["--out", str(tmp_path)])
    row = json.loads((tmp_path / "made.json").read_text())
    assert (row["agents"], row["predictions"]) == (12, 35)
    own, fixed = (row["errors"][name]["1"] for name in ("persim", "fixed effects"))
    assert own < 1.5 * fixed
    assert sum(row["chosen"].values()) == pytest.approx(1.0, abs=0.02)
    said = capsys.readouterr().out
    assert (
        f"| made | 12 | {row['transitions']} | 1 | {own / row['errors']['persistence']['1']:.2f}"
        in said
    )
    assert (tmp_path / "panels.csv").read_text().count("\n") == 4
    monkeypatch.setattr(panels, "row_of", None)
    panels.main(["--out", str(tmp_path)])
    assert capsys.readouterr().out == said


def test_what_cannot_be_is_one_line(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(panels, "find_spec", lambda name: None)
    for arguments, says in (
        ([], "pip install persim-gym[benchmarks]"),
        (["--only", "nobody"], "invalid choice: 'nobody'"),
        (["--report"], "run without --report first"),
    ):
        with pytest.raises(SystemExit) as stopped:
            panels.main([*arguments, "--out", str(tmp_path)])
        assert stopped.value.code == 2
        assert says in capsys.readouterr().err
