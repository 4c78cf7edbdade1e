"""Start states of lanes: drawn from each lane's own generator, or given and checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from gymnasium.utils import seeding
from numpy.typing import NDArray

from persim_gym.core import Task

StartSampler = Callable[[np.random.Generator, int], NDArray[np.float64]]


class LaneStarts:
    """Start states of ``n`` lanes, each from its own generator, drawn in blocks.

    Lane ``i`` sees the very starts that a scalar environment with the lane's seed sees, episode by
    episode; drawing blocks ahead keeps the generators out of the hot path.
    """

    def __init__(self, sample: StartSampler, n: int, d: int) -> None:
        self._sample = sample
        # Starts drawn at once for a lane: about 8 kB of them.
        self._size = max(16, 1024 // d)
        self._rngs: list[np.random.Generator | None] = [None] * n
        self._block = np.empty((n, self._size, d))
        self._next = np.full(n, self._size, dtype=np.int64)

    def seed(self, lanes: Sequence[int], seeds: Sequence[int | None]) -> None:
        """Begin the streams of some lanes anew; without a seed a running stream goes on."""
        for lane, seed in zip(lanes, seeds, strict=True):
            if seed is not None or self._rngs[lane] is None:
                self._rngs[lane], _ = seeding.np_random(seed)
                self._next[lane] = self._size

    def draw(self, lanes: NDArray[np.int64]) -> NDArray[np.float64]:
        """The next start states ``[len(lanes), d]`` of the given lanes."""
        position = self._next[lanes]
        if len(used_up := (position == self._size).nonzero()[0]):
            for lane in lanes[used_up].tolist():
                rng = self._rngs[lane]
                if rng is None:
                    rng = self._rngs[lane] = seeding.np_random(None)[0]
                self._block[lane] = self._sample(rng, self._size)
            position[used_up] = 0
        self._next[lanes] = position + 1
        position += lanes * self._size
        return self._block.reshape(-1, self._block.shape[2]).take(position, axis=0)


def check_state(task: Task, state: object, n: int | None = None) -> NDArray[np.float64]:
    """Check start states given by a user.

    Args:
        task: The task.
        state: One state ``[d]``, or with ``n`` also ``n`` of them ``[n, d]``.
        n: Number of lanes; ``None`` for a scalar environment.

    Returns:
        The state ``[d]``, or with ``n`` states ``[n, d]``.

    Raises:
        ValueError: If the shape is wrong, a coordinate is not finite or out of the space.
    """
    space = task.observation_space
    try:
        array = np.asarray(state, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"a state must be numbers of shape {space.shape}, got {state!r}") from None
    if array.shape != space.shape and (n is None or array.shape != (n, *space.shape)):
        lanes = "" if n is None else f" or {(n, *space.shape)}"
        raise ValueError(f"a state must have shape {space.shape}{lanes}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"a state must be finite, got {array.tolist()}")
    rounded = array.astype(np.float32)
    outside = (rounded < space.low) | (rounded > space.high)
    if outside.any():
        coordinate = int(np.argwhere(outside)[0][-1])
        raise ValueError(
            f"coordinate {coordinate} of the state is out of the observation space "
            f"[{space.low[coordinate]}, {space.high[coordinate]}]: {array.tolist()}"
        )
    return array if n is None else np.broadcast_to(array, (n, *space.shape)).copy()
