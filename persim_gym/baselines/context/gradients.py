"""The loss of CaDM's networks with its exact gradient, written out by hand.

Automatic differentiation of networks this small spends most of its time in bookkeeping. The result
is compared with it in the tests.
"""

from __future__ import annotations

import torch
from torch import Tensor

from persim_gym.baselines.context.network import Batch, ContextNetwork, ContextShape

_relu_backward = torch.ops.aten.threshold_backward
_silu_backward = torch.ops.aten.silu_backward


class LossGradient:
    """What :func:`~persim_gym.baselines.context.network.loss` is, and its gradient.

    Args:
        shape: Sizes.
        vector: Parameters of all members ``[P]``; read anew in each call.
        weight: Of the backward error.
        tempering: As for the loss.
    """

    def __init__(
        self, shape: ContextShape, vector: Tensor, weight: float = 0.5, tempering: float = 0.0
    ) -> None:
        self.shape, self.weight, self.tempering = shape, weight, tempering
        self.network = ContextNetwork.views(shape, vector)
        self.gradient = torch.zeros_like(vector)
        self._found = ContextNetwork.views(shape, self.gradient).tensors

    @torch.no_grad()
    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss of each member ``[m]``, and the gradient of their sum ``[P]``.

        The gradient is overwritten by the next call.
        """
        shape = self.shape
        own = shape.inputs + shape.acts
        context: list[Tensor] = []
        encoding: list[tuple[Tensor, Tensor]] = []
        if shape.context:
            into = batch.history.expand(shape.members, -1, -1)
            context = [self._through("encoder", into, encoding)]
        passed: list[tuple[Tensor, Tensor]] = []
        seen = torch.cat([batch.states, batch.actions, *context], dim=-1)
        last = self._through("forward", seen, passed)
        value, slope = self._forward_error(last, batch)
        back = self._back("forward", slope, passed, inputs=bool(context))
        if shape.backward:
            seen = torch.cat([batch.next_states, batch.actions, *context], dim=-1)
            passed = []
            error = self._through("backward", seen, passed) - batch.change_back
            slope = batch.weighed(error * (self.weight / error[0].numel()))
            value = value + (error * slope).sum(dim=(1, 2))
            slope = slope + slope
            behind = self._back("backward", slope, passed, inputs=bool(context))
            if behind is not None and back is not None:
                back += behind
        if back is not None:
            self._back("encoder", back[..., own:].contiguous(), encoding, inputs=False)
        return value, self.gradient

    def _forward_error(self, last: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """The forward part of the loss ``[m]``, and its slope by the last layer's output."""
        mean, log_variance = self.network.heads(last)
        apart = mean - batch.change
        count = apart[0].numel()
        if log_variance is None:
            slope = batch.weighed(apart / count)
            return (apart * slope).sum(dim=(1, 2)), slope + slope
        t, found = self.network.tensors, self._found
        most, least = t["most_log_variance"], t["least_log_variance"]
        precision = (-log_variance).exp()
        share = batch.weighed(torch.full_like(log_variance, 1 / count))
        if self.tempering:
            share *= (self.tempering * log_variance).exp()
        scaled = apart * precision
        squares = apart * scaled
        value = ((squares + log_variance) * share).sum(dim=(1, 2))
        value += 0.01 * (most - least).sum(dim=(1, 2))
        raw = last[..., self.shape.obs_dim :]
        bounded = most - torch.nn.functional.softplus(most - raw)
        steep = (1 - squares) * share  # by the log-variance
        inner = torch.sigmoid(bounded - least)
        found["least_log_variance"].copy_((steep * (1 - inner)).sum(1, keepdim=True) - 0.01)
        steep *= inner  # by what is bounded above
        inner = torch.sigmoid(most - raw)
        found["most_log_variance"].copy_((steep * (1 - inner)).sum(1, keepdim=True) + 0.01)
        return value, torch.cat([2 * scaled * share, steep * inner], dim=-1)

    def _through(self, stack: str, x: Tensor, passed: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Rows through a stack; what goes into each layer, and what comes out, is kept."""
        t, depth = self.network.tensors, self.network.depth[stack]
        for i in range(depth):
            out = torch.baddbmm(t[f"{stack}.{i}.bias"], x, t[f"{stack}.{i}.weight"])
            passed.append((x, out))
            x = out if i == depth - 1 else self.network.activate(stack, out)
        return x

    def _back(
        self, stack: str, slope: Tensor, passed: list[tuple[Tensor, Tensor]], *, inputs: bool
    ) -> Tensor | None:
        """Write a stack's gradients; the slope by its inputs, where it is asked for."""
        relu = stack == "encoder" or self.shape.activation == "relu"
        for i in reversed(range(len(passed))):
            x, out = passed[i]
            if i < len(passed) - 1:
                slope = _relu_backward(slope, out, 0.0) if relu else _silu_backward(slope, out)
            torch.bmm(x.mT, slope, out=self._found[f"{stack}.{i}.weight"])
            torch.sum(slope, 1, keepdim=True, out=self._found[f"{stack}.{i}.bias"])
            if i == 0 and not inputs:
                return None
            slope = torch.bmm(slope, self.network.tensors[f"{stack}.{i}.weight"].mT)
        return slope
