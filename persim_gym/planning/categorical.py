"""Cross-entropy method for discrete actions, with candidates that keep to an action for a while."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor
from torch.nn.functional import one_hot

from persim_gym import checks
from persim_gym.planning.planner import Plan, Score, check_sizes
from persim_gym.planning.stickiness import check_sticky, last_draws, shares


@dataclass(frozen=True, slots=True)
class CategoricalCEM:
    """Categorical sequences, refitted to their best again and again.

    In every step of the plan each action has a probability. A round draws candidates, scores them,
    and moves the probabilities towards the shares of the actions among the best.

    Candidates are sticky: for every step a candidate has a level in [0, 1), which says, by the
    step's probabilities, which action it takes, and it keeps its level from one step to the next
    with the candidate's stickiness. So actions come in blocks, each step's probabilities are
    what they are, and candidates of several stickinesses search several time scales at once.

    The plan is the best sequence of all that were scored. The previous plan, shifted by one, is
    among them: where nothing is random, a plan is never worse than what it goes on from.

    Attributes:
        candidates: Sequences in a round ``k``.
        horizon: Their length ``h``.
        elites: The best so far, to which the probabilities are fitted.
        rounds: Rounds in a decision, the first one included.
        keep: Weight of the old probabilities in a refit.
        floor: Share of the uniform distribution in what is drawn from: no action dies out.
        sticky: Probability in [0, 1) of keeping a level, or several, which the candidates share
            out among them. The mean length of a block is ``1 / (1 - sticky)`` steps.
        kept: How many of the best of a round are elites of the next one if nothing beats them.
        trust: Weight of the previous plan, shifted by one, in the first round's probabilities; the
            rest is uniform.
    """

    candidates: int = 100
    horizon: int = 50
    elites: int = 10
    rounds: int = 2
    keep: float = 0.1
    floor: float = 0.1
    sticky: float | tuple[float, ...] = (0.0, 0.8, 0.95)
    kept: int = 3
    trust: float = 0.5

    @property
    def leading(self) -> int:
        """How many of the best candidates it uses."""
        return self.elites

    def __post_init__(self) -> None:
        """Refuse settings that cannot be."""
        check_sizes(self, "candidates", "horizon", "elites", "rounds", "kept")
        if self.elites > self.candidates:
            raise ValueError(
                f"{self.elites} elites cannot be chosen of {self.candidates} candidates"
            )
        for name in ("keep", "trust"):
            checks.number(name, getattr(self, name), 0, 1, below=True, says="in [0, 1)")
        checks.number("floor", self.floor, 0, 1, above=True, says="in (0, 1]")
        check_sticky(self.sticky)

    def plan(
        self,
        score: Score,
        space: Discrete | Box,
        problems: int,
        previous: Tensor | None,
        fresh: Tensor,
        generator: torch.Generator,
    ) -> Plan:
        """See :class:`~persim_gym.planning.planner.Planner`.

        Raises:
            TypeError: If actions are continuous.
        """
        if not isinstance(space, Discrete):
            raise TypeError(
                "CategoricalCEM plans discrete actions; use CEM or RandomShooting for continuous "
                "ones"
            )
        device, choices = generator.device, int(space.n)
        if previous is None:  # nothing to go on from, in any problem
            previous = torch.zeros((problems, self.horizon), dtype=torch.long, device=device)
            fresh = torch.ones(problems, dtype=torch.bool, device=device)
        uniform = torch.full(
            (problems, self.horizon, choices), 1 / choices, dtype=torch.float32, device=device
        )
        probabilities = self._continued(previous, fresh, uniform)
        sticky = shares(self.sticky, self.candidates).to(device)
        elites = previous[:, None][:, :0]
        returns = torch.empty((problems, 0), dtype=torch.float32, device=device)
        for turn in range(self.rounds):
            drawn_from = (1 - self.floor) * probabilities + self.floor * uniform
            actions = draw(drawn_from, sticky, generator)
            if turn == 0:
                # The last action of a shifted plan is not known: the candidate's own stays.
                own = actions[:, 0, :-1]
                actions[:, 0, :-1] = torch.where(fresh[:, None], own, previous[:, 1:])
            every = torch.cat([elites[:, : self.kept], actions], dim=1)
            found = torch.cat([returns[:, : self.kept], score(actions)], dim=1)
            returns, chosen = found.topk(self.elites, dim=1)
            elites = every.gather(1, chosen[:, :, None].expand(-1, -1, self.horizon))
            # What is worth minus infinity is no example, unless there is nothing else.
            finite = torch.isfinite(returns)
            counts = (finite | ~finite.any(dim=1, keepdim=True)).to(uniform.dtype)
            weight = (counts / counts.sum(dim=1, keepdim=True))[:, :, None, None]
            share = (weight * one_hot(elites, choices)).sum(dim=1)
            probabilities = self.keep * probabilities + (1 - self.keep) * share
        return Plan(actions=elites[:, 0], action=elites[:, 0, 0], returns=returns[:, 0])

    def _continued(self, previous: Tensor, fresh: Tensor, uniform: Tensor) -> Tensor:
        """Probabilities that lean towards the previous plan, shifted by one ``[p, h, A]``."""
        trust = torch.where(fresh, 0.0, self.trust)[:, None, None]
        probabilities = uniform.clone()
        taken = one_hot(previous[:, 1:], uniform.shape[-1]).to(uniform.dtype)
        probabilities[:, :-1] += trust * (taken - uniform[:, :-1])
        return probabilities


def draw(probabilities: Tensor, sticky: Tensor, generator: torch.Generator) -> Tensor:
    """Draw sequences whose actions have given probabilities and come in blocks.

    Args:
        probabilities: Of each action in each step ``[p, h, A]``.
        sticky: For each candidate the probability that a step keeps the level of the step before
            it ``[k]``.
        generator: All randomness.

    Returns:
        Actions ``[p, k, h]``.
    """
    problems, h, _ = probabilities.shape
    shape = (problems, len(sticky), h)
    levels = torch.rand(shape, generator=generator, dtype=torch.float32, device=generator.device)
    levels = levels.gather(2, last_draws(problems, h, sticky, generator))
    # An action is taken by the levels between the summed probabilities before and after it.
    bounds = probabilities.cumsum(dim=-1)[:, None, :, :-1]
    return (levels[..., None] >= bounds).sum(dim=-1)
