"""Data cards: every number against one that is known or computed another way."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import h5py
import minari
import numpy as np
import pytest
from minari.data_collector import EpisodeBuffer

from persim_gym.envs.suites import find_suite
from persim_gym.offline import FunctionPolicy, read_transitions
from persim_gym.offline.card_making import BINS, CELLS, data_card, end_reasons
from persim_gym.offline.datasets import load
from persim_gym.offline.summaries import describe
from tests.offline.worlds import PUSH, record


def foreign(env: Any, dataset_id: str, options: Any, rewards: Any = (1.0, 2.0)) -> Any:
    made = gym.make(env) if isinstance(env, str) else env
    d = made.observation_space.shape[0]
    buffers = [
        EpisodeBuffer(
            seed=0,
            options=given,
            observations=np.arange(3 * d, dtype=np.float32).reshape(3, d) + number,
            actions=np.array([0, 1]),
            rewards=np.array(rewards),
            terminations=np.array([False, False]),
            truncations=np.array([False, False]),
        )
        for number, given in enumerate(options)
    ]
    with pytest.warns(UserWarning, match="is set to None"):
        return minari.create_dataset_from_buffers(dataset_id, buffers, env=made)


# -- episodes --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("task", ["mountain-car", "cartpole", "half-cheetah"])
def test_a_card_is_of_the_data(task: str) -> None:
    dataset = record(task, agents=[4, 0, 7], episodes=2, max_episode_steps=25, seed=2)
    card, data = data_card(dataset), read_transitions(dataset)
    assert card.summary == describe(dataset)
    assert card.episodes.agents == (4, 4, 0, 0, 7, 7)
    people = find_suite(task).population()
    np.testing.assert_array_equal(card.episodes.covariates, people.values[[4, 4, 0, 0, 7, 7]])
    assert card.covariates == people.names
    assert card.episodes.returns.tolist() == pytest.approx(
        [float(episode.rewards.sum()) for episode in dataset]
    )
    assert card.episodes.lengths.tolist() == [len(episode) for episode in dataset]
    assert (card.test_agents, card.intact, card.data_format) == (5, True, "hdf5")
    assert (card.recipe["seed"], card.recipe["agents"]) == (2, "4,0,7")
    assert card.command.startswith(f"persim-gym record {task} ")
    assert card.author == ("persim_gym",)
    assert any("gymnasium" in line for line in card.requirements)
    d = data.obs.shape[1]
    assert len(card.coordinates) == d
    for i, coordinate in enumerate(card.coordinates):
        starts = data.obs[data.starts, i].astype(float)
        expected = (starts.min(), starts.mean(), starts.max())
        assert coordinate.start == pytest.approx(expected)
        seen = np.concatenate([episode.observations[:, i] for episode in dataset]).astype(float)
        assert coordinate.quantiles == pytest.approx(
            np.quantile(seen, [0, 0.05, 0.5, 0.95, 1]).tolist()
        )
        assert len(coordinate.edges) == BINS + 1
        inside = (seen >= coordinate.edges[0]) & (seen <= coordinate.edges[-1])
        assert coordinate.counts.sum() == inside.sum()


def test_why_episodes_end() -> None:
    dataset = record("cartpole", PUSH, agents=[0, 2], max_episode_steps=12)
    assert data_card(dataset).end_counts() == {"pole fell": 1, "time limit": 1}
    right = FunctionPolicy(lambda obs: np.full(len(obs), 2), name="right")
    # Agent 0 lives with next to no gravity and drives straight up; the others roll back.
    climbed = data_card(record("mountain-car", right, agents=[4, 0, 3], max_episode_steps=100))
    assert climbed.episodes.ends == ("time limit", "goal reached", "time limit")


def test_end_reasons() -> None:
    last = np.array([[2.41, 0, 0, 0], [0, 0, 0.3, 0], [-2.5, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    over = np.array([True, True, False, False])
    cut = np.array([True, False, True, False])
    ends = end_reasons("cartpole", last, over, cut)
    assert ends == ("off the track", "pole fell", "time limit", "recording ended")
    assert end_reasons("mountain-car", last, over, cut)[:2] == ("goal reached",) * 2
    assert end_reasons("something", last, over, cut)[:2] == ("terminated",) * 2


# -- where the states lie --------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["mountain-car", "cartpole", "half-cheetah"])
def test_planes_count_every_state_once(task: str) -> None:
    dataset = record(task, agents=6, max_episode_steps=60)
    card = data_card(dataset)
    assert [plane.axes for plane in card.planes] == list(find_suite(task).planes)
    states = np.concatenate([episode.observations for episode in dataset]).astype(float)
    for plane in card.planes:
        assert plane.counts.shape == (CELLS, CELLS)
        assert plane.visited == np.count_nonzero(plane.counts) / CELLS**2
        assert plane.counts.sum() == pytest.approx((1 - plane.outside) * len(states))
        points = states[:, plane.axes]
        # One state by hand: the cell it lies in has been counted.
        cell = [
            int((value - edges[0]) / (edges[-1] - edges[0]) * CELLS)
            for value, edges in zip(points[0], plane.edges, strict=True)
        ]
        assert plane.counts[*cell] > 0


def test_limits_are_the_same_for_all_data_of_a_task() -> None:
    one = data_card(record("cartpole", agents=2))
    other = data_card(record("cartpole", PUSH, agents=5))
    for first, second in zip(one.planes, other.planes, strict=True):
        np.testing.assert_array_equal(first.edges, second.edges)


def test_states_at_the_bounds_of_mountain_car_are_inside() -> None:
    """Positions and velocities are clipped there, in single precision."""
    left = FunctionPolicy(lambda obs: np.where(obs[:, 1] >= 0, 2, 0), name="rock")
    dataset = record("mountain-car", left, agents=5)
    states = np.concatenate([episode.observations for episode in dataset])
    assert (states[:, 0] == np.float32(-1.2)).any()
    assert data_card(dataset).planes[0].outside == 0


def test_states_outside_are_reported() -> None:
    fast = {"covariates": {"force": [400.0]}}
    card = data_card(record("cartpole", PUSH, agents=1, population=fast))
    assert card.planes[0].outside > 0.3  # velocities beyond the limits


# -- is it what was recorded? ----------------------------------------------------------------------


def test_a_changed_number_is_noticed() -> None:
    dataset = record("cartpole", agents=3)
    assert data_card(dataset).intact is True
    with h5py.File(dataset.storage.data_path / "main_data.hdf5", "r+") as file:
        file["episode_1"]["rewards"][0] = 2.0
    assert data_card(load(dataset.id)).intact is False


def test_a_part_is_no_changed_whole() -> None:
    dataset = record("cartpole", agents=3)
    part = data_card(dataset.filter_episodes(lambda episode: episode.id > 0))
    assert part.intact is None
    assert part.episodes.agents == (1, 2)


def test_damage_and_numbers_that_are_none_are_refused() -> None:
    dataset = record("cartpole", agents=3)
    file_path = dataset.storage.data_path / "main_data.hdf5"
    with h5py.File(file_path, "r+") as file:
        file["episode_1"]["observations"][1, 0] = np.nan
    with pytest.raises(ValueError, match=r"agent 1, episode 1.*not finite"):
        data_card(load(dataset.id))
    file_path.write_bytes(file_path.read_bytes()[:3000])
    with pytest.raises(ValueError, match="damaged"):
        data_card(load(dataset.id))


# -- data of other origin --------------------------------------------------------------------------


def test_another_librarys_data() -> None:
    card = data_card(foreign("CartPole-v1", "other-v0", [{"agent": 4}, {"agent": 2}]))
    assert card.episodes.agents == (4, 2)
    assert card.covariates == ()
    assert card.episodes.covariates.shape == (2, 0)
    assert card.test_agents == 0
    assert (card.command, card.intact) == ("", None)
    assert card.episodes.ends == ("recording ended",) * 2
    assert card.episodes.returns.tolist() == [3.0, 3.0]
    assert [c.name for c in card.coordinates] == [f"coordinate {i}" for i in range(4)]
    assert card.planes[0].outside == 0
    assert card.to_json()["return_against"] == {}


def test_data_that_name_no_agents() -> None:
    card = data_card(foreign("PerSim-CartPole-v0", "silent-v0", [None, None]))
    assert card.episodes.agents == (None, None)
    assert card.covariates == ()
    assert card.summary.agents == 0


def test_agents_with_names() -> None:
    named = foreign("CartPole-v1", "named-v0", [{"agent": "p10"}, {"agent": "p2"}])
    card = data_card(named)
    assert card.episodes.agents == ("p10", "p2")
    assert card.summary.agents == 2


def test_an_environment_of_one_agent() -> None:
    env = gym.make("PerSim-CartPole-v0", covariates={"force": 3.0})
    card = data_card(foreign(env, "one-v0", [{"agent": 0}]))
    assert card.episodes.covariates.tolist() == [[3.0, 0.5]]
    assert card.test_agents == 0


def test_own_ranges_have_no_test_agents() -> None:
    own = {"ranges": {"force": (5.0, 6.0)}}
    card = data_card(record("cartpole", agents=3, population=own))
    assert card.test_agents == 0
    assert card.episodes.covariates[:, 0].min() >= 5
