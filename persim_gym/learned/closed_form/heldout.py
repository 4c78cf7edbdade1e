"""Agents held out, and the stretches of their records by which candidates are judged."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.closed_form.agent_sums import Rows
from persim_gym.learned.closed_form.basis import SUPPORT
from persim_gym.learned.closed_form.ensemble import PolynomialEnsemble
from persim_gym.learned.closed_form.problem import Problem

#: Transitions and agents that a choice judges by.
TRANSITIONS, AGENTS = 40_000, 400
#: Steps of an open-loop prediction, and of a rollout that tests stability.
HORIZON, LONG = 25, 200
WINDOWS_PER_AGENT = 4
#: Long rollouts from where other agents were, for each from where the agent was, and widths of the
#: recorded range by which they may leave it.
ELSEWHERE, BEYOND = 1, 0.3
#: Steps of these rollouts that are checked together.
AT_ONCE = 20


def split_agents(rows: Rows, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Agents that weights are fitted on, and agents held out, among those with transitions."""
    count = torch.bincount(rows.agent, minlength=rows.num_agents).numpy()
    usable = rng.permutation(np.flatnonzero(count >= 2))
    if len(usable) < 10:
        return torch.zeros(0, dtype=torch.long), torch.as_tensor(np.sort(usable))
    within = np.cumsum(count[usable]) <= TRANSITIONS
    usable = usable[: max(10, min(AGENTS, int(within.sum())))]
    held = max(2, min(60, len(usable) // 5))
    return torch.as_tensor(np.sort(usable[held:])), torch.as_tensor(np.sort(usable[:held]))


def rows_of(rows: Rows, agents: Tensor) -> Tensor:
    """Indices of some agents' transitions, ascending."""
    wanted = torch.zeros(rows.num_agents, dtype=torch.bool, device=rows.agent.device)
    wanted[agents] = True
    return wanted[rows.agent].nonzero()[:, 0]


def first_half(agent: Tensor) -> Tensor:
    """Whether a transition is in the first half of its agent's, which stand in order of time."""
    order = torch.argsort(agent, stable=True)
    count = torch.bincount(agent)
    first = torch.cumsum(count, 0) - count
    place = torch.empty_like(order)
    place[order] = torch.arange(len(agent)) - first[agent[order]]
    return place < (count[agent] + 1) // 2


class Windows:
    """Stretches of held-out agents' records, to be predicted open loop.

    Args:
        problem: The data.
        held: Agents held out.
        rest: Indices of those of their transitions that no factor was fitted to.
        rng: Randomness of the actions that test stability.
    """

    def __init__(
        self, problem: Problem, held: Tensor, rest: NDArray[np.int64], rng: np.random.Generator
    ) -> None:
        self.problem = problem
        place = np.full(problem.rows.num_agents, -1)
        place[held.numpy()] = np.arange(len(held))
        agent, episode = problem.rows.agent.numpy(), problem.episode.numpy()
        starts = []
        for number in held.tolist():
            rows = rest[agent[rest] == number]
            if len(rows) == 0:
                continue
            wanted = np.linspace(0, len(rows) - 1, WINDOWS_PER_AGENT + 1)[:-1].astype(int)
            starts.append(np.unique(rows[wanted]))
        self.start = np.concatenate(starts) if starts else np.zeros(0, dtype=int)
        if len(self.start) == 0:
            raise ValueError(
                "no agent has two transitions: there is nothing to choose a closed-form fit by; "
                "record more of each agent, or fit with method='sgd'"
            )
        self.length = np.minimum(_steps_left(episode, self.start), HORIZON)
        self.agent = torch.as_tensor(place[agent[self.start]])
        self.owner = agent[self.start]
        steps = np.minimum(np.arange(HORIZON), self.length[:, None] - 1)
        rows_ = torch.as_tensor(self.start[:, None] + steps)
        self.rows = rows_
        self.actions = problem.actions[rows_]
        self.truth = problem.next_obs[rows_].double()
        self.valid = torch.as_tensor(np.arange(HORIZON) < self.length[:, None])
        self.states = problem.states[torch.as_tensor(self.start)].double()
        drawn = rng.integers(0, len(agent), size=(len(self.start), LONG))
        self.long_actions = problem.actions[torch.as_tensor(drawn)]
        # Each agent is put where another was: what a fit makes of it there is not in its record.
        elsewhere = rng.integers(0, len(agent), size=len(self.start) * ELSEWHERE)
        self.elsewhere = problem.states[torch.as_tensor(elsewhere)].double()

    def errors(self, ensemble: PolynomialEnsemble) -> NDArray[np.float64]:
        """Open-loop error of each held-out agent, in units of the observations' deviation."""
        unrolled = ensemble.unroll(self.agent, self.states, self.actions[:, None])
        predicted = torch.stack([obs[0, :, 0] for obs in unrolled], dim=1)
        left = self.problem.left(predicted, self.truth)
        left = (left / self.problem.deviation).square().mean(-1)
        left = torch.nan_to_num(left, nan=1e6, posinf=1e6).clamp(1e-14, 1e6)
        own = np.asarray(((left * self.valid).sum(1) / self.valid.sum(1)).sqrt())
        sums = np.bincount(self.owner, weights=own)
        counts = np.bincount(self.owner)
        return sums[counts > 0] / counts[counts > 0]

    def one_step(self, ensemble: PolynomialEnsemble) -> float:
        """Root mean square error of single steps, in the data's units."""
        h = self.rows.shape[1]
        agent = self.agent[:, None].expand(-1, h).flatten()
        states = self.problem.states[self.rows].flatten(0, 1).double()
        predicted = ensemble.step(agent, states, self.actions.flatten(0, 1))[0]
        predicted = predicted.view_as(self.truth)
        left = self.problem.left(predicted, self.truth).square()[self.valid]
        return float(left.mean().sqrt())

    def escapes(self, ensemble: PolynomialEnsemble, law: bool = False) -> float:
        """Share of long rollouts that leave the recorded range before their episode ends.

        They begin where held-out agents were, and where others were: the larger share counts. Of
        a law that has been found only the first, and it may lead far: truth may do so as well.
        """
        problem = self.problem
        agents = self.agent.repeat(1 + ELSEWHERE)
        states = torch.cat([self.states, self.elsewhere])
        actions = self.long_actions.repeat(1 + ELSEWHERE, *[1] * (self.long_actions.ndim - 1))
        over = torch.zeros(len(agents), dtype=torch.bool)
        escaped = over.clone()
        low, high = problem.widened(SUPPORT if law else BEYOND)
        unrolled = ensemble.unroll(agents, states, actions[:, None])
        while steps := [obs[0, :, 0].clone() for obs in itertools.islice(unrolled, AT_ONCE)]:
            now = torch.stack(steps)  # [h, n, d]
            outside = ((now < low) | (now > high)).any(-1) | ~torch.isfinite(now).all(-1)
            ended = torch.as_tensor(problem.terminated(now.flatten(0, 1)), dtype=torch.bool)
            ends = outside | ended.view_as(outside)
            first = ends.byte().argmax(0, keepdim=True)
            escaped |= outside.gather(0, first)[0] & ~over
            over |= ends.any(0)
            if bool(over.all()):
                break
        own, elsewhere = escaped.split([len(self.start), len(self.elsewhere)])
        share = float(own.double().mean())
        return share if law else max(share, float(elsewhere.double().mean()))


def _steps_left(episode: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Transitions from some of them to their episode's end, themselves included."""
    ends = np.flatnonzero(np.append(episode[1:] != episode[:-1], True))
    return np.asarray(ends[np.searchsorted(ends, rows)] + 1 - rows)
