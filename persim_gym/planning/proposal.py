"""In-support planning: candidates that a model of the behaviour would take, state by state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from torch import Tensor

from persim_gym import checks
from persim_gym.core import Dynamics, next_states
from persim_gym.planning.planner import Plan, Planner, Score
from persim_gym.planning.planner_choice import PlannerChoice
from persim_gym.planning.shooting import RandomShooting


class Proposal(Protocol):
    """A model of a behaviour: what it may do in a state."""

    def sample(self, observations: NDArray[Any], k: int, rng: np.random.Generator) -> NDArray[Any]:
        """Actions ``[n, k(, a)]`` that it might take after observations ``[n, d]``."""


@dataclass(frozen=True, slots=True)
class Proposed:
    """Draws candidates from a proposal by rolling them through the dynamics.

    Attributes:
        proposal: Where actions come from.
        dynamics: What says where they would lead to.
        space: Actions.
        observed: Coordinates of an observation ``d``.
    """

    proposal: Proposal
    dynamics: Dynamics
    space: Discrete | Box
    observed: int

    @property
    def each(self) -> tuple[int, ...]:
        """Shape of one action."""
        return self.space.shape or ()

    @property
    def device(self) -> torch.device:
        """Where candidates are scored."""
        return torch.device(getattr(self.dynamics, "device", "cpu"))

    def draw(
        self,
        agents: NDArray[np.int64],
        states: NDArray[Any],
        shape: tuple[int, int],
        rng: np.random.Generator,
        plans: NDArray[Any] | None = None,
        fresh: NDArray[np.bool_] | None = None,
    ) -> NDArray[Any]:
        """Draw whole sequences: an action, where it leads to, another action there, and so on.

        All sequences of all problems take a step together.

        Args:
            agents: ``[p]``.
            states: ``[p, d]``, or those of a dynamics with a lag.
            shape: Candidates ``k`` and horizon ``h``.
            rng: All randomness.
            plans: Plans of one step ago ``[p, h(, a)]``: the first candidate goes on with them, and
                only its last action is drawn.
            fresh: Problems that have no such plan ``[p]``.

        Returns:
            Actions ``[p, k, h(, a)]``.

        Raises:
            ValueError: If the proposal gives no such actions.
        """
        p, (k, h) = len(agents), shape
        rows, state = np.repeat(agents, k), np.repeat(states, k, axis=0)
        kept = np.ones(p, dtype=np.bool_) if fresh is None else ~fresh
        discrete = isinstance(self.space, Discrete)
        drawn = np.empty((p, k, h, *self.each), np.int64 if discrete else np.float32)
        for t in range(h):
            # In the first step, all candidates of a problem are in one state.
            seen = states if t == 0 else state
            drawn[:, :, t] = self._sample(seen, k if t == 0 else 1, rng).reshape(p, k, *self.each)
            if plans is not None and t + 1 < h:
                drawn[kept, 0, t] = plans[kept, t + 1]
            if t + 1 == h:
                break
            acted = drawn[:, :, t].reshape(p * k, *self.each)
            obs = np.asarray(self.dynamics.step(rows, state, acted))
            # What has left the numbers is worth nothing, whatever is drawn there.
            state = next_states(self.dynamics, state, acted, np.nan_to_num(obs))
        return drawn

    def _sample(self, states: NDArray[Any], k: int, rng: np.random.Generator) -> NDArray[Any]:
        latest = states.reshape(len(states), -1)[:, -self.observed :].astype(np.float32)
        found = np.asarray(self.proposal.sample(latest, k, rng))
        expected = (len(latest), k, *self.each)
        whole = found.dtype.kind in "iu" or not isinstance(self.space, Discrete)
        if found.shape != expected or not whole or found.dtype.kind not in "iuf":
            raise ValueError(
                f"the proposal gave actions of shape {found.shape} and type {found.dtype}, "
                f"expected {expected} of {self.space}"
            )
        if isinstance(self.space, Discrete):
            inside = ((found >= 0) & (found < self.space.n)).all()
        else:
            found = found.astype(np.float32)  # as the space's ends are
            inside = ((found >= self.space.low) & (found <= self.space.high)).all()
        if not inside:
            raise ValueError(f"the proposal gave actions that are not in {self.space}")
        return found


def check_proposal(proposal: object) -> None:
    """Check that something can be a proposal.

    Raises:
        TypeError: If it has no ``sample``.
    """
    if not callable(getattr(proposal, "sample", None)):
        raise TypeError(
            "proposal must have sample(observations, k, rng), as SfBC has, got "
            f"{checks.shown(proposal)}"
        )


def proposing(choice: PlannerChoice, named: bool) -> PlannerChoice:
    """The choice with a planner that takes its candidates from a proposal.

    Args:
        choice: What would plan without one.
        named: Whether its planner was asked for, and not merely the task's.

    Raises:
        ValueError: If that planner makes its own candidates.
    """
    planner: Planner = choice.planner
    if isinstance(planner, RandomShooting):
        return choice
    if named:
        raise ValueError(
            f"{type(planner).__name__} makes candidates of its own, and a proposal draws them "
            "whole: use planner='shooting' or a RandomShooting, or no proposal"
        )
    sizes: Any = planner
    shooting = RandomShooting(sizes.candidates, sizes.horizon)
    return PlannerChoice(shooting, choice.propagation, choice.shaping, choice.penalty)


def plan_among(
    proposed: Proposed,
    planner: RandomShooting,
    score: Score,
    agents: NDArray[np.int64],
    states: NDArray[Any],
    previous: Tensor | None,
    fresh: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Plan:
    """Draw candidates and choose among them, as the planner does.

    The previous plan, shifted by one, is the first candidate where the best one decides.
    """
    shape = (planner.candidates, planner.horizon)
    plans = previous.cpu().numpy() if previous is not None and planner.decide == "best" else None
    actions = proposed.draw(agents, states, shape, rng, plans, fresh)
    return planner.choose(score, torch.as_tensor(actions, device=proposed.device))
