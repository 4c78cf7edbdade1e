"""A linear layer with its nonlinearity, by whichever library is quicker for its size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

#: Multiply-adds of one layer and one member from which the fused operation is the quicker one:
#: below, its start takes longer than the work.
LARGE = 1_500_000

#: Values of one layer and one member from which members take turns: those of all of them together
#: would not stay in the processor's cache.
WIDE = 130_000


@cache
def _fused() -> Any:
    """OneDNN's product with bias and nonlinearity in one, or ``None`` where it is not to be had.

    On processors of other makes than MKL's own, torch's products are at half the speed of these,
    measured; elsewhere the two are alike, and a pass over memory is saved. The operation is not
    part of torch's public interface, so that it is tried out first.
    """
    if not torch.backends.mkldnn.is_available():
        return None
    values = torch.linspace(-2.0, 2.0, 24, dtype=torch.float32)
    x, weight, bias = values[:12].view(3, 4), values[4:].view(5, 4), values[3:8]
    try:
        operation = torch.ops.mkldnn._linear_pointwise
        for kind, plain in (("relu", torch.relu), ("swish", torch.nn.functional.silu)):
            found = operation(x, weight, bias, kind, [], "")
            if not torch.allclose(found, plain(x @ weight.T + bias), atol=1e-5):
                return None
        if not torch.allclose(operation(x, weight, None, "none", [], ""), x @ weight.T, atol=1e-5):
            return None
    except (AttributeError, RuntimeError, TypeError, NotImplementedError):
        return None
    return operation


def take_turns(rows: int, layers: Sequence[tuple[int, int]], device: torch.device) -> bool:
    """Whether members are better computed one after the other, by :func:`dense`.

    Args:
        rows: Rows of a member.
        layers: Inputs and outputs of each layer.
        device: Where; an accelerator takes all at once.
    """
    if device.type != "cpu":
        return False
    return any(rows * o >= WIDE or _is_large(rows * i * o) for i, o in layers)


def _is_large(multiply_adds: int) -> bool:
    return multiply_adds >= LARGE and _fused() is not None


def dense(x: Tensor, weight: Tensor, bias: Tensor, relu: bool) -> Tensor:
    """One member's layer: ``[n, in]``, ``[in, out]``, ``[1, out]`` -> ``[n, out]``."""
    if _is_large(len(x) * weight.numel()):
        kind = "relu" if relu else "swish"
        found: Tensor = _fused()(x, weight.mT, bias[0], kind, [], "")
        return found
    out = torch.addmm(bias, x, weight)
    return out.relu_() if relu else torch.nn.functional.silu(out, inplace=True)


def product(weight: Tensor, hidden: Tensor, bias: Tensor) -> Tensor:
    """Last layers ``[p, o, H]`` with biases ``[p, o, 1]`` of rows ``[p, k, H]``: ``[p, o, k]``."""
    if weight.shape[1] >= MANY and _is_large(hidden.shape[1] * weight[0].numel()):
        parts = [_fused()(w, x, None, "none", [], "") for w, x in zip(weight, hidden, strict=True)]
        return torch.stack(parts).add_(bias) if len(parts) > 1 else parts[0].add_(bias[0])[None]
    return torch.baddbmm(bias, weight, hidden.mT)


#: Outputs of a last layer below which torch's product is as quick.
MANY = 32
