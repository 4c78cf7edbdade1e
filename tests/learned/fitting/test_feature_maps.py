"""How features of a frame move with the state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from persim_gym.learned.features.frame import Frame
from persim_gym.learned.fitting.feature_maps import feature_map_of
from persim_gym.learned.latent.gradients import Motion
from tests.learned.features.frames import CONTINUOUS, DISCRETE, data_of


def test_features_move_as_the_record_does() -> None:
    """A circle, a wrapped heading, a speed and a constant, without a past and with one."""
    for task in (CONTINUOUS, DISCRETE):
        data = data_of(task)
        t = data.transitions
        for lag in (1, 3):
            frame = Frame.of(data, lag)
            features = frame.features(frame.states(data), torch.as_tensor(t.action))
            obs = torch.as_tensor(t.obs).double()
            change = frame.change(obs, obs + torch.as_tensor(t.change(np.arange(len(t)))))
            found = feature_map_of(frame)
            assert found is not None
            assert found.observations == lag
            moving = found.moving
            assert len(moving) == 5 + (lag - 1) * frame.targets - (lag - 1)  # one is constant
            rows = (t.step >= lag - 1) & np.append(t.episode[1:] == t.episode[:-1], False)
            after = features[np.flatnonzero(rows) + 1]
            moved = found.moved(features, change)[rows]
            assert torch.allclose(moved[:, moving], after[:, moving], atol=1e-4)


def test_features_of_other_observations() -> None:
    data = data_of(CONTINUOUS)
    frame = Frame.of(data, 3)
    found = feature_map_of(frame)
    assert found is not None
    c, draw = frame.targets, torch.Generator().manual_seed(0)
    inner = frame.inward(frame.states(data)).double()[100:120]
    actions = torch.as_tensor(data.transitions.action)[100:120]
    apart = 0.1 * torch.randn(20, 3 * c, generator=draw, dtype=torch.float64)
    others = inner.unflatten(-1, (3, -1)).clone()
    # The present observation stands last, and the first among what it is displaced by.
    others[..., frame.past :] += apart.unflatten(-1, (3, c)).flip(1) * frame.unit
    now = torch.zeros(frame.size, 20)
    before, expected = (frame.inner_features(x, actions) for x in (inner, others.flatten(1)))
    motion = Motion(found)
    motion.displace(before.float().mT[None], apart.float().mT[None], now[None])
    assert torch.allclose(now.mT[:, found.moving].double(), expected[:, found.moving], atol=1e-4)


def test_what_does_not_say_how_it_moves_is_left_to_single_steps() -> None:
    frame = Frame.of(data_of(CONTINUOUS), 3)
    first = frame.optional[0].start
    walls = np.full(5, -10.0), np.full(5, 10.0)
    assert feature_map_of(frame, walls) is None
    assert feature_map_of(Frame.of(data_of(CONTINUOUS)), walls) is not None
    for hidden in (
        len(frame.geometry.plain),
        first,
    ):  # a cosine, and the latest change of what has an earlier one
        kept = [k for k, column in enumerate(frame.kept) if column != hidden]
        fewer = {n: getattr(frame, n)[kept] for n in ("centre", "scale", "low", "high")}
        partly = replace(frame, kept=tuple(frame.kept[k] for k in kept), **fewer)
        assert feature_map_of(partly) is None, hidden
