"""What the three shells check alike of a reset: its options and its seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from persim_gym.checks import meant

#: Options that clients give to every environment: Minari's data collector has one of its own, and
#: PettingZoo's API test demands that ``{"options": 1}`` is taken.
IGNORED = frozenset({"minari_autoseed", "options"})


def check_options(options: object, known: frozenset[str]) -> dict[str, Any]:
    """The options of a reset, without those that are left to their defaults by ``None``.

    Raises:
        TypeError: If they are no dictionary.
        ValueError: If one of them does not exist.
    """
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise TypeError(
            f"reset options must be a dictionary with any of {', '.join(sorted(known))}, got "
            f"{options!r}"
        )
    for name in options:
        if name not in known and name not in IGNORED:
            names = sorted(known)
            there = f"there is {names[0]!r}" if len(names) == 1 else f"there are {', '.join(names)}"
            raise ValueError(f"unknown reset option {name!r}{meant(name, names)}: {there}")
    return {name: options[name] for name in known if options.get(name) is not None}


def check_seed(seed: object) -> int | None:
    """A seed as a plain integer, or ``None``.

    Raises:
        TypeError: If it is no integer.
        ValueError: If it is negative.
    """
    if seed is None:
        return None
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"a seed must be an integer or None, got {seed!r}")
    if seed < 0:
        raise ValueError(f"a seed must not be negative, got {seed}")
    return int(seed)
