"""An ensemble of fitted members as a transition function on tensors: one step, and unrolling."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from typing import Any, Literal, Protocol, Self

import torch
from torch import Tensor

from persim_gym import checks
from persim_gym.learned.bounds import BoundEffects
from persim_gym.learned.history import coded
from persim_gym.threads import few_threads

UnrollMode = Literal["members", "mean", "sampled"]
UNROLL_MODES: tuple[UnrollMode, ...] = ("members", "mean", "sampled")


class Change(Protocol):
    """The change of state under the actions of time ``t``, in the data's units."""

    def __call__(self, states: Tensor, t: int) -> Tensor:
        """States ``[m or 1, p, in, k]`` -> changes ``[m, p, d, k]``, to be used at once."""

    def keep(self, columns: Tensor) -> None:
        """Go on with some of the columns ``k``: their indices ``[m or 1, p, k']``."""


class Ensemble(ABC):
    """Fitted members, whatever they were fitted by: states in, next observations out.

    The change of state is linear in an agent's factor: ``change = design(state, action) @ factor``.

    Attributes:
        members: Number of members ``m``.
        num_agents: Number of agents ``N``.
        rank: Number of latent factors ``r``.
        widths: Widths of the layers that a state goes through: how much work a row is.
        lag: Observations that a state holds.
        past: Numbers of the past action that a state holds with each observation.
        turning: Whether it computes in inner coordinates, in which angles are angles.
        linear: Whether changes are linear in an agent's factor, so that agents can be added.
        precise: Whether it can compute in double precision.
        low: Lower bounds of observations ``[d]``, may be infinite.
        high: Upper bounds ``[d]``.
        effects: What going over a bound does, where that was learned.
    """

    members: int
    num_agents: int
    rank: int
    widths: Sequence[int]
    lag: int = 1
    past: int = 0
    turning: bool = False
    linear: bool = True
    precise: bool = False

    def __init__(self, low: Tensor, high: Tensor, effects: BoundEffects | None = None) -> None:
        self.low = low
        self.high = high
        self.effects = effects
        self._bounded = bool(torch.isfinite(low).any() or torch.isfinite(high).any())
        self._edges = [] if effects is None else effects.edges()
        # Finite bounds where the space has none: what is beyond them is not finite.
        most = torch.finfo(low.dtype).max
        self._inside = low.clamp(-most, most).tolist(), high.clamp(-most, most).tolist()

    @property
    def obs_dim(self) -> int:
        """Coordinates ``d`` of an observation."""
        return len(self.low)

    @property
    def limits(self) -> tuple[Tensor, Tensor]:
        """Lower and upper bounds of observations ``[d]``, ``[d]``."""
        return self.low, self.high

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.low.device

    @abstractmethod
    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Ensemble:
        """The same on a device, in a precision."""

    def with_effects(self, effects: BoundEffects | None) -> Self:
        """The same with what happens at bounds."""
        if effects is not None:
            effects = effects.to(self.device, self.low.dtype)
        return self._with(effects=effects)

    def _with(self, **parts: Any) -> Self:
        """The same with other parts, by the names of attributes."""
        twin = copy.copy(self)
        vars(twin).update(parts)
        Ensemble.__init__(twin, twin.low, twin.high, twin.effects)
        return twin

    @abstractmethod
    def agent_factors(self) -> Tensor:
        """The agents' factors ``[m, N, r]``."""

    @abstractmethod
    def with_factors(self, factors: Tensor) -> Ensemble:
        """The same model for agents of other factors ``[m, N', r]``."""

    @abstractmethod
    def design(self, states: Tensor, actions: Tensor) -> Tensor:
        """What an agent's factor is multiplied to, in the data's units.

        Args:
            states: ``[n, in]``.
            actions: ``[n]`` integers or ``[n, a]``.

        Returns:
            ``[m, n, d, r]``.
        """

    @abstractmethod
    def offset(self) -> Tensor:
        """The change that no factor has a part in ``[d]``."""

    def difference(self, states: Tensor, next_obs: Tensor) -> Tensor:
        """What :meth:`design` is of: changes ``[..., d]`` from states to observations."""
        return next_obs - states[..., -self.obs_dim :]

    def following(self, states: Tensor, change: Tensor) -> Tensor:
        """Observations ``[..., d]`` after changes; what :meth:`difference` undoes."""
        return states[..., -self.obs_dim :] + change

    def step(self, agents: Tensor, states: Tensor, actions: Tensor) -> Tensor:
        """Every member's next observation, inside the observation space.

        Args:
            agents: ``[n]``.
            states: ``[n, in]``, the same for all members, or ``[m, n, in]``; oldest first.
            actions: ``[n]`` integers or ``[n, a]``.

        Returns:
            ``[m, n, d]``; nan where a member's prediction is not finite.
        """
        return self.settle(self._unsettled(agents, states, actions))

    @abstractmethod
    def _unsettled(self, agents: Tensor, states: Tensor, actions: Tensor) -> Tensor:
        """What :meth:`step` settles: it may be out of the space, and knows no wall."""

    @abstractmethod
    def _change(self, agents: Tensor, actions: Tensor, *, together: bool) -> Change:
        """Changes for agents ``[p]`` under actions ``[m or 1, p, k, h(, a)]``.

        Args:
            agents: The agents.
            actions: The actions.
            together: All members will be in the same states.
        """

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What is kept in a file; :meth:`to_json` has the rest."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Kind and sizes as plain types."""

    def settle(self, obs: Tensor) -> Tensor:
        """Predicted observations ``[..., d]`` put back into their space, with effects of bounds.

        What is not finite becomes nan: an infinite prediction must not be mistaken for one that
        lies on a bound, which a planner would take for the goal.
        """
        return self._held(obs)

    def _held(self, obs: Tensor) -> Tensor:
        """The same of the coordinates in which it computes."""
        if not self._bounded:
            return obs + (obs - obs)
        finite = obs - obs
        if self.effects is not None:
            obs = self.effects(obs)
        return torch.clamp(obs, self.low, self.high) + finite

    @torch.no_grad()
    def unroll(
        self, agents: Tensor, states: Tensor, actions: Tensor, mode: UnrollMode = "members"
    ) -> Generator[Tensor, Tensor | None, None]:
        """Open-loop predictions of many action sequences from few states.

        Args:
            agents: ``[p]``.
            states: ``[p, in]``.
            actions: ``[p, k, h]`` integers or ``[p, k, h, a]``.
            mode: ``"members"``: each member goes on from its own prediction; ``"mean"``: all go on
                from the members' mean (Original: the planner for HalfCheetah), and what is yielded
                are their predictions from it; ``"sampled"``: candidate ``j`` follows member
                ``j mod m`` alone.

        Yields:
            For each of the ``h`` steps the next observations ``[m, p, k, d]`` (``[1, p, k, d]``
            where ``"sampled"``), in their space; to be used before the next is asked for. Indices
            ``[p, k']`` of candidates may be sent back: only those go on.

        Raises:
            ValueError: If there is no such mode.
        """
        checks.one_of("mode", mode, UNROLL_MODES)
        p, k, h = actions.shape[:3]
        states = self._entered(states)
        m, inputs = self.members, states.shape[-1]
        slot = inputs // self.lag
        d = slot - self.past  # coordinates in which it computes
        shared = _Shared(m, actions) if mode == "sampled" else None
        acted = actions[None] if shared is None else shared.actions
        together = mode == "mean"
        change_of = self._change(agents, acted, together=together)
        # Coordinates stand before candidates: each is one piece of memory for all of them.
        shape = (1 if together else m, p, inputs, acted.shape[2])
        state = states[None, :, :, None].expand(shape).contiguous()  # [m or 1, p, in, k]
        before = None  # what states remember of actions, [h, m or 1, p, b, k]
        if self.past:
            choices = 0 if acted.is_floating_point() else self.past + 1
            before = coded(acted, choices).to(state.dtype).permute(3, 0, 1, 4, 2)
        for t in range(h):
            with few_threads(m * p * shape[-1], self.widths, self.device):
                obs = self._settled(state[:, :, inputs - d :] + change_of(state, t))
            seen = self._left(obs.mT)
            kept = yield seen if shared is None else shared.gather(seen)
            if kept is not None:
                columns = kept[None] if shared is None else shared.keep(kept)
                obs = torch.take_along_dim(obs, columns[:, :, None], 3)
                state = torch.take_along_dim(state, columns[:, :, None], 3)
                change_of.keep(columns)
                if before is not None:
                    before = torch.take_along_dim(before, columns[None, :, :, None], 4)
            if together:
                obs = obs.mean(0, keepdim=True)
            if inputs == d:
                state = obs
                continue
            parts = [state[:, :, slot:], obs]
            if before is not None:
                parts.insert(1, before[t].expand(len(obs), -1, -1, -1))
            state = torch.cat(parts, dim=2)

    def _entered(self, states: Tensor) -> Tensor:
        """States ``[p, in]`` in the coordinates in which it computes."""
        return states

    def _left(self, obs: Tensor) -> Tensor:
        """Observations ``[..., d]`` from the coordinates in which it computes."""
        return obs

    def _settled(self, obs: Tensor) -> Tensor:
        """What :meth:`settle` does to ``[m, p, d, k]``, which may be overwritten."""
        if not self._bounded or not obs.numel():
            return obs  # what is not finite stays so, and is on no bound
        if self.device.type != "cpu":  # to read the values would be a wait
            return self._held(obs.mT).mT
        flat = obs.flatten(0, 1)  # in two steps: over both at once takes several times as long
        least, most = flat.amin(0).amin(1).tolist(), flat.amax(0).amax(1).tolist()
        low, high = self._inside
        if all(a <= b and c <= d for a, b, c, d in zip(low, least, most, high, strict=True)):
            return obs
        finite = all(map(math.isfinite, least + most))
        if finite and not any(
            most[column] > bound if side > 0 else least[column] < bound
            for column, side, bound in self._edges
        ):
            return torch.clamp(obs, self.low[:, None], self.high[:, None], out=obs)
        return self._held(obs.mT).mT


def before_bounds(ensemble: Ensemble, agents: Tensor, states: Tensor, actions: Tensor) -> Tensor:
    """Last observation plus change ``[m, n, d]``, as if the space had no bounds.

    For what is learned of the dynamics themselves: effects of bounds, residuals. Nothing that is
    predicted comes from here: that is :meth:`Ensemble.step`, whose arguments these are.
    """
    return ensemble._unsettled(agents, states, actions)


class _Shared:
    """Candidates shared out among members: each candidate follows one, and stays with it.

    A member works on ``c`` columns, each a candidate of its own. One with fewer candidates than
    another has some of its columns filled with what is never read.
    """

    def __init__(self, members: int, actions: Tensor) -> None:
        p, k = actions.shape[:2]
        self.members = members
        candidates = torch.arange(k, device=actions.device).expand(p, k)
        columns = self._share(candidates % members, candidates)
        index = columns.view(*columns.shape, *[1] * (actions.ndim - 2))
        self.actions = torch.take_along_dim(actions[None], index, 2)  # [m, p, c, h(, a)]

    def gather(self, obs: Tensor) -> Tensor:
        """By column ``[m, p, c, d]`` -> by candidate ``[1, p, k, d]``."""
        return torch.take_along_dim(obs.transpose(0, 1).flatten(1, 2), self.place[..., None], 1)[
            None
        ]

    def keep(self, candidates: Tensor) -> Tensor:
        """Go on with candidates ``[p, k']``; returns which columns those are ``[m, p, c']``."""
        columns = self.place.gather(1, candidates) % self.width
        return self._share(self.who.gather(1, candidates), columns)

    def _share(self, who: Tensor, columns: Tensor) -> Tensor:
        """Give columns to candidates that follow members ``who`` and are in ``columns`` ``[p, k]``.

        Returns:
            Which of the old columns each of the new ones is ``[m, p, c]``.
        """
        p, k = who.shape
        order = who.argsort(dim=1, stable=True)
        counts = torch.zeros((p, self.members), dtype=torch.long, device=who.device)
        counts.scatter_add_(1, who, torch.ones_like(who))
        self.who, self.width = who, int(counts.max())
        sorted_who = who.gather(1, order)
        first = (counts.cumsum(1) - counts).gather(1, sorted_who)
        sorted_place = sorted_who * self.width + torch.arange(k, device=who.device) - first
        self.place = torch.empty_like(who).scatter_(1, order, sorted_place)  # [p, k]
        chosen = torch.zeros((p, self.members * self.width), dtype=torch.long, device=who.device)
        chosen.scatter_(1, self.place, columns)
        return chosen.view(p, self.members, self.width).transpose(0, 1)
