"""Which head says the reward or the termination of a task that has no formula.

Both are chosen among candidates from the simplest to the richest by trajectories that were held
out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.outcomes.heads import (
    HIDDEN,
    Head,
    constant,
    limits_head,
    logistic_head,
    monomials,
    network_head,
    ridge_heads,
    terms_of,
)

#: Degrees of the polynomials.
DEGREES = (1, 2, 3)

#: Penalties of their coefficients, by row.
RIDGES = (1e-9, 1e-4, 1e-2)

#: Share of a value's deviation below which a term is left out.
NEGLIGIBLE = 1e-4

#: Rows that a head is fitted on at most; more teach so small a function nothing.
MOST_ROWS = 30_000

#: Share of the trajectories held out.
HELD = 0.2

#: A candidate is good enough if its held-out error is within this factor of the least ...
TOLERANCE = 1.1

#: ... and nothing richer is tried below this share of unexplained variance, or of wrong rows.
EXCELLENT = 1e-4


@dataclass(frozen=True, slots=True)
class Split:
    """Rows to learn from and rows to judge by, as indices."""

    fit: NDArray[np.int64]
    held: NDArray[np.int64]


def split(
    starts: NDArray[np.int64], lengths: NDArray[np.int64], rare: NDArray[np.bool_], seed: int
) -> Split:
    """Hold out a fifth of the trajectories, of those with a rare row and of the others alike.

    With fewer than five trajectories it is the last fifth of each.

    Args:
        starts: First row of each trajectory ``[E]``.
        lengths: Rows of each ``[E]``.
        rare: Trajectories with a rare row ``[E]``.
        seed: Seed of the choice.
    """
    rng = np.random.default_rng([seed, 3])
    held = np.zeros(int(lengths.sum()), dtype=np.bool_)
    if len(starts) < 5:
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
            held[start + length - int(HELD * length) : start + length] = True
    else:
        for group in (np.flatnonzero(rare), np.flatnonzero(~rare)):
            count = round(HELD * len(group)) if len(group) > 2 else 0
            for which in rng.permutation(group)[:count].tolist():
                held[starts[which] : starts[which] + lengths[which]] = True
    fit_rows, held_rows = (
        rng.permutation(rows)[:MOST_ROWS] if len(rows) > MOST_ROWS else rows
        for rows in (np.flatnonzero(~held), np.flatnonzero(held))
    )
    return Split(fit_rows, held_rows if len(held_rows) else fit_rows)


@torch.no_grad()
def fit_regression(
    rows: NDArray[np.float64], values: NDArray[np.float64], parts: Split, seed: int
) -> tuple[Head, dict[str, Any]]:
    """Fit a value ``[T]`` of rows ``[T, p]``.

    Returns:
        The function, and how it was chosen: ``kind``, ``degree``, ``heldout_r2``, ``heldout_rmse``.
    """
    x, y = torch.as_tensor(rows).double(), torch.as_tensor(values).double()
    deviation = float(y.std(correction=0))
    if deviation <= 1e-9 * max(1.0, float(y.abs().max())):
        return constant(float(y.mean())), {"kind": "constant", "heldout_r2": 1.0}
    held = torch.as_tensor(parts.held)
    # Where held-out values are all alike there is no variance of theirs to explain.
    unit = float(y[held].var(correction=0)) or deviation**2

    def error(head: Head) -> float:
        mse = float((head(x[held]) - y[held]).square().mean())
        return mse / unit if np.isfinite(mse) else np.inf

    fit = torch.as_tensor(parts.fit)
    every = torch.as_tensor(np.union1d(parts.fit, parts.held))
    candidates: list[_Candidate] = []
    for degree in DEGREES:
        terms = terms_of(x.shape[1], degree)
        if terms is None or len(terms) > len(fit):
            continue
        for ridge, head in zip(RIDGES, ridge_heads(x[fit], y[fit], terms, RIDGES), strict=True):
            about = {"kind": "polynomial", "degree": degree, "ridge": ridge, "terms": len(terms)}
            make = partial(_one_ridge, terms=terms, ridge=ridge)
            candidates.append(_Candidate(error(head), head, about, make))
        if min(c.error for c in candidates) < EXCELLENT:
            break
    if min((c.error for c in candidates), default=1.0) >= EXCELLENT:
        head = network_head(x[fit], y[fit], False, seed)
        candidates.append(_Candidate(error(head), head, {"kind": "network", "hidden": HIDDEN}))
    chosen = _simplest(candidates)
    if chosen.error >= 1.0:  # no better than the mean
        head = constant(float(y.mean()))
        chosen = _Candidate(error(head), head, {"kind": "constant"})
    if chosen.head.kind == "polynomial":
        # Planners evaluate a reward millions of times: terms that do nothing are left out.
        terms = _telling_terms(chosen.head, x[fit], deviation)
        make = partial(_one_ridge, terms=terms, ridge=chosen.about["ridge"])
        short = make(x[fit], y[fit])
        about = chosen.about | {"terms": len(terms)}
        chosen = _simplest([_Candidate(error(short), short, about, make), chosen])
    quality = {"heldout_r2": 1.0 - chosen.error, "heldout_rmse": (chosen.error * unit) ** 0.5}
    return chosen.final(x[every], y[every]), chosen.about | quality


@torch.no_grad()
def fit_classifier(
    rows: NDArray[np.float64], labels: NDArray[np.bool_], parts: Split, seed: int
) -> tuple[Head | None, dict[str, Any]]:
    """Fit the rows ``[T, p]`` that are positive ``[T]``.

    Every candidate is judged by the share of rows that it gets wrong, so that chance events, which
    the rows do not show, are not predicted everywhere.

    Returns:
        The function, or ``None`` if nothing does better than to say that no row is, and how it was
        chosen: ``kind``, ``heldout_accuracy`` (``None`` if there were too few positives to hold any
        out), ``found`` (share of the positives that are predicted) and ``false`` (share of the
        others that are).
    """
    x, y = torch.as_tensor(rows), torch.as_tensor(labels)
    fit, held = torch.as_tensor(parts.fit), torch.as_tensor(parts.held)
    every = torch.as_tensor(np.union1d(parts.fit, parts.held))
    # Where positives are too few for both parts, simple candidates are fitted and judged on all.
    blind = not bool(y[held].any() and y[fit].any())
    if blind:
        fit = held = every

    def error(head: Head) -> float:
        return float(((head(x[held]) > 0) != y[held]).double().mean())

    candidates: list[_Candidate] = []
    if (limits := limits_head(x[fit], y[fit])) is not None:
        candidates.append(_Candidate(error(limits), limits, {"kind": "limits"}, limits_head))
    if not candidates or candidates[0].error >= EXCELLENT:
        for degree in DEGREES:
            terms = terms_of(x.shape[1], degree)
            if terms is not None and len(terms) <= len(fit):
                make = partial(logistic_head, terms=terms)
                head = make(x[fit], y[fit])
                about = {"kind": "polynomial", "degree": degree}
                candidates.append(_Candidate(error(head), head, about, make))
        if not blind and min((c.error for c in candidates), default=1.0) >= EXCELLENT:
            head = network_head(x[fit], y[fit].double(), True, seed)
            candidates.append(_Candidate(error(head), head, {"kind": "network", "hidden": HIDDEN}))
    never = float(y[held].double().mean())
    chosen = _simplest(candidates) if candidates else None
    if chosen is None or chosen.error >= never:
        accuracy = None if blind else 1.0 - never
        return None, {"kind": "never", "heldout_accuracy": accuracy, "found": 0.0, "false": 0.0}
    said, true = chosen.head(x[held]) > 0, y[held]
    quality = {
        "heldout_accuracy": None if blind else 1.0 - chosen.error,
        "found": float(said[true].double().mean()),
        "false": float(said[~true].double().mean()),
    }
    return chosen.final(x[every], y[every]), chosen.about | quality


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A function, its error on what was held out, and how to fit it on everything."""

    error: float
    head: Head
    about: dict[str, Any]
    make: Callable[[Tensor, Tensor], Head | None] | None = None

    def final(self, x: Tensor, y: Tensor) -> Head:
        """Fitted again on all rows, where that costs next to nothing."""
        return (self.make(x, y) if self.make else None) or self.head


def _simplest(candidates: list[_Candidate]) -> _Candidate:
    """The first candidate whose error is about the least."""
    enough = TOLERANCE * min(c.error for c in candidates) + EXCELLENT / 10
    return next(c for c in candidates if c.error <= enough)


def _telling_terms(head: Head, x: Tensor, deviation: float) -> Tensor:
    """Terms of a polynomial whose share in its values is not negligible; at least one."""
    t = head.tensors
    values = monomials((x - t["mean"]) / t["scale"], t["terms"])
    share = values.std(0) * t["weight"].abs()
    kept = share > min(NEGLIGIBLE * deviation, float(share.max()) / 2)
    return t["terms"][kept]


def _one_ridge(x: Tensor, y: Tensor, terms: Tensor, ridge: float) -> Head:
    return ridge_heads(x, y, terms, [ridge])[0]
