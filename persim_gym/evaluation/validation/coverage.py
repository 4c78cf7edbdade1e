"""Where agents have been, and how often each dose was given: by agent, and through others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.evaluation.validation.confounding import FIXED, Acted
from persim_gym.evaluation.validation.verdict import number
from persim_gym.offline.transitions import Transitions

Floats = NDArray[np.float64]

#: Root mean square over coordinates, in standard deviations, up to which two rows are near.
NEAR = 0.5
#: Rows whose neighbourhood is sought, and among which.
ASKED, AMONG = 2_000, 20_000
#: Equal parts of the recorded range of a dose.
BINS = 10
#: Rows of an agent in a region from which it can have varied an action there, and of all.
FEW, ENOUGH = 3, 10
#: Regions of a coordinate.
THIRDS = ("lowest third", "middle third", "highest third")
#: Numbers in memory together.
BLOCK = 2_000_000


def coverage_by_agent(data: Transitions, acted: Acted, there: NDArray[np.int64]) -> Floats:
    """Shares of states and actions that records cover ``[A, 2]``.

    First the share of all that was recorded that the agent's own record covers, then the share of
    its own that others' records cover.

    Args:
        data: The data.
        acted: Their actions.
        there: The agents ``[A]``.
    """
    both = np.concatenate([data.obs.astype(np.float64), acted.values], axis=1)
    scale = both.std(0)
    used = scale > 1e-12
    if not used.any():
        return np.ones((len(there), 2))
    rows = ((both - both.mean(0)) / np.where(used, scale, 1.0))[:, used]
    place = np.searchsorted(there, data.agent)
    order = np.argsort(place, kind="stable")
    among = order[np.unique(np.linspace(0, len(order) - 1, min(len(order), AMONG)).astype(int))]
    asked = order[np.unique(np.linspace(0, len(order) - 1, min(len(order), ASKED)).astype(int))]
    near = _near(rows, asked, among, place[among], len(there))
    whose = place[asked]
    near[np.arange(len(asked)), whose] = True
    elsewhere = near.sum(1) - 1 > 0
    count = np.bincount(whose, minlength=len(there))
    others = np.bincount(whose, elsewhere, len(there)) / np.maximum(count, 1)
    return np.stack([near.mean(0), others], axis=1)


def _near(
    rows: Floats,
    asked: NDArray[np.int64],
    among: NDArray[np.int64],
    whose: NDArray[np.int64],
    agents: int,
) -> NDArray[np.bool_]:
    """Whether each agent has been near each row ``[n, A]``; ``whose`` is ascending."""
    limit = NEAR**2 * rows.shape[1]
    begins = np.flatnonzero(np.append(True, whose[1:] != whose[:-1]))
    square = (rows[among] ** 2).sum(1)
    found = np.zeros((len(asked), agents), dtype=np.bool_)
    size = max(1, BLOCK // len(among))
    for first in range(0, len(asked), size):
        part = rows[asked[first : first + size]]
        apart = (part**2).sum(1)[:, None] + square - 2 * part @ rows[among].T
        inside = np.logical_or.reduceat(apart <= limit, begins, axis=1)
        found[first : first + size, whose[begins]] = inside
    return found


def dose_shares(data: Transitions, acted: Acted, there: NDArray[np.int64]) -> list[dict[str, Any]]:
    """How much of each agent's record each dose is.

    Of every continuous action ``edges`` of equal parts of its recorded range, of discrete ones
    their ``labels``; ``shares`` of each agent's record ``[A][parts]``, ``agents`` that were ever
    in each part, and ``rows``, the share of all records.
    """
    place = np.searchsorted(there, data.agent)
    parts: list[tuple[str, list[str] | None, list[float] | None, NDArray[Any]]] = []
    if acted.discrete:
        parts.append(("action", list(acted.names), None, data.action))
    else:
        for k, name in enumerate(acted.names):
            low, high = float(acted.values[:, k].min()), float(acted.values[:, k].max())
            if not high > low:
                continue
            edges = np.linspace(low, high, BINS + 1)
            inside = np.clip(np.searchsorted(edges, acted.values[:, k], "right") - 1, 0, BINS - 1)
            parts.append((name, None, edges.tolist(), inside))
    found = []
    for name, labels, edges_, inside in parts:
        width = BINS if labels is None else len(labels)
        count = np.bincount(place * width + inside, minlength=len(there) * width)
        count = count.reshape(len(there), width)
        share = count / np.maximum(count.sum(1, keepdims=True), 1)
        found.append(
            {
                "action": name,
                "labels": labels,
                "edges": edges_,
                "rows": (count.sum(0) / count.sum()).tolist(),
                "agents": (count > 0).sum(0).tolist(),
                "shares": share.round(4).tolist(),
            }
        )
    return found


def varied_by_region(data: Transitions, acted: Acted, names: Sequence[str]) -> list[dict[str, Any]]:
    """In which thirds of each coordinate each action was varied, and by how many agents.

    ``own`` agents varied it there themselves; ``through_others`` were there, or not, and others
    varied it; of ``rows`` there are so many. Regions that hardly any row is in are left out.
    """
    found = []
    agents = len(np.unique(data.agent))
    least = 1e-6 if acted.discrete else FIXED * acted.values.std(0) + 1e-12
    for column, name in enumerate(names):
        values = data.obs[:, column].astype(np.float64)
        cuts = np.quantile(values, [1 / 3, 2 / 3])
        third = np.searchsorted(cuts, values, "right")
        group = data.agent * 3 + third
        count = np.bincount(group, minlength=data.num_agents * 3)
        centred = acted.values - acted.values.mean(0)
        sums = [
            np.stack([np.bincount(group, c, len(count)) for c in part.T], axis=1)
            / np.maximum(count, 1)[:, None]
            for part in (centred, centred**2)
        ]
        deviation = np.sqrt(np.maximum(sums[1] - sums[0] ** 2, 0.0))
        own = ((deviation > least) & (count >= FEW)[:, None]).reshape(-1, 3, acted.width).sum(0)
        total = np.bincount(third, minlength=3)
        low, high = map(number, cuts)
        ends = (f"below {low}", f"{low} to {high}", f"above {high}")
        found += [
            {
                "action": action,
                "coordinate": name,
                "region": THIRDS[j],
                "text": f"{name} is {ends[j]}",
                "rows": int(total[j]),
                "own": int(own[j, k]),
                "through_others": int(agents - own[j, k]) if own[j, k] else 0,
            }
            for j in range(3)
            if total[j] >= ENOUGH
            for k, action in enumerate(acted.names)
        ]
    return found
