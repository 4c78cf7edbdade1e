"""Numbers that stand for a missing value."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from persim_gym.cli.messages import INSIDE
from persim_gym.offline import read_table
from persim_gym.offline.tables.missing_codes import missing_codes

COLUMNS = {"agent": "who", "time": "t", "state": ["level", "speed"], "action": "dose"}


def table(column: str = "level", value: float = 0.0, rows: tuple[int, ...] = ()) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    own = pd.DataFrame({"who": np.repeat(["a", "b", "c"], 20), "t": np.tile(np.arange(20), 3)})
    own["level"], own["speed"] = rng.uniform(0, 6, 60), rng.normal(0, 2, 60)
    own["dose"] = rng.uniform(0, 1, 60)
    own.loc[list(rows), column] = value
    return own


@pytest.mark.parametrize("value", [99, 999, -99, -9999, 999999, 32767, -32768, 2147483647])
@pytest.mark.parametrize("column", ["level", "speed"])
def test_a_code_is_a_missing_value(column: str, value: float) -> None:
    coded = table(column, value, (7, 8, 30))
    says = rf"column '{column}' of agent 'a', row 7: {value} is far from .* code for a missing"
    with pytest.raises(ValueError, match=says):
        read_table(coded, **COLUMNS)
    found = read_table(coded, **COLUMNS, missing="drop")
    empty = read_table(table(column, np.nan, (7, 8, 30)), **COLUMNS, missing="drop")
    np.testing.assert_array_equal(found.obs, empty.obs)
    assert len(found) == len(empty)
    kept = read_table(coded, **COLUMNS, bounds={column: (None, None)})
    assert len(kept) == 57


@pytest.mark.parametrize(
    "others",
    [
        pytest.param(np.arange(0, 300, 3.0), id="values come near it"),
        pytest.param(np.full(100, 5.0), id="nothing else varies"),
        pytest.param(np.full(100, np.nan), id="nothing else is there"),
        pytest.param(np.array([0.1, 0.2, 0.3]), id="most are it"),
        pytest.param(np.zeros(0), id="nothing at all"),
    ],
)
def test_what_is_no_code(others: np.ndarray) -> None:
    values = np.concatenate([others, [999.0] * min(5, len(others) + 2)])
    assert not missing_codes(values).any()


def test_far_values_that_nobody_writes_for_missing_are_values() -> None:
    values = np.append(np.linspace(0, 1, 50), [100.0, 998.0, 1e5])
    assert not missing_codes(values).any()


def test_the_remedy_in_the_words_of_the_command_line() -> None:
    text = "say what is possible with bounds={'level': (None, None)}"
    for pattern, words in INSIDE:
        text = pattern.sub(words, text)
    assert text.endswith("--bounds level=:")
