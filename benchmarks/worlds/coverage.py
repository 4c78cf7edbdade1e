"""How often predictive intervals hold what comes, on fresh episodes with the cell's own noise."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from persim_gym.learned import PerSim

from .recording import Recording, Tests, fresh
from .score import BEHAVIOURS, HORIZONS
from .world import Floats

#: Share that intervals claim to hold.
LEVEL = 0.95
#: Agents and episodes of each that coverage is measured on.
AGENTS, EPISODES = 100, 8
#: What single precision does not tell apart, in units of the standard deviation.
ROUNDING = 1e-6


def coverage(sim: PerSim, recording: Recording) -> dict[str, Any]:
    """Coverage and width of intervals, by what they are of, behaviour and horizon.

    Returns:
        ``{"observation" or "state": {behaviour: {steps: [share inside, median width]}}}``, widths
        in units of each coordinate's standard deviation.
    """
    found: dict[str, Any] = {"observation": {}, "state": {}}
    for behaviour in BEHAVIOURS:
        tests = fresh(recording, behaviour == "other", AGENTS, EPISODES)
        noise = np.random.default_rng([recording.seed, 5]).standard_normal
        size = recording.noise * recording.deviation
        past = tests.past + size * noise(tests.past.shape)
        seen = dataclasses.replace(tests, past=past)
        observed = tests.truth + size * noise(tests.truth.shape)
        for kind, truth in (("observation", observed), ("state", tests.truth)):
            found[kind][behaviour] = _inside(sim, recording, seen, truth, kind)
    return found


def _inside(
    sim: PerSim, recording: Recording, tests: Tests, truth: Floats, kind: str
) -> dict[str, list[float]]:
    low, high = sim.rollout_interval(
        tests.agents, states_of(sim, tests), tests.actions, level=LEVEL, of=kind
    )
    away = truth - (np.asarray(low, np.float64) + high) / 2
    width = np.asarray(high, np.float64) - low
    for column in recording.world.angles:
        away[..., column] = (away[..., column] + np.pi) % (2 * np.pi) - np.pi
    inside = np.abs(away) <= width / 2 + ROUNDING * recording.deviation
    found = {}
    for horizon in HORIZONS:
        valid = tests.valid[:, horizon - 1]
        if valid.any():
            middle = np.median(width[valid, horizon - 1] / recording.deviation)
            found[str(horizon)] = [float(inside[valid, horizon - 1].mean()), float(middle)]
    return found


def states_of(sim: PerSim, tests: Tests) -> Floats:
    """States that predictions of tests begin in."""
    before = tests.past_actions[:, tests.past_actions.shape[1] + 1 - sim.lag :]
    return np.asarray(sim.states(tests.past[:, -sim.lag :].astype(np.float32), before))
