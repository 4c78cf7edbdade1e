"""Members as their mean and contrasts."""

from __future__ import annotations

import numpy as np
import pytest

from persim_gym.learned.stepping.contrasts import Turning, axes, turn

REACH = np.array([0.5, 2.0, 3.0])


@pytest.mark.parametrize("members", [1, 2, 5])
def test_mean_and_contrasts_are_the_members(members: int) -> None:
    changes = np.random.default_rng(0).normal(size=(3, members, 7))  # [d, m, n]
    found = turn(members, REACH) @ changes
    mean, contrasts = found[:, 0], found[:, 1:].reshape(-1, 7)
    np.testing.assert_allclose(mean, changes.mean(axis=1))
    deviations = (changes - mean[:, None]).swapaxes(0, 1)  # [m, d, n]
    np.testing.assert_allclose(axes(members, REACH, range(3)) @ contrasts, deviations, atol=1e-14)
    squares = np.square(deviations / REACH[:, None]).sum(axis=(0, 1))
    np.testing.assert_allclose(np.square(contrasts).sum(axis=0), squares, atol=1e-14)


def test_coordinates_without_contrasts_are_the_same_for_all_members() -> None:
    changes = np.random.default_rng(0).normal(size=(3, 4, 7))
    changes[1] = changes[1, :1]
    found = turn(4, REACH) @ changes
    contrasts = found[[2, 0], 1:].reshape(-1, 7)  # in any order
    deviations = (changes - found[:, :1]).swapaxes(0, 1)
    np.testing.assert_allclose(axes(4, REACH, [2, 0]) @ contrasts, deviations, atol=1e-14)


@pytest.mark.parametrize("members", [1, 2, 5])
def test_every_coordinate_is_turned(members: int) -> None:
    changes = np.random.default_rng(0).normal(size=(3, members, 7)).astype(np.float32)
    turning = Turning(members, REACH)
    mean, contrasts = turning(changes)
    found = mean + turning.axes @ contrasts  # [m, d, n]
    np.testing.assert_allclose(found, changes.swapaxes(0, 1), atol=1e-6)
    deviations = (changes - changes.mean(axis=1, keepdims=True)) / REACH[:, None, None]
    squares = np.square(deviations).sum(axis=(0, 1))
    np.testing.assert_allclose(np.square(contrasts).sum(axis=0), squares, rtol=1e-5, atol=1e-12)
    single = turning.deviations @ changes[:, :, 0].T.ravel()
    np.testing.assert_allclose(single[:3], mean[:, 0], atol=1e-6)
    np.testing.assert_allclose(single[3:].reshape(members, 3), deviations[:, :, 0].T, atol=1e-6)
