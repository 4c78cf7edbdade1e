"""How far a fitted polynomial may be believed beyond the record, asked of the record itself.

Where a law has been found it goes on beyond what was recorded, where an approximation was, it is
held at the edge. What a fit leaves unexplained does not say which of the two it is when the record
is noisy. So the outermost transitions are left out of a fit and predicted by it: once held close to
what it was fitted on, once not.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Widths of the recorded range by which inputs may leave it: of an approximation, and of a law.
CLOSE, FAR = 0.1, 0.5
#: Share of the transitions at each end of an input that may be its outermost ones.
OUTERMOST = 0.05
#: Transitions that must lie so far out, and agents that they must be of. Without being held they
#: must be predicted with less than this share of the squared error that is no noise, and agents
#: must gain by so many standard errors.
FEWEST, AGENTS, LESS, SURE = 60, 5, 0.35, 2.0
#: Standard deviations of the noise from which errors count as if they were no larger.
CUT = 30.0


def outermost(values: Tensor) -> tuple[Tensor, Tensor] | None:
    """Transitions within, that a fit is made of, and those further out than it is held.

    Args:
        values: Inputs ``[T, q]``.

    Returns:
        Two masks ``[T]``, or ``None`` where hardly any transition is far from the others.
    """
    ends = torch.tensor([OUTERMOST, 1 - OUTERMOST], dtype=values.dtype, device=values.device)
    # Of an even sample: as exact as is needed, and quantiles of a large tensor are refused.
    low, high = torch.quantile(values[:: max(1, len(values) // 100_000)], ends, dim=0)
    reach = CLOSE * (high - low)
    out = (values < low - reach) | (values > high + reach)
    enough = out.sum(0) >= FEWEST
    if not bool(enough.any()):
        return None
    inside = ((values >= low) & (values <= high))[:, enough].all(1)
    if 2 * int(inside.sum()) < len(values):
        return None
    return inside, out.any(1)


def extrapolates(held: Tensor, free: Tensor, known: Tensor, agent: Tensor) -> bool:
    """Whether outermost transitions are predicted better by what is not held.

    Args:
        held: Errors of what is held close ``[k, c]``.
        free: Errors of what is not ``[k, c]``.
        known: Errors of a fit that has seen these transitions ``[k, c]``: their noise.
        agent: Whose they are ``[k]``.
    """
    who, place, count = torch.unique(agent, return_inverse=True, return_counts=True)
    if len(agent) < FEWEST or len(who) < AGENTS:
        return False
    noise = known.square().mean(0).clamp_min(1e-30)
    each = [(part.square() / noise).clamp(max=CUT**2).sum(1) for part in (held, free)]
    close, far = (torch.nan_to_num(part, nan=CUT**2) for part in each)
    excess = [float(part.mean()) - held.shape[1] for part in (close, far)]
    if excess[1] > LESS * excess[0]:
        return False
    gain = torch.zeros(len(who), dtype=far.dtype, device=far.device)
    gain = gain.index_add_(0, place, close - far) / count  # of each agent: one may go far alone
    return bool(gain.mean() > SURE * gain.std() / len(who) ** 0.5)
