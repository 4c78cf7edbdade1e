"""A data card as tables."""

from __future__ import annotations

import json
import re
from pathlib import Path

import minari
import numpy as np
import pytest
from PIL import Image

from persim_gym.cli.cards import _population, _synthetic, print_summary
from persim_gym.offline.datasets import load
from persim_gym.offline.provenance import content_hash
from persim_gym.offline.summaries import Summary
from tests.cli.commands import refuse, run

ID = "persim/cartpole/random-v0"
SMALL = ("--agents", "3", "--max-steps", "9")


@pytest.fixture(autouse=True)
def _in_a_place_of_its_own(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.slow
def test_a_card_as_tables() -> None:
    run("record", "cartpole", "--agents", "12")
    data = load(ID)
    text = run("datasets", "show", ID).stdout
    lengths = [len(episode) for episode in data]
    assert re.search(rf"transitions +{sum(lengths)}\n", text)
    assert re.search(rf"steps +{min(lengths)} to {max(lengths)} an episode\n", text)
    assert re.search(r"ends +pole fell 12\n", text)
    assert re.search(r"made by +persim-gym record cartpole --behaviour random --agents 12", text)
    assert re.search(rf"sha256 +{content_hash(data)}\n +checked +as recorded\n", text)
    for title in ("Return by force (corr", "Return by length", "Test agents", "States", "Coverage"):
        assert f"\n{title}" in text
    fourth = re.search(r"\n4 +10 +0.15 +(\d+) +(\d+) +pole fell", text)
    assert fourth is not None
    assert fourth.groups() == (str(lengths[4]),) * 2


@pytest.mark.slow
def test_a_changed_data_set_is_told_so() -> None:
    import h5py

    run("record", "cartpole", *SMALL)
    with h5py.File(load(ID).storage.data_path / "main_data.hdf5", "r+") as file:
        file["episode_0"]["rewards"][0] = 3.0
    assert "NOT AS RECORDED" in run("datasets", "show", ID).stdout
    assert json.loads(run("datasets", "show", ID, "--json").stdout)["intact"] is False


@pytest.mark.slow
def test_a_card_as_json_and_as_a_figure(tmp_path: Path) -> None:
    run("record", "mountain-car", "--agents", "12", "--max-steps", "30")
    name, picture = "persim/mountain-car/random-v0", tmp_path / "new" / "card.png"
    result = run("datasets", "show", name, "--json", "--out", str(picture))
    card = json.loads(result.stdout)
    assert card["path"] == str(load(name).storage.data_path)
    assert len(card["by_episode"]) == 12
    assert card["ends"] == {"time limit": 12}
    with Image.open(picture) as image:
        assert image.width == 2000
    text = run("datasets", "show", name, "--out", str(tmp_path / "card.svg")).stdout
    assert "drawn in" in text
    refuse("datasets", "show", name, "--plot", "card.jpg", says=".png, .svg, .pdf")


def test_other_librarys_data_have_a_card() -> None:
    import gymnasium as gym
    from minari.data_collector import EpisodeBuffer

    buffer = EpisodeBuffer(
        seed=0,
        options=None,
        observations=np.arange(12, dtype=np.float32).reshape(3, 4),
        actions=np.array([0, 1]),
        rewards=np.array([1.0, 1.0]),
        terminations=np.array([False, True]),
        truncations=np.array([False, False]),
    )
    with pytest.warns(UserWarning, match="is set to None"):
        minari.create_dataset_from_buffers("other-v0", [buffer], env=gym.make("CartPole-v1"))
    text = run("datasets", "show", "other-v0").stdout
    assert re.search(r"ends +terminated 1\n", text)
    assert "Return by" not in text
    assert "Test agents" not in text


def test_a_data_set_in_short(capsys: pytest.CaptureFixture[str]) -> None:
    summary = Summary("own-v0", "cartpole", "random", 3, 4, 1200, 87.5, 2048)
    print_summary(summary, "somewhere")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "own-v0"
    assert [line.split(None, 1)[1] for line in lines[1:6]] == [
        "cartpole",
        "random",
        "3",
        "4",
        "1,200",
    ]
    assert lines[6].split()[-1] == "87.5"
    assert lines[-1].split() == ["folder", "somewhere"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, None),
        ({"force": [1.0, 2.0]}, "given covariates"),
        ({"size": 1500, "seed": 3}, "1,500 agents, seed 3"),
        ({"size": 9, "ranges": {"force": [5.0, 6.0]}}, "9 agents, seed 0, force 5 to 6"),
    ],
)
def test_a_population_in_words(source: object, words: str | None) -> None:
    assert _population(source) == words


def test_synthetic_data_are_said_to_be_such() -> None:
    made = {"simulator_sha256": "0123456789abcdef0123", "dataset": "own-v0"}
    said = "yes, of the simulator 0123456789abcdef, fitted on own-v0"
    assert _synthetic({"synthetic": made}) == said
    assert _synthetic({}) == ""
