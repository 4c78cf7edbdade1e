"""Heads: small functions of rows, and how each kind of them is fitted.

Polynomials by ridge regression (logistic for yes and no), a network with two hidden layers of 64
SiLU units by Adam, and for yes and no also limits of single coordinates, which are sharp.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement

import numpy as np
import torch
from torch import Tensor

from persim_gym.learned.adam import Adam
from persim_gym.threads import few_threads

#: The most terms that a polynomial may have.
MOST_TERMS = 1000

#: Units of a network's hidden layers, its steps of Adam, the first one's size, and rows of a batch.
HIDDEN, STEPS, RATE, BATCH = 64, 2000, 1e-2, 256


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
            return monomials(rows, t["terms"]) @ t["weight"] + t["value"]
        for layer in range(2):
            rows = torch.nn.functional.silu(rows @ t[f"weight.{layer}"].T + t[f"bias.{layer}"])
        return rows @ t["weight.2"] + t["value"]


def constant(value: float) -> Head:
    """The same value everywhere."""
    return Head("constant", {"value": torch.tensor(value, dtype=torch.float64)})


def terms_of(width: int, degree: int) -> Tensor | None:
    """Monomials ``[f, degree]`` as indices into ``(1, x)``, without the constant."""
    count, size = 1, width + degree
    for k in range(degree):
        count = count * (size - k) // (k + 1)
    if count - 1 > MOST_TERMS:
        return None
    chosen = list(combinations_with_replacement(range(width + 1), degree))[1:]
    return torch.tensor(chosen, dtype=torch.long)


def monomials(rows: Tensor, terms: Tensor) -> Tensor:
    """Values of monomials ``[..., f]`` at rows ``[..., p]``."""
    padded = torch.cat([torch.ones_like(rows[..., :1]), rows], dim=-1)
    values = padded[..., terms[:, 0]]
    for factor in terms.T[1:]:
        values = values * padded[..., factor]
    return values


def _units(x: Tensor) -> dict[str, Tensor]:
    scale = x.std(0, correction=0)
    return {"mean": x.mean(0), "scale": torch.where(scale > 1e-12, scale, 1.0)}


def ridge_heads(x: Tensor, y: Tensor, terms: Tensor, ridges: Sequence[float]) -> list[Head]:
    """The polynomial under each of several penalties."""
    units = _units(x)
    values = monomials((x - units["mean"]) / units["scale"], terms)
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


def _logistic(values: Tensor, target: Tensor) -> Tensor:
    """Weights of a logistic regression ``[terms]``, the first of which is not held back.

    By steps of L-BFGS: an optimiser of torch would load its compiler, which takes a second.
    """
    held = torch.full(values.shape[1:], 2e-7, dtype=values.dtype)
    held[0] = 0.0

    def loss(weight: Tensor) -> tuple[float, Tensor]:
        score = values @ weight
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(score, target)
        slope = values.T @ (score.sigmoid_() - target) / len(values) + held * weight
        return float(entropy + (held * weight.square()).sum() / 2), slope

    weight, past = torch.zeros_like(held), deque[tuple[Tensor, Tensor]](maxlen=100)
    least, slope = loss(weight)
    for _ in range(200):
        if slope.abs().max() < 1e-7:
            break
        step, size, shares = -slope, 1.0, []
        for moved, turned in reversed(past):
            shares.append(moved @ step / (moved @ turned))
            step = step - shares[-1] * turned
        if past:
            moved, turned = past[-1]
            step = step * (moved @ turned / turned.square().sum())
        for (moved, turned), share in zip(past, reversed(shares), strict=True):
            step = step + (share - turned @ step / (moved @ turned)) * moved
        down = float(step @ slope)
        while (found := loss(weight + size * step))[0] > least + 1e-4 * size * down:
            size /= 2
            if size < 1e-6:
                return weight
        moved, turned = size * step, found[1] - slope
        if moved @ turned > 1e-12 * turned.square().sum():
            past.append((moved, turned))
        weight, gained = weight + moved, least - found[0]
        least, slope = found
        if gained < 1e-9:
            break
    return weight


def logistic_head(x: Tensor, y: Tensor, terms: Tensor) -> Head:
    """The polynomial that is positive where ``y`` is."""
    units = _units(x)
    values = monomials((x - units["mean"]) / units["scale"], terms)
    size = values.std(0, correction=0)
    values = values / torch.where(size > 1e-12, size, 1.0)
    ones = torch.ones(len(values), 1, dtype=values.dtype)
    found = _logistic(torch.cat([ones, values], 1), y.to(values.dtype))
    return Head(
        "polynomial",
        {
            **units,
            "terms": terms,
            "weight": found[1:] / torch.where(size > 1e-12, size, 1.0),
            "value": found[0],
        },
    )


def limits_head(x: Tensor, y: Tensor) -> Head | None:
    """Limits of coordinates beyond which there are only positive rows, those that explain most."""
    low, high = (torch.full_like(x[0], sign * np.inf) for sign in (-1, 1))
    left, least, most = y.clone(), x[~y].amin(0), x[~y].amax(0)
    # Beyond the extremes of all others, for each coordinate on either side.
    over, under = x > most, x < least
    while left.any():
        gain = torch.stack([(over & left[:, None]).sum(0), (under & left[:, None]).sum(0)])
        side, coordinate = divmod(int(gain.argmax()), x.shape[1])
        if gain[side, coordinate] < max(1, int(0.02 * int(y.sum()))):
            break
        own, beyond = x[:, coordinate], (over, under)[side][:, coordinate] & y
        if side == 0:
            high[coordinate] = (most[coordinate] + own[beyond].min()) / 2
        else:
            low[coordinate] = (least[coordinate] + own[beyond].max()) / 2
        left &= ~beyond
    if not (torch.isfinite(low) | torch.isfinite(high)).any():
        return None
    return Head("limits", {"low": low, "high": high})


def network_head(x: Tensor, y: Tensor, logistic: bool, seed: int) -> Head:
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

    adam = Adam(flat.detach())
    measure: Callable[[Tensor, Tensor], Tensor] = (
        torch.nn.functional.binary_cross_entropy_with_logits
        if logistic
        else torch.nn.functional.mse_loss
    )
    silu = torch.nn.functional.silu
    # A batch is small work, however many rows there are.
    with torch.enable_grad(), few_threads(BATCH, (HIDDEN, HIDDEN), z.device):
        for step in range(STEPS):
            batch = torch.randint(len(z), (min(BATCH, len(z)),), generator=generator)
            w0, w1, w2, b0, b1, b2 = parts(flat)
            hidden = silu(torch.addmm(b1, silu(torch.addmm(b0, z[batch], w0.T)), w1.T))
            loss = measure(hidden @ w2 + b2, target[batch])
            (gradient,) = torch.autograd.grad(loss, flat)
            adam.step(gradient, RATE * (1 + math.cos(math.pi * step / STEPS)) / 2)
    w0, w1, w2, b0, b1, b2 = parts(flat.detach().double())
    fitted = {"weight.0": w0, "bias.0": b0, "weight.1": w1, "bias.1": b1}
    return Head("network", units | fitted | {"weight.2": w2 * scale, "value": b2 * scale + centre})


def _moved(tensor: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    return tensor.to(device) if tensor.dtype == torch.long else tensor.to(device, dtype)
