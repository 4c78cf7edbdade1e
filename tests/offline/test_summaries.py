"""Data sets in one line each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from minari.data_collector import EpisodeBuffer

from persim_gym.offline import FunctionPolicy
from persim_gym.offline.datasets import load
from persim_gym.offline.summaries import Summary, describe, summaries
from tests.offline.worlds import ID, foreign, record


def test_a_data_set_in_one_line(root: Path) -> None:
    push = FunctionPolicy(lambda obs: np.ones(len(obs), dtype=int), name="push")
    dataset = record("cartpole", push, agents=[2, 5], episodes=3)
    steps = [len(episode) for episode in dataset]
    size = sum(file.stat().st_size for file in root.rglob("data/*"))
    expected = Summary(
        id="persim/cartpole/push-v0",
        task="cartpole",
        behaviour="push",
        agents=2,
        episodes=6,
        transitions=sum(steps),
        mean_return=float(np.mean(steps)),  # CartPole pays one a step
        size=size,
    )
    assert describe(dataset) == describe("persim/cartpole/push-v0") == expected


def test_a_part_and_a_grown_data_set_are_counted_anew() -> None:
    dataset = record("cartpole", agents=3, episodes=2)
    steps = [len(episode) for episode in dataset]
    part = describe(dataset.filter_episodes(lambda episode: episode.id in (0, 1, 4)))
    assert (part.agents, part.episodes) == (2, 3)
    assert part.transitions == steps[0] + steps[1] + steps[4]
    assert part.mean_return == pytest.approx(part.transitions / 3)
    buffer = EpisodeBuffer(
        options={"agent": 9},
        observations=np.zeros((2, 4), dtype=np.float32),
        actions=np.array([0]),
        rewards=np.array([100.0]),
        terminations=np.array([False]),
        truncations=np.array([True]),
    )
    dataset.update_dataset_from_buffer([buffer])
    grown = describe(load(ID))
    assert (grown.agents, grown.episodes, grown.transitions) == (4, 7, sum(steps) + 1)
    assert grown.mean_return == pytest.approx((sum(steps) + 100) / 7)


def test_another_librarys_data_set_in_one_line() -> None:
    summary = describe(foreign("CartPole-v1", "other-v0", [None, {"agent": 2}]))
    assert (summary.task, summary.behaviour, summary.agents) == ("CartPole-v1", "", 1)
    assert (summary.episodes, summary.transitions, summary.mean_return) == (2, 4, 3.0)


def test_all_data_sets_of_this_package_and_no_other() -> None:
    assert summaries() == []
    record("mountain-car", agents=1, max_episode_steps=4)
    record("cartpole", agents=2, dataset_id="mine-v0")
    foreign("CartPole-v1", "other-v0", [None])
    assert [(s.id, s.task, s.agents) for s in summaries()] == [
        ("mine-v0", "cartpole", 2),
        ("persim/mountain-car/random-v0", "mountain-car", 1),
    ]
