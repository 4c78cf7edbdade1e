"""The monomials of many rows again and again, in the same memory: for unrolling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from persim_gym.learned.closed_form.basis import Inputs, Monomials


class Evaluation:
    """Monomials ``[b, P, k]`` of scaled inputs, in :class:`MonomialOrder`'s order."""

    def __init__(self, inputs: Inputs, monomials: Monomials, batches: int, rows: int) -> None:
        centre = inputs.centre
        order = monomials.order
        self.inputs = inputs
        self.phi = centre.new_empty(batches, monomials.size, rows)
        self.phi[:, 0] = 1.0
        q = inputs.size
        in_place = order.inputs_in_place
        self.z = self.phi[:, 1 : q + 1] if in_place else centre.new_empty(batches, q, rows)
        self.plain = self.z[:, : len(centre)]
        self.units = [part[:, None] for part in (centre, inputs.scale, inputs.low, inputs.high)]
        self.angles = [
            (self.z[:, c], self.z[:, len(centre) + i]) for i, c in enumerate(inputs.angles)
        ]
        self.products = list(self._products(order.runs, in_place))

    def _products(
        self, runs: Sequence[tuple[int, int, int, int]], in_place: bool
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for first, parent, length, column in runs:
            if in_place and parent == 0:
                continue
            yield (
                self.phi[:, parent : parent + length],
                self.z[:, column : column + 1],
                self.phi[:, first : first + length],
            )

    def __call__(self, values: Tensor) -> Tensor:
        """Values ``[b, in, k]`` -> monomials, overwritten by the next call."""
        centre, scale, low, high = self.units
        plain = self.plain
        torch.sub(values, centre, out=plain)
        for angle, cosine in self.angles:  # their centre is 0 and their scale is 1
            torch.cos(angle, out=cosine)
        torch.clamp(plain.div_(scale), low, high, out=plain)
        for angle, _ in self.angles:
            angle.sin_()
        for parent, factor, out in self.products:
            torch.mul(parent, factor, out=out)
        return self.phi
