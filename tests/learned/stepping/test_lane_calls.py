"""Layers of many rows as calls on memory that stays where it is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from persim_gym.learned.stepping import lane_calls
from persim_gym.learned.stepping.lane_calls import (
    ALONE,
    Floats,
    Through,
    blocks,
    product,
    product_calls,
)


@pytest.mark.parametrize("n", [1, 7, 8, 100, 1001])
def test_blocks_are_all_rows_once(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_calls, "TOGETHER", 600)
    parts = blocks(n, 10)
    rows = np.arange(n)
    np.testing.assert_array_equal(np.concatenate([rows[part] for part in parts]), rows)
    assert len(parts) >= n / 64, "a block is at most as large as the cache allows, rounded up"


def test_products_by_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("persim_gym.learned.stepping.lane_calls.ALONE", 60)
    rng = np.random.default_rng(0)
    weight, x = (rng.normal(size=size).astype(np.float32) for size in ((3, 4, 5), (3, 5, 11)))
    out = np.empty((3, 4, 11), dtype=np.float32)
    calls = product_calls(weight, x, out)
    assert len(calls) == 4
    for call in calls:
        call()
    np.testing.assert_allclose(out, weight @ x, rtol=1e-5)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("widths", [(4, 6, 5), (4, 6, 6, 6, 6, 2)])
def test_layers_one_after_the_other(widths: tuple[int, ...], shared: bool, relu: bool) -> None:
    rng = np.random.default_rng(0)

    def some(*size: int) -> Floats:
        return rng.normal(size=size).astype(np.float32)

    n = 9
    layers = [(some(3, out, into), some(3, out, 1)) for into, out in itertools.pairwise(widths)]
    bent = len(layers) - 1
    through = Through(layers, bent, relu, n, inputs=4)
    given = some(4, n) if shared else some(3, 4, n)
    ones = np.ones((*given.shape[:-2], 1, n), dtype=np.float32)
    x = np.concatenate([given, ones], axis=-2)
    calls = through.calls(x)
    for _ in range(2):  # in the same memory again
        for call in calls:
            call()
    value: Floats = np.broadcast_to(given, (3, 4, n))
    for number, (weight, bias) in enumerate(layers):
        value = weight @ value + bias
        if number < bent:
            value = np.maximum(value, 0) if relu else value / (1 + np.exp(-value))
    room = through.rooms[-1]
    np.testing.assert_allclose(room[:, : widths[-1]], value, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(room[:, widths[-1] : -1], np.broadcast_to(given, (3, 4, n)))
    assert (room[:, -1] == 1).all()
    assert len({id(r) for r in through.rooms}) <= 4, "rooms are used in turn"


def test_a_product_of_many_columns_is_made_in_parts() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(2, 40, 60)).astype(np.float32)
    x = rng.normal(size=(2, 60, 2 * ALONE // 2400 + 7)).astype(np.float32)
    np.testing.assert_allclose(product(weight, x), weight @ x, rtol=1e-4, atol=1e-4)
