"""What weights are found from: sums over agents, which add up over parts of a population.

Neither the transitions nor the statistics of all agents need be in memory together: a population
of any size goes by in parts, and what is kept of a part is of the size of the model.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from persim_gym.learned.closed_form.agent_sums import Statistics
from persim_gym.learned.closed_form.factors import Factors


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over agents, of ``m`` members with rank ``r``.

    Attributes:
        gram: Products of factors times products of features, both packed as lower triangles
            ``[A, m, r (r + 1) / 2 * P (P + 1) / 2]``.
        cross: Factors times features times targets ``[A, m, r * P, D]``.
        square: Squares of the targets ``[m, D]``.
        count: Transitions ``[m]``.
        rows: Transitions under each action ``[A]``, whatever the agents' importance.
        agents: Importance of the agents ``[m]``.
        mean: Factors ``[m, r]``.
        product: Products of factors, expected under their posteriors ``[m, r, r]``.
    """

    gram: Tensor
    cross: Tensor
    square: Tensor
    count: Tensor
    rows: Tensor
    agents: Tensor
    mean: Tensor
    product: Tensor

    @classmethod
    def of(cls, stats: Statistics, factors: Factors, importance: Tensor | None = None) -> Sums:
        """Add up over agents.

        Args:
            stats: Of ``N`` agents.
            factors: Theirs.
            importance: Weight of each agent ``[m, N]``.
        """
        m, n, r = factors.mean.shape
        a, p, d = stats.cross.shape[1:]
        mean = factors.mean
        products = mean[..., :, None] * mean[..., None, :]
        if r > 1:
            products = products.clone()
            products[..., 1:, 1:] += factors.covariance
        count = stats.count.to(mean.dtype).expand(m, n)
        square = stats.square.expand(m, n, d)
        agents = mean.new_full((m,), n)
        if importance is not None:
            products, mean = products * importance[..., None, None], mean * importance[..., None]
            count, square = count * importance, square * importance[..., None]
            agents = importance.sum(1)
        lower = torch.tril_indices(r, r, device=mean.device)
        triangle = products[..., lower[0], lower[1]].permute(0, 2, 1).reshape(-1, n)
        flat = mean.mT.reshape(-1, n)
        gram = [(triangle @ stats.gram[:, action]).view(m, -1) for action in range(a)]
        cross = [flat @ stats.cross[:, action].reshape(n, -1) for action in range(a)]
        return cls(
            torch.stack(gram),
            torch.stack(cross).view(a, m, r * p, d),
            square.sum(1),
            count.sum(1),
            stats.rows,
            agents,
            mean.sum(1),
            products.sum(1),
        )

    def __add__(self, other: Sums) -> Sums:
        """Sums over the agents of both."""
        return Sums(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def rank(self) -> int:
        """Rank ``r``."""
        return self.mean.shape[1]

    @property
    def features(self) -> int:
        """Number of features ``P``."""
        return self.cross.shape[2] // self.rank

    def population(self) -> tuple[Tensor, Tensor]:
        """Mean ``[m, r-1]`` and covariance ``[m, r-1, r-1]`` of the factors but the first."""
        centre = self.mean[:, 1:] / self.agents[:, None]
        second = self.product[:, 1:, 1:] / self.agents[:, None, None]
        return centre, second - centre[:, :, None] * centre[:, None, :]
