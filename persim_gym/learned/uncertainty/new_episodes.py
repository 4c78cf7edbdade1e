"""Episodes that were not recorded: where they come to, and how two fits differ there.

A record shows an agent on one course. New episodes begin elsewhere and come elsewhere, where errors
may be larger, and last longer than any stretch that could be held out. No truth is known there. But
a fit that has seen less of the record differs from the final one, most of all where the record says
little: that is measured wherever the simulator itself comes to from other agents' first states.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.comparison.holdout import BEYOND, Record
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.history import coded, moved

#: Episodes that are tried, and steps that they may go on before predictions begin.
EPISODES, BEFORE = 400, 50


@dataclass(frozen=True, slots=True)
class Fresh:
    """Places that new episodes come to, with actions as they were recorded from there on.

    Attributes:
        agents: ``[n]``.
        states: ``[n, l * w]``.
        actions: ``[n, h(, a)]``.
    """

    agents: NDArray[np.int64]
    states: NDArray[np.float32]
    actions: NDArray[np.float32] | NDArray[np.int64]


def fresh_episodes(
    ensemble: Ensemble, record: Record, steps: int, rng: np.random.Generator
) -> Fresh:
    """Let every agent begin where any agent began, and act as was recorded.

    Args:
        ensemble: The members, whose mean is followed.
        record: The record.
        steps: Steps ahead that actions are needed for.
        rng: Randomness.
    """
    first = np.flatnonzero(np.append(True, record.episode[1:] != record.episode[:-1]))
    if record.scored is not None:  # the first whose past is known
        able = np.flatnonzero(record.scored)
        places = np.searchsorted(able, first)
        first = np.unique(able[np.minimum(places, len(able) - 1)])
    agents = rng.choice(np.unique(record.agent), EPISODES)
    before = rng.integers(0, BEFORE + 1, EPISODES)
    width = ensemble.lag * (ensemble.past + ensemble.obs_dim)
    states = record.states[rng.choice(first, EPISODES)][:, -width:]
    actions = record.actions[_chained(record, EPISODES, max(1, int(before.max())), rng)]
    states = _followed(ensemble, agents, states, actions, before)
    kept = _inside(record, states[:, -ensemble.obs_dim :])
    agents, states = agents[kept], states[kept]
    return Fresh(agents, states, record.actions[_chained(record, len(agents), steps, rng)])


def _chained(
    record: Record, number: int, steps: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Rows ``[n, h]`` that follow each other, from another place on where an episode is over."""
    total = len(record.agent)
    last = np.append(record.episode[1:] != record.episode[:-1], True)
    found = np.empty((number, steps), dtype=np.int64)
    now = rng.integers(0, total, number)
    for t in range(steps):
        found[:, t] = now
        now = np.where(last[now], rng.integers(0, total, number), now + 1)
    return found


@torch.no_grad()
def _followed(
    ensemble: Ensemble,
    agents: NDArray[np.int64],
    states: NDArray[np.float32],
    actions: NDArray[np.float32] | NDArray[np.int64],
    steps: NDArray[np.int64],
) -> NDArray[np.float32]:
    """States after some steps of each row ``[n]``, by the members' mean."""
    device = ensemble.device
    whose, own = torch.as_tensor(agents, device=device), torch.as_tensor(states, device=device)
    acted, count = torch.as_tensor(actions, device=device), torch.as_tensor(steps, device=device)
    choices = 0 if acted.is_floating_point() else ensemble.past + 1
    low, high = (bound.to(own) for bound in ensemble.limits)
    kept: Tensor = own.clone()
    for t in range(int(steps.max())):
        obs = ensemble.step(whose, own, acted[:, t])
        mean = ensemble.following(own, ensemble.difference(own, obs).mean(0))
        before = coded(acted[:, t], choices)[:, : ensemble.past]
        mean = torch.clamp(mean, low, high).to(own)
        own = moved(own.unflatten(-1, (ensemble.lag, -1)), before, mean).flatten(1)
        kept = torch.where((count == t + 1)[:, None], own, kept)
    return np.asarray(kept.cpu().numpy())


def _inside(record: Record, obs: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which observations are near the recorded ones and end no episode."""
    low, high = record.next_obs.min(0), record.next_obs.max(0)
    room = BEYOND * (high - low)
    room[list(record.turns)] = np.inf
    kept = np.isfinite(obs).all(1)
    with np.errstate(invalid="ignore"):
        kept &= ((obs >= low - room) & (obs <= high + room)).all(1)
    if record.over is not None:
        kept &= ~np.asarray(record.over(np.nan_to_num(obs))).astype(bool)
    return np.asarray(kept)
