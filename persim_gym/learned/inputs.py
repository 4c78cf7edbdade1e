"""Arguments of predictions: checked, and on the device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from torch import Tensor

from persim_gym.core import Array, Task
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.history import beginning


def real_numbers(name: str, values: Any) -> Any:
    """Values that a tensor can be made of without losing what they say.

    Args:
        name: What they are called in errors.
        values: An array, a tensor, or nested sequences of numbers.

    Raises:
        TypeError: If they are no real numbers.
        ValueError: If they have no shape.
    """
    if isinstance(values, Tensor):
        real, kind = not values.is_complex(), str(values.dtype)
    else:
        try:
            values = np.asarray(values)
        except ValueError:
            raise ValueError(f"{name} must have one shape, got rows of different lengths") from None
        real, kind = values.dtype.kind in "biuf", str(values.dtype)
    if not real:
        raise TypeError(f"{name} must be real numbers, got {kind}")
    return values


def check_finite(name: str, values: Tensor) -> None:
    """Refuse what is not finite, in single precision.

    Raises:
        ValueError: If there is such a value.
    """
    if not bool(torch.isfinite(values).all()):
        bad = values[~torch.isfinite(values)][0].item()
        raise ValueError(
            f"{name} must be finite numbers below {torch.finfo(values.dtype).max:.2g}, got {bad}"
        )


def check_inputs(
    ensemble: Ensemble, task: Task, obs: Array, actions: Array, *axes: str, finite: bool = True
) -> tuple[Tensor, Tensor]:
    """States ``[n, l * w]`` and actions ``[*axes(, a)]`` on the ensemble's device.

    Args:
        ensemble: What predicts.
        task: Its task.
        obs: States ``[n, l, w]`` or ``[n, l * w]``; of a single observation ``[n, d]`` a constant
            past is assumed.
        actions: Integers, or with a last axis of size ``a``.
        axes: Names of the actions' leading axes, the first of length ``n``.
        finite: Whether to check that all is finite.

    Raises:
        TypeError: If values are no real numbers, or discrete actions no integers.
        ValueError: If a shape does not fit, a value is not finite, or an action does not exist.
    """
    d, device = ensemble.obs_dim, ensemble.device
    obs, actions = real_numbers("obs", obs), real_numbers("actions", actions)
    states = torch.as_tensor(obs, dtype=torch.float32, device=device)
    n = len(states) if states.ndim else 0
    if states.shape == (n, d):
        states = beginning(states, ensemble.lag, ensemble.past)
    states = flat_states(ensemble, states)
    actions_ = check_actions(task, torch.as_tensor(actions, device=device), n, *axes)
    if finite:
        check_finite("obs", states)
        if actions_.is_floating_point():
            check_finite("actions", actions_)
    return states, actions_


def check_actions(task: Task, actions: Tensor, n: int, *axes: str) -> Tensor:
    """Actions ``[*axes(, a)]`` as integers, or of a ``Box`` in single precision.

    Raises:
        TypeError: If discrete actions are no integers.
        ValueError: If the shape does not fit ``n`` rows, or an action does not exist.
    """
    space, found = task.action_space, tuple(actions.shape)
    discrete = isinstance(space, Discrete)
    if discrete and n and actions.is_floating_point():
        raise TypeError(f"discrete actions must be integers, got {actions.dtype}")
    tail = () if discrete else tuple(space.shape or ())
    if tail == (1,) and len(found) == len(axes):  # of one number there is nothing to mistake
        actions, found = actions[..., None], (*found, 1)
    lead, rest = found[: len(axes)], found[len(axes) :]
    if len(lead) != len(axes) or lead[0] != n or rest != tail:
        raise ValueError(
            f"actions must have shape {(*axes, *tail)} with {axes[0]} = {n}, got {found}"
        )
    if 0 in lead[1:]:
        raise ValueError(f"actions must hold at least one step, got shape {found}")
    if not isinstance(space, Discrete):
        return actions.float()
    actions = actions.long()
    if n:
        low, high = torch.aminmax(actions)
        if low < 0 or high >= space.n:
            raise ValueError(f"actions must be 0 to {space.n - 1}, got {int(low)} to {int(high)}")
    return actions


def flat_states(ensemble: Ensemble, states: Tensor) -> Tensor:
    """States ``[n, l, w]`` or ``[n, l * w]`` as ``[n, l * w]``.

    Raises:
        ValueError: If they have another shape.
    """
    d, lag, width = ensemble.obs_dim, ensemble.lag, ensemble.past + ensemble.obs_dim
    n = len(states) if states.ndim else 0
    if tuple(states.shape) in ((n, lag * width), (n, lag, width)):
        return states.reshape(n, lag * width)
    if ensemble.past and tuple(states.shape[1:]) in ((lag * d,), (lag, d)):
        raise ValueError(
            f"a state of this simulator holds the {lag - 1} actions between its {lag} "
            "observations as well: states(obs, actions) makes one of both"
        )
    lags = f" or (n, {lag}, {width})" if lag > 1 else ""
    raise ValueError(f"obs must have shape (n, {d}){lags}, got {tuple(states.shape)}")
