"""Layers of many rows as a list of calls on memory that stays where it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import silu

#: Multiply-adds of a product up to which NumPy's libraries take one thread. More of them would wait
#: for each other longer than they work, and on a busy machine lose everything.
ALONE = 1 << 18


def product(
    weight: NDArray[np.float32], x: NDArray[np.float32], out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """``weight`` ``[..., o, t]`` times ``x`` ``[..., t, n]``, by columns that one thread can do.

    Returns:
        ``out`` ``[..., o, n]``, new memory by default.
    """
    n = x.shape[-1]
    if out is None:
        out = np.empty((*weight.shape[:-1], n), dtype=np.float32)
    for part in columns(weight, n):
        np.matmul(weight, x[..., part], out=out[..., part])
    return out


def columns(weight: NDArray[np.float32], n: int) -> list[slice]:
    """Parts of ``n`` columns, alike in size, whose product with ``weight`` one thread can do."""
    o, t = weight.shape[-2:]
    count = -(-n // max(1, ALONE // max(1, o * t)))
    width = -(-n // max(1, count))
    return [slice(first, first + width) for first in range(0, n, max(1, width))]


Floats = NDArray[np.float32]
Layers = list[tuple[Floats, Floats]]
#: A part of a step. As memory stays where it is, all parts are put together once, with their
#: arrays, and a step is nothing but calling them in turn.
Call = Callable[[], object]

#: Width of a hidden layer from which on torch's own layers are quicker for many rows.
WIDE = 128
#: Numbers of a layer's values, of all members, up to which rows go through all layers together:
#: enough that the calls cost less than the arithmetic, and few enough to stay in the processor's
#: cache from one layer to the next.
TOGETHER = 1 << 16


def blocks(n: int, numbers: int) -> list[slice]:
    """Parts of ``n`` rows that go through the layers together; ``numbers`` is a row's largest."""
    count = -(-n // max(1, TOGETHER // numbers))
    step = min(n, -(-n // (8 * count)) * 8)
    return [slice(first, min(first + step, n)) for first in range(0, n, step)]


class Through:
    """An encoder's layers for ``n`` rows: weights with their biases, and room for what they give.

    Layers take turns in two rooms: what the last but one gave is not needed any more.

    Args:
        layers: Weights ``[m, out, in]`` and biases ``[m, out, 1]``.
        bent: Number of layers with the nonlinearity, from the first.
        relu: Whether that is ReLU, or else SiLU.
        n: Rows.
        inputs: Inputs that come again behind the last layer's values.
    """

    def __init__(self, layers: Layers, bent: int, relu: bool, n: int, inputs: int = 0) -> None:
        self.weights = [with_bias(*layer) for layer in layers]
        self.relu, self.bent, self.inputs = relu, bent, inputs
        self.rooms: list[Floats] = []
        for number, weight in enumerate(self.weights, start=1):
            m, out, _ = weight.shape
            shape = (m, out + (inputs if number == len(layers) else 0) + 1, n)
            again = [room for room in self.rooms[:-1][-1:] if room.shape == shape]
            self.rooms.append(again[0] if again else np.ones(shape, dtype=np.float32))

    def calls(self, x: Floats) -> list[Call]:
        """What inputs ``[in + 1, n]``, of which the last is 1, need to reach the last room.

        They are the same for all members, or ``[m, in + 1, n]``. The room is
        ``[m, out + inputs + 1, n]``, likewise.
        """
        found: list[Call] = []
        given = x
        for number, (weight, room) in enumerate(zip(self.weights, self.rooms, strict=True)):
            values = room[:, : weight.shape[1]]
            found += product_calls(weight, x, values)
            if number < self.bent and self.relu:
                found.append(partial(np.maximum, values, 0.0, out=values))
            elif number < self.bent:  # NumPy takes several passes for it
                found.append(partial(silu, torch.from_numpy(values), True))
            x = room
        if self.inputs:
            found.append(partial(np.copyto, x[:, -self.inputs - 1 : -1], given[..., :-1, :]))
        return found


def product_calls(weight: Floats, x: Floats, out: Floats) -> list[Call]:
    """What makes ``out`` ``[..., o, n]`` the product of ``[..., o, t]`` and ``[..., t, n]``."""
    return [
        partial(np.matmul, weight, x[..., part], out[..., part])
        for part in columns(weight, x.shape[-1])
    ]


def with_bias(weight: Floats, bias: Floats) -> Floats:
    """Weights ``[m, out, in]`` and biases ``[m, out, 1]`` as one, for inputs with a 1 behind."""
    return np.ascontiguousarray(np.concatenate([weight, bias], axis=2))
