"""How features move with the state: what a fit over several steps needs of whoever made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

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


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """Which features are the state that changes.

    Attributes:
        columns: Columns of the present state's plain coordinates ``[p]``.
        outputs: Which coordinate of the change moves each ``[p]``.
        gains: Units of the feature in one unit of the change ``[p]``.
        circles: Angles.
        older: With a lag, columns of the past, which after a step hold what
        newer: these columns held before it.
    """

    columns: Sequence[int]
    outputs: Sequence[int]
    gains: Sequence[float]
    circles: Sequence[Circle] = ()
    older: Sequence[int] = ()
    newer: Sequence[int] = ()

    def __post_init__(self) -> None:
        """Refuse lists that do not fit together."""
        lengths = {f.name: len(getattr(self, f.name)) for f in fields(self)}
        if not lengths["columns"] == lengths["outputs"] == lengths["gains"]:
            raise ValueError(f"columns, outputs and gains must be of one length, got {lengths}")
        if lengths["older"] != lengths["newer"]:
            raise ValueError(f"older and newer must be of one length, got {lengths}")

    @property
    def state(self) -> list[int]:
        """All columns of the present state."""
        turned = [column for c in self.circles for column in (c.cosine, c.sine)]
        return [*self.columns, *turned]

    def moved(self, features: Tensor, change: Tensor) -> Tensor:
        """Features ``[..., q]`` with the state moved by a change ``[..., c]``, all else alike."""
        out = features.clone()
        gains = torch.as_tensor(self.gains, dtype=change.dtype, device=change.device)
        columns = list(self.columns)
        out[..., columns] = features[..., columns] + change[..., list(self.outputs)] * gains
        for c in self.circles:
            cosine = features[..., c.cosine] * c.scale[0] + c.mean[0]
            sine = features[..., c.sine] * c.scale[1] + c.mean[1]
            angle = change[..., c.output] * c.gain
            turn, lift = angle.cos(), angle.sin()
            out[..., c.cosine] = (cosine * turn - sine * lift - c.mean[0]) / c.scale[0]
            out[..., c.sine] = (sine * turn + cosine * lift - c.mean[1]) / c.scale[1]
        return out

    def advanced(self, features: Tensor, change: Tensor, then: Tensor) -> Tensor:
        """Features after a step.

        Args:
            features: Before it ``[..., q]``.
            change: The change ``[..., c]``.
            then: Recorded features at the time after it ``[..., q]``: actions, and whatever else
                the state does not decide, are taken from here.
        """
        after = self.moved(features, change)
        out = then.clone()
        out[..., self.state] = after[..., self.state]
        if self.older:
            out[..., list(self.older)] = features[..., list(self.newer)]
        return out
