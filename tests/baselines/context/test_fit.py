"""When a fit of CaDM's networks stops, and what counts in it."""

from __future__ import annotations

import torch

from persim_gym.baselines.context.fit import ContextLearner, Schedule
from persim_gym.baselines.context.network import ContextShape
from persim_gym.baselines.context.windows import Units, Windows
from tests.baselines.context_worlds import TASK, HiddenGain, gains, recorded


def test_a_fit_stops_where_the_held_out_loss_rises() -> None:
    learner = ContextLearner.__new__(ContextLearner)
    learner.rolling, learner.stopped = float("nan"), False
    for value, expected in ((1.0, False), (0.5, False), (0.5, False), (5.0, True)):
        learner._stop_where_it_rises(value)
        assert learner.stopped is expected


def test_a_past_counts_by_what_it_tells() -> None:
    """Of one transition a gain is hardly known: what is left there must not hide the rest."""
    data = recorded(HiddenGain(gains(60)), 15)
    units = Units.measure(data, TASK)
    shape = ContextShape(1, 2, 2, 1, history=4, context=3, encoder=(16,), hidden=(32,))
    windows = Windows(data, TASK, units, 4, 6, torch.device("cpu"))
    schedule = Schedule(steps=1500, learning_rate=1e-2, falling=True, weigh_pasts=True)
    learner = ContextLearner(shape, windows, schedule, 0)
    assert torch.equal(learner.tensors()["worth"], torch.ones(5))
    for block in range(15):
        torch.manual_seed(block)
        learner.train(block)
    worth = learner.tensors()["worth"]
    assert float(worth.max()) == 1.0
    assert float(worth[0]) < 0.3 * float(worth[-1])
    other = ContextLearner(shape, windows, schedule, 1)
    other.restore(learner.tensors())
    assert torch.equal(other.tensors()["worth"], worth)
