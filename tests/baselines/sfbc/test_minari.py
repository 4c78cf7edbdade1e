"""SfBC learns from a Minari data set of another program by its id, where actions are continuous."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import minari
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, Space
from minari.data_collector import EpisodeBuffer

from persim_gym.baselines import Baseline, SfBC
from persim_gym.learned.simulator import PerSim
from tests.baselines.small import Push, PushExpert, PushTask, episodes_of
from tests.cli.commands import run

TINY = {
    "updates": 20, "batch_size": 8, "widths": [8, 4], "critic_updates": 10, "critic_hidden": [8],
    "planned": 2, "candidates": 3, "steps": 3,
}  # fmt: skip
ID = "other/push-v0"


def write(discrete: bool = False) -> None:
    """Episodes of an expert, as a program that knows nothing of agents writes them."""
    data = episodes_of(PushTask(), Push(), PushExpert(), 2, 4)
    space: Space[Any] = Discrete(2) if discrete else PushTask().action_space
    buffers = []
    for index in np.unique(data.episode).tolist():
        rows = data.episode == index
        obs = np.concatenate([data.obs[rows], data.next_obs[rows][-1:]])
        action = data.action[rows]
        end = np.zeros(len(action), dtype=bool)
        cut = end.copy()
        cut[-1] = True
        taken = (action[:, 0] > 0).astype(np.int64) if discrete else action
        buffers.append(
            EpisodeBuffer(index, None, None, obs, taken, data.reward[rows], end, cut, {})
        )
    seen = Box(-np.inf, np.inf, data.obs.shape[1:], dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # there is no environment
        minari.create_dataset_from_buffers(
            ID, buffer=buffers, observation_space=seen, action_space=space
        )


@pytest.mark.slow
def test_a_fit_by_an_id_in_python_and_on_the_command_line(root: Path, tmp_path: Path) -> None:
    write()
    fitted = SfBC.fit(ID, progress=False, **TINY)  # type: ignore[arg-type]
    assert fitted.agents == (0,)
    space = PushTask().action_space
    assert fitted.action_space.shape == space.shape
    obs = np.zeros((5, *fitted.observation_space.shape), dtype=np.float32)
    actions, _ = fitted.predict(obs)
    assert actions.shape == (5, *space.shape)
    out = tmp_path / "sfbc"
    options = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]
    said = json.loads(run("baseline", "sfbc", ID, "--out", str(out), "--json", *options).stdout)
    assert said["dataset"]["id"] == ID
    np.testing.assert_array_equal(Baseline.load(out).predict(obs)[0], actions)


def test_discrete_actions_are_refused_in_one_line(root: Path, tmp_path: Path) -> None:
    write(discrete=True)
    with pytest.raises(ValueError, match="SfBC learns continuous actions, and those of"):
        SfBC.fit(ID, progress=False)
    said = run("baseline", "sfbc", ID, "--out", str(tmp_path / "sfbc"), code=2).output
    assert "use BCQ or CQL" in " ".join(said.split())
    assert not (tmp_path / "sfbc").exists()


def test_a_simulator_of_each_agent_needs_agents(root: Path) -> None:
    write()
    with pytest.raises(ValueError, match="does not say which agent it is of"):
        PerSim.fit(ID, progress=False)
