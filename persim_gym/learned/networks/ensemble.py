"""An ensemble of the paper's networks."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from persim_gym.learned.bounds import BoundEffects
from persim_gym.learned.ensemble import Change, Ensemble
from persim_gym.learned.networks.network import LowRankNetwork


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
        hold_low: Where the state's coordinates are held when the network sees them ``[in]``;
            ``None``: nowhere.
        hold_high: The same above.
    """

    input_mean: Tensor
    input_scale: Tensor
    target_mean: Tensor
    target_scale: Tensor
    low: Tensor
    high: Tensor
    hold_low: Tensor | None = None
    hold_high: Tensor | None = None

    def to(self, device: torch.device | str) -> Scaling:
        """The same on a device."""
        return Scaling(**{name: tensor.to(device) for name, tensor in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """What there is, by name."""
        every = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: tensor for name, tensor in every.items() if tensor is not None}


class StateInputs:
    """States as the network's inputs: in its units, angles as sine and cosine.

    The scaling is applied to the states and not folded into the weights: folding loses digits
    where a mean is large beside its deviation.

    Args:
        scaling: The units.
        angles: Columns that are angles, in radians.
        skipped: Columns of a state that come before these: the action before its oldest
            observation.
    """

    def __init__(self, scaling: Scaling, angles: tuple[int, ...] = (), skipped: int = 0) -> None:
        self.mean, self.scale = scaling.input_mean, scaling.input_scale
        self.plain = not bool((self.mean != 0).any() or (self.scale != 1).any())
        self.angles = list(angles)
        self.skipped = skipped
        self.hold_low, self.hold_high = scaling.hold_low, scaling.hold_high

    def __call__(self, states: Tensor) -> Tensor:
        """States ``[..., l * d]`` -> ``[..., l * d + angles]``: a cosine for each at the end."""
        if self.skipped:
            states = states[..., self.skipped :]
        if self.hold_low is not None:
            states = torch.clamp(states, self.hold_low, self.hold_high)
        scaled = states if self.plain else (states - self.mean) / self.scale
        if not self.angles:
            return scaled
        turned = states[..., self.angles]
        scaled = torch.cat([scaled, turned.cos()], dim=-1)
        scaled[..., self.angles] = turned.sin()
        return scaled


class NetworkEnsemble(Ensemble):
    """Members of a low-rank network with their units.

    Args:
        network: The stacked members.
        scaling: Units and bounds.
        effects: What going over a bound does, where that was learned.
    """

    def __init__(
        self, network: LowRankNetwork, scaling: Scaling, effects: BoundEffects | None = None
    ) -> None:
        super().__init__(scaling.low, scaling.high, effects)
        self.network = network
        self.scaling = scaling
        shape = network.shape
        self.members, self.num_agents, self.rank = shape.members, shape.num_agents, shape.rank
        self.lag, self.past, self.widths = shape.lag, shape.past, shape.widths
        self.scaled = StateInputs(scaling, shape.angles, shape.past)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> NetworkEnsemble:
        """The same on a device; networks are in single precision.

        Raises:
            ValueError: If another precision is asked for.
        """
        if dtype not in (None, torch.float32):
            raise ValueError(f"networks are in single precision, got {dtype}")
        effects = None if self.effects is None else self.effects.to(device)
        return NetworkEnsemble(self.network.to(device), self.scaling.to(device), effects)

    def agent_factors(self) -> Tensor:
        """The agents' factors ``[m, N, r]``."""
        return self.network.agent_factors()

    def with_factors(self, factors: Tensor) -> NetworkEnsemble:
        """The same model for agents of other factors ``[m, N', r]``."""
        network = self.network.with_agents(factors.to(self.device, torch.float32))
        return NetworkEnsemble(network, self.scaling, self.effects)

    @torch.no_grad()
    def design(self, states: Tensor, actions: Tensor) -> Tensor:
        """What an agent's factor is multiplied to, ``[m, n, d, r]``."""
        s, net = self.scaling, self.network
        scaled = self.scaled(states).expand(self.members, -1, -1)
        if net.shape.joint:
            product = net.state_factors(net.with_actions(scaled, actions))  # [m, d, r, n]
        else:
            product = net.state_factors(scaled) * net.action_factors(actions).mT[:, None]
        return product.permute(0, 3, 1, 2) * s.target_scale[:, None]

    def offset(self) -> Tensor:
        """The change that no factor has a part in ``[d]``."""
        return self.scaling.target_mean

    @torch.no_grad()
    def change(self, agents: Tensor, states: Tensor, actions: Tensor) -> Tensor:
        """Every member's change ``[m, n, d]``; arguments of :meth:`Ensemble.step`."""
        s = self.scaling
        scaled = self.scaled(states)
        if states.ndim == 2:
            scaled = scaled.expand(self.members, -1, -1)
        change = self.network(agents, scaled, actions)
        return change * s.target_scale + s.target_mean

    def _unsettled(self, agents: Tensor, states: Tensor, actions: Tensor) -> Tensor:
        return states[..., -self.obs_dim :] + self.change(agents, states, actions)

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and units, by name."""
        found = {f"network.{name}": tensor for name, tensor in self.network.tensors.items()}
        return found | {f"scaling.{name}": t for name, t in self.scaling.tensors().items()}

    def to_json(self) -> dict[str, Any]:
        """Kind and sizes as plain types."""
        return {"kind": "network", **self.network.shape.to_json()}

    def _change(self, agents: Tensor, actions: Tensor, *, together: bool) -> Change:
        if self.network.shape.num_actions:
            return _DiscreteChange(self, agents, actions)
        if self.network.shape.joint:
            return _JointChange(self, agents, actions)
        return _ContinuousChange(self, agents, actions)


class _DiscreteChange:
    """Few actions: their factors are multiplied into the last layer, and one is picked."""

    def __init__(self, ensemble: NetworkEnsemble, agents: Tensor, actions: Tensor) -> None:
        s, shape = ensemble.scaling, ensemble.network.shape
        self.d, self.choices = shape.obs_dim, shape.num_actions
        self.network, self.scaled = ensemble.network, ensemble.scaled
        weight, bias = ensemble.network.personal_heads(agents)  # [m, p, A*d, H]
        scale = s.target_scale.repeat(self.choices)[:, None]
        self.weight = weight * scale
        self.bias = bias * scale + s.target_mean.repeat(self.choices)[:, None]
        # Times first, so that each step's choice is one contiguous piece.
        self.actions = actions.permute(3, 0, 1, 2).contiguous()  # [h, m or 1, p, k]

    def keep(self, columns: Tensor) -> None:
        self.actions = torch.take_along_dim(self.actions, columns[None], -1)

    def __call__(self, states: Tensor, t: int) -> Tensor:
        every = self.network.last_layers(self.scaled(states.mT), self.weight, self.bias)
        return pick(every.unflatten(2, (self.choices, self.d)), self.actions[t])


def pick(every: Tensor, chosen: Tensor) -> Tensor:
    """Changes ``[m, p, d, k]`` under actions ``[m or 1, p, k]``, of all ``[m, p, A, d, k]``."""
    m, p, _, d, k = every.shape
    index = chosen[:, :, None, None].expand(m, -1, 1, d, -1)
    return every.gather(2, index).view(m, p, d, k)


class _ContinuousChange:
    """Continuous actions: all factors of all sequences are computed before the first step."""

    def __init__(self, ensemble: NetworkEnsemble, agents: Tensor, actions: Tensor) -> None:
        each, p, k, h, a = actions.shape
        network, s = ensemble.network, ensemble.scaling
        self.network, self.scaled = network, ensemble.scaled
        m, d, r = ensemble.members, ensemble.obs_dim, ensemble.rank
        flat = actions.permute(0, 3, 1, 2, 4).reshape(each, h * p * k, a)
        factors = network.action_factors(flat).view(m, h, p, k, r)
        own = network.agent_factors(agents)[:, None, :, None]
        self.factors = (factors * own).mT.contiguous()  # [m, h, p, r, k]
        scale = s.target_scale.repeat_interleave(r)[:, None]
        head, bias = (network.tensors[f"head.{part}"] * scale for part in ("weight", "bias"))
        self.weight, self.bias = (t[:, None].expand(-1, p, -1, -1) for t in (head, bias))
        self.mean, self.units = s.target_mean[:, None], (d, r)

    def keep(self, columns: Tensor) -> None:
        self.factors = torch.take_along_dim(self.factors, columns[:, None, :, None], 4)

    def __call__(self, states: Tensor, t: int) -> Tensor:
        every = self.network.last_layers(self.scaled(states.mT), self.weight, self.bias)
        products = every.unflatten(2, self.units).mul_(self.factors[:, t, :, None])
        return products.sum(3).add_(self.mean)


class _JointChange:
    """Actions among the inputs: the agent's factor is multiplied into the last layer."""

    def __init__(self, ensemble: NetworkEnsemble, agents: Tensor, actions: Tensor) -> None:
        s = ensemble.scaling
        self.network, self.scaled = ensemble.network, ensemble.scaled
        weight, bias = ensemble.network.personal_heads(agents)  # [m, p, d, H]
        scale = s.target_scale[:, None]
        self.weight, self.bias = weight * scale, bias * scale + s.target_mean[:, None]
        # Times first, so that each step's actions are one contiguous piece.
        self.actions = actions.permute(3, 0, 1, 2, 4).contiguous()  # [h, m or 1, p, k, a]

    def keep(self, columns: Tensor) -> None:
        self.actions = torch.take_along_dim(self.actions, columns[None, ..., None], -2)

    def __call__(self, states: Tensor, t: int) -> Tensor:
        inputs = self.network.with_actions(self.scaled(states.mT), self.actions[t])
        return self.network.last_layers(inputs, self.weight, self.bias)
