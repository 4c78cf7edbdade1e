"""Units of CaDM's networks, and batches beside plain loops over windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from persim_gym.baselines.context.windows import Units, Windows, free_rows, hold_out
from tests.baselines.context_worlds import TASK, HiddenGain, gains, recorded, transitions
from tests.learned.worlds import PlainTask, random_walks


def test_batches_hold_the_past_of_the_window_and_nothing_of_other_episodes() -> None:
    data = recorded(HiddenGain(gains(3)), steps=7)
    units = Units.measure(data, TASK)
    windows = Windows(data, TASK, units, history=4, future=3, device=torch.device("cpu"))
    pairs = windows.pairs(np.ones(len(data), dtype=np.bool_))
    expected = [
        (t, u) for t in range(len(data)) for u in range(t, t + 3)
        if u < len(data) and data.episode[u] == data.episode[t]
    ]  # fmt: skip
    assert pairs.tolist() == [list(pair) for pair in expected]
    batch = windows.batch(pairs[None])
    for n, (t, u) in enumerate(expected):
        past = []
        for row in range(t - 4, t):
            if row < 0 or data.episode[row] != data.episode[t]:
                past += [0.0, 0.0, 0.0]
                continue
            moved = (data.next_obs[row] - data.obs[row]) / units.change[1].numpy()
            past += [*moved.tolist(), float(data.action[row, 0])]
        assert batch.history[0, n].tolist() == pytest.approx(past, abs=1e-6)
        obs = (data.obs[u] - units.state[0].numpy()) / units.state[1].numpy()
        assert batch.states[0, n].tolist() == pytest.approx(obs.tolist(), abs=1e-6)
        change = (data.next_obs[u] - data.obs[u] - units.change[0].numpy()) / units.change[
            1
        ].numpy()
        assert batch.change[0, n].tolist() == pytest.approx(change.tolist(), abs=1e-5)
        back = (data.obs[u] - data.next_obs[u] - units.back[0].numpy()) / units.back[1].numpy()
        assert batch.change_back[0, n].tolist() == pytest.approx(back.tolist(), abs=1e-5)


def test_a_past_is_as_long_as_the_window_has_transitions_before_it() -> None:
    data = recorded(HiddenGain(gains(2)), steps=6)
    units = Units.measure(data, TASK)
    windows = Windows(data, TASK, units, history=4, future=2, device=torch.device("cpu"))
    pairs = windows.pairs(np.ones(len(data), dtype=np.bool_))
    assert windows.known(pairs)[pairs[:, 0] == pairs[:, 1]].tolist() == [0, 1, 2, 3, 4, 4] * 2
    worth = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5])
    weights = windows.batch(pairs[None], worth).worth
    assert weights is not None
    assert torch.equal(weights[0, :, 0], worth[windows.known(pairs)])


def test_transitions_onto_a_bound_are_none_to_learn_from() -> None:
    task = PlainTask.of(1, action_dim=1, low=-1.0)
    path = np.array([[[0.0], [1.0], [0.5], [-1.0]]], dtype=np.float32)
    data = transitions(path, np.zeros((1, 3, 1)), np.zeros(1, dtype=np.int64))
    assert free_rows(data, task).tolist() == [False, True, False]
    windows = Windows(
        data, task, Units.measure(data, task), history=2, future=3, device=torch.device("cpu")
    )
    assert windows.pairs(np.ones(3, dtype=np.bool_)).tolist() == [[0, 1], [1, 1]]
    stuck = data.select(np.array([0]))
    assert free_rows(stuck, task).all(), "with none left all are learned from"


def test_units_are_kept() -> None:
    units = Units.measure(recorded(HiddenGain(gains(2)), steps=6), TASK)
    again = Units.of(units.tensors(), units.angles)
    obs = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again.seen(obs), units.seen(obs))
    assert float(units.seen(torch.zeros(1, 2)).abs().sum()) > 0


def test_what_is_held_out_has_a_share_and_a_most() -> None:
    rng = np.random.default_rng(0)
    assert hold_out(200, 0.1, rng).sum() == 20
    assert hold_out(100_000, 0.1, rng).sum() == 5000
    assert not hold_out(5, 0.1, rng).any()


def test_half_cheetah_sees_sine_and_cosine_and_no_velocity_of_the_last_step() -> None:
    from persim_gym.envs.tasks.half_cheetah import HalfCheetahTask

    task = HalfCheetahTask()
    data = random_walks(task, agents=3, steps=30)
    units = Units.measure(data, task)
    obs = torch.as_tensor(data.obs[:5])
    seen = units.seen(obs) * units.state[1] + units.state[0]
    assert seen.shape == (5, 18)  # without the first, and two for the pitch
    assert torch.allclose(seen[:, 0], obs[:, 1], atol=1e-5)
    assert torch.allclose(seen[:, -2], obs[:, 2].sin(), atol=1e-5)
    assert torch.allclose(seen[:, -1], obs[:, 2].cos(), atol=1e-5)
    after = units.following(obs, torch.zeros(5, 18))
    assert torch.allclose(after[:, 0], units.change[0][0].expand(5))  # itself, not by its change
    assert torch.allclose(after[:, 1:], obs[:, 1:] + units.change[0][1:])
