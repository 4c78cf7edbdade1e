"""How features move with the state: what a fit over several steps needs of whoever made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Circle:
    """An angle among the features, as cosine and sine.

    Attributes:
        cosine: Column of the cosine.
        sine: Column of the sine.
        output: Coordinate of the change that turns it.
        gain: Radians that one unit of the change is.
        mean: Mean of cosine and sine that was taken off.
        scale: Deviation of cosine and sine that they were divided by.
    """

    cosine: int
    sine: int
    output: int
    gain: float
    mean: tuple[float, float] = (0.0, 0.0)
    scale: tuple[float, float] = (1.0, 1.0)


class FeatureMap:
    """Which features are the state that changes.

    Args:
        features: Number of features ``q``.
        columns: Columns of the present state's plain coordinates ``[p]``.
        outputs: Which coordinate of the change moves each ``[p]``.
        gains: Units of the feature in one unit of the change ``[p]``.
        circles: Angles.
        older: With a lag, columns of the past, which after a step hold what
        newer: these columns held before it.
        walls: Least and largest values of the features ``[q]`` each, between which a state is put
            back after a step; by default none.

    Raises:
        ValueError: If lists do not fit together.
    """

    def __init__(
        self,
        features: int,
        columns: Sequence[int],
        outputs: Sequence[int],
        gains: Sequence[float],
        circles: Sequence[Circle] = (),
        older: Sequence[int] = (),
        newer: Sequence[int] = (),
        walls: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        if not len(columns) == len(outputs) == len(gains):
            raise ValueError(
                "columns, outputs and gains must be of one length, got "
                f"{len(columns)}, {len(outputs)} and {len(gains)}"
            )
        if len(older) != len(newer):
            raise ValueError(
                f"older and newer must be of one length, got {len(older)} and {len(newer)}"
            )
        self.circles = tuple(circles)
        turned = [column for c in circles for column in (c.cosine, c.sine)]
        self.state = [*columns, *turned]
        self._outputs, self._walls = list(outputs), walls
        used = [*outputs, *(c.output for c in circles)]
        # A step is two products of matrices: what is carried over, and what the change drives.
        self._drive = torch.zeros(max(used, default=0) + 1, features, dtype=torch.float32)
        self._drive[list(outputs), list(columns)] = torch.tensor(gains, dtype=torch.float32)
        self._carry = torch.zeros(features, features, dtype=torch.float32)
        self._carry[self.state, self.state] = 1.0
        self._carry[list(newer), list(older)] = 1.0
        self._given = torch.ones(features, dtype=torch.float32)
        self._given[[*self.state, *older]] = 0.0

    def moved(self, features: Tensor, change: Tensor) -> Tensor:
        """Features ``[..., q]`` with the state moved by a change ``[..., c]``, all else alike."""
        return self._turned(features + self._driven(change), features, change)

    def given(self, features: Tensor) -> Tensor:
        """Recorded features ``[..., q]`` without what the state decides: actions, for example."""
        return features * self._given.to(features)

    def advanced(self, features: Tensor, change: Tensor, given: Tensor) -> Tensor:
        """Features after a step.

        Args:
            features: Before it ``[..., q]``.
            change: The change ``[..., c]``.
            given: What is :meth:`given` at the time after it ``[..., q]``.
        """
        after = given + features @ self._carry.to(features) + self._driven(change)
        return self._turned(after, features, change)

    def stopped(self, features: Tensor) -> Tensor:
        """Features ``[..., q]`` put back between the walls."""
        if self._walls is None:
            return features
        return features.clamp(*(end.to(features) for end in self._walls))

    def of_changes(self, values: Tensor) -> Tensor:
        """Values of changes ``[..., c]`` for the columns of the state, 0 for those of angles."""
        none = values.new_zeros(*values.shape[:-1], 2 * len(self.circles))
        return torch.cat([values[..., self._outputs], none], dim=-1)

    def _driven(self, change: Tensor) -> Tensor:
        """What a change ``[..., c]`` adds to the features; the last coordinates may add nothing."""
        drive = self._drive.to(change)
        return change[..., : len(drive)] @ drive

    def _turned(self, out: Tensor, features: Tensor, change: Tensor) -> Tensor:
        """``out`` with its angles turned, in place."""
        for c in self.circles:
            cosine = features[..., c.cosine] * c.scale[0] + c.mean[0]
            sine = features[..., c.sine] * c.scale[1] + c.mean[1]
            angle = change[..., c.output] * c.gain
            turn, lift = angle.cos(), angle.sin()
            out[..., c.cosine] = (cosine * turn - sine * lift - c.mean[0]) / c.scale[0]
            out[..., c.sine] = (sine * turn + cosine * lift - c.mean[1]) / c.scale[1]
        return out
