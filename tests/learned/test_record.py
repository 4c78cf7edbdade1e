"""The record behind a simulator, read again: the same rows, with the simulator's own indices."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persim_gym.learned import PerSim
from persim_gym.learned.record import columns_for, read_record, with_labels_of
from persim_gym.offline import read_table
from tests.learned.compartments import COLUMNS, fitted, table
from tests.learned.worlds import PlainTask, random_simulator


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulator that was fitted on a file of the present folder."""
    folder = tmp_path_factory.mktemp("record")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fitted(Path("patients.csv"), folder / "sim")
    return folder


@pytest.fixture
def sim(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PerSim:
    """The simulator, read from disk, and its file in the present folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(folder / "patients.csv", tmp_path)
    return PerSim.load(folder / "sim")


def test_where_and_how_a_table_was_read_is_remembered(sim: PerSim) -> None:
    source = sim.card["source"]
    assert source["path"] == "patients.csv"
    assert source["step"] == 1.0
    assert columns_for(sim.card) == COLUMNS | {"discrete_actions": False}
    json.dumps(source)
    record = read_record(sim)
    assert record.sha256() == sim.card["dataset"]["sha256"]
    assert record.agent_names == sim.agent_names
    part = record.select(record.agent == 1)
    assert part.source == record.source


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"max_gap": 3}, {"max_gap": 3.0}),
        ({"missing": "drop", "short": "drop"}, {"missing": "drop", "short": "drop"}),
        ({"angles": [("level", 360)]}, {"angles": [("level", 360)]}),
        ({"time": None, "step": "t"}, {"step": "t"}),
        ({"discrete_actions": True, "action": "kind"}, {"discrete_actions": True}),
    ],
)
def test_a_table_is_read_again_as_it_was(
    changes: dict[str, Any], kept: dict[str, Any], tmp_path: Path
) -> None:
    frame = table(steps=5)
    frame["kind"] = np.where(frame["dose"] > 1.5, "much", "little")
    frame.to_csv(tmp_path / "w.csv", index=False)
    columns = {key: value for key, value in (COLUMNS | changes).items() if value is not None}
    first = read_table(tmp_path / "w.csv", **columns)
    card = json.loads(json.dumps({"source": first.source}))
    again = columns_for(card)
    assert kept.items() <= again.items()
    assert read_table(card["source"]["path"], **again).sha256() == first.sha256()
    assert "path" not in (read_table(frame, **columns).source or {"path": ""})


def test_other_data_are_lined_up_by_name(sim: PerSim) -> None:
    frame = table(("carol", "zoe", "alice"), (0.6, 0.7, 0.5), steps=4)
    record = read_record(sim, frame.drop(columns="gain"))
    assert sorted(set(record.agent.tolist())) == [0, 2]
    assert record.obs[record.agent == 2][0] == pytest.approx(frame["level"][0], rel=1e-6)
    assert not record.reward.any()
    with pytest.raises(ValueError, match=r"none of this simulator's 6 agents.*'zoe'"):
        read_record(sim, frame[frame["who"] == "zoe"])
    with pytest.raises(ValueError, match=r"no column 'level' \(did you mean 'levels'\?\), 'dose'"):
        read_record(sim, frame.rename(columns={"level": "levels", "dose": "x"}))


@pytest.mark.slow
def test_what_is_not_there_any_more(sim: PerSim) -> None:
    Path("patients.csv").rename("moved.csv")
    with pytest.raises(FileNotFoundError, match=r"was patients\.csv, which is not there: .*--data"):
        read_record(sim)
    assert len(read_record(sim, "moved.csv")) == 29 * 6
    unknown = PerSim.fit(
        read_table(table(), **COLUMNS), method="als", degree=1, rank=1, ensemble_size=1,
        progress=False,
    )  # fmt: skip
    with pytest.raises(ValueError, match="does not say in which file"):
        read_record(unknown)
    by_hand = random_simulator(PlainTask.of(1, action_dim=1))
    with pytest.raises(ValueError, match="knows no columns"):
        read_record(by_hand, "moved.csv")


def test_an_added_agent_is_read_where_it_came_from(sim: PerSim) -> None:
    table(("ida",), (0.65,), seed=4).to_csv("ida.csv", index=False)
    index = sim.adapt("ida.csv", columns=columns_for(sim.card))
    assert isinstance(index, int)
    record = read_record(sim, agent=index)
    assert set(record.agent.tolist()) == {index}
    assert set(read_record(sim, agent=0).agent.tolist()) == set(range(6))


@pytest.mark.slow
def test_discrete_actions_count_as_in_the_fit(tmp_path: Path) -> None:
    """A table without one of the categories would count the others from 0 on."""
    frame = table(steps=20)
    frame["dose"] = pd.Series(np.random.default_rng(0).integers(0, 3, len(frame))).map(
        {0: "a", 1: "b", 2: "c"}
    )
    options: dict[str, Any] = {"method": "als", "degree": 1, "rank": 1, "ensemble_size": 1}
    sim = PerSim.fit(frame, columns=COLUMNS, progress=False, **options)
    fewer = frame[frame["who"] == "bob"].assign(who="new", dose="c").reset_index(drop=True)
    fewer.loc[::2, "dose"] = "b"
    data = read_table(fewer, **COLUMNS)
    assert data.action[:2].tolist() == [0, 1]
    assert with_labels_of(sim.task, data).action[:2].tolist() == [1, 2]
    lined_up = sim.view()
    index, same = lined_up.adapt(data), sim.view()
    expected = same.adapt(data.obs, np.array([1, 2] * 10)[: len(data)], data.next_obs)
    assert isinstance(index, int)
    np.testing.assert_allclose(
        lined_up.latent_factors[:, index], same.latent_factors[:, expected], atol=1e-5
    )
    with pytest.raises(ValueError, match="there is no action 'd' in this simulator: it has a"):
        sim.adapt(read_table(fewer.assign(dose=["d", "b"] * 10), **COLUMNS))
