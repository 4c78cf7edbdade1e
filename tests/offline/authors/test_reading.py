"""The authors' pickled files: read, written as data sets, refused where they are damaged."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persim_gym.offline import read_transitions, record
from persim_gym.offline.authors import from_authors_file, import_authors_file
from persim_gym.offline.authors.reading import behaviour_of
from persim_gym.offline.card_making import data_card
from persim_gym.offline.summaries import describe
from tests.offline.worlds import trajectory

NAME = "cartPole_mix_0.2_0.pkl"


def by_steps(item: dict[str, Any]) -> dict[str, Any]:
    """The same trajectory with a list of steps for every array."""
    return {
        name: list(value) if isinstance(value, np.ndarray) else value
        for name, value in item.items()
    }


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(items: Any, protocol: int = 3, name: str = NAME) -> Path:
        path = tmp_path / name
        path.write_bytes(pickle.dumps(items, protocol))
        return path

    return write


# -- content ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("form", [dict, by_steps])
def test_trajectories_one_after_the_other(write: Any, protocol: int, form: Any) -> None:
    items = [form(trajectory(3, 4)), form(trajectory(2, np.int64(1), fall=True))]
    data = from_authors_file(write(items, protocol), "cartpole")
    assert (data.task_name, data.num_agents, data.dataset_id) == ("cartpole", 5, NAME)
    assert data.agent.tolist() == [4, 4, 4, 1, 1]
    assert data.episode.tolist() == [0, 0, 0, 1, 1]
    assert data.obs.dtype == np.float32
    times = np.float32([0.0, 0.01, 0.02, 0.0, 0.01])
    np.testing.assert_array_equal(data.obs[:, 0], times)
    np.testing.assert_array_equal(data.next_obs[:, 0], np.float32([0.01, 0.02, 0.03, 0.01, 3]))
    assert data.action.tolist() == [0, 1, 0, 0, 1]
    assert data.action.dtype == np.int64
    np.testing.assert_array_equal(data.reward, [0, 0.1, 0.2, 0, 0.1])
    # Both set dones at their ends: the first for the time limit, the second for the fall.
    assert data.terminated.tolist() == [False, False, False, False, True]
    assert data.truncated.tolist() == [False, False, True, False, False]


def test_a_done_inside_begins_another_episode(write: Any) -> None:
    one, other = trajectory(3, 2), trajectory(2, 2, fall=True)
    both = {
        name: np.concatenate([value, other[name]]) if isinstance(value, np.ndarray) else value
        for name, value in one.items()
    }
    data = from_authors_file(write([both]), "cartpole")
    assert data.lengths.tolist() == [3, 2]
    assert data.terminated.tolist() == [False] * 4 + [True]
    assert data.truncated.tolist() == [False, False, True, False, False]


def test_a_trajectory_without_a_done_is_truncated_and_longer_ones_are_whole(write: Any) -> None:
    item = trajectory(501, 1, d=2)
    item["dones"][:] = False
    data = from_authors_file(write([item]), "mountain-car")
    assert len(data) == 501
    assert np.flatnonzero(data.truncated).tolist() == [500]
    dataset = import_authors_file(write([item]), "mountain-car")
    assert dataset.env_spec.max_episode_steps == 501


def test_actions_of_half_cheetah_are_numbers(write: Any) -> None:
    item = trajectory(4, 0, d=18)
    item["actions"] = np.linspace(-1, 1, 24).reshape(4, 6)
    for given in (item, by_steps(item)):
        data = from_authors_file(write([given]), "half-cheetah")
        assert data.action.dtype == np.float32
        np.testing.assert_array_equal(data.action, item["actions"].astype(np.float32))


# -- as a data set ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("data_format", ["hdf5", "parquet"])
def test_a_recording_comes_back_through_the_authors_format(write: Any, data_format: str) -> None:
    recorded = record("cartpole", agents=7, episodes=2, progress=False)
    data = read_transitions(recorded)
    items = [
        {
            "observations": list(episode.observations[:-1]),
            "next_observations": list(episode.observations[1:]),
            "actions": list(episode.actions),
            "rewards": list(episode.rewards),
            "dones": list(episode.terminations | episode.truncations),
            "unit_info": {"id": number // 2},
        }
        for number, episode in enumerate(recorded)
    ]
    path = write(items)
    dataset = import_authors_file(path, "cartpole", data_format=data_format)
    assert dataset.id == "persim/imported/cartpole-pure-eps-20-v0"
    back, direct = read_transitions(dataset), from_authors_file(path, "cartpole")
    assert back.sha256() == direct.sha256() == data.sha256()
    for name in ("reward", "terminated", "truncated"):
        np.testing.assert_array_equal(getattr(back, name), getattr(data, name))
        np.testing.assert_array_equal(getattr(direct, name), getattr(data, name))
    assert (back.num_agents, direct.num_agents) == (7, 7)
    summary, other = describe(dataset), describe(recorded)
    assert (summary.behaviour, summary.agents, summary.episodes) == ("pure-eps-20", 7, 14)
    assert summary.mean_return == other.mean_return
    # No covariates are shown of agents of whom none are known.
    card = data_card(dataset)
    assert card.covariates == ()
    assert data_card(recorded).covariates == ("force", "length")


def test_an_id_of_ones_own_and_replacing(write: Any) -> None:
    path = write([trajectory()])
    assert import_authors_file(path, "cartpole", dataset_id="mine-v1").id == "mine-v1"
    with pytest.raises(ValueError, match=r"mine-v1.*exists already"):
        import_authors_file(path, "cartpole", dataset_id="mine-v1")
    path = write([trajectory(), trajectory()])
    replaced = import_authors_file(path, "cartpole", dataset_id="mine-v1", overwrite=True)
    assert len(replaced) == 2


def test_what_fails_leaves_nothing(write: Any, root: Path) -> None:
    path = write([trajectory(), {**trajectory(), "rewards": [1.0]}])
    with pytest.raises(ValueError, match=r"trajectory 1 .* is damaged: .* 1 rewards"):
        import_authors_file(path, "cartpole")
    with pytest.raises(ValueError, match="format"):
        import_authors_file(path, "cartpole", data_format="zip")
    assert not list(root.rglob("*.hdf5"))


@pytest.mark.parametrize(
    ("name", "behaviour"),
    [
        ("mountainCar_pure_0.0_0.pkl", "pure"),
        ("cartPole_random_0.0_0.pkl", "random"),
        ("halfCheetah_mix_0.4_0.pkl", "pure-eps-40"),
        ("halfCheetah_mix_0.2_1.pkl", "pure-eps-20"),
        ("mine.pkl", "unknown"),
    ],
)
def test_the_behaviour_is_in_the_files_name(name: str, behaviour: str) -> None:
    assert behaviour_of(Path(name)) == behaviour


# -- what is refused -------------------------------------------------------------------------------

NAN = np.array([0.0, np.nan, 0.0])
GAP = trajectory()["next_observations"] + np.array([[0.0], [0.5], [0.0]])


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ({"observations": []}, "holds a dict, where"),
        ([], "holds a list, where"),
        (None, "holds nothing"),
        ([3], "trajectory 0 .* is a int"),
        ([{"observations": []}], "has no next_observations, actions, rewards, dones, unit_info"),
        ([{**trajectory(), "unit_info": 3}], "no id that is an integer"),
        ([{**trajectory(), "unit_info": {}}], "no id that is an integer"),
        ([trajectory(agent=1.0), trajectory()], "no id that is an integer"),
        ([trajectory(agent=-1)], "must be 0 to 99999, got -1"),
        ([trajectory(agent=10**6)], "must be 0 to 99999, got 1000000"),
        ([{**trajectory(), "actions": 3}], "actions of trajectory 0 .* are a int"),
        ([{**trajectory(), "actions": np.float64(3)}], "actions of trajectory 0 .* are a float64"),
        ([{**trajectory(), "actions": np.array(3)}], "actions of trajectory 0 .* are a ndarray"),
        ([{**trajectory(), "dones": [False]}], "3 rewards, 1 dones"),
        ([trajectory(0)], "is damaged: 0 observations"),
        ([trajectory(d=2)], "are of 2 numbers, 'cartpole' has 4"),
        ([by_steps(trajectory(d=2))], "are of 2 numbers, 'cartpole' has 4"),
        ([{**trajectory(), "actions": [0, 1, 2]}], "must be 0 to 1, got 2 on step 2"),
        ([{**trajectory(), "actions": [0, 0.5, 1]}], "must be 0 to 1, got 0.5 on step 1"),
        ([{**trajectory(), "actions": [0, "a", 1]}], "actions .* has a str on step 1"),
        ([{**trajectory(), "actions": [0, [0], 1]}], "actions .* has a list on step 1"),
        ([{**trajectory(), "rewards": NAN}], "rewards .* not finite on step 1"),
        ([{**trajectory(), "next_observations": GAP}], "not one trajectory: what followed on st"),
        ([{**trajectory(), "observations": GAP * 1e39}], "observations .* are not finite on st"),
    ],
)
def test_other_content_is_refused(write: Any, items: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        from_authors_file(write(items), "cartpole")


def test_a_chain_broken_by_a_later_step_is_said_with_its_place(write: Any) -> None:
    item = trajectory(5)
    item["observations"] = item["observations"].copy()
    item["observations"][3, 1] = 1e-9
    with pytest.raises(ValueError, match="followed on step 2 is not what was seen on step 3"):
        from_authors_file(write([item]), "cartpole")


def test_a_trajectory_named_again_and_again_is_refused(write: Any) -> None:
    path = write([trajectory(200)] * 5000)
    with pytest.raises(ValueError, match="more transitions than bytes"):
        from_authors_file(path, "cartpole")


@pytest.mark.slow
@pytest.mark.parametrize("protocol", [0, 2, 3, 5])
def test_a_file_cut_off_is_refused(write: Any, protocol: int) -> None:
    path = write([trajectory(), by_steps(trajectory())], protocol)
    content = path.read_bytes()
    assert len(from_authors_file(path, "cartpole")) == 6
    for end in range(0, len(content), 7):
        path.write_bytes(content[:end])
        with pytest.raises(ValueError, match=r"mix_0\.2_0\.pkl cannot be read: "):
            from_authors_file(path, "cartpole")


class Hostile:
    """A pickle of it is a call."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("where", ["actions", "unit_info", "besides"])
def test_a_hostile_file_does_nothing(write: Any, tmp_path: Path, protocol: int, where: str) -> None:
    left = tmp_path / "left"
    path = write([{**trajectory(), where: Hostile(f"touch '{left}'")}], protocol)
    with pytest.raises(ValueError, match=r"asks for \w+\.system"):
        from_authors_file(path, "cartpole")
    with pytest.raises(ValueError, match=r"asks for \w+\.system"):
        import_authors_file(path, "cartpole")
    assert not left.exists()


# -- the command -----------------------------------------------------------------------------------
