"""Small recordings, data sets of other libraries, and tables, for the tests of this folder."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import minari
import numpy as np
import pandas as pd
import pytest
from minari.data_collector import EpisodeBuffer

from persim_gym.offline import FunctionPolicy, Transitions, read_table, recorder

ID = "persim/cartpole/random-v0"
PUSH = FunctionPolicy(lambda obs: np.ones(len(obs), dtype=int), name="push")


def record(env_id: Any = "cartpole", *args: Any, **kwargs: Any) -> minari.MinariDataset:
    return recorder.record(env_id, *args, **{"progress": False, **kwargs})


def episodes(dataset: minari.MinariDataset) -> list[tuple[dict[str, Any], Any]]:
    """Metadata (seed, options) and data of each episode."""
    metadata = dataset.storage.get_episode_metadata(dataset.episode_indices)
    return list(zip(metadata, dataset, strict=True))


def check_replay(dataset: minari.MinariDataset) -> None:
    """Every episode again, step by step in the recovered environment, bit for bit."""
    env = dataset.recover_environment()
    for metadata, episode in episodes(dataset):
        assert type(metadata["seed"]) is int
        obs, info = env.reset(seed=metadata["seed"], options=metadata["options"])
        assert info["agent"] == metadata["options"]["agent"]
        seen, rewards, flags = [obs], [], []
        for action in episode.actions:
            assert env.action_space.contains(action)
            obs, reward, terminated, truncated, _ = env.step(action)
            seen.append(obs)
            rewards.append(reward)
            flags.append((terminated, truncated))
        assert episode.observations.dtype == np.float32
        assert np.stack(seen).tobytes() == episode.observations.tobytes()
        assert np.array(rewards).tobytes() == episode.rewards.tobytes()
        np.testing.assert_array_equal([f[0] for f in flags], episode.terminations)
        np.testing.assert_array_equal([f[1] for f in flags], episode.truncations)
        assert any(flags[-1])
    env.close()


def foreign(
    env: Any, dataset_id: str, options: list[dict[str, Any] | None]
) -> minari.MinariDataset:
    """A data set that Minari's own function writes, an episode of two steps for each options."""
    made = gym.make(env) if isinstance(env, str) else env
    d = made.observation_space.shape[0]
    buffers = [
        EpisodeBuffer(
            seed=0,
            options=given,
            observations=np.full((3, d), number, dtype=np.float32),
            actions=np.array([0, 1]),
            rewards=np.array([1.0, 2.0]),
            terminations=np.array([False, True]),
            truncations=np.array([False, False]),
        )
        for number, given in enumerate(options)
    ]
    with pytest.warns(UserWarning, match="is set to None"):
        return minari.create_dataset_from_buffers(dataset_id, buffers, env=made)


def table(**changes: Any) -> pd.DataFrame:
    """Agents ``b`` and ``a``, three rows each at a step of 5; ``x`` counts from 0."""
    columns: dict[str, Any] = {
        "who": ["b", "b", "b", "a", "a", "a"],
        "t": [0, 5, 10, 0, 5, 10],
        "x": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
        "y": [0.5, 0.0, 0.5, 0.0, 0.5, 0.0],
        "u": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        "r": [10.0, 11.0, 12.0, 13.0, 14.0, 15.0],
    }
    return pd.DataFrame(columns | changes)


def read(frame: Any, **options: Any) -> Transitions:
    plain = {"agent": "who", "time": "t", "state": ["x", "y"], "action": "u"}
    return read_table(frame, **plain | options)


def trajectory(length: int = 3, agent: Any = 0, d: int = 4, fall: bool = False) -> dict[str, Any]:
    """Observations are (time, 0, 0, ...) / 100; a fall puts the last cart off the track."""
    seen = np.zeros((length + 1, d))
    seen[:, 0] = np.arange(length + 1) / 100
    if fall:
        seen[-1, 0] = 3.0
    dones = np.arange(length) == length - 1
    return {
        "observations": seen[:-1],
        "next_observations": seen[1:],
        "actions": np.arange(length) % 2,
        "rewards": np.arange(length) * 0.1,
        "dones": dones,
        "unit_info": {"id": agent, "force": 2.0},
    }


def with_value(column: str, row: int, value: Any) -> pd.DataFrame:
    """The table with another value in one place."""
    frame = table()
    frame[column] = frame[column].astype(object)
    frame.loc[row, column] = value
    return frame


def long(times: Any = range(12), **changes: Any) -> pd.DataFrame:
    """Three agents of twelve rows."""
    columns = {"who": np.repeat(["a", "b", "c"], 12), "t": np.tile(list(times), 3)}
    return pd.DataFrame(columns | {"x": np.arange(36.0), "u": np.arange(36) % 5 / 4} | changes)


#: A column of these rows without a value in every third.
WORN = np.where(np.arange(36) % 3 == 1, np.nan, np.arange(36.0))
