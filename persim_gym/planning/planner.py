"""What a planner is: a search over action sequences for a batch of independent problems."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from persim_gym import checks

#: Returns ``[p, k]`` of action sequences ``[p, k, h(, a)]``.
Score = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a search has found.

    Attributes:
        actions: The plan of each problem ``[p, h(, a)]``.
        action: The action to take now ``[p(, a)]``.
        returns: The plan's predicted return ``[p]``.
        memory: What the planner goes on from next time ``[p, ...]``: rows may be dropped from it.
            ``None``: the plan.
    """

    actions: Tensor
    action: Tensor
    returns: Tensor
    memory: Tensor | None = None

    @property
    def carried(self) -> Tensor:
        """What to hand to the next decision as ``previous``."""
        return self.actions if self.memory is None else self.memory


class Planner(Protocol):
    """A search that sees nothing but the score of action sequences."""

    @property
    def horizon(self) -> int:
        """Length of the sequences ``h``."""

    def plan(
        self,
        score: Score,
        space: Discrete | Box,
        problems: int,
        previous: Tensor | None,
        fresh: Tensor,
        generator: torch.Generator,
    ) -> Plan:
        """Search once for each problem.

        Args:
            score: Returns of sequences.
            space: The action space.
            problems: Number of problems ``p``.
            previous: What the plans of one step ago carried over (:attr:`Plan.carried`: by default
                the plans ``[p, h(, a)]``), or ``None``.
            fresh: Problems whose episode begins, and whose previous plan is void ``[p]``.
            generator: All randomness.
        """


def check_sizes(planner: Any, *names: str) -> None:
    """Refuse settings that are no positive integers, or of which no memory could hold a search.

    Raises:
        ValueError: If one is.
    """
    checks.make_plain(planner)
    sizes = [checks.positive_integer(name, getattr(planner, name)) for name in names]
    # Candidates and horizon come first: of every step of every candidate a number, at least.
    what = f"{names[0]}={sizes[0]} and {names[1]}={sizes[1]}"
    checks.enough_memory(what, 8 * sizes[0] * sizes[1], "plan with fewer or shorter ones")
