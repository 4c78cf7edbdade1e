"""SfBC: strategies are kept apart, the better one is chosen, and a fit is one like any other."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from persim_gym.baselines import Cloning, SfBC
from persim_gym.baselines.sfbc import SfBCConfig, optimise
from persim_gym.offline.transitions import Transitions
from tests.baselines.sfbc.worlds import TWO_WAYS, two_ways

SMALL: dict[str, Any] = {
    "widths": (48, 24),
    "updates": 600,
    "batch_size": 128,
    "learning_rate": 3e-3,
    "critic_hidden": (32,),
    "critic_updates": 200,
    "critic_batch_size": 128,
    "critic_learning_rate": 3e-3,
    "planned": 4,
    "candidates": 8,
    "progress": False,
    "task": TWO_WAYS,
}
TINY = SMALL | {"updates": 10, "critic_updates": 10, "widths": (8, 4), "batch_size": 16}
OBS = np.random.default_rng(5).uniform(-0.9, 0.9, (200, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def fitted() -> SfBC:
    return SfBC.fit(two_ways(), **SMALL)


@pytest.mark.slow
def test_the_behaviour_model_keeps_both_strategies(fitted: SfBC) -> None:
    drawn = fitted.sample(OBS, 20, np.random.default_rng(0))
    assert drawn.shape == (200, 20, 1)
    way = drawn[..., 0] - OBS[:, :1] / 4
    assert (way > 0).mean() == pytest.approx(0.5, abs=0.12)
    # Hardly any action lies between them, where the mean is.
    assert (np.abs(np.abs(way) - 1) < 0.4).mean() > 0.8


@pytest.mark.slow
def test_the_better_strategy_is_chosen(fitted: SfBC) -> None:
    for deterministic in (True, False):
        actions, _ = fitted.predict(OBS, deterministic=deterministic)
        assert actions.shape == (200, 1)
        assert actions.dtype == np.float32
        assert (actions[:, 0] - OBS[:, 0] / 4 > 0.5).mean() > 0.95
    assert not np.array_equal(actions, fitted.predict(OBS, deterministic=False)[0])


@pytest.mark.slow
def test_a_gaussian_takes_the_mean_of_both() -> None:
    clone = Cloning.fit(two_ways(), task=TWO_WAYS, updates=400, progress=False)
    actions, _ = clone.predict(OBS)
    assert (np.abs(actions[:, 0] - OBS[:, 0] / 4) < 0.5).mean() > 0.95


@pytest.mark.slow
def test_without_a_critic_it_is_a_clone(fitted: SfBC) -> None:
    clone = SfBC(
        fitted.task, dataclasses.replace(fitted.config, rounds=0), fitted.tensors, fitted.card,
        fitted.device,
    )  # fmt: skip
    actions, _ = clone.predict(OBS, deterministic=False)
    assert 0.3 < (actions > 0).mean() < 0.7


class Killed(Exception):
    """A fit that was ended from outside."""


@pytest.mark.slow
@pytest.mark.parametrize("at", range(1, 7))
def test_a_killed_fit_goes_on_where_it_was(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every stage: in the behaviour model, its samples, and both rounds of the critic."""
    monkeypatch.setattr(optimise, "UPDATES", 5)
    data = two_ways(60)

    def kill(done: int, total: int) -> None:
        assert total == 2 + 1 + 2 * 2
        if done == at:
            raise Killed

    whole = SfBC.fit(data, **TINY)
    options: dict[str, Any] = {**TINY, "checkpoint": tmp_path, "save_every": 0.0}
    with pytest.raises(Killed):
        SfBC.fit(data, on_progress=kill, **options)
    calls: list[int] = []
    resumed = SfBC.fit(data, on_progress=lambda done, total: calls.append(done), **options)
    assert calls[0] in (at, at + 1)
    for name, tensor in whole.tensors.items():
        assert torch.equal(tensor, resumed.tensors[name]), name
    assert resumed.card["facts"] == whole.card["facts"]


def test_discrete_actions_are_turned_down_before_any_work() -> None:
    rows = 40
    data = Transitions(
        agent=np.zeros(rows, np.int64), obs=np.zeros((rows, 1)), action=np.arange(rows) % 2,
        next_obs=np.ones((rows, 1)), reward=np.zeros(rows), terminated=np.zeros(rows, bool),
        truncated=np.zeros(rows, bool), episode=np.arange(rows) // 20, num_agents=1,
        task_name="switch",
    )  # fmt: skip
    calls: list[int] = []
    with pytest.raises(ValueError, match="discrete: use BCQ or CQL") as raised:
        SfBC.fit(data, on_progress=lambda done, total: calls.append(done))
    assert "\n" not in str(raised.value)
    assert not calls


@pytest.mark.parametrize(
    ("option", "value"),
    [("updates", 0), ("widths", ()), ("rounds", -1), ("average", 99), ("discount", 1.0),
     ("steps", 0), ("sharpness", float("nan")), ("learning_rate", -1.0)],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=option):
        SfBC.fit(two_ways(30), task=TWO_WAYS, **{option: value})


def test_samples_are_inside_their_space() -> None:
    fitted = SfBC.fit(two_ways(), **TINY)
    space = fitted.action_space
    drawn = fitted.sample(10 * OBS, 30, np.random.default_rng(0)).reshape(-1, 1)
    assert (drawn >= space.low).all()
    assert (drawn <= space.high).all()
    with pytest.raises(ValueError, match=r"shape \(n, 2\)"):
        fitted.sample(OBS[0], 3, np.random.default_rng(0))


def test_the_papers_settings_are_those_of_the_paper() -> None:
    paper = SfBCConfig.paper()
    assert (paper.widths, paper.steps, paper.candidates) == ((512, 256, 128), 15, 32)
    assert SfBCConfig.from_json(paper.to_json()) == paper
