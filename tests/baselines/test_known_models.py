"""What a baseline's model remembers of its data, and what bounds of the space do."""

from __future__ import annotations

import numpy as np
import torch

from persim_gym.baselines.context.network import ContextNetwork, ContextShape
from persim_gym.baselines.context.windows import Units
from persim_gym.baselines.known_models import (
    PASTS_OF_EACH,
    ensemble_of,
    first_seen,
    recalled,
    recorded_start,
    remember,
    walls,
    with_walls,
)
from persim_gym.learned.history import slots
from persim_gym.offline.transitions import Transitions
from tests.baselines.context_worlds import TASK, HiddenGain, gains, recorded, transitions
from tests.learned.worlds import PlainTask

LAG, PAST = 3, 1


def test_what_is_remembered_is_recalled_with_the_pasts_of_one_agent() -> None:
    data = recorded(HiddenGain(gains(4)), 30)
    part = data.select(data.agent > 0)
    kept = remember(part, TASK, LAG, PAST)
    seen = recalled(kept)
    np.testing.assert_array_equal(seen.low, np.minimum(part.obs.min(0), part.next_obs.min(0)))
    assert seen.seen is not None
    assert seen.seen.tolist() == [False, True, True, True]
    assert first_seen(seen) == 1
    assert seen.pasts is None
    assert recalled(kept, agent=0).pasts is None
    own = recalled(kept, agent=2).pasts
    assert own is not None
    every = slots(data, LAG, PAST).reshape(len(data), -1)[data.agent == 2]
    # From the first state with a whole past on, at even distances.
    rows = LAG - 1 + np.arange(PASTS_OF_EACH) * 28 // PASTS_OF_EACH
    np.testing.assert_array_equal(own.reshape(PASTS_OF_EACH, -1), every[rows])


def test_a_model_without_a_past_keeps_none() -> None:
    kept = remember(recorded(HiddenGain(gains(2)), 5), TASK, 1, 0)
    assert "experience.pasts" not in kept
    assert recalled(kept, agent=0).pasts is None


def walled() -> tuple[PlainTask, Transitions]:
    """Each second step ends on a bound of the position, which leaves no speed."""
    task = PlainTask.of(2, action_dim=1, low=-1.0)
    path = np.tile(np.array([[0.5, 0.4], [1.0, 0.0]], dtype=np.float32), (10, 20, 1))
    return task, transitions(path, np.zeros((10, 39, 1)), np.arange(10))


def test_what_a_bound_does_to_other_coordinates_is_learned() -> None:
    task, data = walled()
    shape = ContextShape(members=1, obs_dim=2, inputs=2, acts=1, context=0, backward=False)
    zero = torch.zeros_like(ContextNetwork.initial(shape, torch.Generator().manual_seed(0)))
    stay = torch.ones(2)
    plain, far = torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([[2.0, 0.0], [1.0, 1.0]])
    one = torch.tensor([[0.0], [1.0]])
    # It takes the position two further, and the speed to stay: over the bound in each step.
    units = Units(state=plain, action=one, change=far, back=plain, stay=stay)
    model = ensemble_of(ContextNetwork.views(shape, zero), units, task, 10)
    free = torch.tensor([[0.5, 0.4]])
    assert model.step(torch.zeros(1).long(), free, torch.zeros(1, 1))[0, 0, 1] == 0.4
    found = walls(model, data, task)
    assert found
    whole = with_walls(model, found)
    after = whole.step(torch.zeros(1).long(), free, torch.zeros(1, 1))[0, 0]
    torch.testing.assert_close(after, torch.tensor([1.0, 0.0]), atol=1e-3, rtol=0)
    assert walls(model, recorded(HiddenGain(gains(2)), 5), TASK) == {}
    assert with_walls(model, {}) is model


def test_a_start_is_one_of_the_recorded() -> None:
    starts = np.arange(6.0).reshape(3, 2)
    drawn = recorded_start(starts, np.random.default_rng(0), 40)
    assert {tuple(row) for row in drawn.tolist()} == {(0.0, 1.0), (2.0, 3.0), (4.0, 5.0)}
