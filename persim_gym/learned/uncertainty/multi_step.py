"""What members predict after some numbers of steps, and whether an episode had ended by then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.ensemble import Ensemble


@torch.no_grad()
def predict_ahead(
    ensemble: Ensemble,
    agents: NDArray[np.int64],
    states: NDArray[Any],
    actions: NDArray[Any],
    steps: Sequence[int],
    over: Callable[[Any], Any] | None = None,
) -> tuple[Tensor, NDArray[np.bool_]]:
    """Open-loop predictions.

    Args:
        ensemble: The members.
        agents: ``[n]``.
        states: ``[n, l * w]``, of the ensemble's lag or a longer one.
        actions: ``[n, h(, a)]``.
        steps: Steps ahead ``[H]``, ascending, of which ``h`` is the last.
        over: Whether observations ``[n, d]`` end an episode; none do by default.

    Returns:
        The members' predictions ``[m, n, H, d]`` in double precision, and whether their mean had
        ended an episode before ``[n, H]``.
    """
    device, at = ensemble.device, set(steps)
    width = ensemble.lag * (ensemble.past + ensemble.obs_dim)
    unrolled = ensemble.unroll(
        torch.as_tensor(agents, device=device),
        torch.as_tensor(states[:, -width:], device=device),
        torch.as_tensor(actions, device=device)[:, None],
    )
    kept, ended = [], np.zeros(len(agents), dtype=np.bool_)
    for t, obs in enumerate(unrolled, 1):
        if t in at:
            kept.append((obs[:, :, 0].double().cpu(), ended))
        if over is not None:
            mean = np.nan_to_num(obs[:, :, 0].mean(0).cpu().numpy())
            ended = ended | np.asarray(over(mean)).astype(bool)
    members = torch.stack([obs for obs, _ in kept], dim=2)
    return members, np.stack([end for _, end in kept], axis=1)
