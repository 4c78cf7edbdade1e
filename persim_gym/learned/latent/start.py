"""Where agents' latents begin: the main directions in which agents differ, by regression."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

#: Features up to which their products take part.
FEW = 12

#: Transitions that the pooled model counts for in an agent's own regression.
PULL = 10.0


def first_latents(
    features: NDArray[np.float64],
    changes: NDArray[np.float64],
    agents: NDArray[np.int64],
    num_agents: int,
    rank: int,
) -> NDArray[np.float64]:
    """Latents ``[N, r]`` from each agent's own regression, beside one for all.

    A network that begins with them has to find out how agents differ, not who is like whom: it is
    there several times sooner than from random latents.

    Args:
        features: ``[T, q]``, of mean 0 and deviation 1.
        changes: ``[T, c]``.
        agents: ``[T]``.
        num_agents: Number of agents ``N``.
        rank: Coordinates ``r`` of a latent.
    """
    basis = basis_of(features)
    count = basis.shape[1]
    left = changes - basis @ (basis.T @ changes) / len(basis)
    left /= np.sqrt((left**2).mean(0)) + 1e-9
    own = np.zeros((num_agents, count, changes.shape[1]))
    for agent, rows in enumerate(agent_blocks(agents, num_agents)):
        if len(rows):
            x = basis[rows]
            own[agent] = np.linalg.solve(x.T @ x + PULL * np.eye(count), x.T @ left[rows])
    flat = own.reshape(num_agents, -1)
    flat -= flat.mean(0)
    vectors, values, _ = np.linalg.svd(flat, full_matrices=False)
    scores = vectors[:, :rank] * values[:rank]
    found = np.zeros((num_agents, rank))
    found[:, : scores.shape[1]] = scores
    return found / (np.sqrt((found[:, 0] ** 2).mean()) + 1e-12)


def agent_blocks(agents: NDArray[np.int64], num_agents: int) -> Iterator[NDArray[np.int64]]:
    """Rows of each agent in turn."""
    order = np.argsort(agents, kind="stable")
    ends = np.searchsorted(agents[order], np.arange(num_agents + 1))
    for begin, end in itertools.pairwise(ends):
        yield order[begin:end]


def basis_of(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Constant, features and, where these are few, their products, made orthonormal ``[T, F]``."""
    n, q = features.shape
    parts = [np.ones((n, 1)), features]
    if q <= FEW:
        i, j = np.triu_indices(q)
        parts.append(features[:, i] * features[:, j])
    raw = np.concatenate(parts, axis=1)
    values, vectors = np.linalg.eigh(raw.T @ raw / n)
    kept = values > 1e-8 * values[-1]
    return np.asarray(raw @ (vectors[:, kept] / np.sqrt(values[kept])))
