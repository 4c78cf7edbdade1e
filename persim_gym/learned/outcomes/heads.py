"""Small functions learned from rows: the reward and the termination of a task that has no formula.

Both are chosen among candidates from the simplest to the richest by trajectories that were held
out: polynomials by ridge regression (logistic for yes and no), a network with two hidden layers
of 64 SiLU units by Adam, and for terminations also limits of single coordinates, which are sharp.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Degrees of the polynomials, and the most terms that one may have.
DEGREES, MOST_TERMS = (1, 2, 3), 1000

#: Penalties of their coefficients, by row.
RIDGES = (1e-9, 1e-4, 1e-2)

#: Share of a value's deviation below which a term is left out.
NEGLIGIBLE = 1e-4

#: Rows that a head is fitted on at most; more teach so small a function nothing.
MOST_ROWS = 30_000

HIDDEN, STEPS, BATCH = 64, 2000, 256

#: Share of the trajectories held out.
HELD = 0.2

#: A candidate is good enough if its held-out error is within this factor of the least ...
TOLERANCE = 1.1
#: ... and nothing richer is tried below this share of unexplained variance, or of wrong rows.
EXCELLENT = 1e-4


@dataclass(frozen=True, slots=True)
class Head:
    """A fitted function of rows ``[..., p]``.

    Attributes:
        kind: ``"constant"``, ``"polynomial"``, ``"network"`` or ``"limits"``.
        tensors: Its parameters in double precision, by name.
    """

    kind: str
    tensors: Mapping[str, Tensor]
    _cast: dict[tuple[torch.dtype, torch.device], Mapping[str, Tensor]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def __call__(self, rows: Tensor) -> Tensor:
        """Values ``[...]``, in the precision and on the device of the rows.

        Of a termination they are positive where the episode ends.
        """
        key = rows.dtype, rows.device
        if key not in self._cast:
            self._cast[key] = {k: _moved(v, *key) for k, v in self.tensors.items()}
        t = self._cast[key]
        if self.kind == "constant":
            return rows.new_zeros(rows.shape[:-1]) + t["value"]
        if self.kind == "limits":
            return torch.maximum(t["low"] - rows, rows - t["high"]).amax(-1)
        rows = (rows - t["mean"]) / t["scale"]
        if self.kind == "polynomial":
            return _monomials(rows, t["terms"]) @ t["weight"] + t["value"]
        for layer in range(2):
            rows = torch.nn.functional.silu(rows @ t[f"weight.{layer}"].T + t[f"bias.{layer}"])
        return rows @ t["weight.2"] + t["value"]


def constant(value: float) -> Head:
    """The same value everywhere."""
    return Head("constant", {"value": torch.tensor(value, dtype=torch.float64)})


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
    spread = float(y.std(correction=0))
    if spread <= 1e-9 * max(1.0, float(y.abs().max())):
        return constant(float(y.mean())), {"kind": "constant", "heldout_r2": 1.0}
    held = torch.as_tensor(parts.held)
    # Where held-out values are all alike there is no variance of theirs to explain.
    unit = float(y[held].var(correction=0)) or spread**2

    def error(head: Head) -> float:
        mse = float((head(x[held]) - y[held]).square().mean())
        return mse / unit if np.isfinite(mse) else np.inf

    fit = torch.as_tensor(parts.fit)
    every = torch.as_tensor(np.union1d(parts.fit, parts.held))
    candidates: list[_Candidate] = []
    for degree in DEGREES:
        terms = _terms(x.shape[1], degree)
        if terms is None or len(terms) > len(fit):
            continue
        for ridge, head in zip(RIDGES, _ridge(x[fit], y[fit], terms, RIDGES), strict=True):
            about = {"kind": "polynomial", "degree": degree, "ridge": ridge, "terms": len(terms)}
            make = partial(_one_ridge, terms=terms, ridge=ridge)
            candidates.append(_Candidate(error(head), head, about, make))
        if min(c.error for c in candidates) < EXCELLENT:
            break
    if min((c.error for c in candidates), default=1.0) >= EXCELLENT:
        head = _train(x[fit], y[fit], False, seed)
        candidates.append(_Candidate(error(head), head, {"kind": "network", "hidden": HIDDEN}))
    chosen = _simplest(candidates)
    if chosen.error >= 1.0:  # no better than the mean
        head = constant(float(y.mean()))
        chosen = _Candidate(error(head), head, {"kind": "constant"})
    if chosen.head.kind == "polynomial":
        # Planners evaluate a reward millions of times: terms that do nothing are left out.
        terms = _telling_terms(chosen.head, x[fit], spread)
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
    if (limits := _limits(x[fit], y[fit])) is not None:
        candidates.append(_Candidate(error(limits), limits, {"kind": "limits"}, _limits))
    if not candidates or candidates[0].error >= EXCELLENT:
        for degree in DEGREES:
            terms = _terms(x.shape[1], degree)
            if terms is not None and len(terms) <= len(fit):
                make = partial(_logistic, terms=terms)
                head = make(x[fit], y[fit])
                about = {"kind": "polynomial", "degree": degree}
                candidates.append(_Candidate(error(head), head, about, make))
        if not blind and min((c.error for c in candidates), default=1.0) >= EXCELLENT:
            head = _train(x[fit], y[fit].double(), True, seed)
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


def _terms(width: int, degree: int) -> Tensor | None:
    """Monomials ``[f, degree]`` as indices into ``(1, x)``, without the constant."""
    count, size = 1, width + degree
    for k in range(degree):
        count = count * (size - k) // (k + 1)
    if count - 1 > MOST_TERMS:
        return None
    chosen = list(combinations_with_replacement(range(width + 1), degree))[1:]
    return torch.tensor(chosen, dtype=torch.long)


def _monomials(rows: Tensor, terms: Tensor) -> Tensor:
    """Values of monomials ``[..., f]`` at rows ``[..., p]``."""
    padded = torch.cat([torch.ones_like(rows[..., :1]), rows], dim=-1)
    values = padded[..., terms[:, 0]]
    for factor in terms.T[1:]:
        values = values * padded[..., factor]
    return values


def _units(x: Tensor) -> dict[str, Tensor]:
    scale = x.std(0, correction=0)
    return {"mean": x.mean(0), "scale": torch.where(scale > 1e-12, scale, 1.0)}


def _ridge(x: Tensor, y: Tensor, terms: Tensor, ridges: Sequence[float]) -> list[Head]:
    """The polynomial under each of several penalties."""
    units = _units(x)
    values = _monomials((x - units["mean"]) / units["scale"], terms)
    centre = values.mean(0)
    values = values - centre
    gram, target = values.T @ values, values.T @ (y - y.mean())
    found = []
    for ridge in ridges:
        penalty = ridge * len(x) * torch.eye(len(terms), dtype=x.dtype)
        # What is collinear, as constant columns are, is divided up by the ridge.
        weight = torch.linalg.lstsq(gram + penalty, target, driver="gelsd").solution
        parts = {"terms": terms, "weight": weight, "value": y.mean() - centre @ weight}
        found.append(Head("polynomial", units | parts))
    return found


def _telling_terms(head: Head, x: Tensor, spread: float) -> Tensor:
    """Terms of a polynomial whose share in its values is not negligible; at least one."""
    t = head.tensors
    values = _monomials((x - t["mean"]) / t["scale"], t["terms"])
    share = values.std(0) * t["weight"].abs()
    kept = share > min(NEGLIGIBLE * spread, float(share.max()) / 2)
    return t["terms"][kept]


def _one_ridge(x: Tensor, y: Tensor, terms: Tensor, ridge: float) -> Head:
    return _ridge(x, y, terms, [ridge])[0]


def _logistic(x: Tensor, y: Tensor, terms: Tensor) -> Head:
    units = _units(x)
    values = _monomials((x - units["mean"]) / units["scale"], terms)
    size = values.std(0, correction=0)
    values = values / torch.where(size > 1e-12, size, 1.0)
    target = y.double()
    weight = torch.zeros(values.shape[1] + 1, dtype=x.dtype, requires_grad=True)
    search = torch.optim.LBFGS([weight], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        score = values @ weight[1:] + weight[0]
        total = torch.nn.functional.binary_cross_entropy_with_logits(score, target)
        total = total + 1e-7 * weight[1:].square().sum()
        total.backward()
        return total

    with torch.enable_grad():
        search.step(loss)
    found = weight.detach()
    return Head(
        "polynomial",
        {
            **units,
            "terms": terms,
            "weight": found[1:] / torch.where(size > 1e-12, size, 1.0),
            "value": found[0],
        },
    )


def _limits(x: Tensor, y: Tensor) -> Head | None:
    """Limits of coordinates beyond which there are only positive rows, those that explain most."""
    low, high = (torch.full_like(x[0], sign * np.inf) for sign in (-1, 1))
    left = y.clone()
    while left.any():
        # Positives beyond the extremes of all others, for each coordinate on either side.
        over, under = x > x[~y].amax(0), x < x[~y].amin(0)
        gain = torch.stack([(over & left[:, None]).sum(0), (under & left[:, None]).sum(0)])
        side, coordinate = divmod(int(gain.argmax()), x.shape[1])
        if gain[side, coordinate] < max(1, int(0.02 * int(y.sum()))):
            break
        own, beyond = x[:, coordinate], (over, under)[side][:, coordinate] & y
        if side == 0:
            high[coordinate] = (own[~y].max() + own[beyond].min()) / 2
        else:
            low[coordinate] = (own[~y].min() + own[beyond].max()) / 2
        left &= ~beyond
    if not (torch.isfinite(low) | torch.isfinite(high)).any():
        return None
    return Head("limits", {"low": low, "high": high})


def _train(x: Tensor, y: Tensor, logistic: bool, seed: int) -> Head:
    """A network with two hidden layers, by Adam with a fixed order of batches."""
    generator = torch.Generator().manual_seed(seed)
    units = _units(x)
    z = (x - units["mean"]) / units["scale"]
    centre, scale = (0.0, 1.0) if logistic else (float(y.mean()), float(y.std()) or 1.0)
    target = ((y - centre) / scale).float()
    z = z.float()
    width = z.shape[1]
    shapes = [(HIDDEN, width), (HIDDEN, HIDDEN), (HIDDEN,), (HIDDEN,), (HIDDEN,), ()]
    fans = [width, HIDDEN, HIDDEN, 0, 0, 0]
    initial = [
        torch.randn(shape, generator=generator, dtype=torch.float32) / fan**0.5
        if fan
        else torch.zeros(shape, dtype=torch.float32)
        for shape, fan in zip(shapes, fans, strict=True)
    ]
    # One vector of parameters: Adam's bookkeeping would else cost more than the arithmetic.
    flat = torch.cat([part.reshape(-1) for part in initial]).requires_grad_(True)
    sizes = [part.numel() for part in initial]

    def parts(vector: Tensor) -> list[Tensor]:
        return [p.view(s) for p, s in zip(vector.split(sizes), shapes, strict=True)]

    adam = torch.optim.Adam([flat], lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, STEPS)
    measure: Callable[[Tensor, Tensor], Tensor] = (
        torch.nn.functional.binary_cross_entropy_with_logits
        if logistic
        else torch.nn.functional.mse_loss
    )
    silu = torch.nn.functional.silu
    with torch.enable_grad():
        for _ in range(STEPS):
            batch = torch.randint(len(z), (min(BATCH, len(z)),), generator=generator)
            w0, w1, w2, b0, b1, b2 = parts(flat)
            hidden = silu(torch.addmm(b1, silu(torch.addmm(b0, z[batch], w0.T)), w1.T))
            loss = measure(hidden @ w2 + b2, target[batch])
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()
    w0, w1, w2, b0, b1, b2 = parts(flat.detach().double())
    fitted = {"weight.0": w0, "bias.0": b0, "weight.1": w1, "bias.1": b1}
    return Head("network", units | fitted | {"weight.2": w2 * scale, "value": b2 * scale + centre})


def _moved(tensor: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    return tensor.to(device) if tensor.dtype == torch.long else tensor.to(device, dtype)
