"""Physical limits: declared, or the sign of all data; and what predictions make of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persim_gym.learned import DataTask, PerSim
from persim_gym.learned.data import Data
from persim_gym.learned.outcomes.limits import find_limits
from persim_gym.offline import Transitions, declare
from tests.learned.worlds import transitions

AGENTS, STEPS = 6, 25
FAMILIES: dict[str, dict[str, Any]] = {
    "closed form": {"method": "als", "degree": 1, "rank": 2, "threshold": 0.0, "ensemble_size": 2},
    "networks": {"method": "sgd", "epochs": 2, "ensemble_size": 2, "spare_members": 0},
    "hierarchical": {"method": "hierarchical", "degree": 1},
    "latent": {
        "method": "latent", "hidden": (8,), "first_steps": 3, "steps": 3, "window_steps": 3,
        "ensemble_size": 2,
    },
}  # fmt: skip


def washout(sign: float = 1.0, names: bool = True) -> Transitions:
    """A level that decays by a tenth and rises by doses, with a trend of both signs beside it."""
    rng = np.random.default_rng(0)
    agent = np.repeat(np.arange(AGENTS), STEPS)
    dose = rng.uniform(0, 2, (len(agent), 1))
    obs, after = np.zeros((len(agent), 2)), np.zeros((len(agent), 2))
    for row in range(len(agent)):
        obs[row] = (5.0 * rng.random(), 0.0) if row % STEPS == 0 else after[row - 1]
        level = 0.8 * obs[row, 0] + 0.1 * dose[row, 0] * (1 + agent[row] / AGENTS)
        after[row] = level, level - obs[row, 0]
    obs[:, 0], after[:, 0] = sign * obs[:, 0], sign * after[:, 0]
    data = transitions(agent, obs, dose, after, num_agents=AGENTS, task_name="washout")
    if names:
        data = Transitions(**{**vars(data), "obs_names": ("level", "trend")})
    return data


def test_one_sign_of_all_data_is_a_limit() -> None:
    low, high = find_limits(washout())
    assert low.tolist() == [0.0, -math.inf]
    assert np.isinf(high).all()
    low, high = find_limits(washout(-1.0))
    assert np.isinf(low).all()
    assert high.tolist() == [0.0, math.inf]


def test_a_declaration_overrules_the_sign() -> None:
    for given, expected in (
        ((None, None), (-math.inf, math.inf)),
        ((-1, 40), (-1.0, 40.0)),
        ((0, None), (0.0, math.inf)),
    ):
        low, high = find_limits(declare(washout(), {"level": given}))
        assert (low[0], high[0]) == expected


def test_neither_a_constant_nor_an_angle_has_a_limit() -> None:
    data = washout()
    angle = np.linspace(0, 40, len(data.obs) + 1) % (2 * np.pi)
    obs = np.stack([np.full(len(angle), 3.0), angle], axis=1)
    turning = Transitions(**{**vars(data), "obs": obs[:-1], "next_obs": obs[1:], "changes": None})
    assert np.isinf(find_limits(turning)).all()


def test_a_speed_on_its_way_through_zero_has_no_limit() -> None:
    """Braking records that end before the car rolls back; beside them a level that turns."""
    speed = np.tile(np.linspace(2.0, 0.1, STEPS + 1), (AGENTS, 1))
    level = np.abs(np.sin(np.linspace(0.1, 9.3, STEPS + 1))) + np.zeros((AGENTS, 1))
    both = np.stack([speed, level], axis=2)
    data = transitions(
        np.repeat(np.arange(AGENTS), STEPS),
        both[:, :-1].reshape(-1, 2),
        np.zeros((AGENTS * STEPS, 1)),
        both[:, 1:].reshape(-1, 2),
        num_agents=AGENTS,
    )
    low, _ = find_limits(data)
    assert low.tolist() == [-math.inf, 0.0]


@pytest.mark.parametrize("steps", [1, 2, 3, 6, 40])
def test_counts_keep_their_sign_however_short_the_records(steps: int) -> None:
    """Most transitions of a short record are near its end: that alone frees no count."""
    agents, rng = 90, np.random.default_rng(1)
    counts = rng.poisson(rng.gamma(1.5, 4.0, (agents, 1)), (agents, steps + 1)).astype(float)
    data = transitions(
        np.repeat(np.arange(agents), steps),
        counts[:, :-1].reshape(-1, 1),
        np.zeros((agents * steps, 1)),
        counts[:, 1:].reshape(-1, 1),
        num_agents=agents,
    )
    assert find_limits(data)[0].tolist() == [0.0]


@pytest.mark.slow
def test_rows_on_a_limit_are_data_and_no_wall() -> None:
    """An amount that is often zero would go no further: nothing cuts it off there."""
    data, rng = washout(), np.random.default_rng(0)
    amounts = rng.uniform(0, 2, (2, len(data))) * (rng.random((2, len(data))) < 0.6)
    obs, after = data.obs.copy(), data.next_obs.copy()
    obs[:, 1], after[:, 1] = amounts
    data = Transitions(**{**vars(data), "obs": obs, "next_obs": after, "changes": None})
    assert (after[:, 1] == 0).mean() > 0.3
    task = DataTask.from_transitions(data)
    assert task.observation_space.low.tolist() == [0.0, 0.0]
    sim = PerSim.fit(data, **FAMILIES["closed form"])
    assert not Data(data, sim.task).clipped.any()


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_predictions_samples_and_intervals_keep_the_sign(family: str, sign: float) -> None:
    sim = PerSim.fit(washout(sign), progress=False, **FAMILIES[family])
    obs = np.tile([[sign * 0.02, -2.0]], (AGENTS, 1)).astype(np.float32)
    actions = np.zeros((AGENTS, 12, 1), dtype=np.float32)
    agents = np.arange(AGENTS)
    found = [
        sim.rollout(agents, obs, actions),
        sim.rollout(agents, obs, actions, propagation="sample", seed=3),
        *sim.rollout_interval(agents, obs, actions),
        sim.predict(agents, obs, actions[:, 0]),
    ]
    for values in found:
        assert (sign * values[..., 0] >= 0).all()
    envs = sim.vector_env(AGENTS, propagation="sample", guard=False, start="data")
    envs.reset(seed=0)
    for _ in range(10):
        seen, *_, infos = envs.step(actions[:, 0])
        assert (sign * seen[:, 0] >= 0).all()
        assert (infos["clipped"] >= (seen[:, 0] == 0)).all()  # also what noise has put there


@pytest.mark.slow
def test_declared_bounds_hold_and_are_kept(tmp_path: Path) -> None:
    data = washout()
    top = float(max(data.obs[:, 0].max(), data.next_obs[:, 0].max())) + 0.01
    given: dict[str, Any] = {"bounds": {"level": (0, top)}, "units": {"level": "ug/L"}}
    sim = PerSim.fit(data, **given, **FAMILIES["closed form"])
    loaded = PerSim.load(sim.save(tmp_path))
    for one in (sim, loaded):
        assert isinstance(one.task, DataTask)
        assert one.task.obs_labels == ("level (ug/L)", "trend")
        assert one.card["obs_units"] == ["ug/L", ""]
        assert one.task.limits is not None
        assert [end.tolist() for end in one.task.limits] == [[0.0, -math.inf], [top, math.inf]]
        obs, actions = np.array([[top - 0.01, 1.0]]), np.full((1, 30, 1), 2.0)
        obs = obs.astype(np.float32)
        high = one.rollout_interval(AGENTS - 1, obs, actions)[1]
        assert high[..., 0].max() <= np.float32(top)
        assert one.rollout(0, obs, actions, propagation="sample")[..., 0].max() <= np.float32(top)
    free = PerSim.fit(data, bounds={"level": (None, None)}, **FAMILIES["closed form"])
    assert free.task.observation_space.low[0] < 0
    below, still = np.array([[-0.01, -2.0]], np.float32), np.zeros((1, 9, 1))
    assert free.rollout_interval(0, below, still)[1][..., 0].min() < 0
    assert sim.rollout_interval(0, below, still)[0][..., 0].min() >= 0


def test_bounds_and_a_task_do_not_go_together() -> None:
    data = washout()
    with pytest.raises(ValueError, match="bounds= are for data without a task"):
        PerSim.fit(data, task=DataTask.from_transitions(data), bounds={"level": (0, None)})
