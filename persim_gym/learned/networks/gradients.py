"""Squared error of the low-rank network and its exact gradient, written out by hand.

Automatic differentiation of this small network spends most of its time outside the arithmetic: in
bookkeeping, in fresh memory, and in matrix layouts that it has to accept. Written out, a step of
all members takes a fraction of it. The result is compared with automatic differentiation in the
tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from persim_gym.learned.networks.network import LowRankNetwork

_relu_backward = torch.ops.aten.threshold_backward
_silu_backward = torch.ops.aten.silu_backward


@dataclass(slots=True)
class Batch:
    """One batch of each member; views of larger blocks are fine.

    Attributes:
        agents: Rows of the members' stacked agent tables ``[m, b]``: agent plus member times N.
        states: ``[m, b, in]``, in the network's units; in the joint form with the actions.
        actions: Rows of the stacked action tables ``[m, b]``, or ``[m, b, a]``; not read in
            the joint form.
        targets: ``[m, d, b]``, differences in the network's units, coordinate first.
    """

    agents: Tensor
    states: Tensor
    actions: Tensor
    targets: Tensor


class SquaredError:
    """Mean squared error of each member, and its gradient.

    In mixed precision the matrix products of the layers and what passes between them are in
    bfloat16 (8 bits of mantissa, sums in single precision); parameters, their gradients, factors
    and the error are in single precision.

    Args:
        network: The network that is fitted.
        gradients: Buffers of the parameters' shapes, written by each call.
        mixed: Compute in mixed precision.
    """

    def __init__(
        self, network: LowRankNetwork, gradients: dict[str, Tensor], *, mixed: bool = False
    ) -> None:
        self.network = network
        self.gradients = gradients
        self.mixed = mixed
        self._relu = network.shape.activation == "relu"
        self._stacks = {name: network.stack(name) for name in ("state", "action")}
        # What takes part in matrix products: in mixed precision a copy, renewed by each call.
        layers = [name for stack in self._stacks.values() for pair in stack for name in pair]
        layers = [name for name in layers if name in network.tensors]  # no table of factors
        self._layers = [*layers, "head.weight", "head.bias"] if mixed else []

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        """Write all gradients; the root of each member's summed squares ``[m]`` comes back."""
        s = self.network.shape
        t = self.network.tensors
        if self.mixed:
            t = t | {name: t[name].bfloat16() for name in self._layers}
        m, b = batch.agents.shape
        d, r = s.obs_dim, s.rank

        factors = u = self._rows_of("agent", batch.agents)  # [m, b, r]
        action_trace: list[Tensor] = []
        if s.num_actions:
            f = self._rows_of("action", batch.actions)
            factors = u * f
        elif not s.joint:
            f, action_trace = self._forward(t, "action", batch.actions, last_linear=True)
            factors = u * f
        hidden, trace = self._forward(t, "state", batch.states, last_linear=False)
        width = hidden.shape[-1]
        if s.skip:
            hidden = torch.cat([hidden, batch.states.to(hidden.dtype)], dim=-1)
        g = torch.baddbmm(t["head.bias"], t["head.weight"], hidden.mT).view(m, d, r, b)
        factors = factors.mT.contiguous()[:, None]  # [m, 1, r, b]
        error = (g * factors).sum(2).sub_(batch.targets)  # [m, d, b]
        norms = torch.linalg.vector_norm(error, dim=(1, 2))

        # Backwards. The gradient of a member's mean does not depend on the other members.
        error = error.mul_(2.0 / (d * b))[:, :, None]
        d_factors = (g * error).sum(1).mT  # [m, b, r]
        d_g = (error * factors).view(m, d * r, b)
        torch.sum(d_g, 2, keepdim=True, out=self.gradients["head.bias"])
        if s.joint:
            self._table("agent", batch.agents, d_factors)
        else:
            self._table("agent", batch.agents, d_factors * f)
            if s.num_actions:
                self._table("action", batch.actions, d_factors * u)
            else:
                self._backward(
                    t, "action", batch.actions, action_trace, d_factors * u, last_linear=True
                )
        d_g = d_g.to(hidden.dtype)
        self._product("head.weight", d_g, hidden)
        d_hidden = torch.bmm(d_g.mT, t["head.weight"][..., :width])
        self._backward(t, "state", batch.states, trace, d_hidden, last_linear=False)
        return norms

    def _rows_of(self, name: str, rows: Tensor) -> Tensor:
        """Factors of agents or discrete actions ``[m, b, r]``."""
        t = self.network.tensors
        r = self.network.shape.rank
        found = t[f"{name}.factors"].view(-1, r).index_select(0, rows.reshape(-1))
        return found.view(*rows.shape, r).add_(t[f"{name}.bias"])

    def _table(self, name: str, rows: Tensor, gradient: Tensor) -> None:
        table = self.gradients[f"{name}.factors"]
        r = self.network.shape.rank
        table.zero_().view(-1, r).index_add_(0, rows.reshape(-1), gradient.reshape(-1, r))
        torch.sum(gradient, 1, keepdim=True, out=self.gradients[f"{name}.bias"])

    def _product(self, name: str, left: Tensor, right: Tensor) -> None:
        """Write a weight's gradient, a product of matrices."""
        if self.mixed:
            self.gradients[name].copy_(torch.bmm(left, right))
        else:
            torch.bmm(left, right, out=self.gradients[name])

    def _forward(
        self, t: dict[str, Tensor], name: str, x: Tensor, *, last_linear: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """The layers of one encoder, and what the way back needs.

        The trace holds each layer's output for ReLU, whose slope its output tells; input and
        output of the nonlinearity in turn for SiLU.
        """
        stack = self._stacks[name]
        trace: list[Tensor] = []
        if self.mixed:
            x = x.bfloat16()
        for i, (weight, bias) in enumerate(stack):
            x = torch.baddbmm(t[bias], x, t[weight])
            if last_linear and i == len(stack) - 1:
                break
            if self._relu:
                x = x.relu_()
            else:
                trace.append(x)
                x = torch.nn.functional.silu(x)
            trace.append(x)
        return x.float() if self.mixed and last_linear else x, trace

    def _backward(
        self,
        t: dict[str, Tensor],
        name: str,
        first: Tensor,
        trace: list[Tensor],
        gradient: Tensor,
        *,
        last_linear: bool,
    ) -> None:
        """Write the gradients of one encoder's layers, given that of its output."""
        grad, stack = self.gradients, self._stacks[name]
        if self.mixed:
            first, gradient = first.bfloat16(), gradient.bfloat16()
        layer = 1 if self._relu else 2  # entries of the trace for each layer
        for i in range(len(stack) - 1, -1, -1):
            if not (last_linear and i == len(stack) - 1):
                saved = trace[layer * i]
                if self._relu:
                    gradient = _relu_backward.grad_input(gradient, saved, 0, grad_input=gradient)
                else:
                    gradient = _silu_backward.grad_input(gradient, saved, grad_input=gradient)
            below = first if i == 0 else trace[layer * i - 1]
            weight, bias = stack[i]
            self._product(weight, below.mT, gradient)
            torch.sum(gradient, 1, keepdim=True, dtype=grad[bias].dtype, out=grad[bias])
            if i > 0:
                gradient = torch.bmm(gradient, t[weight].mT)


def mixed_precision_pays(device: torch.device) -> bool:
    """Whether a device multiplies matrices of bfloat16 natively; else they take longer."""
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
