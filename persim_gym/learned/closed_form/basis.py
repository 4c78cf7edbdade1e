"""A smooth basis: the monomials of scaled states, and of continuous actions, up to a degree.

In such a basis the low-rank model is linear in each of its parts, so that it can be fitted in
closed form, and a fitted model can be read.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.moments import measure

#: Widths of the recorded range by which an input may leave it before it is held there: further
#: out, a polynomial says nothing and soon overflows.
SUPPORT = 1.0


@dataclass(frozen=True, slots=True)
class Inputs:
    """How states and continuous actions become a basis's inputs ``z`` ``[q]``.

    A coordinate becomes ``(x - centre) / scale``, held within its support; one that is an angle
    becomes its sine and its cosine instead.

    Attributes:
        centre: ``[in]``, of states ``[l * d]`` followed by continuous actions ``[a]``.
        scale: ``[in]``.
        low: Least scaled value ``[in]``.
        high: Largest scaled value ``[in]``.
        angles: Columns that are angles, in radians.
    """

    centre: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor
    angles: tuple[int, ...] = ()

    @classmethod
    def of(cls, values: NDArray[Any], angles: Sequence[int] = ()) -> Inputs:
        """Units from recorded values ``[T, in]``.

        The scale is twice the deviation, or half of the largest distance from the centre if that
        is more, so that a scaled value stays below 2 and its powers stay tame. The centre is
        zero where zero lies within one deviation of the mean: a law that is odd or even in a
        coordinate is a short polynomial around zero, and a long one around anything else.
        """
        found = measure(len(values), lambda rows: values[rows])
        mean, deviation, low, high = found.mean, found.deviation, found.low, found.high
        centre = np.where(np.abs(mean) < deviation, 0.0, mean)
        reach = np.maximum(np.abs(low - centre), np.abs(high - centre))
        scale = np.maximum(2.0 * deviation, reach / 2.0)
        scale[scale < 1e-12] = 1.0
        margin = SUPPORT * (high - low)
        for column in angles:
            centre[column], scale[column] = 0.0, 1.0
        ends = (low - margin - centre) / scale, (high + margin - centre) / scale
        for column in angles:
            ends[0][column], ends[1][column] = -np.inf, np.inf
        units = {"centre": centre, "scale": scale, "low": ends[0], "high": ends[1]}
        tensors = {name: torch.as_tensor(value) for name, value in units.items()}
        return cls(**tensors, angles=tuple(angles))

    @property
    def size(self) -> int:
        """Number of inputs ``q`` of the basis."""
        return len(self.centre) + len(self.angles)

    def __call__(self, values: Tensor) -> Tensor:
        """Values ``[..., n, in]`` -> inputs ``[..., q, n]``: rows last, as products like them."""
        return self.scaled_(values.mT.clone(memory_format=torch.contiguous_format))

    def scaled_(self, z: Tensor) -> Tensor:
        """The same of values with rows last ``[..., in, n]``, which are overwritten."""
        cosines = z[..., list(self.angles), :].cos() if self.angles else None
        ends = self.low[:, None], self.high[:, None]
        z.sub_(self.centre[:, None]).div_(self.scale[:, None]).clamp_(*ends)
        if cosines is None:
            return z
        for column in self.angles:  # their centre is 0 and their scale is 1
            z[..., column, :].sin_()
        return torch.cat([z, cosines], dim=-2)

    def within(self, margin: float) -> Inputs:
        """The same held closer to the record: within ``margin`` widths of the recorded range."""
        width = (self.high - self.low) / (1 + 2 * SUPPORT)
        inward = torch.nan_to_num((SUPPORT - margin) * width, nan=0.0, posinf=0.0)
        return replace(self, low=self.low + inward, high=self.high - inward)

    def around(self, values: Tensor, margin: float) -> Inputs:
        """The same held within ``margin`` widths of the range of some values ``[n, in]``."""
        ends = torch.stack([values.amin(0), values.amax(0)]).to(self.centre)
        reach = margin * (ends[1] - ends[0])
        low = (ends[0] - reach - self.centre) / self.scale
        high = (ends[1] + reach - self.centre) / self.scale
        return replace(self, low=self.low.maximum(low), high=self.high.minimum(high))

    def names(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Names of the inputs, after those of the columns ``[in]``."""
        plain = [f"sin({n})" if i in self.angles else n for i, n in enumerate(columns)]
        return (*plain, *(f"cos({columns[i]})" for i in self.angles))

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Inputs:
        """The same on a device, in a precision."""
        moved = {name: tensor.to(device, dtype) for name, tensor in self.tensors().items()}
        return Inputs(**moved, angles=self.angles)

    def tensors(self) -> dict[str, Tensor]:
        """What is kept in a file, beside :attr:`angles`."""
        return {name: getattr(self, name) for name in ("centre", "scale", "low", "high")}


class _Block:
    """The monomials of one total degree: each a product of an earlier one and an input.

    Neighbours often share one of the two and have the other in a row: such a run is one product of
    slices. Where there are few runs they are quicker than picking both factors of all.

    Args:
        first: Place of the first of them.
        end: Place after the last.
        parents: What each is made of ``[b]``.
        last: The input that it is multiplied with ``[b]``.
    """

    #: Runs up to which slices are used.
    FEW = 4

    def __init__(
        self, first: int, end: int, parents: NDArray[np.int64], last: NDArray[np.int64]
    ) -> None:
        self.first, self.end, self.parents = first, end, parents
        self.plain = bool((parents == 0).all())
        self.runs: list[tuple[slice, slice, slice]] = []
        start = 0
        while start < len(parents):
            steps = (np.diff(parents[start:]), np.diff(last[start:]))
            lengths = [
                _leading((steps[0] == one) & (steps[1] == other)) for one, other in ((1, 0), (0, 1))
            ]
            which, length = int(np.argmax(lengths)), max(lengths)
            spans = (length + 1, 1) if which == 0 else (1, length + 1)
            p, i = int(parents[start]), int(last[start])
            out = slice(first + start, first + start + length + 1)
            self.runs.append((out, slice(p, p + spans[0]), slice(i, i + spans[1])))
            start += length + 1
        self._picked = {"cpu": (torch.as_tensor(parents), torch.as_tensor(last))}

    def __call__(self, out: Tensor, z: Tensor) -> None:
        """Write these monomials of inputs ``[..., q, n]`` into ``[..., P, n]``."""
        if len(self.runs) <= self.FEW:
            for here, parent, which in self.runs:
                if self.plain:
                    out[..., here, :] = z[..., which, :]
                else:
                    torch.mul(out[..., parent, :], z[..., which, :], out=out[..., here, :])
            return
        device = str(z.device)
        if device not in self._picked:
            parents, last = self._picked["cpu"]
            self._picked[device] = (parents.to(z.device), last.to(z.device))
        parents, last = self._picked[device]
        factor = z.index_select(-2, last)
        if self.plain:
            out[..., self.first : self.end, :] = factor
            return
        before = out.index_select(-2, parents)
        torch.mul(before, factor, out=out[..., self.first : self.end, :])


def _leading(true: NDArray[np.bool_]) -> int:
    """How many are true before the first that is not."""
    return int(np.argmin(true)) if not true.all() else len(true)


class MonomialOrder:
    """An order of monomials in which few products of neighbours make them all.

    By degree, within a degree by the last input that a monomial has, and then by what is left
    without it: all monomials that end with one input are then that input times a piece of the
    degree before, unless some of them are missing.

    Args:
        exponents: ``[P, q]``, with each monomial also the one without its last factor.
    """

    def __init__(self, exponents: NDArray[np.int64]) -> None:
        totals = exponents.sum(axis=1)
        last = exponents.shape[1] - 1 - np.argmax(exponents[:, ::-1] > 0, axis=1)
        place = {tuple(exponents[0].tolist()): 0}
        self.order = [0]
        #: Each run: its first place, its first parent's place, its length, and the input.
        self.runs: list[tuple[int, int, int, int]] = []
        for degree in range(1, int(totals.max()) + 1):
            for column in range(exponents.shape[1]):
                group = []
                for row in np.flatnonzero((totals == degree) & (last == column)).tolist():
                    without = exponents[row].copy()
                    without[column] -= 1
                    group.append((place[tuple(without.tolist())], row))
                for parent, row in sorted(group):
                    here = len(self.order)
                    place[tuple(exponents[row].tolist())] = here
                    self.order.append(row)
                    self._append(here, parent, column)
        firsts = [run[0] for run in self.runs if run[1] == 0]
        #: Whether the inputs stand behind the constant as they come, so that they can be written
        #: there at once.
        self.inputs_in_place = firsts == list(range(1, exponents.shape[1] + 1))

    def _append(self, here: int, parent: int, column: int) -> None:
        if self.runs and parent:
            first, first_parent, length, of = self.runs[-1]
            # What a run makes is not there yet while it is made: it is none of its own parents.
            follows = parent == first_parent + length < first
            if of == column and first_parent and follows:
                self.runs[-1] = (first, first_parent, length + 1, of)
                return
        self.runs.append((here, parent, 1, column))


class Monomials:
    """Monomials of ``q`` inputs, each computed from one of a degree less.

    Args:
        exponents: ``[P, q]``, ascending in total degree, the constant first; with each monomial
            also the one that its last factor is multiplied to.
    """

    def __init__(self, exponents: NDArray[np.int64]) -> None:
        self.exponents = exponents
        self.degree = int(exponents.sum(axis=1).max())
        index = {tuple(e): i for i, e in enumerate(exponents.tolist())}
        totals = exponents.sum(axis=1)
        blocks = []
        for degree in range(1, self.degree + 1):
            rows = np.flatnonzero(totals == degree)
            # The last input of a monomial: the first nonzero exponent from the right.
            last = exponents.shape[1] - 1 - np.argmax(exponents[rows, ::-1] > 0, axis=1)
            without = exponents[rows].copy()
            without[np.arange(len(rows)), last] -= 1
            parents = np.array([index[tuple(e)] for e in without.tolist()], dtype=np.int64)
            blocks.append(_Block(int(rows[0]), int(rows[-1]) + 1, parents, last))
        self._blocks = blocks

    @cached_property
    def order(self) -> MonomialOrder:
        """The order in which they are computed again and again."""
        return MonomialOrder(self.exponents)

    @classmethod
    def up_to(cls, degree: int, inputs: int, cosines: Sequence[int] = ()) -> Monomials:
        """All monomials of at most a total degree.

        Args:
            degree: The degree.
            inputs: Number of inputs ``q``.
            cosines: Inputs that enter to the first power only: the square of a cosine is one less
                the square of its sine, and would make the basis collinear.
        """
        found = []
        for total in range(degree + 1):
            for chosen in itertools.combinations_with_replacement(range(inputs), total):
                exponents = np.bincount(np.array(chosen, dtype=np.int64), minlength=inputs)
                if all(exponents[c] < 2 for c in cosines):
                    found.append(exponents)
        return cls(np.array(found, dtype=np.int64).reshape(-1, inputs))

    @staticmethod
    def count(degree: int, inputs: int, cosines: int = 0) -> int:
        """How many :meth:`up_to` would give, ``cosines`` of the inputs to the first power only."""
        powers = inputs - cosines
        return sum(
            math.comb(cosines, taken) * math.comb(powers + degree - taken, powers)
            for taken in range(min(cosines, degree) + 1)
        )

    @property
    def size(self) -> int:
        """Number of monomials ``P``."""
        return len(self.exponents)

    def __call__(self, z: Tensor) -> Tensor:
        """Inputs ``[..., q, n]`` -> monomials ``[..., P, n]``."""
        out = z.new_empty((*z.shape[:-2], self.size, z.shape[-1]))
        out[..., 0, :] = 1.0
        self.fill(out, z)
        return out

    def fill(self, out: Tensor, z: Tensor) -> None:
        """Write all but the constant into ``out`` ``[..., P, n]``."""
        for block in self._blocks:
            block(out, z)

    def subset(self, wanted: NDArray[np.bool_]) -> tuple[Monomials, NDArray[np.int64]]:
        """Some of the monomials with those that they are computed from.

        Args:
            wanted: ``[P]``.

        Returns:
            The monomials, and the index among the present ones of each.
        """
        kept = wanted.copy()
        kept[0] = True
        for block in reversed(self._blocks):
            kept[block.parents[kept[block.first : block.end]]] = True
        rows = np.flatnonzero(kept)
        return Monomials(self.exponents[rows]), rows

    def without_others(self, wanted: NDArray[np.int64]) -> Monomials:
        """Those of some monomials ``[k]`` that are computed from some of them alone."""
        kept = np.zeros(self.size, dtype=np.bool_)
        kept[wanted] = True
        kept[0] = True
        for block in self._blocks:
            kept[block.first : block.end] &= kept[block.parents]
        return self if kept.all() else Monomials(self.exponents[kept])

    def names(self, inputs: Sequence[str]) -> tuple[str, ...]:
        """Each monomial as text, such as ``"theta^2 omega"``."""
        texts = []
        for exponents in self.exponents.tolist():
            powers = zip(inputs, exponents, strict=True)
            texts.append(" ".join(f"{n}^{e}" if e > 1 else n for n, e in powers if e) or "1")
        return tuple(texts)

    def to_json(self) -> list[list[int]]:
        """The exponents as plain lists."""
        plain: list[list[int]] = self.exponents.tolist()
        return plain

    @classmethod
    def from_json(cls, plain: Sequence[Sequence[int]]) -> Monomials:
        """Monomials from their exponents.

        Raises:
            ValueError: If they are none.
        """
        try:
            exponents = np.array(plain, dtype=np.int64)
            if exponents.ndim != 2 or exponents.min() < 0 or exponents[0].any():
                raise ValueError
            return cls(exponents)
        except (KeyError, ValueError, TypeError, IndexError):
            raise ValueError("these are no exponents of a polynomial basis") from None


def angles_of(task: object, lag: int, width: int) -> tuple[int, ...]:
    """Columns of a state that the task declares as angles (``Task.angles``).

    Args:
        task: The task.
        lag: Observations of a state.
        width: How far apart they stand: coordinates, and numbers of the action between.
    """
    declared: Sequence[int] = getattr(task, "angles", ())
    return tuple(back * width + column for back in range(lag) for column in declared)
