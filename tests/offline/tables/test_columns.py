"""What columns hold: ids and labels keep their text, numbers their value, whatever the source."""

from __future__ import annotations

import datetime
import decimal
import tempfile
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persim_gym.learned.preparation import as_transitions
from persim_gym.offline import Transitions, read_table
from persim_gym.offline.tables.sources import is_table, kind_of_file, stem

BIG = 1234567890123456789
COLUMNS = {"agent": "id", "time": "t", "state": ["x"], "action": "u"}


def table(**changes: Any) -> pd.DataFrame:
    columns = {"id": ["a"] * 3 + ["b"] * 3, "t": range(6), "x": [0.0, 1, 2, 50, 51, 52]}
    return pd.DataFrame(columns | {"u": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]} | changes)


def read(source: Any, **options: Any) -> Transitions:
    return read_table(source, **COLUMNS | options)


class Lazy:
    """What polars' lazy frames have: nothing but a method that makes a table of them."""

    def __init__(self, made: Any) -> None:
        self.made = made

    def collect(self) -> Any:
        return self.made


class Other:
    """A table of a library that knows pandas and nothing else."""

    def __init__(self, made: Any) -> None:
        self.made = made

    def to_pandas(self) -> Any:
        return self.made


class Streamed:
    """A table of a library that knows Arrow's own interface."""

    def __init__(self, made: Any) -> None:
        self.__arrow_c_stream__ = made.__arrow_c_stream__


def parquet(frame: pd.DataFrame, folder: Path) -> Path:
    frame.to_parquet(folder / "table.parquet")
    return folder / "table.parquet"


def text(name: str, **options: Any) -> Callable[[pd.DataFrame, Path], Path]:
    def written(frame: pd.DataFrame, folder: Path) -> Path:
        frame.to_csv(folder / name, index=False, **options)
        return folder / name

    return written


TYPED: dict[str, Callable[[pd.DataFrame, Path], Any]] = {
    "frame": lambda frame, _: frame,
    "parquet": parquet,
    "arrow": lambda frame, _: pa.Table.from_pandas(frame),
    "arrow types": lambda frame, _: frame.convert_dtypes(dtype_backend="pyarrow"),
    "lazy": lambda frame, _: Lazy(pa.Table.from_pandas(frame)),
    "other": lambda frame, _: Other(frame),
    "streamed": lambda frame, _: Streamed(pa.Table.from_pandas(frame)),
}
TEXT = {
    "csv": text("table.csv"),
    "csv.gz": text("table.csv.gz"),
    "tsv": text("table.tsv", sep="\t"),
}
SOURCES = TYPED | TEXT
#: Others in another cover: what holds of those hardly fails of these.
WRAPPED = ("lazy", "other", "streamed", "csv.gz", "tsv")

UUIDS = [uuid.UUID(int=7), uuid.UUID(int=9)]

#: Two ids and the names they are to have.
IDS: dict[str, tuple[Any, Any, tuple[str, str]]] = {
    "int64": (BIG, BIG + 1, (str(BIG), str(BIG + 1))),
    "uint64": (np.uint64(2**63 + 1), np.uint64(2**63 + 2), (str(2**63 + 1), str(2**63 + 2))),
    "negative": (-2, -1, ("-2", "-1")),
    "zeros": ("01", "1", ("01", "1")),
    "more zeros": ("001", "01", ("001", "01")),
    "exponent": ("12000", "12E3", ("12E3", "12000")),
    "truth": (False, True, ("False", "True")),
    "words": ("NA", "None", ("NA", "None")),
    "more words": ("nan", "null", ("nan", "null")),
    "decimal": (decimal.Decimal(BIG), decimal.Decimal(BIG + 1), (str(BIG), str(BIG + 1))),
    "uuid": (*UUIDS, (str(UUIDS[0]), str(UUIDS[1]))),
    "dates": (datetime.date(2024, 3, 1), datetime.date(2024, 3, 2), ("2024-03-01", "2024-03-02")),
}


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        pytest.param(kind, source, marks=pytest.mark.slow if wrapped and kind != "int64" else ())
        for kind in IDS
        for source, wrapped in ((name, name in WRAPPED) for name in SOURCES)
    ],
)
def test_ids_keep_their_text_in_every_source(kind: str, source: str, tmp_path: Path) -> None:
    one, other, names = IDS[kind]
    ids = [one] * 3 + [other] * 3
    data = read(SOURCES[source](table(id=ids), tmp_path))
    assert data.agent_names is not None
    assert set(data.agent_names) == set(names)
    assert (len(data), data.num_agents) == (4, 2)
    # The same of episodes, which have no names.
    episodes = read(SOURCES[source](table(e=ids, id="p"), tmp_path), episode="e")
    assert episodes.episode.tolist() == [0, 0, 1, 1]


#: Any text but line ends, which CSV files end their rows with; much of it looks like numbers.
NAMES = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0\r\n"), min_size=1, max_size=5
) | st.sampled_from(["1e5", "0x1", "+1", "1.", "-0", "inf", "nan", "NULL", "1_0", " 1", "1 ", "00"])


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=4, unique=True))
def test_any_text_is_an_id_and_a_label(names: list[str]) -> None:
    ids = np.repeat(names, 4)
    counted = np.arange(len(ids))
    labels = [f"act {names[k % len(names)]}" for k in counted]
    frame = pd.DataFrame({"id": list(ids), "t": counted, "x": counted**1.5, "u": labels})
    expected = read(frame)
    assert expected.agent_names is not None
    assert sorted(expected.agent_names) == sorted(names)
    with tempfile.TemporaryDirectory() as folder:
        for source in ("csv", "parquet"):
            data = read(SOURCES[source](frame, Path(folder)))
            assert data.agent_names == expected.agent_names
            assert data.action_labels == expected.action_labels
            assert data.sha256() == expected.sha256()


@pytest.mark.parametrize("source", TYPED)
def test_bytes_are_text_if_they_can_be(source: str, tmp_path: Path) -> None:
    frame = table(id=[b"p10"] * 3 + [b"p9"] * 3)
    assert read(TYPED[source](frame, tmp_path)).agent_names == ("p9", "p10")
    frame = table(id=[b"p10"] * 3 + [b"\xff"] * 3)
    assert read(TYPED[source](frame, tmp_path)).agent_names == ("703130", "ff")
    data = read(TYPED[source](table(u=[b"up", b"go"] * 3), tmp_path))
    assert data.action_labels == ("go", "up")
    assert data.action.tolist() == [1, 0, 0, 1]


def test_bytes_may_be_named_as_actions() -> None:
    for column in ([b"up", b"go"] * 3, pd.Categorical([b"up", b"go"] * 3)):
        data = read(table(u=column), discrete_actions=[b"up", b"go"])
        assert data.action_labels == ("up", "go")
        assert data.action.tolist() == [0, 1, 1, 0]


def test_actions_of_one_name() -> None:
    with pytest.raises(ValueError, match=r"actions of the same name: .* make all of them"):
        read(table(u=pd.Categorical([1, "1"] * 3)))


def test_the_word_among_numbers_is_named(tmp_path: Path) -> None:
    path = SOURCES["csv"](table(x=["0.1", "0.2", "-"] * 2), tmp_path)
    with pytest.raises(ValueError, match="row 2: '-' is no number"):
        read(path)


@pytest.mark.parametrize("source", SOURCES)
def test_whole_numbers_are_exact_where_one_is_missing(source: str, tmp_path: Path) -> None:
    ids = pd.array([BIG] * 2 + [BIG + 1] * 3 + [None], dtype="Int64")
    data = read(SOURCES[source](table(id=ids), tmp_path), missing="drop")
    assert data.agent_names == (str(BIG), str(BIG + 1))
    assert len(data) == 3


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([float(BIG)] * 6, "row 0: 1.23.*too large to be exact, so that different ids"),
        (np.float32([1, 1, 1, 2**25, 2**25, 2**25]), "row 3: .* too large to be exact"),
        (np.float64([2**53] * 3 + [2**53 + 1] * 3), "row 0: .* too large to be exact"),
        ([decimal.Decimal("1.5")] * 6, "row 0: 1.5 is neither text nor whole"),
        ([True, True, 1, 1, 2, 2], r"row 2: .* mixes true and false \(True in row 0\) and other"),
        (["a", "a", b"a", b"a", "b", "b"], r"row 2: .* mixes text \('a' in row 0\) and other"),
        ([[1]] * 6, r"row 0: \[1\] is neither text nor a number"),
        (["a", "a", "", "a", "a", "a"], "row 2: the value is missing"),
    ],
)
def test_ids_that_are_none(ids: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(table(id=ids))


def test_ids_of_any_length() -> None:
    ids = pd.Series([10**400] * 3 + [10**5000] * 3, dtype=object)
    names = read(table(id=ids)).agent_names
    assert names is not None
    assert str(10**400) in names
    assert read(table(id=["1" * 5000] * 3 + ["p" + "2" * 5000] * 3)).num_agents == 2


# -- actions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
def test_words_are_labels(source: str, tmp_path: Path) -> None:
    frame = table(u=["None", "NA", "null", "up", "n/a", "None"])
    data = read(SOURCES[source](frame, tmp_path))
    assert data.action_labels == ("NA", "None", "n/a", "null", "up")
    assert data.action.tolist() == [1, 0, 4, 2]
    frame = table(u=["None", "NA", "null", "None", "NA", "null"])
    assert read(SOURCES[source](frame, tmp_path)).action_labels == ("NA", "None", "null")


@pytest.mark.parametrize("source", SOURCES)
def test_numbers_keep_their_value(source: str, tmp_path: Path) -> None:
    values = [0.1, 0.25, 0.3, 0.4, 0.5, 0.6]
    numbers = [decimal.Decimal(str(value)) for value in values]
    frame = table(u=numbers, x=numbers, t=[decimal.Decimal(k) for k in range(6)])
    plain = table(u=values, x=values)
    data = read(SOURCES[source](frame, tmp_path))
    for name in ("action", "obs", "next_obs"):
        np.testing.assert_array_equal(getattr(data, name), getattr(read(plain), name))


def test_whole_decimal_numbers_are_not_counted_off() -> None:
    whole = [decimal.Decimal(k) for k in (0, 1, 0, 1, 0, 1)]
    assert read(table(u=whole)).action.shape == (4, 1)
    assert read(table(u=whole), discrete_actions=True).action_labels == ("0", "1")


@pytest.mark.parametrize(
    ("texts", "shape", "labels"),
    [
        (["0.5", "NA", "0.7", "0.25", "1e-1", ""], (3, 1), None),
        (["1", "2", "1", "2", "", "1"], (3,), ("1", "2")),
        (["1", "2", "up", "2", "1", ""], (4,), ("1", "2", "up")),
        (["True", "False", "True", "True", "False", ""], (4,), ("False", "True")),
        (["01", "1", "2", "2", "1", "1"], (4,), ("1", "2")),
    ],
)
def test_what_text_of_a_file_says(
    texts: list[str], shape: Any, labels: Any, tmp_path: Path
) -> None:
    file = tmp_path / "t.csv"
    table(u=texts).to_csv(file, index=False)
    data = read(file, missing="drop")
    assert (data.action.shape, data.action_labels) == (shape, labels)


def test_a_column_may_be_id_and_number(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    table(e=["01"] * 3 + ["2"] * 3, id="p").to_csv(file, index=False)
    data = read(file, episode="e", state=["e", "x"])
    assert data.obs[:, 0].tolist() == [1, 1, 2, 2]
    assert data.episode.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("source", [name for name in TYPED if name != "arrow types"])
def test_categories_keep_their_order(source: str, tmp_path: Path) -> None:
    frame = table(u=pd.Categorical(["b", "a", "b", "a", "b", "a"], ["b", "a", "never"]))
    data = read(TYPED[source](frame, tmp_path))
    assert data.action_labels == ("b", "a", "never")


def test_how_a_column_is_stored_says_nothing(tmp_path: Path) -> None:
    """Parquet's dictionaries are no categories."""
    frame = table(u=["b", "a", "b", "a", "b", "a"], id=[BIG] * 3 + [BIG + 1] * 3)
    stored = {name: pa.array(frame[name]).dictionary_encode() for name in frame}
    data = read(pa.table(stored))
    assert data.sha256() == read(frame).sha256()
    assert (data.action_labels, data.agent_names) == (("a", "b"), (str(BIG), str(BIG + 1)))
    doses = pa.array(table()["u"]).dictionary_encode()
    assert read(pa.table(stored | {"u": doses})).action.shape == (4, 1)


def test_rows_may_begin_with_a_number_of_their_own(tmp_path: Path) -> None:
    """As R writes them: without a name for it in the header."""
    header, *rows = table(u=["up", "None"] * 3).to_csv(index=False).splitlines()
    numbered = [f"{number},{row}" for number, row in enumerate(rows, start=7)]
    (tmp_path / "t.csv").write_text("\n".join([header, *numbered]))
    data = read(tmp_path / "t.csv")
    assert data.sha256() == read(table(u=["up", "None"] * 3)).sha256()
    assert data.action_labels == ("None", "up")


# -- times -----------------------------------------------------------------------------------------

HOURS = pd.to_timedelta(np.arange(6), unit="h")
DAYS = [datetime.date(2024, 2, 26) + datetime.timedelta(days=k) for k in range(6)]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("times", "step"),
    [
        (DAYS, 86400.0),
        (HOURS, 3600.0),
        (pd.period_range("2024-01-01", periods=6, freq="D"), 86400.0),
        (1_700_000_000_000_000_000 + np.arange(6), 1.0),
        (np.uint64(2**63) + np.arange(6, dtype=np.uint64), 1.0),
    ],
    ids=["date", "duration", "period", "nanoseconds", "uint64"],
)
def test_times(times: Any, step: float, source: str, tmp_path: Path) -> None:
    from persim_gym.offline import read_table_report

    data, report = read_table_report(SOURCES[source](table(t=times), tmp_path), **COLUMNS)
    assert report.step == step
    assert data.sha256() == read(table()).sha256()


def test_times_that_are_pythons_own() -> None:
    own: Any
    for own in (HOURS.to_pytimedelta(), pd.period_range("2024", periods=6, freq="D").to_numpy()):
        assert read(table(t=pd.Series(own, dtype=object))).sha256() == read(table()).sha256()


@pytest.mark.parametrize("column", ["x", "u", "t", "r"])
@pytest.mark.parametrize("value", [10**400, decimal.Decimal("1e400"), 10**5000], ids="ldv")
def test_numbers_beyond_all_bounds(column: str, value: Any) -> None:
    frame = table(r=range(6)).astype({column: object})
    frame.loc[4, column] = value
    with pytest.raises(
        ValueError, match=f"'{column}' of agent 'b', row 4: the number is too large"
    ):
        read(frame, reward="r")


# -- columns by name -------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
def test_columns_named_by_numbers(source: str, tmp_path: Path) -> None:
    frame = table().set_axis([0, 1, 2, 3], axis=1)
    if source == "parquet":
        frame = frame.set_axis(list("0123"), axis=1)
    made = SOURCES[source](frame, tmp_path)
    for names in ((0, 1, [2], 3), ("0", "1", "2", ["3"]), (0, np.int64(1), 2, "3")):
        options = dict(zip(("agent", "time", "state", "action"), names, strict=True))
        data = read_table(made, **options)
        assert (data.obs_names, data.action_names) == (("2",), ("3",))
        assert data.sha256() == read(table()).sha256()


def test_columns_of_several_levels() -> None:
    labels = [("id", ""), ("t", ""), ("x", "mean"), ("u", "a,b")]
    frame = table().set_axis(pd.MultiIndex.from_tuples(labels), axis=1)
    for state, action in (([("x", "mean")], [("u", "a,b")]), ("x.mean", "u.a,b")):
        data = read(frame, state=state, action=action)
        assert (data.obs_names, data.action_names) == (("x.mean",), ("u.a,b",))


def test_levels_of_an_index_are_columns(tmp_path: Path) -> None:
    indexed = table().set_index(["id", "t"])
    assert read(indexed).sha256() == read(table()).sha256()
    indexed.to_parquet(tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet").sha256() == read(table()).sha256()
    with pytest.raises(ValueError, match=r"no column 'who'.* it has 'x', 'u', 'id', 't'"):
        read(indexed, agent="who")


def test_columns_that_can_not_be_told_apart(tmp_path: Path) -> None:
    frame = table().set_axis(["id", "t", 2, "2"], axis=1)
    with pytest.raises(ValueError, match=r"column '2' is named twice|both called '2'"):
        read(frame, state=[2], action=["2"])
    (tmp_path / "t.csv").write_text("id,t,x,x,u\na,0,1,2,3\n")
    with pytest.raises(ValueError, match="the table has 2 columns named 'x'"):
        read(tmp_path / "t.csv")


# -- sources ---------------------------------------------------------------------------------------


def test_a_folder_of_parquet_files(tmp_path: Path) -> None:
    frame = table(id=["01"] * 3 + ["1"] * 3)
    frame.to_parquet(tmp_path / "walks", partition_cols=["id"])
    (tmp_path / "walks" / "notes.txt").write_text("what else lies there is left alone")
    data = read(tmp_path / "walks")
    assert (data.agent_names, data.task_name) == (("01", "1"), "walks")
    assert data.sha256() == read(frame).sha256()
    assert read(str(tmp_path / "walks"), state=["id", "x"]).obs[:, 0].tolist() == [1, 1, 1, 1]
    assert len(as_transitions(tmp_path / "walks", COLUMNS)) == 4


def test_paths_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    table().to_csv(tmp_path / "walks.csv.gz", index=False)
    for path in ("~/walks.csv.gz", Path("~/walks.csv.gz")):
        data = as_transitions(path, COLUMNS)
        assert (len(data), data.task_name) == (4, "walks")
    monkeypatch.chdir(tmp_path)
    assert len(as_transitions("walks.csv.gz", COLUMNS)) == 4


@pytest.mark.parametrize(
    ("name", "kind", "own"),
    [
        ("a.parquet", ".parquet", "a"),
        ("a.v2.CSV", ".csv", "a.v2"),
        ("a.tsv.xz", ".tsv", "a"),
        ("a.parquet.gz", "", "a.parquet.gz"),
        ("persim/cartpole/random-v0", "", "random-v0"),
        ("a.xlsx", "", "a.xlsx"),
    ],
)
def test_names_of_files(name: str, kind: str, own: str) -> None:
    assert (kind_of_file(name), stem(name), is_table(name)) == (kind, own, bool(kind))


def test_tables_of_polars() -> None:
    pl = pytest.importorskip("polars")
    frame = table(id=pd.array([BIG] * 3 + [BIG + 1] * 3), u=["None", "NA", "up", "up", "NA", "NA"])
    for made in (pl.from_pandas(frame), pl.from_pandas(frame).lazy()):
        assert read(made).sha256() == read(frame).sha256()
        assert len(as_transitions(made, COLUMNS)) == 4


# -- coordinates that settle -----------------------------------------------------------------------


def settling(scale: float, rest: float = 19.7) -> pd.DataFrame:
    steps = np.tile(np.arange(40), 2)
    ids = np.repeat(["a", "b"], 40)
    x = rest + scale * (1 + (ids == "b")) * 0.5**steps
    return pd.DataFrame({"id": ids, "t": steps, "x": x, "u": np.sin(np.arange(80))})


def test_differences_are_taken_in_double_precision() -> None:
    frame = settling(3.0)
    data = read(frame)
    exact = np.diff(frame["x"].to_numpy().reshape(2, 40)).reshape(-1, 1)
    assert np.abs(exact).min() < 2e-11
    np.testing.assert_allclose(data.change(slice(None)), exact, rtol=1e-6)
    part = data.select(data.agent == 1)
    np.testing.assert_allclose(part.change(slice(None)), exact[39:], rtol=1e-6)
    assert part.sha256() != read(settling(3.0).round(5)).select(data.agent == 1).sha256()
    # Where single precision is enough nothing is kept beside the observations.
    assert read(table()).changes is None


def test_changes_that_are_lost_are_a_warning() -> None:
    with pytest.warns(UserWarning, match="coordinate 'x': values of about 19.7 .* float32"):
        data = read(settling(1e-7))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(data.select(data.agent == 0)) == 39
