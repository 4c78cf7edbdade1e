"""An ensemble of fitted members as a transition function on tensors: one step, and unrolling."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, fields
from typing import Literal, Protocol

import torch
from torch import Tensor

from persim_gym.learned.network import LowRankNetwork
from persim_gym.threads import few_threads

UnrollMode = Literal["members", "mean"]


@dataclass(frozen=True, slots=True)
class Scaling:
    """Units of the network and bounds of the observation space.

    Attributes:
        input_mean: Mean of the state's coordinates ``[in]``.
        input_scale: Their deviation ``[in]``.
        target_mean: Mean of the differences ``[d]``.
        target_scale: Their deviation ``[d]``.
        low: Lower bounds of observations ``[d]``, may be infinite.
        high: Upper bounds ``[d]``.
    """

    input_mean: Tensor
    input_scale: Tensor
    target_mean: Tensor
    target_scale: Tensor
    low: Tensor
    high: Tensor

    def to(self, device: torch.device | str) -> Scaling:
        """The same on a device."""
        return Scaling(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


class Ensemble:
    """Members of a low-rank network with their units: states in, next observations out.

    Args:
        network: The stacked members.
        scaling: Units and bounds.
    """

    def __init__(self, network: LowRankNetwork, scaling: Scaling) -> None:
        self.network = network
        self.scaling = scaling

    @property
    def members(self) -> int:
        """Number of members ``m``."""
        return self.network.shape.members

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.network.device

    def to(self, device: torch.device | str) -> Ensemble:
        """The same on a device."""
        return Ensemble(self.network.to(device), self.scaling.to(device))

    def clip(self, obs: Tensor) -> Tensor:
        """Observations ``[..., d]`` put back into their space; what is not finite becomes nan.

        An infinite prediction must not be mistaken for one that lies on a bound: a planner would
        take it for the goal.
        """
        return torch.clamp(obs, self.scaling.low, self.scaling.high) + (obs - obs)

    @torch.no_grad()
    def step(self, agents: Tensor, states: Tensor, actions: Tensor) -> Tensor:
        """Every member's next observation, before clipping.

        Args:
            agents: ``[n]``.
            states: ``[n, in]``, the same for all members, or ``[m, n, in]``; oldest first.
            actions: ``[n]`` integers or ``[n, a]``.

        Returns:
            ``[m, n, d]``.
        """
        s = self.scaling
        scaled = (states - s.input_mean) / s.input_scale
        if states.ndim == 2:
            scaled = scaled.expand(self.members, *states.shape)
        change = self.network(agents, scaled, actions)
        return states[..., -s.low.shape[0] :] + (change * s.target_scale + s.target_mean)

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
                from the members' mean (Original: the planner for HalfCheetah).

        Yields:
            For each of the ``h`` steps the next observations ``[m, p, k, d]``, clipped; to be used
            before the next is asked for. With a single problem, indices of candidates may be sent
            back: only those go on.
        """
        if mode not in ("members", "mean"):
            raise ValueError(f"mode must be one of members, mean, got {mode!r}")
        p, k, h = actions.shape[:3]
        s, m, d = self.scaling, self.members, self.scaling.low.shape[0]
        inputs = self.network.shape.input_dim
        # The scaling of the inputs is applied to the states and not folded into the weights:
        # folding loses digits where a mean is large beside its deviation.
        state = states[None, :, None].expand(m, p, k, inputs).reshape(m, p * k, inputs)
        bounded = bool(torch.isfinite(s.low).any() or torch.isfinite(s.high).any())
        scaled = bool((s.input_mean != 0).any() or (s.input_scale != 1).any())
        change_of = self._heads(agents, actions)
        widths = self.network.shape.widths
        for t in range(h):
            with few_threads(m * p * k, widths, self.device):
                x = (state - s.input_mean) / s.input_scale if scaled else state
                obs = state[..., inputs - d :] + change_of(x, t)
                if bounded:
                    obs = self.clip(obs)
            kept = yield obs.view(m, p, k, d)
            if kept is not None:
                k = len(kept)
                obs, state = obs.index_select(1, kept), state.index_select(1, kept)
                change_of.keep(kept)
            if mode == "mean":
                obs = obs.mean(0, keepdim=True).expand(m, p * k, d)
            state = obs if inputs == d else torch.cat([state[..., d:], obs], dim=-1)

    def _heads(self, agents: Tensor, actions: Tensor) -> _Change:
        if self.network.shape.num_actions:
            return _DiscreteChange(self, agents, actions)
        return _ContinuousChange(self, agents, actions)


class _Change(Protocol):
    """The change of state under the actions of time ``t``, in the data's units."""

    def __call__(self, x: Tensor, t: int) -> Tensor:
        """States ``[m, p * k, in]`` in the network's units -> ``[m, p * k, d]``."""

    def keep(self, candidates: Tensor) -> None:
        """Go on with some of a single problem's candidates."""


class _DiscreteChange:
    """Few actions: their factors are multiplied into the last layer, and one is picked."""

    def __init__(self, ensemble: Ensemble, agents: Tensor, actions: Tensor) -> None:
        s, shape = ensemble.scaling, ensemble.network.shape
        self.p, self.k = actions.shape[:2]
        self.m, self.d, self.choices = shape.members, shape.obs_dim, shape.num_actions
        self.network = ensemble.network
        weight, bias = ensemble.network.personal_heads(agents)  # [m, p, A*d, H]
        scale = s.target_scale.repeat(self.choices)[:, None]
        self.weight = (weight * scale).flatten(0, 1)
        self.bias = (bias * scale + s.target_mean.repeat(self.choices)[:, None]).flatten(0, 1)
        # Times first, so that each step's choice is one contiguous piece.
        self.actions = actions.permute(2, 0, 1).contiguous()  # [h, p, k]

    def keep(self, candidates: Tensor) -> None:
        self.actions = self.actions[:, :, candidates]
        self.k = len(candidates)

    def __call__(self, x: Tensor, t: int) -> Tensor:
        hidden = self.network.hidden(x).view(self.m * self.p, self.k, self.weight.shape[-1])
        every = torch.baddbmm(self.bias, self.weight, hidden.mT)  # [m*p, A*d, k]
        every = every.view(self.m, self.p, self.choices, self.d, self.k)
        chosen = self.actions[t][None, :, None, None].expand(self.m, -1, 1, self.d, -1)
        return (
            every.gather(2, chosen)
            .view(self.m, self.p, self.d, self.k)
            .mT.reshape(self.m, self.p * self.k, self.d)
        )


class _ContinuousChange:
    """Continuous actions: all factors of all sequences are computed before the first step."""

    def __init__(self, ensemble: Ensemble, agents: Tensor, actions: Tensor) -> None:
        p, k, h, a = actions.shape
        self.scaling, self.network = ensemble.scaling, ensemble.network
        m, r = ensemble.members, ensemble.network.shape.rank
        flat = actions.permute(2, 0, 1, 3).reshape(h * p * k, a)
        factors = ensemble.network.action_factors(flat).view(m, h, p, k, r)
        own = ensemble.network.agent_factors(agents)[:, None, :, None]
        self.factors = (factors * own).view(m, h, p * k, r)

    def keep(self, candidates: Tensor) -> None:
        self.factors = self.factors[:, :, candidates]

    def __call__(self, x: Tensor, t: int) -> Tensor:
        change = self.network.combine(x, self.factors[:, t])
        return change * self.scaling.target_scale + self.scaling.target_mean
