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


@dataclass(frozen=True, eq=False)
class PastChanges:
    """Changes of earlier steps among the features: the latest is the change, each other moves up.

    Attributes:
        columns: Their columns ``[p]``.
        shift: What each takes from the features before ``[p, q]``.
        drive: What it takes from the change ``[p, c]``.
        offset: What is added ``[p]``.
        apart: How each differs where observations do ``[p, l * c]``, in units of the change: the
            present one, the one before it, and so on.
    """

    columns: tuple[int, ...]
    shift: Tensor
    drive: Tensor
    offset: Tensor
    apart: Tensor

    @property
    def observations(self) -> int:
        """Observations ``l`` that they and the present state tell of."""
        return self.apart.shape[1] // self.drive.shape[1]


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
        past: Changes of earlier steps among the features; by default none.

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
        past: PastChanges | None = None,
    ) -> None:
        if not len(columns) == len(outputs) == len(gains):
            raise ValueError(
                "columns, outputs and gains must be of one length, got "
                f"{len(columns)}, {len(outputs)} and {len(gains)}"
            )
        self.angles = tuple(angles)
        self.columns, self.outputs, self.gains = tuple(columns), tuple(outputs), tuple(gains)
        self.walls, self.past = walls, past
        turned = [column for a in angles for column in (a.cosine, a.sine)]
        #: Columns of the present state, and with them those of past changes.
        self.state = [*columns, *turned]
        self.moving = self.state if past is None else [*self.state, *past.columns]
        #: Observations ``l`` that these tell of.
        self.observations = 1 if past is None else past.observations
        used = [*outputs, *(a.output for a in angles)]
        # What the change drives is one product.
        self._drive = torch.zeros(max(used, default=0) + 1, features, dtype=torch.float32)
        self._drive[list(outputs), list(columns)] = torch.tensor(gains, dtype=torch.float32)

    def moved(self, features: Tensor, change: Tensor) -> Tensor:
        """Features ``[..., q]`` with the state moved by a change ``[..., c]``, all else alike."""
        out = self._turned(features + self._driven(change), features, change)
        if self.past is not None:
            p = self.past
            shift, drive, offset = (part.to(change) for part in (p.shift, p.drive, p.offset))
            out[..., list(p.columns)] = features @ shift.mT + change @ drive.mT + offset
        return out

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
