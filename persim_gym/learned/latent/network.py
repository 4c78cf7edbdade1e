"""A network that an agent's latent enters beside state and action, all members at once.

The change of state is ``f(features, latent of the agent)``: where a product of factors is linear in
what is known of an agent, this is not, so that an agent can move a kink, a threshold or a contact.
Two hidden layers, and a linear layer past them. Beside the first head there are others, each behind
a steep gate: at a contact or a threshold another law holds at once, where smooth layers would have
to blur it. Where data jump for all agents at one place, a gate is put there beforehand. All ``m``
members live in stacked tensors.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import silu

from persim_gym.learned.features.ensemble import register

#: Rows of all members that a Jacobian is computed for at a time: what lies between stays small.
CHUNK = 16_384


@dataclass(frozen=True, slots=True)
class LatentShape:
    """Sizes of a network.

    Attributes:
        members: Members ``m`` of the ensemble.
        num_agents: Agents ``N``, each with a latent.
        features: Features ``q`` of a state and an action.
        outputs: Coordinates ``c`` of a change.
        latent: Coordinates ``r`` of a latent.
        hidden: Widths of the hidden layers.
        gates: Gates ``g``, each with a head of its own.
        placed: How many of them, the last ones, stand where the data jump and are not fitted.
    """

    members: int
    num_agents: int
    features: int
    outputs: int
    latent: int
    hidden: tuple[int, ...]
    gates: int = 0
    placed: int = 0

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the layers, from the input to the change."""
        return (self.features + self.latent, *self.hidden, self.outputs * (1 + self.gates))

    @property
    def heads(self) -> tuple[int, int, int]:
        """Columns of the last layer: the first head's, the gates', and those of their heads."""
        return (self.outputs, self.gates, self.outputs * self.gates)

    @property
    def fixed(self) -> slice:
        """Columns of the last layer that are placed, and not fitted."""
        end = self.outputs + self.gates
        return slice(end - self.placed, end)

    def layers(self) -> dict[str, tuple[int, ...]]:
        """Every layer's shape, by name, in a fixed order."""
        m = self.members
        shapes: dict[str, tuple[int, ...]] = {}
        for i, (into, out) in enumerate(itertools.pairwise(self.widths[:-1])):
            shapes[f"{i}.weight"] = (m, into, out)
            shapes[f"{i}.bias"] = (m, 1, out)
        shapes["head.weight"] = (m, self.hidden[-1] + self.widths[0], sum(self.heads))
        shapes["head.bias"] = (m, 1, sum(self.heads))
        return shapes


@register
class LatentNetwork:
    """Stacked members, the agents' latents, and what is known of them.

    Features and changes are in the network's own units: mean 0, deviation 1.

    Args:
        shape: Sizes.
        tensors: The layers, as :meth:`LatentShape.layers` lists them, and beside them

            * ``latent.mean`` ``[m, N, r]``: the agents' latents;
            * ``latent.deviation`` ``[m, N, r]``: how far each is known;
            * ``prior.mean`` ``[m, r]``, ``prior.covariance`` ``[m, r, r]``: the population;
            * ``noise`` ``[m, c]``: variance that is not explained, one step ahead;
            * ``mix`` ``[q, q]``: what features are multiplied with, so that two that are nearly the
              same (a state and the one before it) are distinguished;
            * ``low``, ``high`` ``[q]``: where features are held, so that nothing runs away outside
              the data.
    """

    kind: ClassVar[str] = "latent"

    def __init__(self, shape: LatentShape, tensors: Mapping[str, Tensor]) -> None:
        self.shape = shape
        self.members, self.num_agents, self.widths = shape.members, shape.num_agents, shape.widths
        self._tensors = dict(tensors)
        count = len(shape.hidden)
        self._layers = [(f"{i}.weight", f"{i}.bias") for i in range(count)]

    @classmethod
    def initial(
        cls, shape: LatentShape, latents: Tensor, generator: torch.Generator
    ) -> LatentNetwork:
        """Random weights, and given latents ``[m, N, r]``.

        Biases lie all over the data's range, so that kinks lie all over it.
        """
        m, n, r = latents.shape
        found: dict[str, Tensor] = {}
        single = torch.float32  # whatever torch's default is
        for name, size in shape.layers().items():
            fan = math.sqrt(size[1])
            if name == "head.bias":
                found[name] = torch.zeros(size, dtype=single)
            elif name.endswith("bias"):
                found[name] = torch.empty(size, dtype=single).uniform_(-1, 1, generator=generator)
            else:
                scale = 1.0 if name == "head.weight" else 1.4
                found[name] = torch.empty(size, dtype=single).normal_(
                    0, scale / fan, generator=generator
                )
        heads = found["head.weight"].split(shape.heads, dim=-1)
        for head, scale in zip(heads, HEAD_SCALES, strict=True):
            head *= scale
        found["latent.mean"] = latents
        found["latent.deviation"] = torch.full((m, n, r), FIRST_WIDTH, dtype=single)
        found["prior.mean"] = torch.zeros(m, r, dtype=single)
        found["prior.covariance"] = torch.eye(r, dtype=single).repeat(m, 1, 1)
        found["noise"] = torch.ones(m, shape.outputs, dtype=single)
        found["mix"] = torch.eye(shape.features, dtype=single)
        found["low"] = torch.full((shape.features,), -math.inf, dtype=single)
        found["high"] = torch.full((shape.features,), math.inf, dtype=single)
        return cls(shape, found)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._tensors["head.bias"].device

    @property
    def factors(self) -> Tensor:
        """The agents' latents ``[m, N, r]``."""
        return self._tensors["latent.mean"]

    @property
    def deviations(self) -> Tensor:
        """How far the agents' latents are known ``[m, N, r]``."""
        return self._tensors["latent.deviation"]

    @property
    def prior(self) -> tuple[Tensor, Tensor]:
        """Mean ``[m, r]`` and covariance ``[m, r, r]`` of the population's latents."""
        return self._tensors["prior.mean"], self._tensors["prior.covariance"]

    @property
    def noise(self) -> Tensor:
        """Variance of a change that is not explained ``[m, c]``."""
        return self._tensors["noise"]

    @property
    def held(self) -> tuple[Tensor, Tensor]:
        """Least and largest features ``[q]``, ``[q]``, beyond which they are held."""
        return self._tensors["low"], self._tensors["high"]

    def with_factors(self, factors: Tensor, deviations: Tensor | None = None) -> LatentNetwork:
        """The same layers for agents of other latents ``[m, N', r]``."""
        mean = factors.to(self.factors)
        changed = {"latent.mean": mean}
        changed["latent.deviation"] = (
            torch.zeros_like(mean) if deviations is None else deviations.to(mean)
        )
        return LatentNetwork(replace(self.shape, num_agents=mean.shape[1]), self._tensors | changed)

    def with_tensors(self, **changed: Tensor) -> LatentNetwork:
        """The same with some tensors replaced; names have ``_`` in place of the dot."""
        names = {name.replace(".", "_"): name for name in self._tensors}
        return LatentNetwork(
            self.shape, self._tensors | {names[key]: value for key, value in changed.items()}
        )

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> LatentNetwork:
        """The same on a device, in a precision."""
        moved = {name: t.to(device, dtype or t.dtype) for name, t in self._tensors.items()}
        return LatentNetwork(self.shape, moved)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is kept in a file; :meth:`meta` has the sizes."""
        return dict(self._tensors)

    def meta(self) -> dict[str, Any]:
        """Sizes as plain types."""
        return asdict(self.shape) | {"hidden": list(self.shape.hidden)}

    @classmethod
    def from_parts(cls, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> LatentNetwork:
        """What :meth:`tensors` and :meth:`meta` describe.

        Raises:
            TypeError: If a size is missing or unknown.
            ValueError: If a tensor is missing, or of another shape.
        """
        shape = LatentShape(**{**meta, "hidden": tuple(meta["hidden"])})
        for name, size in shape.layers().items():
            found = tuple(tensors[name].shape) if name in tensors else None
            if found != size:
                raise ValueError(f"layer {name!r} of a latent network must be {size}, got {found}")
        return cls(shape, tensors)

    def change(self, agents: Tensor, features: Tensor) -> Tensor:
        """Every member's change.

        Args:
            agents: ``[n]``.
            features: ``[n, q]`` or ``[1, n, q]``, the same for all members, or ``[m, n, q]``.

        Returns:
            ``[m, n, c]``.
        """
        held = self.hold(features).expand(self.members, -1, -1)
        return self.response(self.factors.index_select(1, agents), held)

    def hold(self, features: Tensor) -> Tensor:
        """Features held within the range of the data, and a little around it."""
        return torch.clamp(features, self._tensors["low"], self._tensors["high"])

    def response(
        self, latents: Tensor, features: Tensor, layers: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Changes ``[m, n, c]`` for latents ``[m, n, r]`` and features ``[m, n, q]``.

        Args:
            latents: The latents.
            features: The features.
            layers: Layers in place of the network's own.
        """
        t = self._tensors if layers is None else layers
        mixed = features @ self._tensors["mix"]
        first = hidden = torch.cat([mixed, latents], dim=-1)
        for weight, bias in self._layers:
            hidden = silu(torch.baddbmm(t[bias], hidden, t[weight]))
        hidden = torch.cat([hidden, first], dim=-1)
        out = torch.baddbmm(t["head.bias"], hidden, t["head.weight"])
        if not self.shape.gates:
            return out
        change, gate, gated = out.split(self.shape.heads, dim=-1)
        gate = torch.sigmoid(STEEP * gate)[..., None]
        return change + (gated.unflatten(-1, (-1, self.shape.gates)) @ gate)[..., 0]

    @torch.no_grad()
    def jacobian(self, latents: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Changes ``[m, n, c]``, and their derivatives by the latents ``[m, n, c, r]``."""
        rows = max(1, CHUNK // self.members)
        parts = [
            self._jacobian(own, x)
            for own, x in zip(latents.split(rows, 1), features.split(rows, 1), strict=True)
        ]
        changes, slopes = zip(*parts, strict=True)
        return torch.cat(changes, 1), torch.cat(slopes, 1)

    def _jacobian(self, latents: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        t, s = self._tensors, self.shape
        m, n, c = s.members, latents.shape[1], s.outputs
        first = hidden = torch.cat([features @ t["mix"], latents], dim=-1)
        slopes: list[Tensor] = []
        for weight, bias in self._layers:
            inner = torch.baddbmm(t[bias], hidden, t[weight])
            gate = torch.sigmoid(inner)
            slopes.append(gate * (1 + inner * (1 - gate)))
            hidden = inner * gate
        out = torch.baddbmm(t["head.bias"], torch.cat([hidden, first], dim=-1), t["head.weight"])
        change, gate, gated = out.split(s.heads, dim=-1)
        head, steep, own = t["head.weight"].mT.split(s.heads, dim=1)
        head = head[:, None].expand(m, n, c, -1)
        if s.gates:
            gate = torch.sigmoid(STEEP * gate)
            gated = gated.unflatten(-1, (c, s.gates))
            change = change + (gated @ gate[..., None])[..., 0]
            turn = gated * (STEEP * gate * (1 - gate))[..., None, :]  # [m, n, c, g]
            shape = (m, n, c, head.shape[-1])  # there may be no row
            moved = (turn.flatten(1, 2) @ steep).view(shape)
            each = own.unflatten(1, (c, s.gates)).movedim(2, 1).flatten(2)  # [m, g, c * h]
            head = head + moved + (gate @ each).view(shape)
        width = s.hidden[-1]
        back = head[..., :width]
        for (weight, _), slope in zip(self._layers[::-1], slopes[::-1], strict=True):
            inner = (back * slope[:, :, None]).reshape(m, n * c, slope.shape[-1])
            back = (inner @ t[weight].mT).view(m, n, c, t[weight].shape[1])
        return change, back[..., s.features :] + head[..., width + s.features :]


#: Standard deviations of the last layer's weights at the beginning, times the root of its inputs:
#: of the first head, the gates, and their heads.
HEAD_SCALES = (0.3, 0.5, 0.1)
#: What gates' inputs are multiplied with: few steps of the optimiser then make an edge of a slope.
STEEP = 6.0
#: Standard deviation of a latent that a fit begins with.
FIRST_WIDTH = 0.14
