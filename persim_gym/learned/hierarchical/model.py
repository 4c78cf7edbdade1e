"""Members whose agents each have coefficients of their own in a polynomial basis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from persim_gym.learned.features.ensemble import register
from persim_gym.learned.regression.orthonormal import ProductBasis

#: Rows of each agent from which rows are grouped by agent, and rows for one that are worth it.
GROUPED, PADDED = 4, 2


@register
class HierarchicalModel:
    """Members ``change_c = phi(features) . coefficient_c(agent)``.

    Args:
        basis: ``phi``, of ``P`` terms.
        factors: The agents' coefficients, coordinate after coordinate ``[m, N, c * P]``.
        prior_mean: Mean coefficients of the population ``[c * P]``.
        prior_root: A root of their covariance ``[c * P, c * P]``.
        noise: Variance of what is left ``[c]``.
        low: Least change ``[c]``.
        high: Largest change ``[c]``.
    """

    kind: ClassVar[str] = "hierarchical"

    def __init__(
        self,
        basis: ProductBasis,
        factors: Tensor,
        prior_mean: Tensor,
        prior_root: Tensor,
        noise: Tensor,
        low: Tensor,
        high: Tensor,
    ) -> None:
        self.basis, self.factors = basis, factors
        self.prior_mean, self.prior_root, self.noise = prior_mean, prior_root, noise
        self.low, self.high, self.outputs = low, high, len(low)
        self.members, self.num_agents, self.rank = factors.shape
        self.widths = (basis.terms.shape[1], len(basis), self.outputs)
        #: Least and largest features ``[q]``, ``[q]``, beyond which they are held.
        self.held = basis.low, basis.high

    @torch.no_grad()
    def change(self, agents: Tensor, features: Tensor) -> Tensor:
        """Every member's changes.

        Args:
            agents: ``[n]``.
            features: ``[n, q]``, the same for all members, or ``[m, n, q]``.

        Returns:
            ``[m, n, c]``, within what was recorded and a width of it.
        """
        features = features if features.ndim == 3 else features[None]
        return self.bind(agents)(features[:, :, None])[:, :, 0]

    def bind(self, agents: Tensor) -> Callable[[Tensor], Tensor]:
        """The model of agents ``[p]``, for features ``[m or 1, p, k, q]``: ``[m, p, k, c]``."""
        who, places, padded = _grouped(agents)
        own = self._coefficients(agents if who is None else who).mT  # [m, p or u, P, c]

        @torch.no_grad()
        def changes(features: Tensor) -> Tensor:
            phi = self.basis(features.to(self.factors.dtype))
            if padded is None:
                out = phi @ own
            else:  # an agent's rows together
                k = phi.shape[2]
                rows = phi[:, padded].flatten(2, 3)  # [m or 1, u, longest * k, P]
                out = (rows @ own).unflatten(2, (-1, k)).flatten(1, 2)[:, places]
            return torch.clamp(out, self.low, self.high)

        return changes

    def _coefficients(self, agents: Tensor) -> Tensor:
        """``[m, n, c, P]``."""
        own = self.factors[:, agents]
        return own.view(*own.shape[:2], self.outputs, -1)

    @torch.no_grad()
    def design(self, features: Tensor) -> Tensor:
        """What an agent's factor is multiplied to ``[m, n, c, r]``, limits of changes aside."""
        phi = self.basis(features.to(self.factors.dtype))
        phi = phi if phi.ndim == 3 else phi.expand(self.members, *phi.shape)
        eye = torch.eye(self.outputs, dtype=phi.dtype, device=phi.device)
        return (eye[:, :, None] * phi[:, :, None, None, :]).flatten(3)

    def offset(self) -> Tensor:
        """The change that no factor has a part in: none ``[c]``."""
        return torch.zeros_like(self.low)

    def with_factors(self, factors: Tensor) -> HierarchicalModel:
        """The same model for agents of other factors ``[m, N', r]``."""
        moved = factors.to(self.factors.device, self.factors.dtype)
        return HierarchicalModel(self.basis, moved, *self._rest())

    def _rest(self) -> tuple[Tensor, ...]:
        return self.prior_mean, self.prior_root, self.noise, self.low, self.high

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> HierarchicalModel:
        """The same on a device, in a precision."""
        dtype = dtype or self.factors.dtype
        rest = (part.to(device, dtype) for part in (self.factors, *self._rest()))
        return HierarchicalModel(self.basis.to(device, dtype), *rest)

    def tensors(self) -> dict[str, Tensor]:
        """What is kept in a file."""
        found = {f"basis.{name}": tensor for name, tensor in self.basis.tensors().items()}
        names = ("factors", "prior_mean", "prior_root", "noise", "low", "high")
        return found | {name: getattr(self, name) for name in names}

    def meta(self) -> dict[str, Any]:
        """Kind and sizes as plain types."""
        return {"terms": len(self.basis), "outputs": self.outputs}

    @classmethod
    def from_parts(
        cls, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]
    ) -> HierarchicalModel:
        """What :meth:`tensors` and :meth:`meta` have given.

        Raises:
            KeyError: If something is missing.
            ValueError: If sizes do not fit together.
        """
        parts = ("terms", "shift", "size", "low", "high")
        basis = ProductBasis(*(tensors[f"basis.{name}"] for name in parts))
        names = ("factors", "prior_mean", "prior_root", "noise", "low", "high")
        model = cls(basis, *(tensors[name] for name in names))
        p, c = int(meta["terms"]), int(meta["outputs"])
        r = p * c
        shapes = (model.prior_root.shape, model.low.shape, model.high.shape)
        if len(basis) != p or model.rank != r or shapes != ((r, r), (c,), (c,)):
            raise ValueError("basis and coefficients are not of the same model")
        return model


def _grouped(agents: Tensor) -> tuple[Tensor | None, Any, Any]:
    """Rows by agent, padded: agents ``[u]``, each row's place, and rows ``[u, longest]``.

    Nothing where that is not worth it: where rows are few or too unevenly shared out.
    """
    if torch.compiler.is_exporting():  # a graph cannot depend on who is there
        return None, None, None
    who, index, count = torch.unique(agents, return_inverse=True, return_counts=True)
    longest = int(count.max()) if len(count) else 0
    if len(who) * longest > PADDED * len(agents) or longest < GROUPED:
        return None, None, None
    order = torch.argsort(index, stable=True)
    first = count.cumsum(0) - count
    step = torch.arange(len(agents), device=agents.device) - first[index[order]]
    padded = order.new_zeros(len(who), longest)
    padded[index[order], step] = order
    places = torch.empty_like(order)
    places[order] = index[order] * longest + step
    return who, places, padded
