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

from persim_gym.learned.network import LowRankNetwork

_relu_backward = torch.ops.aten.threshold_backward
_silu_backward = torch.ops.aten.silu_backward


@dataclass(slots=True)
class Batch:
    """One batch of each member.

    Attributes:
        agents: ``[m, b]``.
        states: ``[m, b, in]``, scaled.
        actions: ``[m, b]`` or ``[m, b, a]``.
        targets: ``[m, d, b]``, scaled differences, coordinate first.
    """

    agents: Tensor
    states: Tensor
    actions: Tensor
    targets: Tensor


class SquaredError:
    """Mean squared error per member, and its gradient in buffers that the optimiser reads.

    Args:
        network: The network whose parameters are fitted; their ``grad`` is set here.
    """

    def __init__(self, network: LowRankNetwork) -> None:
        self.network = network
        shape = network.shape
        self._relu = shape.activation == "relu"
        for tensor in network.tensors.values():
            tensor.grad = torch.zeros_like(tensor)
        offsets = torch.arange(shape.members, device=network.device)[:, None]
        self._agent_rows = offsets * shape.num_agents
        self._action_rows = offsets * shape.num_actions

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        """Set all gradients; the members' losses ``[m]`` come back, not yet waited for."""
        t, s = self.network.tensors, self.network.shape
        m, b = batch.agents.shape
        d, r = s.obs_dim, s.rank

        agent_rows = (batch.agents + self._agent_rows).view(-1)
        u = t["agent.factors"].view(-1, r).index_select(0, agent_rows).view(m, b, r)
        u = (u + t["agent.bias"]).mT.contiguous()
        if s.num_actions:
            action_rows = (batch.actions + self._action_rows).view(-1)
            f = t["action.factors"].view(-1, r).index_select(0, action_rows).view(m, b, r)
            f = (f + t["action.bias"]).mT.contiguous()
            action_trace: list[Tensor] = []
        else:
            f, action_trace = self._forward("action", batch.actions, last_linear=True)
            f = f.mT.contiguous()
        hidden, trace = self._forward("state", batch.states, last_linear=False)

        g = torch.baddbmm(t["head.bias"], t["head.weight"], hidden.mT).view(m, d, r, b)
        factors = u * f
        error = (g * factors[:, None]).sum(2).sub_(batch.targets)
        losses = error.square().mean(dim=(1, 2))

        # Backwards. The gradient of a member's mean does not depend on the other members.
        error = error.mul_(2.0 / (d * b))[:, :, None]  # [m, d, 1, b]
        d_factors = (g * error).sum(1)  # [m, r, b]
        d_g = (error * factors[:, None]).view(m, d * r, b)
        d_u = (d_factors * f).mT
        d_f = (d_factors * u).mT
        self._table("agent", agent_rows, d_u)
        if s.num_actions:
            self._table("action", action_rows, d_f)
        else:
            self._backward(
                "action", batch.actions, action_trace, d_f.contiguous(), last_linear=True
            )
        torch.bmm(d_g, hidden, out=t["head.weight"].grad)
        torch.sum(d_g, 2, keepdim=True, out=t["head.bias"].grad)
        d_hidden = torch.bmm(d_g.mT, t["head.weight"])
        self._backward("state", batch.states, trace, d_hidden, last_linear=False)
        return losses

    def _table(self, name: str, rows: Tensor, gradient: Tensor) -> None:
        t = self.network.tensors
        grad = t[f"{name}.factors"].grad
        assert grad is not None
        r = self.network.shape.rank
        grad.zero_().view(-1, r).index_add_(0, rows, gradient.reshape(-1, r))
        torch.sum(gradient, 1, keepdim=True, out=t[f"{name}.bias"].grad)

    def _forward(self, name: str, x: Tensor, *, last_linear: bool) -> tuple[Tensor, list[Tensor]]:
        """The layers of one encoder; what the way back needs of each (output or input of it)."""
        t = self.network.tensors
        stack = self.network._stack(name)
        trace: list[Tensor] = []
        for i, (weight, bias) in enumerate(stack):
            x = torch.baddbmm(t[bias], x, t[weight])
            if last_linear and i == len(stack) - 1:
                break
            if self._relu:
                x = x.relu_()
                trace.append(x)
            else:
                trace.append(x)
                x = torch.nn.functional.silu(x)
                trace.append(x)
        return x, trace

    def _backward(
        self, name: str, first: Tensor, trace: list[Tensor], gradient: Tensor, *, last_linear: bool
    ) -> None:
        t = self.network.tensors
        stack = self.network._stack(name)
        for i in range(len(stack) - 1, -1, -1):
            if not (last_linear and i == len(stack) - 1):
                if self._relu:
                    gradient = _relu_backward.grad_input(gradient, trace[i], 0, grad_input=gradient)
                else:
                    gradient = _silu_backward.grad_input(
                        gradient, trace[2 * i], grad_input=gradient
                    )
            below = first if i == 0 else trace[i - 1] if self._relu else trace[2 * i - 1]
            weight, bias = stack[i]
            torch.bmm(below.mT, gradient, out=t[weight].grad)
            torch.sum(gradient, 1, keepdim=True, out=t[bias].grad)
            if i > 0:
                gradient = torch.bmm(gradient, t[weight].mT)
