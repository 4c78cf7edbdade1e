"""Networks of CaDM: a context encoder, a forward and a backward model, all members in one pass.

Without a context the forward model alone is left: the plain ensemble that MOReL learns.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

#: Bounds between which a log-variance begins.
MOST_LOG_VARIANCE, LEAST_LOG_VARIANCE = 0.5, -10.0

#: Weight decay of the layers of a model, its last one excepted, and of that.
_DECAY = (2.5e-5, 5e-5, 7.5e-5)
_DECAY_OF_HEADS = {"encoder": 7.5e-5, "forward": 1e-4, "backward": 1e-4}


@dataclass(frozen=True, slots=True)
class ContextShape:
    """Sizes of the networks.

    Attributes:
        members: Members ``m``.
        obs_dim: Coordinates ``d`` of what is predicted.
        inputs: Numbers of a state as the models see it.
        acts: Numbers ``b`` of an action as the models see it.
        history: Transitions ``H`` that the context is made of.
        context: Width of the context; 0 for none.
        encoder: Widths of the encoder's hidden layers.
        hidden: Widths of the models' hidden layers.
        activation: ``"silu"`` or ``"relu"``, of the models; the encoder has ReLU.
        probabilistic: Whether the forward model has a variance of its own.
        backward: Whether there is a backward model.
    """

    members: int
    obs_dim: int
    inputs: int
    acts: int
    history: int = 10
    context: int = 10
    encoder: tuple[int, ...] = (256, 128, 64)
    hidden: tuple[int, ...] = (200, 200, 200, 200)
    activation: str = "silu"
    probabilistic: bool = False
    backward: bool = True

    def to_json(self) -> dict[str, Any]:
        """The sizes as plain types."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> ContextShape:
        """Sizes from plain types."""
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()
        }
        return cls(**fields)

    @property
    def stacks(self) -> dict[str, tuple[int, ...]]:
        """Widths of the layers of each network, from its input to its output."""
        into = self.inputs + self.acts + self.context
        heads = 2 if self.probabilistic else 1
        found = {"forward": (into, *self.hidden, heads * self.obs_dim)}
        if self.context:
            past = self.history * (self.obs_dim + self.acts)
            found["encoder"] = (past, *self.encoder, self.context)
        if self.backward:
            found["backward"] = (into, *self.hidden, self.obs_dim)
        return found

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Every parameter's size, in a fixed order."""
        m = self.members
        sizes: dict[str, tuple[int, ...]] = {}
        for name, widths in self.stacks.items():
            for i, (into, out) in enumerate(itertools.pairwise(widths)):
                sizes[f"{name}.{i}.weight"] = (m, into, out)
                sizes[f"{name}.{i}.bias"] = (m, 1, out)
        if self.probabilistic:
            sizes["most_log_variance"] = sizes["least_log_variance"] = (m, 1, self.obs_dim)
        return sizes


class ContextNetwork:
    """Stacked parameters of all members, and what they compute, in the networks' own units.

    Args:
        shape: Sizes.
        tensors: Parameters by name, as :meth:`ContextShape.tensors` lists them.
    """

    def __init__(self, shape: ContextShape, tensors: dict[str, Tensor]) -> None:
        self.shape, self.tensors = shape, tensors
        self.depth = {name: len(widths) - 1 for name, widths in shape.stacks.items()}

    @classmethod
    def views(cls, shape: ContextShape, vector: Tensor) -> ContextNetwork:
        """Networks whose parameters are views of one vector ``[P]``."""
        sizes = shape.tensors()
        pieces = vector.split([math.prod(size) for size in sizes.values()])
        named = zip(sizes.items(), pieces, strict=True)
        return cls(shape, {name: piece.view(size) for (name, size), piece in named})

    @classmethod
    def initial(cls, shape: ContextShape, generator: torch.Generator) -> Tensor:
        """First parameters ``[P]``: truncated normal weights, of deviation 1 / (2 sqrt(fan-in))."""
        sizes = shape.tensors()
        vector = torch.zeros(sum(map(math.prod, sizes.values())), dtype=torch.float32)
        for name, tensor in cls.views(shape, vector).tensors.items():
            if name.endswith("weight"):
                sd = 0.5 / math.sqrt(tensor.shape[1])
                torch.nn.init.trunc_normal_(tensor, 0.0, sd, -2 * sd, 2 * sd, generator=generator)
            elif name == "most_log_variance":
                tensor.fill_(MOST_LOG_VARIANCE)
            elif name == "least_log_variance":
                tensor.fill_(LEAST_LOG_VARIANCE)
        return vector

    @classmethod
    def decay(cls, shape: ContextShape, factor: float = 1.0) -> Tensor:
        """Weight decay of each parameter ``[P]``; biases and bounds have none."""
        vector = torch.zeros(sum(map(math.prod, shape.tensors().values())), dtype=torch.float32)
        for name, tensor in cls.views(shape, vector).tensors.items():
            if not name.endswith("weight"):
                continue
            stack, layer, _ = name.split(".")
            last = int(layer) == len(shape.stacks[stack]) - 2
            own = _DECAY_OF_HEADS[stack] if last else _DECAY[min(int(layer), len(_DECAY) - 1)]
            tensor.fill_(factor * own)
        return vector

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.tensors["forward.0.bias"].device

    def to(self, device: torch.device | str) -> ContextNetwork:
        """The same on a device."""
        return ContextNetwork(self.shape, {k: t.to(device) for k, t in self.tensors.items()})

    def encode(self, history: Tensor) -> Tensor:
        """Contexts ``[m, n, c]`` of histories ``[m or 1, n, H * (d + b)]``."""
        return self.layers("encoder", history.expand(self.shape.members, -1, -1))

    def forward(self, seen: Tensor) -> tuple[Tensor, Tensor | None]:
        """Changes ``[m, n, d]``, and the logarithms of their variances.

        Args:
            seen: State, action and context side by side ``[m, n, in + b + c]``.
        """
        return self.heads(self.layers("forward", seen))

    def heads(self, last: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the forward model's last layer ``[m, n, heads * d]`` says."""
        if not self.shape.probabilistic:
            return last, None
        mean, raw = last.chunk(2, dim=-1)
        most, least = self.tensors["most_log_variance"], self.tensors["least_log_variance"]
        softplus = torch.nn.functional.softplus
        bounded = most - softplus(most - raw)
        return mean, least + softplus(bounded - least)

    def backward(self, seen: Tensor) -> Tensor:
        """Changes back ``[m, n, d]``; ``seen`` as for :meth:`forward`, of next states."""
        return self.layers("backward", seen)

    def layers(self, stack: str, x: Tensor) -> Tensor:
        """Rows ``[m, n, in]`` through the layers of a stack."""
        depth, t = self.depth[stack], self.tensors
        for i in range(depth):
            x = torch.baddbmm(t[f"{stack}.{i}.bias"], x, t[f"{stack}.{i}.weight"])
            if i < depth - 1:
                x = self.activate(stack, x)
        return x

    def activate(self, stack: str, x: Tensor) -> Tensor:
        """The nonlinearity of a stack."""
        if stack == "encoder" or self.shape.activation == "relu":
            return x.relu()
        return torch.nn.functional.silu(x)

    def activate_(self, x: Tensor) -> Tensor:
        """The forward model's nonlinearity, in place."""
        if self.shape.activation == "relu":
            return x.relu_()
        return torch.nn.functional.silu(x, inplace=True)


@dataclass(frozen=True, slots=True)
class Batch:
    """Transitions of each member in the networks' units, with what came before their window.

    Attributes:
        history: ``[m, n, H * (d + b)]``.
        states: ``[m, n, in]``.
        actions: ``[m, n, b]``.
        change: ``[m, n, d]``.
        next_states: ``[m, n, in]``.
        change_back: ``[m, n, d]``.
        worth: Weights of the rows ``[m, n, 1]``; all alike by default.
    """

    history: Tensor
    states: Tensor
    actions: Tensor
    change: Tensor
    next_states: Tensor
    change_back: Tensor
    worth: Tensor | None = None

    def weighed(self, errors: Tensor) -> Tensor:
        """Errors ``[m, n, d]`` times the rows' weights."""
        return errors if self.worth is None else errors * self.worth


def loss(
    network: ContextNetwork, batch: Batch, weight: float = 0.5, tempering: float = 0.0
) -> Tensor:
    """The loss of each member ``[m]``, without weight decay.

    It is the mean squared error forward, or with a variance the Gaussian negative log-likelihood
    (squared error times inverse variance, plus log-variance, plus 0.01 times the width of its
    bounds), plus ``weight`` times the mean squared error backward. One context serves both.

    Args:
        network: The members.
        batch: Transitions of each.
        weight: Of the backward error.
        tempering: The likelihood of each number is weighted by its variance to this power, which
            no gradient goes through (beta-NLL; Seitzer et al., 2022). At 0 a coordinate that is
            predicted well soon has all the weight, and the others are learned late or never; at 1
            the mean is learned as by the squared error.
    """
    context = [network.encode(batch.history)] if network.shape.context else []
    mean, log_variance = network.forward(torch.cat([batch.states, batch.actions, *context], dim=-1))
    squares = (mean - batch.change).square()
    if log_variance is None:
        found = batch.weighed(squares).mean(dim=(1, 2))
    else:
        each = squares * (-log_variance).exp() + log_variance
        if tempering:
            each = each * (tempering * log_variance.detach()).exp()
        t = network.tensors
        width = t["most_log_variance"] - t["least_log_variance"]
        found = batch.weighed(each).mean(dim=(1, 2)) + 0.01 * width.sum(dim=(1, 2))
    if network.shape.backward:
        seen = torch.cat([batch.next_states, batch.actions, *context], dim=-1)
        back = (network.backward(seen) - batch.change_back).square()
        found = found + weight * batch.weighed(back).mean(dim=(1, 2))
    return found
