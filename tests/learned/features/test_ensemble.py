"""Models of plain arrays in their frame, as an ensemble."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from persim_gym.learned import PerSim
from persim_gym.learned.ensemble import UNROLL_MODES
from persim_gym.learned.features.ensemble import FrameEnsemble, answered, continued, register
from persim_gym.learned.features.frame import Frame
from persim_gym.learned.history import coded, moved
from tests.learned.features.frames import CONTINUOUS, DISCRETE, Bend, data_of, made
from tests.learned.worlds import PlainTask


class Quick(Bend):
    """The same, which knows its agents beforehand, and is linear in the factor's exponential."""

    def bind(self, agents: Tensor) -> Any:
        own = self.factors[:, agents][:, :, None]
        return lambda features: torch.tanh(features @ self.weights[:, None] + own)


@pytest.mark.parametrize("kind", [Bend, Quick])
@pytest.mark.parametrize("lag", [1, 3])
@pytest.mark.parametrize("task", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
def test_unrolling_is_step_after_step(task: PlainTask, lag: int, kind: type[Bend]) -> None:
    data, ensemble = made(task, lag, kind)
    t = data.transitions
    rows = np.flatnonzero(t.step == 10)
    states = ensemble.frame.states(data)[rows].double()
    agents = torch.as_tensor(t.agent[rows])
    rng = np.random.default_rng(1)
    k, h = 5, 12
    drawn = (rng.integers(0, 3, (4, k, h)) if task is DISCRETE else
             rng.uniform(-1, 1, (4, k, h, 2)))  # fmt: skip
    actions = torch.as_tensor(drawn)
    m, choices = ensemble.members, ensemble.frame.choices

    def walk(mode: str) -> Tensor:
        own = states.unflatten(1, (lag, -1)).repeat_interleave(k, 0).expand(m, -1, -1, -1)
        whose = agents.repeat_interleave(k)
        seen = []
        for step in range(h):
            act = actions[:, :, step].flatten(0, 1)
            flat = own.flatten(2)
            obs = ensemble.settle(ensemble.step(whose, flat, act))
            seen.append(obs.unflatten(1, (4, k)))
            if mode == "mean":
                g = ensemble.frame.geometry
                now = g.inward(own[:, :, -1, -5:])
                obs = g.outward(now + g.between(now, g.inward(obs)).mean(0)).expand(m, -1, -1)
            past = coded(act, choices)[:, : ensemble.past]
            own = torch.stack([moved(own[i], past, obs[i]) for i in range(m)])
        return torch.stack(seen)

    for mode in UNROLL_MODES:
        found = torch.stack(list(ensemble.unroll(agents, states, actions, mode)))
        expected = walk(mode)
        if mode == "sampled":
            member = torch.arange(k) % m
            expected = expected[:, member, :, torch.arange(k)].permute(1, 2, 0, 3)[:, None]
        assert torch.allclose(found, expected, atol=1e-8), mode
    circle = found[..., [1, 3]].square().sum(-1)
    assert torch.allclose(circle, torch.ones_like(circle))
    assert found[..., 0].abs().max() <= np.pi
    assert found[..., 2].max() <= 6.5
    # Candidates that are dropped do not change the others.
    steps, kept = ensemble.unroll(agents, states, actions), torch.tensor([[0, 3]] * 4)
    next(steps)
    rest = [steps.send(kept), *steps]
    every = torch.stack(list(ensemble.unroll(agents, states, actions)))
    assert torch.allclose(torch.stack(rest), every[1:, :, :, [0, 3]], atol=1e-12)


def simulator(task: PlainTask, lag: int) -> PerSim:
    data, ensemble = made(task, lag)
    experience = data.experience(ensemble.lag, ensemble.past)
    card = {"task": "plain", "fitted_by": "hand", "agent_names": None}
    return PerSim(ensemble.to("cpu", torch.float32), task, experience, card)


@pytest.mark.parametrize("lag", [1, 3])
def test_a_model_in_its_frame_is_saved_whole(lag: int, tmp_path: Path) -> None:
    sim = simulator(DISCRETE, lag)
    sim.save(tmp_path)
    again = PerSim.load(tmp_path, task=DISCRETE)
    obs = sim.experience.starts[:3]
    actions = np.ones((3, 6), dtype=int)
    agents = np.arange(3)
    assert np.array_equal(sim.rollout(agents, obs, actions), again.rollout(agents, obs, actions))
    assert again.ensemble.to_json() == sim.ensemble.to_json()
    assert isinstance(again.ensemble, FrameEnsemble)
    assert not again.ensemble.linear
    with pytest.raises(TypeError, match="not linear in what is personal"):
        again.adapt()
    with pytest.raises(TypeError, match="'test-bend' is not linear"):
        again.ensemble.offset()
    shape = again.ensemble.to_json() | {"model": "nobody's"}
    with pytest.raises(ValueError, match='no model of kind "nobody\'s"'):
        FrameEnsemble.from_file(shape, {"frame": sim.ensemble.frame.tensors(), "model": {}})


def test_a_kind_has_one_class() -> None:
    class Other(Bend):
        pass

    with pytest.raises(ValueError, match="is Bend's"):
        register(Other)
    assert register(Bend) is Bend


@pytest.mark.parametrize("task", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
def test_episodes_begin_in_a_recorded_past(task: PlainTask) -> None:
    sim = simulator(task, 3)
    bounds = (torch.full((5,), end) for end in (-1e9, 1e9))
    free = FrameEnsemble(sim.ensemble.frame, sim.ensemble.model, *bounds)
    sim = PerSim(free, task, sim.experience, sim.card)
    past = sim.ensemble.past
    known = sim.experience.pasts.reshape(-1, 3, past + 5)
    again = sim.recall(known[:4, -1, past:])
    assert np.allclose(again, known[:4], atol=1e-5)
    # Somewhere else: as far off as the observation is, but on the circle, and as fast.
    off = known[:4, -1, past:].copy()
    off[:, 2] += 0.01
    near = sim.recall(off)
    assert np.allclose(near[:, :, past + 2], known[:4, :, past + 2] + 0.01, atol=1e-5)
    assert np.allclose(np.square(near[:, :, [past + 1, past + 3]]).sum(-1), 1, atol=1e-5)
    forgot = PerSim(sim.ensemble, task, replace(sim.experience, pasts=None), sim.card)
    assert (forgot.recall(off)[:, :, past:] == off[:, None]).all()
    # The environment, its lanes and a rollout from the same state agree.
    env = sim.env(0, start="data", guard=False)
    obs, _ = env.reset(seed=3)
    vector = sim.vector_env(2, [0, 0], start="data", guard=False)
    both, _ = vector.reset(seed=3)
    assert np.array_equal(both[0], obs)
    task.action_space.seed(0)
    actions = [task.action_space.sample() for _ in range(5)]
    walked = [env.step(action)[0] for action in actions]
    lanes = [vector.step(np.array([action] * 2))[0][0] for action in actions]
    assert np.array_equal(walked, lanes)
    first = sim.recall(obs[None])
    steps = sim.rollout(np.array([0]), first, np.array(actions)[None])
    one = [sim.predict(0, first, np.array(actions[:1]))[0]]
    assert np.allclose(walked[0], one[0], atol=1e-5)
    assert np.allclose(steps[:, 0, 0].mean(0), one[0], atol=0.2)


class Holding(Bend):
    """Linear changes of features that are held."""

    @property
    def held(self) -> tuple[Tensor, Tensor]:
        edge = torch.full((self.weights.shape[1],), 1.5)
        return -edge, edge

    def change(self, agents: Tensor, features: Tensor) -> Tensor:
        return features.clamp(*self.held) @ self.weights + self.factors[:, agents]


@pytest.mark.parametrize("lag", [1, 3])
def test_actions_beyond_the_record_go_on_in_a_straight_line_and_states_are_held(lag: int) -> None:
    frame = Frame.of(data_of(CONTINUOUS), lag)
    model, agents = Holding.drawn(frame), torch.tensor([1, 3])
    free = torch.tensor([k in frame.free for k in range(frame.size)])
    present = 1 + 2 * 2  # the speed, and two angles: the constant is none
    assert free.tolist() == [k >= present for k in range(frame.size)]
    features = torch.linspace(-1.4, 2.4, 2 * frame.size).double().view(2, frame.size)
    found = continued(frame, model, lambda x: model.change(agents, x), features)
    expected = torch.where(free, features, features.clamp(*model.held))
    assert torch.allclose(found, expected @ model.weights + model.factors[:, agents])
    # One step of the ensemble is such an answer, and so is a rollout.
    space = torch.full((5,), torch.inf)
    data, ensemble = data_of(CONTINUOUS), FrameEnsemble(frame, model, -space, space)
    states = frame.states(data)[[10, 70]].double()
    far = torch.full((2, 2), 1.9).double()
    step = ensemble.settle(ensemble.step(agents, states, far))
    rolled = next(ensemble.unroll(agents, states, far[:, None, None]))
    assert torch.allclose(rolled[:, :, 0], step)
    features = frame.features(states, far)
    change = answered(frame, model, lambda x: model.change(agents, x), features)
    change = change * frame.unit
    assert torch.allclose(step, ensemble.settle(ensemble.following(states, change)))


@pytest.mark.parametrize("slope", [-0.3, 0.3])
@pytest.mark.parametrize("out", [-2.0, 2.0])
def test_states_beyond_the_record_are_led_back_and_never_further_out(
    slope: float, out: float
) -> None:
    """What draws a level back goes on to grow outside; what drives it out does not."""
    frame = Frame.of(data_of(CONTINUOUS), 1)
    model, agents = Holding.drawn(frame), torch.tensor([1, 3])
    (place,), (own,) = frame.present, frame.own
    weights = model.weights.clone()
    weights[:, place] = 0.1  # of what is not the level itself, nothing goes on
    weights[:, place, own] = slope
    model = Holding(model.factors, weights)
    features = torch.zeros(2, frame.size, dtype=weights.dtype)
    features[:, place] = out
    edge = features.clamp(*model.held)
    found = answered(frame, model, lambda x: model.change(agents, x), features)
    expected = edge @ weights + model.factors[:, agents]
    if slope < 0:
        expected[..., own] += slope * (features - edge)[:, place]
    assert not torch.equal(edge, features)
    assert torch.allclose(found, expected)


def test_where_actions_are_indices_none_is_beyond_the_record() -> None:
    assert Frame.of(data_of(DISCRETE), 1).free == ()
