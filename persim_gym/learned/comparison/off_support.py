"""How much less sure a candidate is of an agent where only others were.

Held-out stretches hold the recorded behaviour alone. Under another one an agent comes to where it
never was. Other agents were there: what a population shares is known there, and what an agent was
given of its own, from a record that says nothing of it, is not. Members of a candidate differ there
as it errs: the logarithm of the one goes with that of the other, agent by agent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.comparison.holdout import Errors, Part, Record

#: Agents that are predicted, and rows of others that each of them begins at.
AGENTS, BEGINNINGS = 100, 16
#: Differences of members, in units of the observations' deviation, that count as none.
FINE = 1e-5


@runtime_checkable
class Members(Protocol):
    """A predictor whose members can be asked."""

    def rollouts(
        self, agents: NDArray[np.int64], states: NDArray[Any], actions: NDArray[Any]
    ) -> NDArray[Any]:
        """Open-loop predictions of each member ``[m, n, h, d]``."""


def doubt_off_support(
    predictor: object, part: Part, record: Record, steps: Sequence[int], rng: np.random.Generator
) -> float:
    """By which logarithm members differ more from where others were than on own stretches.

    Args:
        predictor: A fitted candidate; 0 of one without members, or with a single one.
        part: What was held out of its fit.
        record: The data.
        steps: Steps ahead.
        rng: Chooses agents and rows.

    Returns:
        Mean over horizons; of agents the median and the ninth decile count alike. 0 where members
        agree elsewhere as well.
    """
    if not isinstance(predictor, Members):
        return 0.0
    most = max(steps)
    scored = np.ones(len(record.agent), dtype=np.bool_) if record.scored is None else record.scored
    rows = np.flatnonzero(scored)
    rows = rows[rows + most <= np.searchsorted(record.episode, record.episode[rows], side="right")]
    if not len(rows):
        return 0.0
    who = np.sort(rng.permutation(np.unique(record.agent))[:AGENTS])
    agents = np.repeat(who, BEGINNINGS)
    first = rng.choice(rows, len(agents))
    there = _differences(predictor, record, agents, first, np.full(len(agents), most), steps)
    own = record.agent[part.start]
    here = _differences(predictor, record, own, part.start, part.length, steps)
    reached = [k for k in range(len(steps)) if here.valid[:, k].any() and there.valid[:, k].any()]
    more = [_typical(there, column) - _typical(here, column) for column in reached]
    return max(0.0, float(np.mean(more))) if more else 0.0


def _differences(
    predictor: Members,
    record: Record,
    agents: NDArray[np.int64],
    first: NDArray[np.int64],
    length: NDArray[np.int64],
    steps: Sequence[int],
) -> Errors:
    """Standard deviations of members ``[n, H, d]``, in units."""
    at = np.array(steps) - 1
    rows = first[:, None] + np.minimum(np.arange(max(steps)), length[:, None] - 1)
    found = np.asarray(predictor.rollouts(agents, record.states[first], record.actions[rows]))
    if len(found) < 2:
        return Errors(np.zeros(found[0][:, at].shape), length[:, None] > at, agents)
    apart = found[:, :, at].astype(np.float64).std(axis=0, ddof=1) / record.unit
    return Errors(np.nan_to_num(apart, nan=1e3, posinf=1e3), length[:, None] > at, agents)


def _typical(differences: Errors, column: int) -> float:
    """Half the logarithm of the middle agent's, and half that of the ninth decile."""
    own = differences.of_agents(column)
    own = own[np.isfinite(own)]
    return float(0.5 * np.log(np.maximum(np.quantile(own, (0.5, 0.9)), FINE)).sum())
