"""Arguments of predictions: checked, and on the device."""

from __future__ import annotations

import torch
from gymnasium.spaces import Discrete
from torch import Tensor

from persim_gym.core import Array, Task
from persim_gym.learned.ensemble import Ensemble


def check_inputs(
    ensemble: Ensemble, task: Task, obs: Array, actions: Array, *axes: str
) -> tuple[Tensor, Tensor]:
    """States ``[n, l * d]`` and actions ``[*axes(, a)]`` on the ensemble's device.

    Args:
        ensemble: What predicts.
        task: Its task.
        obs: ``[n, d]``, ``[n, l, d]`` or ``[n, l * d]``; of a single observation a constant past
            is assumed.
        actions: Integers, or with a last axis of size ``a``.
        axes: Names of the actions' leading axes, the first of length ``n``.

    Raises:
        TypeError: If discrete actions are no integers.
        ValueError: If a shape does not fit, or an action does not exist.
    """
    d, device = ensemble.obs_dim, ensemble.device
    states = torch.as_tensor(obs, dtype=torch.float32, device=device)
    n = len(states) if states.ndim else 0
    if states.shape == (n, d):
        states = states.repeat(1, ensemble.lag) if ensemble.lag > 1 else states
    elif states.shape == (n, ensemble.lag, d):
        states = states.reshape(n, -1)
    elif states.shape != (n, ensemble.lag * d):
        lags = f" or (n, {ensemble.lag}, {d})" if ensemble.lag > 1 else ""
        raise ValueError(f"obs must have shape (n, {d}){lags}, got {tuple(states.shape)}")
    discrete = isinstance(task.action_space, Discrete)
    kind = torch.long if discrete else torch.float32
    actions_ = torch.as_tensor(actions, device=device)
    if discrete and actions_.is_floating_point():
        raise TypeError(f"discrete actions must be integers, got {actions_.dtype}")
    actions_ = actions_.to(kind)
    tail: tuple[int, ...] = () if discrete else tuple(task.action_space.shape or ())
    lead, rest = actions_.shape[: len(axes)], actions_.shape[len(axes) :]
    if len(lead) != len(axes) or lead[0] != n or rest != tail:
        raise ValueError(
            f"actions must have shape {(*axes, *tail)} with {axes[0]} = {n}, got "
            f"{tuple(actions_.shape)}"
        )
    if 0 in lead[1:]:
        raise ValueError(f"actions must hold at least one step, got shape {tuple(actions_.shape)}")
    if discrete and n:
        low, high = torch.aminmax(actions_)
        if low < 0 or high >= task.action_space.n:  # type: ignore[union-attr]
            raise ValueError(
                f"actions must be 0 to {task.action_space.n - 1}, got {int(low)} to "  # type: ignore[union-attr]
                f"{int(high)}"
            )
    return states, actions_
