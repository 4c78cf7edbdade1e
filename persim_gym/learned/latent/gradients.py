"""Changes that a network of latents predicts and their exact gradient, written out by hand.

Automatic differentiation of so small a network spends most of its time outside the arithmetic: in
bookkeeping, in fresh memory, and in products whose layout it has to accept. Here rows stand last,
``[m, width, n]``: what is narrow, the heads, is then multiplied fast, and states, features and
latents are blocks of one array. Tests compare the gradient with automatic differentiation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from persim_gym.learned.latent.feature_map import FeatureMap
from persim_gym.learned.latent.network import STEEP, LatentShape

_silu = torch.ops.aten.silu
_silu_backward = torch.ops.aten.silu_backward
_sigmoid_backward = torch.ops.aten.sigmoid_backward


class Response:
    """A network on some rows of each member, at one time or at several one after the other.

    What it is asked for is in :attr:`features` and :attr:`latents`, to be written before
    :meth:`forward`. Its memory, and that of the layers, is written again and again.

    Args:
        shape: Sizes of the network.
        layers: Its layers.
        gradients: Those of the layers, written by :meth:`write`.
        rows: Rows of each member ``n``.
        times: How often it is asked, ``S``.
    """

    def __init__(
        self,
        shape: LatentShape,
        layers: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
        rows: int,
        times: int = 1,
    ) -> None:
        m, q, r, last = shape.members, shape.features, shape.latent, shape.hidden[-1]
        head = layers["head.weight"]

        def room(width: int) -> Tensor:
            return head.new_empty(times, m, width, rows)

        self.shape, self.times = shape, times
        wide = room(last + q + r)
        first = wide[:, :, last:]
        #: Features ``[S, m, q, n]`` and latents ``[S, m, r, n]``.
        self.features, self.latents = first[:, :, :q], first[:, :, q:]
        names = [(f"{i}.weight", f"{i}.bias") for i in range(len(shape.hidden))]
        self._layers = [(layers[w].mT, layers[b].mT) for w, b in names]
        self._head = head.mT, layers["head.bias"].mT
        self._back = [layers[w] for w, _ in names[1:]], head[:, :last]
        self._inputs = layers["0.weight"], head[:, last:]
        before, slopes = ([room(width) for width in shape.hidden] for _ in range(2))
        after = [*(room(width) for width in shape.hidden[:-1]), wide[:, :, :last]]
        out, by_out, opened = room(sum(shape.heads)), room(sum(shape.heads)), room(shape.gates)
        layered = [zip(*own, strict=True) for own in (before, after, slopes)]
        slots = zip(wide, first, *layered, out, by_out, opened, strict=True)
        self._slots = [_Slot.of(shape, *slot) for slot in slots]
        below = [first, *after[:-1]]
        self._sums = [
            (x, slope, gradients[w], gradients[b])
            for x, slope, (w, b) in zip(below, slopes, names, strict=True)
        ]
        self._of_head = by_out, wide, gradients["head.weight"], gradients["head.bias"]

    def forward(self, time: int = 0) -> Tensor:
        """Changes ``[m, c, n]`` at a time."""
        slot = self._slots[time]
        x = slot.first
        for (weight, bias), before, after in zip(
            self._layers, slot.before, slot.after, strict=True
        ):
            torch.baddbmm(bias, weight, x, out=before)
            x = _silu.out(before, out=after)
        torch.baddbmm(self._head[1], self._head[0], slot.wide, out=slot.out)
        if not self.shape.gates:
            return slot.change
        torch.sigmoid(STEEP * slot.gate, out=slot.opened)
        return (slot.gated * slot.opened[:, None]).sum(2).add_(slot.change)

    def backward(self, by_change: Tensor, columns: slice, time: int = 0) -> Tensor:
        """Gradient by the first layer's inputs, given that by the changes ``[m, c, n]``.

        Args:
            by_change: The gradient by the changes.
            columns: Which inputs: features come first, latents after them.
            time: The time, for which :meth:`forward` was called.

        Returns:
            ``[m, k, n]``.
        """
        slot = self._slots[time]
        slot.by_change.copy_(by_change)
        if self.shape.gates:
            each = by_change[:, :, None]
            torch.mul(each, slot.opened[:, None], out=slot.by_gated)
            by_gate = (each * slot.gated).sum(1).mul_(STEEP)
            _sigmoid_backward.grad_input(by_gate, slot.opened, grad_input=slot.by_gate)
            # So steep an edge would make a state beside it all that counts.
            slot.by_out[:, self.shape.fixed] = 0.0
        weights, head = self._back
        down = torch.bmm(head, slot.by_out)
        for k in reversed(range(len(slot.slopes))):
            slope = slot.slopes[k]
            _silu_backward.grad_input(down, slot.before[k], grad_input=slope)
            if k:
                down = torch.bmm(weights[k - 1], slope)
        first, head = (weight[:, columns] for weight in self._inputs)
        return torch.bmm(first, slope).baddbmm_(head, slot.by_out)

    def write(self) -> None:
        """Write the layers' gradients, of all times together."""
        for x, slope, weight, bias in self._sums:
            self._products(x, slope, weight)
            bias.copy_(slope.sum((0, 3))[:, None])
        by_out, wide, weight, bias = self._of_head
        # Narrow products are faster this way round.
        weight.copy_(self._products(by_out, wide, torch.empty_like(weight.mT)).mT)
        bias.copy_(by_out.sum((0, 3))[:, None])

    def _products(self, left: Tensor, right: Tensor, out: Tensor) -> Tensor:
        """Sums of products over rows and times ``[m, k, l]``."""
        if self.times == 1:
            return torch.bmm(left[0], right[0].mT, out=out)
        each = torch.bmm(left.flatten(0, 1), right.flatten(0, 1).mT)
        return torch.sum(each.unflatten(0, left.shape[:2]), 0, out=out)


@dataclass(frozen=True, slots=True)
class _Slot:
    """Memory of one time, each part ``[m, width, n]``.

    Attributes:
        wide: Inputs of the heads: the last hidden layer, features, and latents.
        first: Inputs of the first layer: the last two of these.
        before: Inputs of the nonlinearity of each hidden layer.
        after: Its outputs.
        slopes: Gradients by its inputs.
        by_out: Gradient by the outputs of the heads.
        opened: How far gates are open.
        out: Outputs of the heads: those of the first, of the gates, and of the heads behind them
            ``[m, c, g, n]``.
        change: The first of these.
        gate: The second.
        gated: The third.
        by_change: Gradients by these.
        by_gate: The same.
        by_gated: The same.
    """

    wide: Tensor
    first: Tensor
    before: tuple[Tensor, ...]
    after: tuple[Tensor, ...]
    slopes: tuple[Tensor, ...]
    by_out: Tensor
    opened: Tensor
    out: Tensor
    change: Tensor
    gate: Tensor
    gated: Tensor
    by_change: Tensor
    by_gate: Tensor
    by_gated: Tensor

    @classmethod
    def of(
        cls,
        shape: LatentShape,
        wide: Tensor,
        first: Tensor,
        before: tuple[Tensor, ...],
        after: tuple[Tensor, ...],
        slopes: tuple[Tensor, ...],
        out: Tensor,
        by_out: Tensor,
        opened: Tensor,
    ) -> _Slot:
        """From the memory of this time."""

        def parts(heads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            change, gate, gated = heads.split(shape.heads, dim=1)
            return change, gate, gated.unflatten(1, (shape.outputs, shape.gates))

        return cls(
            wide, first, before, after, slopes, by_out, opened, out, *parts(out), *parts(by_out)
        )


class Motion:
    """How a state moves with changes, of features ``[m, q, n]``, and the gradient of that.

    Args:
        frame: Which features are the state.
    """

    def __init__(self, frame: FeatureMap) -> None:
        self.plain, self.outputs = list(frame.columns), list(frame.outputs)
        self.gains = torch.tensor(frame.gains, dtype=torch.float32)[:, None]
        self.angles = frame.angles
        self._columns, self._driven = places(self.plain), places(self.outputs)
        self.past, self._observations = frame.past, frame.observations
        if self.past is not None:
            self._past = places(self.past.columns)
            tensors = self.past.shift, self.past.drive, self.past.offset, self.past.apart
            self._shift, self._drive, offset, self._apart = (part.float() for part in tensors)
            self._offset = offset[:, None]

    def forward(self, features: Tensor, change: Tensor, out: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Write the state after a change ``[m, c, n]`` into ``out``, all else of which stays.

        Returns:
            What :meth:`backward` needs: cosine and sine of each angle's turn.
        """
        if self.past is not None:
            shifted = self._shift @ features
            out[:, self._past] = shifted + self._drive @ change + self._offset
        return self._present(features, change, out)

    def displace(self, features: Tensor, apart: Tensor, out: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Write features where observations are others by ``[m, l * c, n]``, and nothing moves."""
        turns = self._present(features, apart[:, : apart.shape[1] // self._observations], out)
        if self.past is not None:
            out[:, self._past] = features[:, self._past] + self._apart @ apart
        return turns

    def _present(
        self, features: Tensor, change: Tensor, out: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        driven = change[:, self._driven]
        out[:, self._columns] = torch.addcmul(features[:, self._columns], driven, self.gains)
        turns = []
        for a in self.angles:
            cosine, sine = features[:, a.cosine], features[:, a.sine]
            angle = change[:, a.output] * a.gain
            turn, lift = angle.cos(), angle.sin()
            torch.sub(cosine * turn, sine * lift, out=out[:, a.cosine])
            torch.add(sine * turn, cosine * lift, out=out[:, a.sine])
            turns.append((turn, lift))
        return turns

    def backward(
        self,
        gradient: Tensor,
        after: Tensor,
        turns: Sequence[tuple[Tensor, Tensor]],
        by_change: Tensor,
    ) -> None:
        """Turn a gradient by features after a change into those by what was before it.

        Args:
            gradient: ``[m, q, n]``, changed in place; of what is no state it says nothing.
            after: Features after the change, as :meth:`forward` has written them.
            turns: What it has returned.
            by_change: The gradient by the change ``[m, c, n]``, written where that moves anything.
        """
        self._back(gradient, after, turns, by_change)
        if self.past is not None:  # a change may move it and nothing of the present state
            own = gradient[:, self._past].clone()
            by_change += self._drive.mT @ own
            gradient[:, self._past] = 0.0
            gradient += self._shift.mT @ own

    def back_displaced(
        self,
        gradient: Tensor,
        after: Tensor,
        turns: Sequence[tuple[Tensor, Tensor]],
        by_apart: Tensor,
    ) -> None:
        """Turn a gradient by features into that by how far observations are others.

        Args:
            gradient: ``[m, q, n]``, changed in place.
            after: Features as :meth:`displace` has written them.
            turns: What it has returned.
            by_apart: The gradient by how far ``[m, l * c, n]``, 0 before.
        """
        width = by_apart.shape[1] // self._observations
        self._back(gradient, after, turns, by_apart[:, :width])
        if self.past is not None:
            by_apart += self._apart.mT @ gradient[:, self._past]

    def _back(
        self,
        gradient: Tensor,
        after: Tensor,
        turns: Sequence[tuple[Tensor, Tensor]],
        by_change: Tensor,
    ) -> None:
        by_change[:, self._driven] = gradient[:, self._columns] * self.gains
        for a, (turn, lift) in zip(self.angles, turns, strict=True):
            x, y = gradient[:, a.cosine], gradient[:, a.sine]
            angle = y * after[:, a.cosine] - x * after[:, a.sine]
            torch.mul(angle, a.gain, out=by_change[:, a.output])
            before = x * turn + y * lift, y * turn - x * lift
            x.copy_(before[0])
            y.copy_(before[1])


def places(columns: Sequence[int]) -> slice | list[int]:
    """Columns as a slice where they follow each other, which takes less."""
    first = columns[0] if columns else 0
    if list(columns) == list(range(first, first + len(columns))):
        return slice(first, first + len(columns))
    return list(columns)
