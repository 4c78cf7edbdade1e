"""How features move with the state: what a fit over several steps needs of whoever made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class AngleColumns:
    """An angle among the features, as cosine and sine.

    Attributes:
        cosine: Column of the cosine.
        sine: Column of the sine.
        output: Coordinate of the change that turns it.
        gain: Radians that one unit of the change is.
    """

    cosine: int
    sine: int
    output: int
    gain: float


class FeatureMap:
    """Which features are the state that changes.

    Args:
        features: Number of features ``q``.
        columns: Columns of the present state's plain coordinates ``[p]``.
        outputs: Which coordinate of the change moves each ``[p]``.
        gains: Units of the feature in one unit of the change ``[p]``.
        angles: Angles.
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
        angles: Sequence[AngleColumns] = (),
        walls: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        if not len(columns) == len(outputs) == len(gains):
            raise ValueError(
                "columns, outputs and gains must be of one length, got "
                f"{len(columns)}, {len(outputs)} and {len(gains)}"
            )
        self.angles = tuple(angles)
        self.columns, self.outputs, self.gains = tuple(columns), tuple(outputs), tuple(gains)
        self.walls = walls
        turned = [column for a in angles for column in (a.cosine, a.sine)]
        self.state = [*columns, *turned]
        used = [*outputs, *(a.output for a in angles)]
        # What the change drives is one product.
        self._drive = torch.zeros(max(used, default=0) + 1, features, dtype=torch.float32)
        self._drive[list(outputs), list(columns)] = torch.tensor(gains, dtype=torch.float32)

    def moved(self, features: Tensor, change: Tensor) -> Tensor:
        """Features ``[..., q]`` with the state moved by a change ``[..., c]``, all else alike."""
        return self._turned(features + self._driven(change), features, change)

    def of_changes(self, values: Tensor) -> Tensor:
        """Values of changes ``[..., c]`` for the columns of the state, 0 for those of angles."""
        none = values.new_zeros(*values.shape[:-1], 2 * len(self.angles))
        return torch.cat([values[..., list(self.outputs)], none], dim=-1)

    def _driven(self, change: Tensor) -> Tensor:
        """What a change ``[..., c]`` adds to the features; the last coordinates may add nothing."""
        drive = self._drive.to(change)
        return change[..., : len(drive)] @ drive

    def _turned(self, out: Tensor, features: Tensor, change: Tensor) -> Tensor:
        """``out`` with its angles turned, in place."""
        for a in self.angles:
            cosine, sine = features[..., a.cosine], features[..., a.sine]
            angle = change[..., a.output] * a.gain
            turn, lift = angle.cos(), angle.sin()
            out[..., a.cosine] = cosine * turn - sine * lift
            out[..., a.sine] = sine * turn + cosine * lift
        return out
