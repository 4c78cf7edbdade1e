"""How far beyond the record a fit may go on: as far as it comes back from there by itself.

Inputs beyond the record are held near it, for there a polynomial knows nothing, and one that runs
away ends nowhere. But what is pulled back to the record is pulled the more the further off it is,
and a state that is held at the edge comes back too slowly. Where rollouts that begin beyond the
record come back, as those of whatever is damped do, the state is held further out.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.frames.history import slots
from persim_gym.learned.preparation import Data

#: Widths of the recorded range by which a state may leave it: by default, and where it comes back;
#: and from the one to the other, in widths of what it is held in by default.
CLOSE, FAR = 0.1, 0.5
FURTHER = (FAR - CLOSE) / (1 + 2 * CLOSE)
#: Degree of a polynomial beyond which it bends too much for that.
STEEP = 3
#: Rollouts from there, their steps, and those at the end that are looked at.
ROLLOUTS, STEPS, LAST = 200, 200, 20
#: Share of the way that is left in the end, widths beyond the record that a rollout may come to,
#: and share of the rollouts that may do otherwise.
LEFT, MOST, OTHERS = 0.5, 1.0, 0.1


@torch.no_grad()
def comes_back(ensemble: Ensemble, data: Data, seed: int = 0) -> bool:
    """Whether rollouts that begin beyond the record come back to it, under recorded actions.

    Args:
        ensemble: Members that are held at :data:`FAR` widths, of whom the mean is judged.
        data: What they were fitted to, of plain coordinates.
        seed: Of what is chosen by chance.
    """
    t, rng = data.transitions, np.random.default_rng([seed, 24])
    low, high = t.obs.min(0).astype(np.float64), t.obs.max(0).astype(np.float64)
    if not (high > low).any():
        return False
    width = np.where(high > low, high - low, np.inf)
    states, away = _beyond(ensemble, data, low, high, rng)
    actions = t.action[rng.integers(0, len(t), (len(states), STEPS))]
    agents = t.agent[rng.integers(0, len(t), len(states))]
    device = ensemble.device
    unrolled = ensemble.unroll(
        torch.as_tensor(agents, device=device),
        states.to(device),
        torch.as_tensor(actions, device=device)[:, None],
    )
    beyond = []
    for obs in unrolled:
        mean = obs[:, :, 0].mean(0).double().cpu().numpy()
        beyond.append((np.maximum(low - mean, mean - high) / width).max(1))
    course = np.nan_to_num(np.stack(beyond, axis=1), nan=np.inf)
    back = course[:, -LAST:].max(1) <= LEFT * away
    return bool((back & (course.max(1) <= MOST)).mean() >= 1 - OTHERS)


def _beyond(
    ensemble: Ensemble,
    data: Data,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[Tensor, NDArray[np.float64]]:
    """Recorded states of which one coordinate is moved beyond the record, and how far in widths."""
    t = data.transitions
    rows = rng.integers(0, len(t), ROLLOUTS)
    varied = np.flatnonzero(high > low)
    column = varied[rng.integers(0, len(varied), ROLLOUTS)]
    up = rng.random(ROLLOUTS) < 0.5
    width = (high - low)[column]
    goal = np.where(up, high[column] + FAR * width, low[column] - FAR * width)
    shift = np.zeros((ROLLOUTS, len(low)), dtype=np.float32)
    shift[np.arange(ROLLOUTS), column] = goal - t.obs[rows, column]
    states = torch.as_tensor(slots(t, ensemble.lag, ensemble.past)[rows])
    moved = states.unflatten(1, (ensemble.lag, -1)).clone()
    moved[..., ensemble.past :] += torch.as_tensor(shift)[:, None]
    bounds = (bound.to(moved) for bound in ensemble.limits)
    moved[..., ensemble.past :] = moved[..., ensemble.past :].clamp(*bounds)
    latest = moved[:, -1, ensemble.past :].double().numpy()
    away = np.maximum(low - latest, latest - high)[np.arange(ROLLOUTS), column] / width
    return moved.flatten(1), np.maximum(away, 1e-3)
