"""The forms of the network: joint encoder, angles, skip, mixed precision; what each is good for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from persim_gym.envs import find_suite
from persim_gym.learned import PRESETS, PerSim
from persim_gym.learned.closed_form.basis import angles_of
from persim_gym.learned.networks.gradients import mixed_precision_pays
from persim_gym.offline.transitions import Transitions
from tests.learned.worlds import PlainTask, random_walks, transitions, weights


@dataclass(frozen=True)
class HammerTask(PlainTask):
    """A task that says which of its coordinates is an angle."""

    name: str = "hammer"
    action_space: Discrete | Box = field(
        default_factory=lambda: Box(-1.0, 1.0, shape=(1,), dtype=np.float32)
    )
    angles: tuple[int, ...] = (0,)


class HammerWorld:
    """A hammer that is pushed back where it meets an anvil: contact, and an angle that goes round.

    The state is angle and speed; the speed changes by the agent's stiffness times the part of
    ``sin(angle) + action`` that is above zero. No small sum of products of a function of the angle
    and one of the action is that.
    """

    def __init__(self, agents: int = 12) -> None:
        self.stiffness = np.linspace(0.5, 1.5, agents)

    def step(self, agents: Any, states: Any, actions: Any) -> NDArray[np.float64]:
        angle, speed = np.asarray(states, dtype=np.float64).T
        push = np.maximum(0.0, np.sin(angle) + np.asarray(actions, dtype=np.float64)[:, 0])
        return np.stack([angle + 0.1 * speed, speed + self.stiffness[agents] * push], axis=1)

    def record(self, per_agent: int, turns: tuple[float, float], seed: int = 0) -> Transitions:
        rng = np.random.default_rng(seed)
        agents = np.repeat(np.arange(len(self.stiffness)), per_agent)
        n = len(agents)
        states = np.stack([rng.uniform(*turns, n), rng.uniform(-1, 1, n)], axis=1)
        states = states.astype(np.float32)
        actions = rng.uniform(-1, 1, (n, 1)).astype(np.float32)
        following = self.step(agents, states, actions)
        return transitions(agents, states, actions, following, task_name="hammer")


OPTIONS: dict[str, Any] = {
    "method": "sgd",
    "rank": 2,
    "ensemble_size": 1,
    "spare_members": 0,
    "state_hidden": (32, 32),
    "action_hidden": (32,),
    "normalise_inputs": True,
    "normalise_targets": True,
    "batch_size": 128,
    "epochs": 30,
    "learning_rate": 1e-2,
}
FORM: dict[str, Any] = {"encoder": "joint", "angles": True, "skip": True}
SEEN, BEYOND = (-7.0, 7.0), (7.0, 20.0)


@pytest.fixture(scope="module")
def world() -> HammerWorld:
    return HammerWorld()


@pytest.fixture(scope="module")
def data(world: HammerWorld) -> Transitions:
    return world.record(400, SEEN)


@pytest.fixture(scope="module")
def sim(data: Transitions) -> PerSim:
    return PerSim.fit(data, task=HammerTask(), **OPTIONS | FORM)


def error(world: HammerWorld, sim: PerSim, turns: tuple[float, float] = SEEN) -> float:
    """Root mean square error of the speed, against the truth."""
    test = world.record(100, turns, seed=9)
    predicted = sim.predict(test.agent, test.obs, test.action)
    return float(np.sqrt(np.mean((predicted - test.next_obs)[:, 1] ** 2)))


@pytest.mark.slow
def test_state_and_action_that_do_not_factor_need_the_joint_form(
    world: HammerWorld, data: Transitions, sim: PerSim
) -> None:
    product = PerSim.fit(data, task=HammerTask(), **OPTIONS | FORM | {"encoder": "product"})
    assert error(world, sim) < 0.03
    assert error(world, product) > 2 * error(world, sim)


def test_the_joint_form_knows_its_agents(world: HammerWorld, sim: PerSim) -> None:
    ones = np.ones((12, 1), dtype=np.float32)
    state = np.zeros((12, 2), dtype=np.float32)
    pushed = sim.predict(np.arange(12), state, ones)[:, 1]
    np.testing.assert_allclose(pushed, world.stiffness, atol=0.06)


@pytest.mark.slow
def test_angles_hold_beyond_the_turns_that_were_recorded(
    world: HammerWorld, data: Transitions, sim: PerSim
) -> None:
    flat = PerSim.fit(data, task=HammerTask(), **OPTIONS | FORM | {"angles": False})
    assert error(world, sim, BEYOND) < 1.5 * error(world, sim)
    assert error(world, flat, BEYOND) > 10 * error(world, sim, BEYOND)
    assert sim.ensemble.to_json()["angles"] == [0]
    # A task that declares none has none, and lags have theirs.
    plain = random_walks(HammerTask(), steps=10)
    short = OPTIONS | {"epochs": 1, "angles": True}
    task = PlainTask.of(2, action_dim=1)
    assert PerSim.fit(plain, task=task, **short).ensemble.to_json()["angles"] == []
    lagged = PerSim.fit(plain, task=HammerTask(), lag=2, **short)
    assert lagged.ensemble.to_json()["angles"] == [0, 3]  # behind the action between


def test_skip_learns_a_linear_law_without_a_hidden_unit() -> None:
    rng = np.random.default_rng(0)
    agents = np.repeat(np.arange(4), 300)
    obs = rng.normal(size=(1200, 2)).astype(np.float32)
    actions = rng.uniform(-1, 1, (1200, 1)).astype(np.float32)
    law = np.array([[0.3, -0.2], [0.1, 0.4], [0.5, -0.6]])
    following = obs + np.concatenate([obs, actions], axis=1) @ law
    data = transitions(agents, obs, actions, following)
    task = PlainTask.of(2, action_dim=1)
    options = OPTIONS | {"encoder": "joint", "state_hidden": (1,)}
    rmse = {}
    for skip in (True, False):
        fit = PerSim.fit(data, task=task, **options, skip=skip)
        rmse[skip] = np.sqrt(np.mean((fit.predict(agents, obs, actions) - following) ** 2))
    assert rmse[True] < 0.03
    assert rmse[False] > 10 * rmse[True]


@pytest.mark.slow
def test_held_states_do_not_run_away(data: Transitions) -> None:
    sim = PerSim.fit(data, task=HammerTask(), **OPTIONS | FORM | {"hold": False})
    held = PerSim.fit(data, task=HammerTask(), **OPTIONS | FORM | {"hold": True})
    assert torch.equal(weights(held), weights(sim))
    given = data.agent, data.obs, data.action
    np.testing.assert_array_equal(held.predict(*given), sim.predict(*given))
    # Speeds in the data are at most 1: a hundred changes no more than that, and angles are free.
    top = data.obs[:, 1].max()
    far, edge = np.array([[2.0, 100.0]], np.float32), np.array([[2.0, top]], np.float32)
    action = np.array([[0.5]], dtype=np.float32)
    np.testing.assert_allclose(
        held.predict([3], far, action) - far, held.predict([3], edge, action) - edge, atol=1e-4
    )
    assert np.abs(sim.predict([3], far, action) - far).max() > 5
    around = edge + np.array([[20 * np.pi, 0.0]], dtype=np.float32)
    np.testing.assert_allclose(
        held.predict([3], around, action) - around, held.predict([3], edge, action) - edge,
        atol=1e-4,
    )  # fmt: skip


@pytest.mark.slow
def test_mixed_precision_is_as_good_and_used_where_it_pays(
    world: HammerWorld, data: Transitions, sim: PerSim
) -> None:
    mixed = PerSim.fit(data, task=HammerTask(), **OPTIONS | FORM | {"precision": "mixed"})
    assert torch.equal(weights(mixed), weights(sim)) is not mixed_precision_pays(mixed.device)
    assert error(world, mixed) < 1.5 * error(world, sim) + 0.005
    assert {t.dtype for t in mixed.ensemble.tensors().values()} == {torch.float32}


def test_discrete_actions_have_factors_in_either_form() -> None:
    task = PlainTask.of(2, actions=3)
    options = OPTIONS | {"epochs": 2}
    joint, product = (
        PerSim.fit(random_walks(task), task=task, **options, encoder=encoder)
        for encoder in ("joint", "product")
    )
    assert torch.equal(weights(joint), weights(product))


def test_forms_are_kept_in_the_file(data: Transitions, tmp_path: Path) -> None:
    short = OPTIONS | FORM | {"hold": True, "epochs": 1}
    sim = PerSim.fit(data, task=HammerTask(), **short)
    sim.save(tmp_path / "hammer")
    loaded = PerSim.load(tmp_path / "hammer", task=HammerTask())
    given = data.agent[:50], data.obs[:50], data.action[:50]
    for factor in (1.0, 100.0):
        far = given[0], factor * given[1], given[2]
        np.testing.assert_array_equal(loaded.predict(*far), sim.predict(*far))
    assert loaded.ensemble.to_json() == sim.ensemble.to_json()


def test_files_of_before_have_none_of_the_forms(sim: PerSim) -> None:
    from persim_gym.learned.networks.network import NetworkShape

    plain = sim.ensemble.to_json()
    for name in ("kind", "joint", "angles", "skip"):
        del plain[name]
    shape = NetworkShape.from_json(plain)
    assert (shape.joint, shape.angles, shape.skip) == (False, (), False)


# -- HalfCheetah -----------------------------------------------------------------------------------


def test_half_cheetah_declares_the_angle_that_goes_round() -> None:
    suite = find_suite("half-cheetah")
    task, dynamics = suite.task(), suite.dynamics(suite.population({"size": 5}))
    rng = np.random.default_rng(0)
    state = 0.1 * rng.normal(size=(5, 18))
    action = rng.uniform(-1, 1, (5, 6))
    agents = np.arange(5)
    before = np.asarray(dynamics.step(agents, state, action))
    for column in range(1, 18):
        turned = state.copy()
        turned[:, column] += 2 * np.pi
        expected = before.copy()
        expected[:, column] += 2 * np.pi
        same = np.allclose(dynamics.step(agents, turned, action), expected, atol=1e-6)
        assert same is (column in angles_of(task, 1, 18)), column


@pytest.mark.slow
def test_half_cheetahs_preset_explains_most_of_a_step_after_little_work() -> None:
    suite = find_suite("half-cheetah")
    task = suite.task()
    dynamics = suite.dynamics(suite.population({"size": 6}))
    rng = np.random.default_rng(1)
    steps, agents = 150, np.arange(6)
    obs = np.empty((6, steps + 1, 18))
    obs[:, 0] = task.sample_start(rng, 6)
    actions = rng.uniform(-1, 1, (6, steps, 6)).astype(np.float32)
    for t in range(steps):
        obs[:, t + 1] = dynamics.step(agents, obs[:, t], actions[:, t])
    data = transitions(
        np.repeat(agents, steps),
        obs[:, :-1].reshape(-1, 18),
        actions.reshape(-1, 6),
        obs[:, 1:].reshape(-1, 18),
        task_name="half-cheetah",
    )
    less: dict[str, Any] = {
        "epochs": 12,
        "ensemble_size": 2,
        "batch_size": 64,
        "state_hidden": (64, 64),
    }
    sim = PerSim.fit(data, **less)
    assert sim.card["fitted_by"] == "sgd"
    config = PRESETS["default"]["half-cheetah"]
    assert sim.card["config"] == config.replaced(less).to_json()
    change = data.next_obs - data.obs
    left = sim.predict(data.agent, data.obs, data.action) - data.next_obs
    assert (left.var(0) / change.var(0)).mean() < 0.25
