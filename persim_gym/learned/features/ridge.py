"""Quick regressions by which pasts are judged: each agent's own, shrunk to that of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Tensor

from persim_gym.learned.features.ensemble import register
from persim_gym.learned.features.frame import Frame
from persim_gym.learned.regression.population import moments


def present(frame: Frame) -> list[int]:
    """Features of the present, actions included: those of which products are taken."""
    past = {*chain(*frame.optional[:2])}
    return [k for k, column in enumerate(frame.kept) if column not in past]


@register
class Ridge:
    """Each agent's ridge regression, shrunk to that of all: the model by which lags are judged.

    Args:
        factors: Weights of the basis ``[1, N, P * c]``.
        present: Features of which products are taken.
        targets: Number of changes ``c``.
    """

    kind: ClassVar[str] = "ridge"

    def __init__(self, factors: Tensor, present: Sequence[int], targets: int) -> None:
        self.factors, self.present, self.targets = factors, list(present), targets
        self.widths = (factors.shape[2] // targets, targets)

    @classmethod
    def fitted(
        cls, features: Tensor, change: Tensor, agents: Tensor, present: Sequence[int], ridge: float
    ) -> Ridge:
        """Fit: what is personal is as large as the noise allows, times a ridge."""
        count, c = int(agents.max()) + 1, change.shape[1]
        basis = basis_of(features, present)
        size = basis.shape[1]
        gram = basis.T @ basis
        eye = torch.eye(size, dtype=gram.dtype, device=gram.device)
        common = torch.linalg.solve(gram + 1e-9 * len(basis) * eye, basis.T @ change)
        left = change - basis @ common
        own = moments(basis, left, agents, count)
        personal = torch.linalg.solve(own.gram + ridge * 1e-2 * eye, own.cross.mT)
        return cls((common + personal).reshape(1, count, size * c), present, c)

    def change(self, agents: Tensor, features: Tensor) -> Tensor:
        """Scaled changes ``[1, n, c]``."""
        basis = basis_of(features, self.present)
        weights = self.factors[0, agents].unflatten(1, (-1, self.targets))
        found = torch.einsum("...np,npc->...nc", basis, weights)
        return found if features.ndim == 3 else found[None]

    def bind(self, agents: Tensor) -> Any:
        """The regressions of agents ``[p]``."""
        weights = self.factors[:, agents].unflatten(2, (-1, self.targets))
        return lambda features: basis_of(features, self.present) @ weights

    def design(self, features: Tensor) -> Tensor:
        """What the weights are multiplied to, ``[1, n, c, P * c]``."""
        basis = basis_of(features, self.present)
        eye = torch.eye(self.targets, dtype=basis.dtype, device=basis.device)
        return torch.einsum("np,ce->ncpe", basis, eye).flatten(2)[None]

    def offset(self) -> Tensor:
        """None ``[c]``."""
        return self.factors.new_zeros(self.targets)

    def with_factors(self, factors: Tensor) -> Ridge:
        """The same for agents of other weights."""
        return Ridge(factors, self.present, self.targets)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Ridge:
        """The same on a device, in a precision."""
        return self.with_factors(self.factors.to(device, dtype or self.factors.dtype))

    def tensors(self) -> dict[str, Tensor]:
        """The weights."""
        return {"factors": self.factors}

    def meta(self) -> dict[str, Any]:
        """Everything else."""
        return {"present": self.present, "targets": self.targets}

    @classmethod
    def from_parts(cls, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> Ridge:
        """What :meth:`tensors` and :meth:`meta` have given."""
        return cls(tensors["factors"], meta["present"], int(meta["targets"]))


def basis_of(features: Tensor, present: Sequence[int]) -> Tensor:
    """A constant, the features ``[..., q]``, and products of two present ones ``[..., P]``."""
    now = features[..., list(present)]
    left, right = torch.triu_indices(len(present), len(present))
    one = torch.ones_like(features[..., :1])
    return torch.cat([one, features, now[..., left] * now[..., right]], dim=-1)


def terms_of(size: int, present: Sequence[int]) -> list[tuple[int, ...]]:
    """Features that each term of :func:`basis_of` is made of, of ``size`` features."""
    left, right = torch.triu_indices(len(present), len(present)).tolist()
    products = [(present[i], present[j]) for i, j in zip(left, right, strict=True)]
    return [(), *((k,) for k in range(size)), *products]
