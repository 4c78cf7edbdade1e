"""Why an episode was stopped: what ``info["guard"]`` holds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym import checks

#: The reasons, by their numbers; the first says that there is none.
REASONS = ("", "non-finite", "support", "disagreement", "physics")


class Reason(np.float64):
    """A reason as a NumPy number that is equal to its name too.

    ``info["guard"] == "support"`` reads well, and a number of one type in every step is what data
    sets and tensor libraries can store. 0, which is false, stands for no reason at all. The type is
    NumPy's float, which is also Python's: Arrow takes no other kind of a number with a name.

    Args:
        reason: Its number, or its name.
    """

    def __new__(cls, reason: float | str = 0) -> Reason:
        """A reason from its number or its name.

        Raises:
            ValueError: If there is no reason of this name.
        """
        if isinstance(reason, str):
            if reason not in REASONS:
                raise ValueError(checks.unknown("reason", reason, REASONS[1:]))
            return super().__new__(cls, REASONS.index(reason))
        return super().__new__(cls, reason)

    def __eq__(self, other: object) -> Any:
        """Equal to its name, and to its number."""
        return str(self) == other if isinstance(other, str) else super().__eq__(other)

    def __ne__(self, other: object) -> Any:
        """The opposite of equal."""
        return str(self) != other if isinstance(other, str) else super().__ne__(other)

    __hash__ = np.float64.__hash__

    def __str__(self) -> str:
        """Its name."""
        return REASONS[int(self)]

    def __format__(self, spec: str) -> str:
        """Its name, or its number in a format for numbers."""
        numbers = spec[-1:].isalpha() and spec[-1] != "s"
        return format(float(self) if numbers else str(self), spec)

    def __repr__(self) -> str:
        """As it is made."""
        return f"Reason({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """NumPy's own way of copying would make a plain number of it."""
        return Reason, (float(self),)


class Reasons(np.ndarray[tuple[int], np.dtype[np.float64]]):
    """Reasons of ``n`` lanes: numbers ``[n]``, whose elements are equal to their names.

    What is computed of them is plain NumPy again.
    """

    def __getitem__(self, key: Any) -> Any:
        """An element is a :class:`Reason`, a part of them are reasons too."""
        found = super().__getitem__(key)
        return Reason(found) if isinstance(found, np.float64) else found

    def __eq__(self, other: object) -> Any:
        """Lane by lane equal to a name, or to numbers."""
        if isinstance(other, str):
            other = REASONS.index(other) if other in REASONS else -1
        return np.asarray(self) == other

    def __ne__(self, other: object) -> Any:
        """Lane by lane not equal to a name, or to numbers."""
        return ~(self == other)

    __hash__ = None

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        """Results of NumPy's functions are no reasons."""
        return np.asarray(array)[()] if return_scalar else np.asarray(array)


def reasons(n: int, **of_lanes: NDArray[np.bool_]) -> Reasons:
    """Reasons of ``n`` lanes, given as masks ``[n]`` by name; where two hold, the last one counts.

    Names are written with an underscore for a hyphen: ``reasons(3, non_finite=mask)``.
    """
    found = np.zeros(n)
    for name, mask in of_lanes.items():
        found[mask] = Reason(name.replace("_", "-"))
    return found.view(Reasons)
