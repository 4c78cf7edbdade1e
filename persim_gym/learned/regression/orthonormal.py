"""A polynomial basis that is orthonormal on the recorded inputs.

Each input has polynomials of its own, orthonormal on its recorded values, by their three-term
recurrence; terms are products of these. An input of two values has no square, and what earlier
terms determine, such as the square of a sine beside that of its cosine, is left out: no degree is
collinear, and nothing in it needs more than single precision to be evaluated.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

#: Rows that a basis is measured on.
MEASURED = 20_000
#: What a polynomial of one input must add to those before it, as a share of its size, and what a
#: product must add to the terms before it.
OWN, ADDED = 1e-5, 1e-4
#: Values that are in memory at once.
AT_ONCE = 8_000_000


@dataclass(frozen=True, slots=True)
class ProductBasis:
    """Products of orthonormal polynomials of ``q`` inputs.

    Attributes:
        terms: Degree of each input in each term ``[P, q]``, ascending in total degree.
        shift: Of the recurrence ``[q, g]``, with ``g`` the highest degree.
        size: Of the recurrence ``[q, g]``; infinite where an input has no such degree.
        low: Least value an input is held at ``[q]``.
        high: Largest value ``[q]``.
    """

    terms: Tensor
    shift: Tensor
    size: Tensor
    low: Tensor
    high: Tensor
    _factors: list[Tensor] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Find what each term is made of: few of the inputs, and often most have no part in it.

        Raises:
            ValueError: If a term has a degree that no input has: it would be read as another's.
        """
        degree = self.shift.shape[1]
        if bool(((self.terms < 0) | (self.terms > degree)).any()):
            raise ValueError(f"terms of degrees from 0 to {degree} are expected")
        used = (self.terms > 0).long()
        most = int(used.sum(1).max()) if self.terms.numel() else 0
        columns = used.argsort(dim=1, descending=True, stable=True)[:, :most]
        places = columns * (degree + 1) + self.terms.gather(1, columns)
        object.__setattr__(self, "_factors", [own.contiguous() for own in places.unbind(1)])

    @classmethod
    def up_to(cls, degree: int, values: Tensor, margin: float) -> ProductBasis:
        """All products up to a total degree.

        Args:
            degree: The degree.
            values: Recorded inputs ``[T, q]``, in double precision.
            margin: Widths of the recorded range by which an input may leave it before it is held.
        """
        low, high = values.amin(0), values.amax(0)
        reach = margin * (high - low)
        shift, size = _recurrence(some(values), degree)
        most = torch.isfinite(size).long().cumprod(1).sum(1).tolist()
        found = list(_terms(most, degree))
        terms = torch.tensor(found, dtype=torch.long).view(len(found), values.shape[1])
        return cls(terms, shift, size, low - reach, high + reach)

    @property
    def degrees(self) -> Tensor:
        """Total degree of each term ``[P]``."""
        return self.terms.sum(1)

    def __len__(self) -> int:
        """Number of terms ``P``."""
        return len(self.terms)

    def subset(self, kept: Tensor) -> ProductBasis:
        """Some of the terms, by index or mask."""
        return replace(self, terms=self.terms[kept])

    def first(self, degree: int) -> ProductBasis:
        """The terms up to a total degree."""
        return self.subset(self.degrees <= degree)

    def held(self, margin: float, values: Tensor) -> ProductBasis:
        """The same with inputs held within ``margin`` widths of the recorded range."""
        low, high = values.amin(0), values.amax(0)
        reach = margin * (high - low)
        return replace(self, low=low - reach, high=high + reach)

    def __call__(self, values: Tensor) -> Tensor:
        """Inputs ``[..., n, q]`` -> terms ``[..., n, P]``."""
        flat = values.reshape(-1, values.shape[-1])
        rows = max(1, AT_ONCE // max(1, len(self.terms)))
        if torch.compiler.is_exporting() or len(flat) <= rows:
            return self._rows(flat).view(*values.shape[:-1], len(self))
        parts = torch.cat([self._rows(part) for part in flat.split(rows)])
        return parts.view(*values.shape[:-1], len(self))

    def _rows(self, values: Tensor) -> Tensor:
        z = torch.clamp(values, self.low, self.high)
        single = [torch.ones_like(z)]
        before: Tensor | None = None
        back = torch.where(torch.isfinite(self.size), self.size, torch.zeros_like(self.size))
        for k in range(self.shift.shape[1]):
            now = z - self.shift[:, k]
            if before is not None:
                now = now.mul_(single[-1]).sub_(back[:, k - 1] * before)
            before = single[-1]
            single.append(now / self.size[:, k])
        table = torch.stack(single, -1).flatten(1)  # [n, q * (g + 1)]
        out: Tensor | None = None
        for places in self._factors:
            own = table.index_select(1, places)
            out = own if out is None else out.mul_(own)
        return z.new_ones(len(z), len(self)) if out is None else out

    def to(self, device: torch.device | str, dtype: torch.dtype) -> ProductBasis:
        """The same on a device, in a precision."""
        moved = [getattr(self, name).to(device, dtype) for name in ("shift", "size", "low", "high")]
        return ProductBasis(self.terms.to(device), *moved)

    def tensors(self) -> dict[str, Tensor]:
        """What is kept in a file."""
        return {name: getattr(self, name) for name in ("terms", "shift", "size", "low", "high")}


def some(values: Tensor) -> Tensor:
    """At most :data:`MEASURED` rows, evenly chosen."""
    if len(values) <= MEASURED:
        return values
    places = torch.linspace(0, len(values) - 1, MEASURED, dtype=torch.float32, device=values.device)
    return values[places.long()]


def orthonormal(basis: ProductBasis, values: Tensor) -> tuple[ProductBasis, Tensor]:
    """The terms that add something, and what makes them orthonormal on the recorded inputs.

    Args:
        basis: All terms.
        values: Recorded inputs ``[T, q]``, in double precision.

    Returns:
        The basis of the terms kept, and ``[P, P]``, upper triangular: ``basis(values) @ that`` is
        orthonormal, each column made of the terms up to its own.
    """
    phi = basis(some(values))
    gram = phi.mT @ phi / len(phi)
    kept = independent(gram, ADDED)
    root = torch.linalg.cholesky(gram[kept][:, kept])
    eye = torch.eye(len(kept), dtype=root.dtype, device=root.device)
    return basis.subset(kept), torch.linalg.solve_triangular(root, eye, upper=False).mT


def count_terms(inputs: int, degree: int) -> int:
    """Terms of all products up to a degree, from arithmetic."""
    return math.comb(inputs + degree, degree)


def _recurrence(values: Tensor, degree: int) -> tuple[Tensor, Tensor]:
    """Shifts and sizes ``[q, g]`` of the orthonormal polynomials of each input."""
    now, before = torch.ones_like(values), torch.zeros_like(values)
    back = torch.zeros_like(values[0])
    shifts, sizes = [], []
    alive = torch.ones_like(values[0], dtype=torch.bool)
    reach = values.std(0, correction=0).clamp_min(1e-300)
    for _ in range(degree):
        shift = (values * now.square()).mean(0)
        following = (values - shift) * now - back * before
        size = following.square().mean(0).sqrt()
        alive &= size > OWN * reach
        shifts.append(shift)
        sizes.append(torch.where(alive, size, torch.full_like(size, torch.inf)))
        before, back = now, torch.where(alive, size, torch.zeros_like(size))
        now = following / sizes[-1]
    return torch.stack(shifts, 1), torch.stack(sizes, 1)


def _terms(most: list[int], degree: int) -> Iterator[list[int]]:
    """Degrees of all products of at most a total degree, each input to at most its own."""
    for total in range(degree + 1):
        for chosen in itertools.combinations_with_replacement(range(len(most)), total):
            powers = [0] * len(most)
            for column in chosen:
                powers[column] += 1
            if all(power <= limit for power, limit in zip(powers, most, strict=True)):
                yield powers


def independent(gram: Tensor, added: float) -> Tensor:
    """Indices of the columns that those before them do not determine.

    Args:
        gram: Their Gram matrix.
        added: What a column must add to those before it, as a share of its size.
    """
    left = gram.clone()
    size = gram.diagonal().clone()
    kept = []
    for column in range(len(gram)):  # terms, not rows
        pivot = left[column, column]
        if pivot <= added**2 * size[column] or size[column] <= 0:
            continue
        kept.append(column)
        row = left[column, column:] / pivot.sqrt()
        left[column:, column:] -= row[:, None] * row
    return torch.tensor(kept, device=gram.device)
