"""States of a model with a lag: the last observations, and the actions between them.

A state is ``[l, w]``, one *slot* an observation, oldest first: the action that was taken before it
``[b]``, then the observation ``[d]``. The last ``d`` numbers of a flat state are therefore the
present observation. Discrete actions are coded with a column for each but the first. What was done
before an episode began is coded as zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.core import Array
from persim_gym.offline.transitions import Transitions


def coded(actions: Tensor, choices: int) -> Tensor:
    """Actions ``[..., a]``, or integers ``[...]`` of ``choices``, as numbers ``[..., b]``."""
    if not choices:
        return actions
    others = torch.arange(1, choices, device=actions.device)
    return (actions[..., None] == others).to(torch.float32)


def width_of(lag: int, space: Any) -> int:
    """Numbers ``b`` of a past action in a state: none where a state is one observation."""
    if lag == 1:
        return 0
    return int(space.n) - 1 if hasattr(space, "n") else int(np.prod(space.shape))


def slots(transitions: Transitions, lag: int, past: int) -> NDArray[np.float32]:
    """States of all transitions ``[T, l * w]``.

    Before an episode's beginning stands its first observation.

    Args:
        transitions: The transitions.
        lag: Observations ``l`` of a state.
        past: Numbers ``b`` of a past action; 0 leaves them out.
    """
    t = transitions
    states = t.states(lag)
    if past:
        first = np.repeat(t.starts, t.lengths)
        rows = np.arange(len(t))[:, None] - np.arange(lag, 0, -1)
        choices = past + 1 if t.action.ndim == 1 else 0
        actions = coded(torch.as_tensor(t.action), choices).reshape(len(t), past).numpy()
        before = np.where((rows >= first[:, None])[..., None], actions[np.maximum(rows, 0)], 0.0)
        states = np.concatenate([before.astype(np.float32), states], axis=2)
    return states.reshape(len(t), -1)


def beginning(obs: Tensor, lag: int, past: int) -> Tensor:
    """States ``[n, l * w]`` of which but the present observation ``[n, d]`` is known."""
    if lag == 1:
        return obs
    slot = torch.cat([obs.new_zeros(len(obs), past), obs], dim=1)
    return slot.repeat(1, lag)


def remembered(obs: Array, actions: Array, choices: int) -> Tensor:
    """States ``[n, l, w]`` of observations ``[n, l, d]`` and the ``l - 1`` actions between them.

    Raises:
        ValueError: If shapes do not fit together.
    """
    obs_ = torch.as_tensor(obs, dtype=torch.float32)
    actions_ = torch.as_tensor(actions, device=obs_.device)
    if obs_.ndim != 3 or actions_.shape[:2] != (len(obs_), obs_.shape[1] - 1):
        raise ValueError(
            "a past is observations [n, l, d] and the l - 1 actions between them [n, l - 1(, a)], "
            f"got {tuple(obs_.shape)} and {tuple(actions_.shape)}"
        )
    between = coded(actions_, choices).reshape(len(obs_), obs_.shape[1] - 1, -1).to(obs_)
    unknown = between.new_zeros(len(obs_), 1, between.shape[2])
    return torch.cat([torch.cat([unknown, between], dim=1), obs_], dim=2)


def moved(states: Tensor, actions: Tensor, obs: Tensor) -> Tensor:
    """States ``[n, l, w]`` after coded actions ``[n, b]`` that led to observations ``[n, d]``."""
    slot = torch.cat([actions.to(obs), obs], dim=-1)
    return torch.cat([states[:, 1:], slot[:, None]], dim=1)
