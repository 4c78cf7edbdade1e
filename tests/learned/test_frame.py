"""The frame, and models of plain arrays in it: one step, unrolling, files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned import PerSim
from persim_gym.learned.bounds import BoundEffects
from persim_gym.learned.ensemble import UNROLL_MODES
from persim_gym.learned.frame import Frame
from persim_gym.learned.frame_ensemble import FrameEnsemble, LinearModel, register
from persim_gym.learned.history import coded, moved, remembered, slots
from persim_gym.learned.lags import judge_lags
from persim_gym.learned.preparation import Data
from tests.learned.worlds import PlainTask, transitions

DISCRETE, CONTINUOUS = PlainTask.of(5, actions=3), PlainTask.of(5, action_dim=2)


def data_of(task: PlainTask, agents: int = 4, steps: int = 60, noise: float = 0.0) -> Data:
    """Agents on a circle (columns 3 and 1) with a wrapped heading (0), a speed and a constant."""
    rng = np.random.default_rng(0)
    n = agents * steps
    if hasattr(task.action_space, "n"):
        action: NDArray[Any] = rng.integers(0, task.action_space.n, n)
    else:
        action = rng.uniform(-1, 1, (n, 2))
    turn = rng.uniform(-0.5, 0.5, (2, agents, steps + 1)).cumsum(2) * 3
    speed = rng.normal(size=(agents, steps + 1)) * 2 + 5
    columns = [
        np.pi - (np.pi - turn[0]) % (2 * np.pi), np.sin(turn[1]), speed, np.cos(turn[1]),
        np.full_like(speed, 7.0),
    ]  # fmt: skip
    walk = np.stack(columns, axis=2) + noise * rng.normal(size=(agents, steps + 1, 5))
    before, after = (part.reshape(n, 5) for part in (walk[:, :-1], walk[:, 1:]))
    return Data(transitions(np.repeat(np.arange(agents), steps), before, action, after), task)


def parts(data: Data) -> tuple[Tensor, Tensor, Tensor]:
    t = data.transitions
    return torch.as_tensor(t.obs), torch.as_tensor(t.action), torch.as_tensor(t.next_obs)


@pytest.mark.parametrize("lag", [1, 3])
@pytest.mark.parametrize("task", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
def test_features_and_changes(task: PlainTask, lag: int) -> None:
    data = data_of(task)
    frame = Frame.of(data, lag)
    obs, actions, next_obs = parts(data)
    assert (frame.targets, frame.obs_dim) == (4, 5)
    states = frame.states(data)
    features = frame.features(states, actions)
    names = frame.names(("heading", "s", "speed", "c", "constant"), ("one", "two"))
    assert features.shape == (240, frame.size)
    # Heading, angle and speed; the constant has no feature.
    assert frame.size == 5 + (lag - 1) * (3 + 2) + 2 == len(names)
    assert names[:5] == ("speed", "cos(heading)", "cos(angle(s, c))", "sin(heading)",
                         "sin(angle(s, c))")  # fmt: skip
    whole = torch.as_tensor(data.transitions.step >= lag - 1)
    known = features[whole]
    place = {name: known[:, k] for k, name in enumerate(names)}
    assert torch.allclose(place["cos(angle(s, c))"], obs[whole, 1].double(), atol=1e-6)
    assert torch.allclose(place["sin(heading)"], obs[whole, 0].double().sin(), atol=1e-6)
    scaled = torch.stack([v for n, v in place.items() if not n.startswith(("cos", "sin"))])
    assert torch.allclose(scaled.mean(1), torch.zeros(len(scaled)).double(), atol=1e-5)
    assert torch.allclose(scaled.std(1, correction=0), torch.ones(len(scaled)).double(), atol=1e-4)
    if lag > 1:  # what was done and what came of it stand where they belong
        t = data.transitions
        rows = np.flatnonzero(t.step >= 2)
        was = coded(actions, frame.choices).double()[rows - 1]
        one = place["one[-1]"]
        assert abs(float(torch.corrcoef(torch.stack([one, was[:, 0]]))[0, 1]) - 1) < 1e-6
        step = obs[rows, 2] - obs[rows - 1, 2]
        fast = place["change of speed[-1]"]
        assert abs(float(torch.corrcoef(torch.stack([fast, step.double()]))[0, 1]) - 1) < 1e-6
    change = frame.change(obs, next_obs)
    assert change.dtype == torch.float64
    assert change[whole].std(0, correction=0).tolist() == pytest.approx([1, 1, 1, 0], abs=1e-6)
    assert change.abs().max() < 5  # no turn is among them
    assert torch.allclose(frame.next_obs(obs.double(), change), next_obs.double(), atol=1e-6)
    # Leading axes of any number.
    stacked = frame.features(states.view(1, 8, 30, -1), actions.view(8, 30, *actions.shape[1:]))
    assert torch.equal(stacked[0].flatten(0, 1), features)
    plain = json.loads(json.dumps(frame.to_json()))
    again = Frame.from_parts(frame.tensors(), plain)
    assert torch.equal(again.features(states, actions), features)
    assert again.names(("a",) * 5, ("u",) * 2) == frame.names(("a",) * 5, ("u",) * 2)
    low = frame.to("cpu", torch.float32)
    assert torch.allclose(low.features(states, actions).double(), features, atol=1e-4)
    with pytest.raises(ValueError, match="not of the same frame"):
        Frame.from_parts(frame.tensors() | {"unit": torch.ones(9)}, plain)


def test_features_are_held_near_the_record() -> None:
    data = data_of(CONTINUOUS)
    frame = Frame.of(data)
    obs, actions, _ = parts(data)
    speed = data.transitions.obs[:, 2]
    width = float(np.ptp(speed))
    far = obs[:2].clone()
    far[:, 2] = torch.tensor([-1e6, 1e6])
    for held, margin in ((frame, 1.0), (frame.within(0.1), 0.1)):
        seen = held.features(far, actions[:2])[:, 0] * frame.scale[0] + frame.centre[0]
        ends = [speed.min() - margin * width, speed.max() + margin * width]
        assert seen.tolist() == pytest.approx(ends, rel=1e-5)
    with pytest.raises(ValueError, match="longer than the 60 steps"):
        Frame.of(data, lag=61)


def test_states_remember_what_was_done() -> None:
    data = data_of(DISCRETE)
    t = data.transitions
    states = slots(t, 3, 2).reshape(len(t), 3, 7)
    rows = np.flatnonzero(t.step >= 3)
    window = rows[:, None] + np.arange(-2, 1)
    made = remembered(t.obs[window], t.action[window[:, :-1]], 3)
    assert np.array_equal(made[:, 1:], states[rows, 1:])
    assert np.array_equal(made[:, 0, 2:], states[rows, 0, 2:])
    before = coded(torch.as_tensor(t.action[rows - 1]), 3)
    on = moved(torch.as_tensor(states[rows - 1]), before, torch.as_tensor(t.obs[rows]))
    assert np.array_equal(on, states[rows])
    first = states[t.starts]
    assert (first[:, :, 2:] == t.obs[t.starts][:, None]).all()
    assert not first[:, :, :2].any()
    with pytest.raises(ValueError, match="l - 1 actions"):
        remembered(t.obs[window], t.action[window], 3)


@register
class Bend:
    """Changes that are no linear function of anything."""

    kind: ClassVar[str] = "test-bend"

    def __init__(self, factors: Tensor, weights: Tensor) -> None:
        self.factors, self.weights = factors, weights  # [m, N, c], [m, q, c]

    @classmethod
    def drawn(cls, frame: Frame, members: int = 3, agents: int = 4) -> Bend:
        rng = np.random.default_rng(0)
        shapes = ((members, agents, frame.targets), (members, frame.size, frame.targets))
        return cls(*(torch.as_tensor(rng.normal(size=shape) * 0.3) for shape in shapes))

    @property
    def members(self) -> int:
        return len(self.factors)

    @property
    def num_agents(self) -> int:
        return self.factors.shape[1]

    @property
    def widths(self) -> tuple[int, int]:
        return (self.weights.shape[1], self.weights.shape[2])

    def change(self, agents: Tensor, features: Tensor) -> Tensor:
        return torch.tanh(features @ self.weights + self.factors[:, agents])

    def with_factors(self, factors: Tensor) -> Bend:
        return Bend(factors, self.weights)

    def to(self, device: Any, dtype: torch.dtype | None = None) -> Bend:
        return Bend(*(p.to(device, dtype) for p in (self.factors, self.weights)))

    def tensors(self) -> dict[str, Tensor]:
        return {"factors": self.factors, "weights": self.weights}

    def meta(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_parts(cls, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> Bend:
        return cls(**tensors, **meta)


class Quick(Bend):
    """The same, which knows its agents beforehand, and is linear in the factor's exponential."""

    def bind(self, agents: Tensor) -> Any:
        own = self.factors[:, agents][:, :, None]
        return lambda features: torch.tanh(features @ self.weights[:, None] + own)


def made(task: PlainTask, lag: int, kind: type[Bend] = Bend) -> tuple[Data, FrameEnsemble]:
    data = data_of(task)
    frame = Frame.of(data, lag)
    model = kind.drawn(frame)
    low = torch.tensor([-4.0, -2, 3.5, -2, 0])
    high = torch.tensor([4.0, 2, 6.5, 2, 9])
    # Over the speed's upper bound, the last coordinate is drawn to 1 (inner coordinates).
    effect = torch.tensor([[0, 0, 0, 0.5], [1, 1, 1, 0.5], [0, 0, 0, 0]]).double()
    bounds = (torch.tensor([2]), torch.tensor([1.0]).double(), torch.tensor([6.5]).double())
    effects = BoundEffects(*bounds, effect[None])
    return data, FrameEnsemble(frame, model, low, high, effects)


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


def test_lags_are_judged() -> None:
    """A law of the second order: its speed is hidden."""
    rng = np.random.default_rng(0)
    agents, steps = 20, 80
    push = rng.uniform(-1, 1, (agents, steps, 1))
    place, speed = rng.normal(size=(2, agents))
    stiff = rng.uniform(0.05, 0.15, agents)
    walk, speeds = [place], [speed]
    for t in range(steps):
        speed = speed - stiff * place + 0.2 * push[:, t, 0]
        place = place + 0.5 * speed
        walk.append(place)
        speeds.append(speed)
    whole = np.stack([np.stack(walk, 1), np.stack(speeds, 1)], axis=2)
    who = np.repeat(np.arange(agents), steps)
    flat = push.reshape(-1, 1)
    for columns, lag in (([0, 1], 1), ([0], 2)):
        seen = whole[:, :, columns]
        before, after = (p.reshape(len(who), -1) for p in (seen[:, :-1], seen[:, 1:]))
        task = PlainTask.of(len(columns), action_dim=1)
        found = judge_lags(Data(transitions(who, before, flat, after), task))
        assert [trial.lag for trial in found.trials] == [1, 2, 3, 4, 5]
        assert found.chosen == lag
        assert found.trials[lag - 1].open_loop < 1e-3
    assert found.trials[0].open_loop > 0.1
    assert judge_lags(Data(transitions(who, before, flat, after), task), gain=1.0).chosen == 1
    assert json.loads(json.dumps(found.to_json()))["chosen"] == 2
    short = transitions(who[:40], before[:40], flat[:40], after[:40], episode=np.arange(40) // 2)
    assert judge_lags(Data(short, task)).chosen == 1


def test_the_model_that_judges_lags_is_linear() -> None:
    from persim_gym.learned.lags import Ridge

    rng = np.random.default_rng(0)
    features, change = (torch.as_tensor(rng.normal(size=(90, k))) for k in (4, 2))
    agents = torch.arange(90) % 3
    model = Ridge.fitted(features, change, agents, [0, 1], 1.0)
    assert isinstance(model, LinearModel)
    expected = model.change(agents, features)
    own = model.factors[:, agents]
    linear = torch.einsum("mncr,mnr->mnc", model.design(features), own) + model.offset()
    assert torch.allclose(linear, expected)
    bound = model.bind(torch.arange(3))(features.view(30, 3, 4).transpose(0, 1)[None])
    assert torch.allclose(bound[0].transpose(0, 1).reshape(90, 2), expected[0])
