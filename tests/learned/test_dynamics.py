"""What a simulator answers: shapes, kinds, spaces, refusals, and what is not finite."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import persim_gym.learned.dynamics as dynamics_module
from persim_gym.core import Dynamics
from persim_gym.learned import PerSim
from persim_gym.planning import MPC
from tests.learned.worlds import PlainTask, random_simulator, random_walks

DISCRETE = PlainTask.of(2, actions=3)
CONTINUOUS = PlainTask.of(3, action_dim=2)
KINDS = {"discrete": DISCRETE, "continuous": CONTINUOUS}
kinds = pytest.mark.parametrize("task", KINDS.values(), ids=KINDS.keys())


def rows(
    sim: PerSim, n: int = 7, h: int | None = None, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[Any]]:
    """Agents ``[n]``, single observations ``[n, d]``, actions ``[n(, h)(, a)]``."""
    rng = np.random.default_rng(seed)
    agents = rng.integers(sim.num_agents, size=n)
    obs = rng.uniform(-0.9, 0.9, (n, sim.task.observation_space.shape[0])).astype(np.float32)
    lead = (n,) if h is None else (n, h)
    shape = sim.task.action_space.shape
    if shape:
        return agents, obs, rng.uniform(-1, 1, (*lead, *shape)).astype(np.float32)
    return agents, obs, rng.integers(3, size=lead)


@kinds
@pytest.mark.parametrize("lag", [1, 2])
def test_shapes_and_kinds(task: PlainTask, lag: int) -> None:
    sim = random_simulator(task, lag=lag)
    assert isinstance(sim, Dynamics)
    assert (sim.num_agents, sim.lag, sim.members) == (4, lag, 3)
    d = task.observation_space.shape[0]
    agents, obs, actions = rows(sim)
    sequences = rows(sim, h=5)[2]
    answers = {
        "predict": (sim.predict(agents, obs, actions), (7, d)),
        "step": (sim.step(agents, obs, actions), (7, d)),
        "predict_members": (sim.predict_members(agents, obs, actions), (3, 7, d)),
        "disagreement": (sim.disagreement(agents, obs, actions), (7,)),
        "rollout": (sim.rollout(agents, obs, sequences), (3, 7, 5, d)),
    }
    for name, (array, shape) in answers.items():
        assert isinstance(array, np.ndarray), name
        assert array.dtype == np.float32
        assert array.shape == shape
        given = sequences if name == "rollout" else actions
        tensor = getattr(sim, name)(
            torch.as_tensor(agents), torch.as_tensor(obs), torch.as_tensor(given)
        )
        assert isinstance(tensor, torch.Tensor), name
        np.testing.assert_array_equal(tensor.numpy(), array)
    members = answers["predict_members"][0]
    np.testing.assert_allclose(answers["predict"][0], members.mean(0), atol=1e-6)
    np.testing.assert_array_equal(answers["rollout"][0][:, :, 0].shape, members.shape)
    factors = sim.latent_factors
    assert factors.shape == (3, 4, 2)
    assert isinstance(factors, np.ndarray)


@kinds
def test_rows_do_not_see_each_other(task: PlainTask) -> None:
    sim = random_simulator(task)
    agents, obs, actions = rows(sim)
    together = sim.predict_members(agents, obs, actions)
    for i in range(7):
        one = sim.predict_members(agents[i : i + 1], obs[i : i + 1], actions[i : i + 1])
        np.testing.assert_allclose(one[:, 0], together[:, i], rtol=1e-5, atol=1e-6)


@kinds
@pytest.mark.parametrize("at_once", [1, 3, 7])
def test_pieces_make_no_difference(
    task: PlainTask, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = random_simulator(task, lag=2)
    given = rows(sim)
    whole = sim.predict_members(*given), sim.predict(*given), sim.disagreement(*given)
    monkeypatch.setattr(dynamics_module, "ROWS_AT_ONCE", {"cpu": at_once})
    pieces = sim.predict_members(*given), sim.predict(*given), sim.disagreement(*given)
    for one, other in zip(whole, pieces, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_one_agent_for_all_rows() -> None:
    sim = random_simulator(DISCRETE)
    _, obs, actions = rows(sim)
    expected = sim.predict(np.full(7, 2), obs, actions)
    for agent in (2, np.int64(2), np.array(2), torch.tensor(2), [2] * 7, range(2, 3)):
        if isinstance(agent, range):
            np.testing.assert_allclose(
                sim.predict(agent, obs[:1], actions[:1]), expected[:1], rtol=1e-5
            )
        else:
            np.testing.assert_array_equal(sim.predict(agent, obs, actions), expected)
    assert not np.array_equal(sim.predict(1, obs, actions), expected)


def test_other_number_types() -> None:
    sim = random_simulator(DISCRETE)
    agents, obs, actions = rows(sim)
    expected = sim.predict(agents, obs, actions)
    for other in (obs.astype(np.float64), obs.tolist(), obs[:, ::-1][:, ::-1]):
        np.testing.assert_array_equal(sim.predict(agents, other, actions), expected)
    for kind in (np.int8, np.uint8, np.int32):
        np.testing.assert_array_equal(
            sim.predict(agents.astype(kind), obs, actions.astype(kind)), expected
        )
    np.testing.assert_array_equal(sim.predict(agents.tolist(), obs, actions.tolist()), expected)


@kinds
def test_a_past_may_be_given_in_two_layouts_or_not_at_all(task: PlainTask) -> None:
    sim = random_simulator(task, lag=3)
    d = task.observation_space.shape[0]
    agents, obs, actions = rows(sim)
    past = np.random.default_rng(1).uniform(-0.9, 0.9, (7, 3, d)).astype(np.float32)
    expected = sim.predict(agents, past, actions)
    np.testing.assert_array_equal(sim.predict(agents, past.reshape(7, -1), actions), expected)
    # All observations matter, the latest is where the change is added.
    for i in range(3):
        other = past.copy()
        other[:, i] += 0.5
        assert np.abs(sim.predict(agents, other, actions) - expected).max() > 1e-4
    still = np.repeat(obs[:, None], 3, axis=1)
    np.testing.assert_array_equal(
        sim.predict(agents, obs, actions), sim.predict(agents, still, actions)
    )
    rolled = sim.rollout(agents, obs, actions[:, None])
    np.testing.assert_allclose(
        rolled[:, :, 0], sim.predict_members(agents, still, actions), rtol=1e-5, atol=1e-6
    )


def test_a_rollout_with_a_lag_moves_its_window() -> None:
    sim = random_simulator(DISCRETE, lag=2, members=1)
    agents, obs, actions = rows(sim, h=4)
    window = np.stack([obs, obs], axis=1)
    rolled = sim.rollout(agents, obs, actions)[0]
    for t in range(4):
        following = sim.predict(agents, window, actions[:, t])
        np.testing.assert_allclose(rolled[:, t], following, rtol=1e-4, atol=1e-5)
        window = np.stack([window[:, 1], following], axis=1)


def test_disagreement_by_its_definition() -> None:
    sim = random_simulator(CONTINUOUS)
    given = rows(sim)
    members = sim.predict_members(*given)
    scale = sim.experience.change_scale
    expected = np.sqrt((members.var(axis=0) / scale**2).mean(axis=1))
    np.testing.assert_allclose(sim.disagreement(*given), expected, rtol=1e-4)
    assert expected.min() > 0
    alone = random_simulator(CONTINUOUS, members=1)
    assert (alone.disagreement(*given) == 0).all()
    # Members that are alike do not disagree.
    network = sim.ensemble.network
    for tensor in network.tensors.values():
        tensor[:] = tensor[:1].clone()
    assert sim.disagreement(*given).max() < 1e-5


@pytest.mark.parametrize("lag", [1, 2])
def test_predictions_stay_in_the_space(lag: int) -> None:
    task = PlainTask.of(2, actions=3, low=-1.0)
    sim = random_simulator(task, size=20.0, lag=lag)
    agents, obs, actions = rows(sim, n=100, h=5)
    members = sim.predict_members(agents, obs, actions[:, 0])
    assert 0.2 < (np.abs(members) == 1).mean() < 0.99
    for answer in (
        members,
        sim.predict(agents, obs, actions[:, 0]),
        sim.rollout(agents, obs, actions),
    ):
        assert np.abs(answer).max() <= 1
    assert all(o.abs().max() <= 1 for o in sim.unroll(agents, obs, actions[:, None], "mean"))


@pytest.mark.parametrize("low", [-math.inf, -1.0])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_nan_and_no_bound(value: float, low: float) -> None:
    sim = random_simulator(PlainTask.of(2, actions=3, low=low))
    agents, obs, actions = rows(sim, h=3)
    good = sim.predict_members(agents, obs, actions[:, 0])
    sim.ensemble.scaling.target_mean[0] = value  # a member whose first coordinate is lost
    members = sim.predict_members(agents, obs, actions[:, 0])
    assert np.isnan(members[..., 0]).all()
    np.testing.assert_array_equal(members[..., 1], good[..., 1])
    assert np.isnan(sim.predict(agents, obs, actions[:, 0])[:, 0]).all()
    assert not np.isfinite(sim.disagreement(agents, obs, actions[:, 0])).any()
    rolled = sim.rollout(agents, obs, actions)
    assert not np.isfinite(rolled[..., 0]).any()
    if math.isfinite(low):
        assert np.isnan(rolled[..., 0]).all()


def test_one_lost_member_spoils_the_mean_and_no_other_member() -> None:
    sim = random_simulator(DISCRETE)
    given = rows(sim)
    good = sim.predict_members(*given)
    sim.ensemble.network.tensors["head.bias"][1] = math.inf
    members = sim.predict_members(*given)
    assert np.isnan(members[1]).all()
    np.testing.assert_array_equal(members[[0, 2]], good[[0, 2]])
    assert np.isnan(sim.predict(*given)).all()


# -- refusals --------------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize("ask", ["predict", "predict_members", "disagreement", "rollout"])
def test_shapes_that_do_not_fit(task: PlainTask, ask: str) -> None:
    sim = random_simulator(task)
    agents, obs, actions = rows(sim, h=4 if ask == "rollout" else None)
    call = getattr(sim, ask)
    d = obs.shape[1]
    for bad in (obs[:, :-1], obs[0], obs[:, None, None], np.float32(1), np.zeros((7, d + 1))):
        with pytest.raises(ValueError, match=rf"obs must have shape \(n, {d}\), got \("):
            call(agents, bad, actions)
    for bad in (actions[:-1], actions[0], actions[..., None], actions[:, None], 1):
        with pytest.raises(ValueError, match=r"actions must have shape \('n'.* n = 7, got \("):
            call(agents, obs, bad)
    for bad in (agents[:-1], agents[:, None], []):
        with pytest.raises(ValueError, match="agents must be one agent or 7 of them"):
            call(bad, obs, actions)


def test_shapes_with_a_lag_name_both() -> None:
    sim = random_simulator(DISCRETE, lag=3)
    agents, _, actions = rows(sim)
    for shape in ((7, 4), (7, 2, 2), (7, 3, 3)):
        with pytest.raises(ValueError, match=r"obs must have shape \(n, 2\) or \(n, 3, 2\), got"):
            sim.predict(agents, np.zeros(shape), actions)


def test_agents_that_do_not_exist() -> None:
    sim = random_simulator(DISCRETE)
    agents, obs, actions = rows(sim)
    for bad in (4, -1, np.array([0, 1, 2, 3, 4, 0, 0]), torch.tensor(99)):
        with pytest.raises(
            ValueError, match="does not exist: this population has 4 agents, 0 to 3"
        ):
            sim.predict(bad, obs, actions)
    for bad in (1.0, True, None, agents.astype(float), torch.zeros(7), agents > 1):
        with pytest.raises(TypeError, match=r"must be (an integer|integers)"):
            sim.predict(bad, obs, actions)
    with pytest.raises(ValueError, match="agent '1' is not known by name"):
        sim.predict("1", obs, actions)


def test_actions_that_do_not_exist() -> None:
    sim = random_simulator(DISCRETE)
    agents, obs, actions = rows(sim, h=4)
    for value in (3, -1):
        bad = actions.copy()
        bad[4, 2] = value
        with pytest.raises(ValueError, match="actions must be 0 to 2, got"):
            sim.rollout(agents, obs, bad)
        with pytest.raises(ValueError, match="actions must be 0 to 2, got"):
            sim.predict(agents, obs, bad[:, 2])
    with pytest.raises(TypeError, match="discrete actions must be integers"):
        sim.predict(agents, obs, actions[:, 0].astype(np.float32))


def test_unrolling_refuses_what_does_not_fit() -> None:
    sim = random_simulator(DISCRETE)
    agents, obs, actions = rows(sim, h=4)
    for bad in (actions, actions[:, :, None, None], actions[:-1, None]):
        with pytest.raises(
            ValueError, match=r"actions must have shape \('p', 'k', 'h'\) with p = 7"
        ):
            sim.unroll(agents, obs, bad)
    with pytest.raises(ValueError, match="mode must be one of members, mean, sampled, got"):
        list(sim.unroll(agents, obs, actions[:, None], "median"))  # type: ignore[arg-type]


def test_no_rows_and_no_steps() -> None:
    sim = random_simulator(DISCRETE)
    agents, obs, actions = rows(sim, h=4)
    assert sim.predict(agents[:0], obs[:0], actions[:0, 0]).shape == (0, 2)
    assert sim.rollout(agents[:0], obs[:0], actions[:0]).shape == (3, 0, 4, 2)
    with pytest.raises(ValueError, match="at least one step"):
        sim.rollout(agents, obs, actions[:, :0])


def test_arguments_are_not_changed() -> None:
    sim = random_simulator(CONTINUOUS, lag=2)
    given = rows(sim, h=3)
    copies = [part.copy() for part in given]
    sim.rollout(*given)
    sim.predict(given[0], given[1], given[2][:, 0])
    for part, copy in zip(given, copies, strict=True):
        np.testing.assert_array_equal(part, copy)


def test_a_copy_on_a_device() -> None:
    sim = random_simulator(DISCRETE)
    other = sim.to("cpu")
    given = rows(sim)
    np.testing.assert_array_equal(sim.predict(*given), other.predict(*given))
    assert other.device.type == "cpu"
    with pytest.raises(ValueError, match="device 'abacus' is not available"):
        sim.to("abacus")
    assert repr(sim) == "PerSim(task='plain', agents=4, rank=2, members=3, device='cpu')"


def test_agents_without_transitions_are_refused() -> None:
    data = random_walks(DISCRETE)
    known = dataclasses.replace(data, num_agents=data.num_agents + 2)
    sim = PerSim.fit(known, task=DISCRETE, epochs=1, rank=2, ensemble_size=2, state_hidden=(4,))
    obs = np.zeros((1, 2), dtype=np.float32)
    sim.predict(data.num_agents - 1, obs, np.array([0]))
    with pytest.raises(ValueError, match=r"no transitions of agent 5.*knows 4 of 6 agents"):
        sim.predict(5, obs, np.array([0]))
    with pytest.raises(ValueError, match="no transitions of agent 4"):
        sim.env(agent=4)
    # Every face refuses them when it is made, and when it is begun anew.
    for make in (
        lambda agents: sim.vector_env(2, agents=agents),
        sim.parallel_env,
        lambda agents: MPC(sim, agents),
    ):
        with pytest.raises(ValueError, match="no transitions of agent 5"):
            make([0, 5])
    for env, agent in ((sim.env(), 4), (sim.vector_env(2), [0, 4])):
        with pytest.raises(ValueError, match="no transitions of agent 4"):
            env.reset(options={"agent": agent})
