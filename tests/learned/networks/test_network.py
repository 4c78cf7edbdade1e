"""The stacked network, one step of it, and open-loop unrolling."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from persim_gym.learned import PerSim
from persim_gym.learned.networks.network import LowRankNetwork, NetworkShape
from tests.learned.worlds import PlainTask, network_shape, random_network, random_simulator

DISCRETE: dict[str, Any] = {"num_actions": 3, "state_hidden": (8, 6)}
CONTINUOUS: dict[str, Any] = {
    "num_actions": 0,
    "action_dim": 2,
    "action_hidden": (6,),
    "rank": 3,
    "activation": "relu",
}
JOINT: dict[str, Any] = CONTINUOUS | {
    "action_hidden": (),
    "joint": True,
    "skip": True,
    "angles": (1,),
}
KINDS = {"discrete": DISCRETE, "continuous": CONTINUOUS, "joint": JOINT}

TASKS = {
    "discrete": PlainTask.of(2, actions=3),
    "discrete, bounded": PlainTask.of(2, actions=3, low=-1.0),
    "continuous": PlainTask.of(3, action_dim=2),
    "continuous, bounded": PlainTask.of(3, action_dim=2, low=-1.0),
}


def inputs(shape: NetworkShape, rows: int = 9, seed: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    agents = torch.randint(shape.num_agents, (rows,), generator=generator)
    states = torch.randn((shape.members, rows, shape.state_dim), generator=generator)
    if shape.num_actions:
        return agents, states, torch.randint(shape.num_actions, (rows,), generator=generator)
    return agents, states, torch.randn((rows, shape.action_dim), generator=generator)


def sequences(sim: PerSim, p: int, k: int, h: int, seed: int = 2) -> tuple[Any, Any, Any]:
    """Agents ``[p]``, states ``[p, l, d]`` (a past that moves) and actions ``[p, k, h(, a)]``."""
    rng = np.random.default_rng(seed)
    d = sim.task.observation_space.shape[0]
    space = sim.task.action_space
    agents = rng.integers(sim.num_agents, size=p)
    states = rng.uniform(-0.9, 0.9, size=(p, sim.lag, d)).astype(np.float32)
    if space.shape:
        return agents, states, rng.uniform(-1, 1, (p, k, h, *space.shape)).astype(np.float32)
    return agents, states, rng.integers(space.n, size=(p, k, h))  # type: ignore[union-attr]


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS.keys())
def test_stack_equals_a_loop_over_its_members(changes: dict[str, Any]) -> None:
    shape = network_shape(**changes)
    network = random_network(shape)
    agents, states, actions = inputs(shape)
    together = network(agents, states, actions)
    assert together.shape == (3, 9, 2)
    for i in range(3):
        one = LowRankNetwork(
            network_shape(**changes, members=1),
            {name: tensor[i : i + 1] for name, tensor in network.tensors.items()},
        )
        alone = one(agents, states[i : i + 1], actions)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-5, atol=1e-6)
    assert (together[0] - together[1]).abs().max() > 0.01


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS.keys())
def test_members_are_independent(changes: dict[str, Any]) -> None:
    shape = network_shape(**changes)
    network = random_network(shape)
    agents, states, actions = inputs(shape)
    before = network(agents, states, actions)
    tensors = {name: tensor.clone() for name, tensor in network.tensors.items()}
    for name, tensor in tensors.items():
        tensor[0] *= 3.0
        after = LowRankNetwork(shape, tensors)(agents, states, actions)
        assert not torch.equal(after[0], before[0]), f"{name} does not matter"
        assert torch.equal(after[1:], before[1:]), name
    states[0] += 1.0
    after = network(agents, states, actions)
    assert not torch.equal(after[0], before[0])
    assert torch.equal(after[1:], before[1:])


def test_output_is_the_product_of_the_encoders() -> None:
    shape = network_shape(members=1, rank=2)
    network = random_network(shape)
    agents, states, actions = inputs(shape)
    u = network.agent_factors(agents)[0]
    f = network.action_factors(actions)[0]
    t = network.tensors
    g = network.hidden(states)[0] @ t["head.weight"][0].T + t["head.bias"][0, :, 0]
    expected = torch.einsum("nr,nr,ndr->nd", u, f, g.view(9, 2, 2))
    torch.testing.assert_close(network(agents, states, actions)[0], expected)
    # The change is linear in an agent's factor: a factor of nothing changes nothing.
    t["agent.factors"][:, 1] = -t["agent.bias"][:, 0]
    assert network(torch.ones_like(agents), states, actions).abs().max() == 0


def test_agents_share_all_but_their_factor() -> None:
    shape = network_shape()
    network = random_network(shape)
    agents, states, actions = inputs(shape)
    before = network(agents, states, actions)
    network.tensors["agent.factors"][:, 2] += 1.0
    after = network(agents, states, actions)
    mine = agents == 2
    assert mine.any()
    assert not mine.all()
    assert (after[:, mine] != before[:, mine]).any(-1).all()
    assert torch.equal(after[:, ~mine], before[:, ~mine])


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS.keys())
def test_flat_network_is_the_same_one_in_views_of_a_vector(changes: dict[str, Any]) -> None:
    shape = network_shape(**changes)
    network = random_network(shape)
    flat, vector = LowRankNetwork.flat(shape, network.tensors, "cpu")
    assert len(vector) == sum(tensor.numel() for tensor in network.tensors.values())
    given = inputs(shape)
    # Matrix products may round differently at other addresses.
    torch.testing.assert_close(flat(*given), network(*given), rtol=1e-5, atol=1e-6)
    for name, tensor in network.tensors.items():
        assert torch.equal(flat.tensors[name], tensor)
    vector.zero_()
    assert flat(*given).abs().max() == 0
    assert network(*given).abs().max() > 0


def test_initial_weights_are_those_of_torchs_linear_layers() -> None:
    shape = network_shape(members=2, num_agents=400, state_hidden=(64,))
    network = LowRankNetwork.initial(shape, torch.Generator().manual_seed(0))
    for name, (size, fan) in shape.tensors().items():
        tensor = network.tensors[name]
        assert tensor.shape == size
        assert tensor.abs().max() <= fan**-0.5
        if tensor.numel() > 100:
            assert tensor.abs().max() > 0.9 * fan**-0.5
            assert tensor.std() == pytest.approx((fan / 1) ** -0.5 / 3**0.5, rel=0.1)
    assert not torch.equal(network.tensors["head.weight"][0], network.tensors["head.weight"][1])


def test_shape_survives_json() -> None:
    for changes in KINDS.values():
        shape = network_shape(**changes)
        assert NetworkShape.from_json(shape.to_json()) == shape
    with pytest.raises(TypeError, match="depth"):
        NetworkShape.from_json({**network_shape().to_json(), "depth": 3})


# -- unrolling -------------------------------------------------------------------------------------


def stepped(
    sim: PerSim, agents: Any, states: Any, actions: Any, mode: Literal["members", "mean"]
) -> Tensor:
    """Unrolling by one step after another, a candidate at a time: ``[m, p, k, h, d]``.

    Through :meth:`Ensemble.step`, which takes another way through the network than unrolling does.
    """
    ensemble = sim.ensemble
    p, k, h = actions.shape[:3]
    d = states.shape[-1]
    result = torch.empty((sim.members, p, k, h, d))
    for i in range(p):
        for j in range(k):
            state = torch.as_tensor(states[i]).reshape(1, 1, -1).repeat(sim.members, 1, 1)
            for t in range(h):
                action = torch.as_tensor(actions[i, j, t])[None]
                agent = torch.as_tensor(agents[i])[None]
                obs = ensemble.step(agent, state, action)
                result[:, i, j, t] = obs[:, 0]
                if mode == "mean":
                    obs = obs.mean(0, keepdim=True).expand_as(obs)
                state = torch.cat([state[..., d:], obs], dim=-1)
    return result


FORMS: list[tuple[str, dict[str, Any]]] = [
    *((task, {}) for task in TASKS),
    ("discrete", {"skip": True, "angles": (1,)}),
    ("continuous", {"skip": True, "angles": (0, 2)}),
    ("continuous", {"joint": True}),
    ("continuous, bounded", {"joint": True, "skip": True, "angles": (0,)}),
]


@pytest.mark.parametrize("lag", [1, 2, 3])
@pytest.mark.parametrize("mode", ["members", "mean"])
@pytest.mark.parametrize(("name", "form"), FORMS)
def test_unrolling_equals_repeated_steps(
    name: str, form: dict[str, Any], mode: Literal["members", "mean"], lag: int
) -> None:
    task = TASKS[name]
    sim = random_simulator(task, lag=lag, size=2.0, **form)
    agents, states, actions = sequences(sim, p=3, k=4, h=6)
    given = states[:, 0] if lag == 1 else states
    unrolled = torch.stack(list(sim.unroll(agents, given, actions, mode)), dim=3)
    expected = stepped(sim, agents, states, actions, mode)
    torch.testing.assert_close(unrolled, expected, rtol=1e-4, atol=1e-5)
    # The comparison would not see much if nothing moved, or if all were on a bound.
    assert (unrolled[:, :, :, 0] - unrolled[:, :, :, -1]).abs().max() > 0.1
    on_bound = (unrolled.abs() == 1).float().mean()
    assert on_bound == 0 if np.isinf(task.observation_space.low[0]) else 0 < on_bound < 0.9


def test_modes_differ_after_the_first_step() -> None:
    sim = random_simulator(TASKS["discrete"])
    agents, states, actions = sequences(sim, p=2, k=3, h=4)
    members, mean = (
        torch.stack(list(sim.unroll(agents, states[:, 0], actions, mode)), dim=3)
        for mode in ("members", "mean")
    )
    assert torch.equal(members[..., 0, :], mean[..., 0, :])
    assert (members[..., 1:, :] - mean[..., 1:, :]).abs().max() > 1e-2


@pytest.mark.parametrize("lag", [1, 2])
@pytest.mark.parametrize("k", [2, 3, 7])
@pytest.mark.parametrize(("name", "form"), FORMS)
def test_candidates_shared_out_among_members(
    name: str, form: dict[str, Any], k: int, lag: int
) -> None:
    sim = random_simulator(TASKS[name], lag=lag, size=2.0, **form)
    agents, states, actions = sequences(sim, p=2, k=k, h=5)
    given = states[:, 0] if lag == 1 else states
    every = torch.stack(list(sim.unroll(agents, given, actions)), dim=3)
    found = torch.stack(list(sim.unroll(agents, given, actions, "sampled")), dim=3)
    expected = torch.stack([every[j % 3, :, j] for j in range(k)], dim=1)[None]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert (every[0] - every[1]).abs().max() > 1e-2


@pytest.mark.parametrize("mode", ["members", "mean", "sampled"])
@pytest.mark.parametrize(("name", "form"), FORMS)
def test_each_problem_goes_on_with_candidates_of_its_own(
    name: str, form: dict[str, Any], mode: Any
) -> None:
    sim = random_simulator(TASKS[name], size=2.0, **form)
    agents, states, actions = sequences(sim, p=2, k=8, h=6)
    whole = torch.stack(list(sim.unroll(agents, states[:, 0], actions, mode)), dim=3)
    steps = sim.unroll(agents, states[:, 0], actions, mode)
    chosen = torch.arange(8).expand(2, 8)
    kept: Tensor | None = None
    sent = {2: torch.tensor([[0, 3, 6, 7], [1, 2, 3, 5]]), 4: torch.tensor([[1, 3], [3, 0]])}
    for t in range(6):
        obs = next(steps) if kept is None else steps.send(kept)
        kept = sent.get(t + 1)
        expected = torch.take_along_dim(whole[..., t, :], chosen[None, :, :, None], 2)
        torch.testing.assert_close(obs, expected, rtol=1e-4, atol=1e-5)
        chosen = chosen if kept is None else chosen.gather(1, kept)


def test_one_member_is_its_own_mean() -> None:
    sim = random_simulator(TASKS["continuous"], members=1)
    agents, states, actions = sequences(sim, p=2, k=3, h=4)
    for a, b in zip(
        sim.unroll(agents, states[:, 0], actions, "members"),
        sim.unroll(agents, states[:, 0], actions, "mean"),
        strict=True,
    ):
        assert torch.equal(a, b)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
@pytest.mark.parametrize("lag", [1, 2])
def test_rollout_is_the_unrolling_of_one_sequence_a_row(task: PlainTask, lag: int) -> None:
    sim = random_simulator(task, lag=lag)
    agents, states, actions = sequences(sim, p=5, k=1, h=6)
    given = states[:, 0] if lag == 1 else states
    rolled = sim.rollout(agents, given, actions[:, 0])
    assert rolled.shape == (3, 5, 6, states.shape[-1])
    expected = stepped(sim, agents, states, actions, "members")[:, :, 0]
    np.testing.assert_allclose(rolled, expected, rtol=1e-4, atol=1e-5)


def test_problems_do_not_see_each_other() -> None:
    sim = random_simulator(TASKS["discrete"])
    agents, states, actions = sequences(sim, p=3, k=4, h=5)
    agents[:] = 0, 1, 2
    together = torch.stack(list(sim.unroll(agents, states[:, 0], actions)), dim=3)
    for i in range(3):
        alone = sim.unroll(agents[i : i + 1], states[i : i + 1, 0], actions[i : i + 1])
        alone_stacked = torch.stack(list(alone), dim=3)
        torch.testing.assert_close(together[:, i : i + 1], alone_stacked, rtol=1e-4, atol=1e-5)
    # Another agent in the same state with the same actions goes elsewhere.
    agents[1], states[1], actions[1] = 3, states[0], actions[0]
    other = torch.stack(list(sim.unroll(agents, states[:, 0], actions)), dim=3)
    assert (other[:, 1] - other[:, 0]).abs().max() > 0.01


def test_some_of_the_members() -> None:
    network = random_network(network_shape())
    agents, states, actions = inputs(network.shape)
    few = network.members([2, 0])
    assert few.shape == network_shape(members=2)
    expected = network(agents, states, actions)[[2, 0]]
    torch.testing.assert_close(few(agents, states[[2, 0]], actions), expected)
    few.tensors["head.bias"].zero_()
    assert network.tensors["head.bias"].abs().min() > 0, "tensors are shared"


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_a_step_is_the_design_times_the_agents_factor(name: str, form: dict[str, Any]) -> None:
    sim = random_simulator(TASKS[name], lag=2, **form)
    ensemble = sim.ensemble
    agents, states, actions = sequences(sim, p=7, k=1, h=1)
    flat = torch.as_tensor(states).flatten(1)
    taken = torch.as_tensor(actions[:, 0, 0])
    factors = ensemble.agent_factors()[:, torch.as_tensor(agents)]
    change = torch.einsum("mndr,mnr->mnd", ensemble.design(flat, taken), factors)
    expected = flat[:, -sim.ensemble.obs_dim :] + change + ensemble.offset()
    stepped_once = ensemble.step(torch.as_tensor(agents), flat, taken)
    torch.testing.assert_close(stepped_once, expected, rtol=1e-4, atol=1e-5)
    assert change.abs().max() > 0.01


def test_an_angle_may_go_round() -> None:
    turned = np.array([0.0, 2 * np.pi, 0.0], dtype=np.float32)
    state = np.array([[0.3, -0.4, 0.2]], dtype=np.float32)
    action = np.array([[0.5, -0.1]], dtype=np.float32)
    for angles, same in (((1,), True), ((), False), ((0,), False)):
        sim = random_simulator(TASKS["continuous"], angles=angles)
        here, there = sim.predict([0], state, action), sim.predict([0], state + turned, action)
        assert np.allclose(here + turned, there, atol=1e-5) is same
        # What is predicted is the angle, not where it stands on the circle.
        assert np.abs(here - state).max() < 5


def test_actions_move_the_joint_form() -> None:
    sim = random_simulator(TASKS["continuous"], joint=True)
    state = np.full((2, 3), 0.1, dtype=np.float32)
    first, second = sim.predict([0, 0], state, np.array([[0.5, -0.1], [0.5, 0.9]], np.float32))
    assert np.abs(first - second).max() > 1e-3


def test_agents_of_the_joint_form_begin_alike() -> None:
    shape = network_shape(**JOINT, num_agents=400, members=2)
    network = LowRankNetwork.initial(shape, torch.Generator().manual_seed(0))
    factors = network.agent_factors()
    assert factors.mean(1)[:, 0].tolist() == pytest.approx([1, 1], abs=0.02)
    assert factors.mean(1)[:, 1:].abs().max() < 0.02
    assert factors.std(1).flatten().tolist() == pytest.approx([0.2 / 3**0.5] * 6, rel=0.1)
