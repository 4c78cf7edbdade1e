"""A policy's value inside a simulator: members, noise of the process and starts drawn together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from persim_gym.core import Task
from persim_gym.evaluation.off_policy.target_policy import Decider
from persim_gym.learned.simulator import PerSim
from persim_gym.learned.uncertainty.learn import disturb

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Simulated:
    """What became of ``n`` simulated episodes.

    Attributes:
        returns: ``[n]``; ``nan`` where a prediction was not finite.
        outside: Steps whose action is outside of what was recorded of any agent ``[n]``.
        states: Steps that led outside of the recorded range of states ``[n]``.
        steps: Steps that were done ``[n]``.
    """

    returns: Floats
    outside: NDArray[np.int64]
    states: NDArray[np.int64]
    steps: NDArray[np.int64]


@torch.no_grad()
def simulate(
    sim: PerSim,
    task: Task,
    decider: Decider,
    agents: NDArray[np.int64],
    whose: NDArray[np.int64],
    states: NDArray[np.float32],
    steps: int,
    discount: float,
    rng: np.random.Generator,
) -> Simulated:
    """Simulate episodes, each in one member that is drawn, with noise where it is known.

    Args:
        sim: The simulator.
        task: Reward and end.
        decider: Who acts.
        agents: Whose simulators ``[n]``.
        whose: The same agents as the policy knows them ``[n]``.
        states: Where they begin ``[n, d]`` or ``[n, l, w]``.
        steps: Most steps.
        discount: Of rewards.
        rng: Randomness.
    """
    n, ensemble, record, known = len(agents), sim.ensemble, sim.action_record, sim.experience
    member = torch.as_tensor(rng.permutation(n) % sim.members, device=sim.device)
    returns = np.zeros(n)
    outside, away, done = np.zeros((3, n), dtype=np.int64)
    running = np.arange(n)
    now = np.asarray(states, dtype=np.float32)
    for t in range(steps):
        own = agents[running]
        obs = now if sim.lag == 1 else now[:, -1, ensemble.past :]
        acted = decider.actions(whose[running], obs, rng)
        before = torch.as_tensor(now, device=sim.device)
        members = sim.predict_members(own, before, acted)
        after = members[member[running], torch.arange(len(running), device=sim.device)]
        if sim.noisy:
            noise = sim.uncertainty.noise
            after = disturb(ensemble, noise, own, before.flatten(1), after, rng)
        after_ = after.cpu().numpy()
        fine = np.isfinite(after_).all(1)
        earned = np.full(len(running), np.nan)
        earned[fine] = task.reward(obs[fine], acted[fine], after_[fine])
        returns[running] += discount**t * earned
        done[running] += 1
        measured = None if record is None else record.measure(own, acted)
        outside[running] += 0 if measured is None else measured.outside > 0
        away[running] += ~((after_ >= known.low) & (after_ <= known.high)).all(1)
        going = fine & ~np.asarray(task.terminated(after_))
        now = np.asarray(sim.follow(now, acted, after_), dtype=np.float32)[going]
        running = running[going]
        if not len(running):
            break
    return Simulated(returns, outside, away, done)
