"""How much may come of a foreign file, in bytes and in seconds: what it produces, not its size."""

from __future__ import annotations

import contextlib
import math
import numbers
import time
from collections.abc import Iterator
from pathlib import Path

from persim_gym.checks import size_of
from persim_gym.offline.authors.pickled_arrays import Refused

#: What a file may become by default: so many times its own size, but at least and at most these.
TIMES, LEAST, MOST = 100, 2**25, 2**32
#: Seconds that its reading and writing may take by default.
SECONDS = 600.0


class Budget:
    """What is left of the bytes and the time.

    Args:
        max_bytes: Most bytes of all that is made of the file, at one time or not; by default
            :data:`TIMES` the file's size, within :data:`LEAST` and :data:`MOST`.
        max_seconds: Most seconds from now on.
        size: The file's size.

    Raises:
        TypeError: If a limit is no number.
        ValueError: If it is not positive.
    """

    def __init__(self, max_bytes: int | None, max_seconds: float, size: int) -> None:
        if max_bytes is None:
            max_bytes = min(max(TIMES * size, LEAST), MOST)
        for name, value in (("max_bytes", max_bytes), ("max_seconds", max_seconds)):
            if isinstance(value, bool) or not isinstance(value, numbers.Real):
                raise TypeError(f"{name} must be a number, got {value!r}")
            if not value > 0 or math.isnan(value):
                raise ValueError(f"{name} must be positive, got {value!r}")
        self.max_bytes = self.left = max_bytes
        self.max_seconds, self._end = max_seconds, time.monotonic() + max_seconds

    def spend(self, count: int) -> None:
        """Take ``count`` bytes.

        Raises:
            Refused: If there are fewer.
        """
        self.left -= count
        if self.left < 0:
            raise Refused(
                f"the file becomes more than {size_of(self.max_bytes)}: if it is meant to, raise "
                "max_bytes"
            )

    def check_time(self) -> None:
        """Check the clock.

        Raises:
            Refused: If the time is over.
        """
        if time.monotonic() > self._end:
            raise Refused(
                f"the file takes more than {self.max_seconds:g} s: if it is meant to, raise "
                "max_seconds"
            )

    def again(self) -> Budget:
        """As many bytes for the next stage, and the rest of the time."""
        other = Budget(self.max_bytes, self.max_seconds, 0)
        other._end = self._end
        return other


@contextlib.contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Say of which file a refusal is."""
    try:
        yield
    except Refused as error:
        raise Refused(f"{path} cannot be read: {error}") from None
