from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray

from persim_gym.learned.bounds import (
    LEAST_ROWS,
    BoundEffects,
    following_of,
    learn_bounds,
    mark_resets,
)
from tests.learned.worlds import PlainTask, transitions

LOW, HIGH = np.array([-1.0, -2.0]), np.array([np.inf, 2.0])
UNIT = np.ones(2)


def learn(predicted: NDArray[np.float64], observed: NDArray[np.float64]) -> BoundEffects | None:
    return learn_bounds(predicted, observed, LOW, HIGH, UNIT)


def crossings(n: int = 20, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Predictions beyond the first coordinate's lower bound, and how far."""
    rng = np.random.default_rng(seed)
    over = rng.uniform(0.01, 0.5, n)
    return np.stack([-1.0 - over, rng.uniform(-1, 1, n)], 1), over


def settled(effects: BoundEffects, obs: NDArray[np.float64]) -> NDArray[np.float64]:
    found = effects(torch.as_tensor(obs))
    return torch.clamp(found, torch.as_tensor(LOW), torch.as_tensor(HIGH)).numpy()


def test_nothing_happens_where_nothing_is_seen_to() -> None:
    predicted, _ = crossings()
    observed = np.column_stack([np.full(20, -1.0), predicted[:, 1]])
    assert learn(predicted, observed) is None
    inside = np.abs(predicted) * 0.1
    assert learn(inside, inside) is None


@pytest.mark.parametrize(
    ("law", "constant", "share", "slope"),
    [
        (lambda y, over: 0 * y, 0.0, 0.0, 0.0),
        (lambda y, over: 0 * y + 0.7, 0.7, 0.0, 0.0),
        (lambda y, over: y + 0.4 * over, 0.0, 1.0, 0.4),
        (lambda y, over: 0.1 - 0.5 * y, 0.1, -0.5, 0.0),
        (lambda y, over: 0.1 - 0.5 * y + 2 * over, 0.1, -0.5, 2.0),
    ],
    ids=["stop", "constant", "overshoot", "bounce", "all"],
)
def test_each_form_is_found(law, constant: float, share: float, slope: float) -> None:  # type: ignore[no-untyped-def]
    predicted, over = crossings()
    observed = np.column_stack([np.full(20, -1.0), law(predicted[:, 1], over)])
    effects = learn(predicted, observed)
    assert effects is not None
    assert len(effects) == 1
    assert (int(effects.coordinate[0]), float(effects.side[0])) == (0, -1.0)
    np.testing.assert_allclose(effects.effect[0, :, 1], [constant, share, slope], atol=1e-9)
    fresh, beyond = crossings(seed=1)
    expected = np.column_stack([np.full(20, -1.0), law(fresh[:, 1], beyond)])
    np.testing.assert_allclose(settled(effects, fresh), expected, atol=1e-9)
    # What stays inside is left alone, one by one.
    mixed = np.concatenate([fresh[:1], np.abs(fresh[1:2])])
    np.testing.assert_allclose(settled(effects, mixed)[1], mixed[1])


def test_two_crossings_tell_nothing() -> None:
    predicted, _ = crossings(LEAST_ROWS - 1)
    observed = np.column_stack([np.full(LEAST_ROWS - 1, -1.0), 0 * predicted[:, 1]])
    assert learn(predicted, observed) is None


def test_what_is_cut_at_its_own_bound_does_not_mislead() -> None:
    predicted, over = crossings(40)
    predicted[::2, 1] = 1.9  # these go over the second coordinate's upper bound, too
    after = predicted[:, 1] + 0.4 * over + 0.3 * (np.arange(40) % 2 == 0)
    observed = np.column_stack([np.full(40, -1.0), np.minimum(after, 2.0)])
    cut = observed[:, 1] == 2.0
    assert 5 < cut.sum() < 30
    observed[~cut, 1] = (predicted[:, 1] + 0.4 * over)[~cut]
    effects = learn(predicted, observed)
    assert effects is not None
    first = effects.coordinate.tolist().index(0)
    np.testing.assert_allclose(effects.effect[first, :, 1], [0.0, 1.0, 0.4], atol=1e-9)


def test_noise_does_not_make_a_law() -> None:
    predicted, _ = crossings(12)
    rng = np.random.default_rng(5)
    observed = np.column_stack([np.full(12, -1.0), predicted[:, 1] + 0.2 * rng.normal(size=12)])
    effects = learn(predicted, observed)
    shares = [] if effects is None else effects.effect[0, 2, 1:].abs().tolist()
    assert effects is None or max(shares) < 1.0


def test_files_and_devices() -> None:
    predicted, _ = crossings()
    effects = learn(predicted, np.column_stack([np.full(20, -1.0), 0 * predicted[:, 1]]))
    assert effects is not None
    again = BoundEffects(**effects.tensors()).to("cpu", torch.float32)
    assert again.effect.dtype == torch.float32
    assert again.coordinate.dtype == torch.long
    obs = torch.tensor([[-1.5, 0.3], [0.0, 0.3]])
    torch.testing.assert_close(again(obs), torch.tensor([[-1.5, 0.0], [0.0, 0.3]]))
    lost = torch.tensor([[float("nan"), 0.3], [-1.5, 0.3]])
    assert torch.isnan(again(lost)[0, 0])  # one that is lost does not hide another's crossing
    assert again(lost)[1, 1] == 0.0


def test_what_a_bound_sets_is_marked() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 3))
    cut = np.zeros((40, 3), dtype=np.int8)
    cut[:5, 0], cut[5:10, 0], cut[8:10, 1] = -1, 1, 1
    values[:5, 1] = 0.0  # the lower wall stops, the upper one does not
    alike = cut.copy()
    mark_resets(cut, values, np.ones(3))
    effect = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]])
    BoundEffects(torch.tensor([0]), torch.tensor([-1.0]), torch.tensor([-1.0]), effect).mark_resets(
        alike
    )
    np.testing.assert_array_equal(alike, cut)
    assert (cut[:5, 1] == 2).all()
    assert set(np.unique(cut[5:, 1:])) == {0, 1}
    assert (cut[:, 2] == 0).all()


def test_next_observations_are_as_exact_as_changes_and_on_bounds_as_they_are() -> None:
    obs, after = np.array([[90.1], [50.3]]), np.array([[0.1], [0.2]])
    data = transitions(np.zeros(2, dtype=int), obs, np.zeros(2, dtype=int), after)
    data = replace(data, changes=after - obs)
    task = PlainTask(observation_space=Box(np.float32(0.1), np.inf, (1,)))
    found = following_of(data, np.arange(2), task)
    assert found[0, 0] == np.float32(0.1)
    assert found[1, 0] == data.obs[1, 0].astype(float) + data.change([1])[0, 0]
    assert found[1, 0] != np.float32(0.2)
