"""The low-rank network of the paper: agent, state and action encoders, all members at once.

The change of coordinate ``d`` of the state is ``sum_r u_r(agent) f_r(action) g_dr(state)``, or in
the joint form ``sum_r u_r(agent) g_dr(state, action)``. All ``m`` members of the ensemble live in
stacked tensors, so that a step of all of them is one sequence of batched matrix products.

Layouts follow the matrix library's preferences, measured: the last layer has few outputs, and
``weight [m, d*r, H] @ hidden^T`` (rows last) takes a fourth of the time of ``hidden @ weight``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from persim_gym.learned.networks.linear import dense, product, take_turns

#: Half the width of the range that agents' factors begin in, in the joint form.
FIRST_WIDTH = 0.2


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """Sizes of a network.

    Attributes:
        members: Members ``m`` of the ensemble.
        num_agents: Agents ``N``, each with a free factor.
        obs_dim: Coordinates ``d`` of an observation.
        lag: Observations that the state encoder sees.
        num_actions: Number of discrete actions, or 0 if actions are continuous.
        action_dim: Coordinates ``a`` of a continuous action, or 0.
        rank: Latent factors ``r``.
        state_hidden: Widths of the state encoder.
        action_hidden: Widths of the action encoder, for continuous actions.
        activation: ``"relu"`` or ``"silu"``.
        joint: The state encoder sees the (continuous) action as well, and there is no action
            encoder.
        angles: Columns of a state that are angles: their sine stands in their place, their cosine
            behind all columns.
        skip: The last layer sees the inputs as well, beside the last hidden layer.
        past: Numbers of each of the actions between the observations of a state.
    """

    members: int
    num_agents: int
    obs_dim: int
    lag: int
    num_actions: int
    action_dim: int
    rank: int
    state_hidden: tuple[int, ...]
    action_hidden: tuple[int, ...]
    activation: str
    joint: bool = False
    angles: tuple[int, ...] = ()
    skip: bool = False
    past: int = 0

    def to_json(self) -> dict[str, Any]:
        """The sizes as plain types."""
        plain = asdict(self)
        return {key: list(v) if isinstance(v, tuple) else v for key, v in plain.items()}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> NetworkShape:
        """Sizes from plain types.

        Raises:
            TypeError: If one is missing or unknown.
        """
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()
        }
        return cls(**fields)

    @property
    def input_dim(self) -> int:
        """Inputs of the state encoder."""
        return self.state_dim + (self.action_dim if self.joint else 0)

    @property
    def state_dim(self) -> int:
        """Inputs that a state makes up."""
        return self.obs_dim * self.lag + self.past * (self.lag - 1) + len(self.angles)

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the state encoder's layers, from its input to its output."""
        return (self.input_dim, *self.state_hidden, self.obs_dim * self.rank)

    def tensors(self) -> dict[str, tuple[tuple[int, ...], int]]:
        """Every parameter's shape and fan-in, in a fixed order.

        An agent's factor is what a linear layer makes of a one-hot vector: a row of a table, plus
        a bias that all agents share. So is the factor of a discrete action.
        """
        m, r = self.members, self.rank
        shapes: dict[str, tuple[tuple[int, ...], int]] = {
            "agent.factors": ((m, self.num_agents, r), self.num_agents),
            "agent.bias": ((m, 1, r), self.num_agents),
        }
        if self.num_actions:
            shapes["action.factors"] = ((m, self.num_actions, r), self.num_actions)
            shapes["action.bias"] = ((m, 1, r), self.num_actions)
        elif not self.joint:
            widths = (self.action_dim, *self.action_hidden, r)
            shapes |= _layers("action", m, widths)
        widths = (self.input_dim, *self.state_hidden)
        shapes |= _layers("state", m, widths)
        outputs = self.obs_dim * r
        last = widths[-1] + (widths[0] if self.skip else 0)
        shapes["head.weight"] = ((m, outputs, last), last)
        shapes["head.bias"] = ((m, outputs, 1), last)
        return shapes


def _layers(
    name: str, members: int, widths: tuple[int, ...]
) -> dict[str, tuple[tuple[int, ...], int]]:
    shapes: dict[str, tuple[tuple[int, ...], int]] = {}
    for i, (into, out) in enumerate(itertools.pairwise(widths)):
        shapes[f"{name}.{i}.weight"] = ((members, into, out), into)
        shapes[f"{name}.{i}.bias"] = ((members, 1, out), into)
    return shapes


class LowRankNetwork:
    """Stacked parameters of all members, and what they compute.

    States and outputs are in the network's own units; :class:`~persim_gym.learned.PerSim` scales.

    Args:
        shape: Sizes.
        tensors: Parameters by name, as :meth:`NetworkShape.tensors` lists them.
    """

    def __init__(self, shape: NetworkShape, tensors: dict[str, Tensor]) -> None:
        self.shape = shape
        self.tensors = tensors
        self._relu = shape.activation == "relu"
        self._state = self.stack("state")
        self._sizes = list(itertools.pairwise((shape.input_dim, *shape.state_hidden)))
        self._action = [] if shape.num_actions or shape.joint else self.stack("action")

    @classmethod
    def flat(
        cls, shape: NetworkShape, tensors: dict[str, Tensor] | None, device: torch.device | str
    ) -> tuple[LowRankNetwork, Tensor]:
        """A network whose parameters are views of one vector, which also comes back.

        What treats all parameters alike, such as an optimiser, then takes one operation for all.
        """
        sizes = {name: size for name, (size, _) in shape.tensors().items()}
        total = sum(math.prod(size) for size in sizes.values())
        vector = torch.zeros(total, dtype=torch.float32, device=device)
        pieces = vector.split([math.prod(size) for size in sizes.values()])
        views = {n: p.view(size) for (n, size), p in zip(sizes.items(), pieces, strict=True)}
        for name, tensor in (tensors or {}).items():
            views[name].copy_(tensor)
        return cls(shape, views), vector

    @classmethod
    def initial(
        cls, shape: NetworkShape, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> LowRankNetwork:
        """Uniform weights within one over the root of the fan-in, as torch's linear layers have.

        In the joint form all agents begin alike but for a little, with a first factor near 1:
        what they share, most of a change, is then learned from the first step on.
        """
        tensors = {
            name: torch.empty(size, dtype=torch.float32)
            .uniform_(-1 / math.sqrt(fan), 1 / math.sqrt(fan), generator=generator)
            .to(device)
            for name, (size, fan) in shape.tensors().items()
        }
        if shape.joint:
            tensors["agent.factors"].mul_(FIRST_WIDTH * math.sqrt(shape.num_agents))
            tensors["agent.bias"].zero_()[..., 0] = 1.0
        return cls(shape, tensors)

    def stack(self, name: str) -> list[tuple[str, str]]:
        """Names of the weights and biases of the ``"state"`` or ``"action"`` encoder's layers."""
        return [
            (f"{name}.{i}.weight", f"{name}.{i}.bias")
            for i in range(sum(key.startswith(f"{name}.") for key in self.tensors) // 2)
        ]

    def members(self, chosen: Sequence[int]) -> LowRankNetwork:
        """A network of some of the members, with tensors of its own."""
        index = torch.as_tensor(chosen, device=self.device)
        shape = replace(self.shape, members=len(chosen))
        return LowRankNetwork(shape, {name: t[index] for name, t in self.tensors.items()})

    def with_agents(self, factors: Tensor) -> LowRankNetwork:
        """The same encoders for agents of given factors ``[m, N', r]``."""
        tensors = dict(self.tensors)
        tensors["agent.factors"] = factors - self.tensors["agent.bias"]
        return LowRankNetwork(replace(self.shape, num_agents=factors.shape[1]), tensors)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.tensors["agent.bias"].device

    def to(self, device: torch.device | str) -> LowRankNetwork:
        """The same network on a device."""
        return LowRankNetwork(self.shape, {k: t.to(device) for k, t in self.tensors.items()})

    def agent_factors(self, agents: Tensor | None = None) -> Tensor:
        """Factors ``u`` of agents ``[n]``, or of all: ``[m, n, r]``."""
        factors = self.tensors["agent.factors"]
        if agents is not None:
            factors = factors.index_select(1, agents)
        return factors + self.tensors["agent.bias"]

    def action_factors(self, actions: Tensor) -> Tensor:
        """Factors ``f`` of actions ``[n]``, ``[n, a]`` or each member's own ``[m or 1, n, a]``.

        Returns:
            ``[m, n, r]``. The joint form has none.
        """
        if self.shape.num_actions:
            return self.tensors["action.factors"][:, actions] + self.tensors["action.bias"]
        x = actions.expand(self.shape.members, *actions.shape[-2:])
        last = len(self._action) - 1
        for i, (weight, bias) in enumerate(self._action):
            x = torch.baddbmm(self.tensors[bias], x, self.tensors[weight])
            if i < last:
                x = self.activate_(x)
        return x

    def activate_(self, x: Tensor) -> Tensor:
        """The nonlinearity, in place: a pass over memory less."""
        if self._relu:
            return x.relu_()
        return torch.nn.functional.silu(x, inplace=True)

    def hidden(self, states: Tensor) -> Tensor:
        """What the state encoder's last layer sees: ``[m, n, in]`` -> ``[m, n, H]``."""
        x = states
        for weight, bias in self._state:
            x = self.activate_(torch.baddbmm(self.tensors[bias], x, self.tensors[weight]))
        return torch.cat([x, states], dim=-1) if self.shape.skip else x

    def last_layers(self, states: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Rows through the state encoder and last layers of each problem's own.

        Where layers are large, members take turns: what a member's rows become on the way then
        stays in the processor's cache.

        Args:
            states: The encoder's inputs ``[m or 1, p, k, in]``.
            weight: Last layers ``[m, p, o, H]``.
            bias: ``[m, p, o, 1]``.

        Returns:
            ``[m, p, o, k]``.
        """
        m, p, outputs, _ = weight.shape
        k = states.shape[2]
        rows = states.flatten(1, 2)
        if not take_turns(p * k, self._sizes, states.device):
            hidden = self.hidden(rows.expand(m, -1, -1)).view(m * p, k, weight.shape[-1])
            last = torch.baddbmm(bias.flatten(0, 1), weight.flatten(0, 1), hidden.mT)
            return last.view(m, p, outputs, k)
        out = weight.new_empty(m, p, outputs, k)
        layers = [(self.tensors[w].unbind(0), self.tensors[b].unbind(0)) for w, b in self._state]
        for i in range(m):
            first = x = rows[i if len(rows) > 1 else 0]
            for weights, biases in layers:
                x = dense(x, weights[i], biases[i], self._relu)
            if self.shape.skip:
                x = torch.cat([x, first], dim=-1)
            out[i] = product(weight[i], x.view(p, k, -1), bias[i])
        return out

    def __call__(self, agents: Tensor, states: Tensor, actions: Tensor) -> Tensor:
        """The product of the encoders.

        Args:
            agents: ``[n]``.
            states: ``[m, n, s]``, each member's own.
            actions: ``[n]`` integers or ``[n, a]``.

        Returns:
            ``[m, n, d]``.
        """
        if self.shape.joint:
            return self.combine(self.with_actions(states, actions), self.agent_factors(agents))
        return self.combine(states, self.agent_factors(agents) * self.action_factors(actions))

    def with_actions(self, states: Tensor, actions: Tensor) -> Tensor:
        """The joint form's inputs: ``[m, n, s]`` and actions ``[n, a]`` -> ``[m, n, in]``."""
        return torch.cat([states, actions.expand(*states.shape[:-1], -1)], dim=-1)

    def combine(self, states: Tensor, factors: Tensor) -> Tensor:
        """``sum_r factors_r g_dr(state)``: states ``[m, n, in]``, factors ``[m, n, r]``."""
        return (self.state_factors(states) * factors.mT[:, None]).sum(2).mT

    def state_factors(self, states: Tensor) -> Tensor:
        """Factors ``g`` of states ``[m, n, in]``: ``[m, d, r, n]``."""
        m, n, _ = states.shape
        hidden = self.hidden(states).mT
        g = torch.baddbmm(self.tensors["head.bias"], self.tensors["head.weight"], hidden)
        return g.view(m, self.shape.obs_dim, self.shape.rank, n)

    def personal_heads(self, agents: Tensor) -> tuple[Tensor, Tensor]:
        """Last layers with agent and discrete action multiplied in: what planning needs.

        For a known agent and few actions the product of factors is a constant, and the rank
        disappears from the work of every step. In the joint form the agent alone is multiplied
        in: ``A`` is 1.

        Args:
            agents: ``[p]``.

        Returns:
            Weights ``[m, p, A*d, H]`` and biases ``[m, p, A*d, 1]``.
        """
        s = self.shape
        factors = self.agent_factors(agents)[:, :, None]
        if not s.joint:
            every = torch.arange(s.num_actions, device=self.device)
            factors = factors * self.action_factors(every)[:, None]
        weight = self.tensors["head.weight"].view(s.members, s.obs_dim, s.rank, -1)
        bias = self.tensors["head.bias"].view(s.members, s.obs_dim, s.rank, 1)
        heads = torch.einsum("mpar,mdrh->mpadh", factors, torch.cat([weight, bias], dim=-1))
        heads = heads.flatten(2, 3)
        return heads[..., :-1].contiguous(), heads[..., -1:].contiguous()
