"""The frame, and models of plain arrays in it: one step, unrolling, files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor

from persim_gym.learned.data import Data
from persim_gym.learned.features.frame import Frame
from persim_gym.learned.history import coded
from tests.learned.features.frames import CONTINUOUS, DISCRETE, data_of, names_of
from tests.learned.worlds import PlainTask


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
    names = names_of(frame, ("heading", "s", "speed", "c", "constant"), ("one", "two"))
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
    # Leading axes of any number.
    stacked = frame.features(states.view(1, 8, 30, -1), actions.view(8, 30, *actions.shape[1:]))
    assert torch.equal(stacked[0].flatten(0, 1), features)
    plain = json.loads(json.dumps(frame.to_json()))
    again = Frame.from_parts(frame.tensors(), plain)
    assert torch.equal(again.features(states, actions), features)
    assert again.kept == frame.kept
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


def test_a_frame_sees_what_is_said_of_the_past() -> None:
    data = data_of(CONTINUOUS)
    whole = Frame.of(data, 3)
    changes, late, now = whole.optional
    seen = [changes[0], late[-1]]
    part = Frame.of(data, 3, seen=seen)
    inputs = [k for k, c in enumerate(whole.kept) if c in seen or c not in {*changes, *late, *now}]
    assert part.kept == tuple(whole.kept[k] for k in inputs)
    states, actions = whole.states(data), torch.as_tensor(data.transitions.action)
    torch.testing.assert_close(
        part.features(states, actions), whole.features(states, actions)[:, inputs]
    )
    again = Frame.from_parts(part.tensors(), part.to_json())
    torch.testing.assert_close(again.features(states, actions), part.features(states, actions))


@pytest.mark.parametrize(
    ("lag", "seen", "there"),
    [(3, (999,), "from 6 to 19"), (3, (0, 6), "from 6 to 19"), (1, (5,), "lag=1 has none")],
)
def test_only_columns_that_there_are_can_be_seen(
    lag: int, seen: tuple[int, ...], there: str
) -> None:
    with pytest.raises(ValueError, match=f"seen has no column .*{there}"):
        Frame.of(data_of(CONTINUOUS), lag, seen=seen)
