"""Networks made ready for stepping: no tensors, agents' factors multiplied into the last layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from persim_gym.learned.contrasts import Turning
from persim_gym.learned.lane_calls import WIDE, Layers
from persim_gym.learned.network_lanes import NetworkLanes
from persim_gym.learned.products import product
from persim_gym.threads import few_threads

if TYPE_CHECKING:
    from persim_gym.learned.compiled import LaneStep, Row, RowStep
    from persim_gym.learned.networks.ensemble import NetworkEnsemble

#: Agents whose last layers are kept.
KEPT = 256


class CompiledNetwork:
    """Steps of an ensemble of networks in NumPy, before bounds; see :class:`Compiled`.

    Args:
        ensemble: On the processor.
        unit: Unit of disagreement ``[d]``.
    """

    def __init__(self, ensemble: NetworkEnsemble, unit: NDArray[np.float64]) -> None:
        self.shape = shape = ensemble.network.shape
        self.ensemble = ensemble
        self.wide = max(shape.widths) > WIDE
        scaling, tensors = ensemble.scaling, ensemble.network.tensors
        arrays = {name: tensor.detach().numpy() for name, tensor in tensors.items()}
        m, d, r = shape.members, shape.obs_dim, shape.rank
        self.reach = math.sqrt(m * d) * unit
        self.turning = Turning(m, self.reach)
        self.axes = self.turning.axes
        self.relu = shape.activation == "relu"
        self.mean, self.scale = scaling.input_mean.numpy(), scaling.input_scale.numpy()
        self.scaled = bool((self.mean != 0).any() or (self.scale != 1).any())
        self.hold: tuple[Any, Any] | None = None
        if scaling.hold_low is not None and scaling.hold_high is not None:
            self.hold = scaling.hold_low.numpy(), scaling.hold_high.numpy()
        self.state, self.action = (_layers(arrays, name) for name in ("state", "action"))
        size = scaling.target_scale.numpy()
        self.centre = scaling.target_mean.numpy()[:, None]
        self.centred = bool((self.centre != 0).any())
        head = np.concatenate([arrays["head.weight"], arrays["head.bias"]], axis=2)
        head = head.reshape(m, d, r, -1) * size[:, None, None]
        self.head = head.astype(np.float32)  # [m, d, r, H + 1]
        flat = self.head.reshape(m, d * r, -1)
        self.last = np.ascontiguousarray(flat[..., :-1]), np.ascontiguousarray(flat[..., -1:])
        self.agent = arrays["agent.factors"] + arrays["agent.bias"]  # [m, N, r]
        self.choices = None
        if shape.num_actions:
            self.choices = arrays["action.factors"] + arrays["action.bias"]  # [m, A, r]
        self._rows: dict[int, Row] = {}
        self._kept: dict[str, NDArray[np.float32]] = {}
        self._lanes: dict[int, NetworkLanes] = {}

    def row(self, agent: int) -> Row:
        """The function of an agent's single steps."""
        found = self._rows.get(agent)
        if found is None:
            if len(self._rows) >= KEPT:
                self._rows.clear()
            found = self._rows[agent] = self._compile(agent)
        return found

    def _compile(self, agent: int) -> Row:
        m, d = self.shape.members, self.shape.obs_dim
        own = self.agent[:, agent]
        heads = [self.head]
        if self.choices is not None:
            factors = (own * self.choices[:, a] for a in range(self.shape.num_actions))
            heads = [np.einsum("mdrh,mr->mdh", self.head, f) for f in factors]
        elif self.shape.joint:
            heads = [np.einsum("mdrh,mr->mdh", self.head, own)]
        discrete = bool(self.shape.num_actions)
        reach, centre = self.reach, self.centre[:, 0]

        def step(state: Sequence[float], action: Any) -> RowStep:
            given = np.array(state)[:, None]
            acted = None if discrete else np.asarray(action, dtype=np.float32)[:, None]
            with np.errstate(over="ignore", invalid="ignore"):  # the guard looks for it
                hidden = self._hidden(given, acted)
                head = heads[action if discrete else 0]
                if acted is not None and not self.shape.joint:
                    head = np.einsum("mdrh,mr->mdh", head, own * self._acted(acted)[..., 0])
                change = (head[..., :-1] @ hidden)[..., 0] + head[..., -1]
                mean = np.add.reduce(change, axis=0, dtype=np.float64) / m
                apart = ((change - mean) / reach).ravel()
                following = mean + centre + given[-d:, 0]
            return following.tolist(), apart, math.sqrt(np.dot(apart, apart))

        return step

    def change(
        self, agents: NDArray[np.int64], states: NDArray[np.float64], actions: NDArray[Any]
    ) -> LaneStep:
        """Mean change and contrasts; see :class:`Compiled`."""
        n = len(agents)
        if self.wide:
            every = self._in_torch(agents, states, actions)
            return self.turning(every)
        lanes = self._lanes.get(n)
        if lanes is None:
            if len(self._lanes) >= 4:
                self._lanes.clear()
            lanes = self._lanes[n] = NetworkLanes(self, n)
        return lanes(agents, states, actions)

    def _in_torch(
        self, agents: NDArray[np.int64], states: NDArray[np.float64], actions: NDArray[Any]
    ) -> NDArray[np.float32]:
        flat = np.ascontiguousarray(states.T, dtype=np.float32)
        acted = actions.astype(np.float32) if actions.dtype.kind == "f" else actions
        ensemble, rows = self.ensemble, self.shape.members * len(agents)
        with few_threads(rows, ensemble.widths, ensemble.device):
            parts = (torch.as_tensor(part) for part in (agents, flat, acted))
            change = ensemble.change(*parts).permute(2, 0, 1).contiguous()
        return np.asarray(change.numpy())

    def _room(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Memory that is used again in every step of as many rows."""
        kept = self._kept.get(name)
        if kept is None or kept.shape != shape:
            kept = self._kept[name] = np.empty(shape, dtype=np.float32)
        return kept

    def _hidden(
        self, states: NDArray[np.float64], acted: NDArray[np.float32] | None
    ) -> NDArray[np.float32]:
        """What the last layer sees ``[m, H, n]``, of states ``[in, n]``."""
        values = states.astype(np.float32)
        if self.hold is not None:
            low, high = self.hold
            values = np.minimum(np.maximum(values, low[:, None]), high[:, None])
        z = (values - self.mean[:, None]) / self.scale[:, None]
        if self.shape.angles:
            turned = values[list(self.shape.angles)]
            z[list(self.shape.angles)] = np.sin(turned)
            z = np.concatenate([z, np.cos(turned)])
        if self.shape.joint and acted is not None:
            z = np.concatenate([z, acted])
        hidden = self._through("state", z, self.state, len(self.state))
        if self.shape.skip:
            shared = np.broadcast_to(z, (len(hidden), *z.shape))
            hidden = np.concatenate([hidden, shared], axis=1)
        return hidden

    def _acted(self, acted: NDArray[np.float32]) -> NDArray[np.float32]:
        """Factors of continuous actions ``[a, n]``: ``[m, r, n]``."""
        return self._through("action", acted, self.action, len(self.action) - 1)

    def _through(
        self, name: str, z: NDArray[np.float32], layers: Layers, bent: int
    ) -> NDArray[np.float32]:
        """Inputs ``[in, n]`` through layers, the first ``bent`` of them with the nonlinearity."""
        n = z.shape[1]
        x: NDArray[np.float32] = z
        for number, (weight, bias) in enumerate(layers):
            m, out, into = weight.shape
            room = self._room(f"{name} {number}", (m, out, n))
            if number == 0:  # all members see the same
                product(weight.reshape(m * out, into), x, room.reshape(m * out, n))
            else:
                product(weight, x, room)
            x = room
            x += bias
            if number < bent:
                self._bend(x)
        return x

    def _bend(self, x: NDArray[np.float32]) -> None:
        """The nonlinearity, in place."""
        if self.relu:
            np.maximum(x, 0.0, out=x)
            return
        # x / (1 + exp(-x)), in a form that does not overflow
        half = x * np.float32(0.5)
        np.tanh(half, out=x)
        x += np.float32(1.0)
        x *= half


def _layers(arrays: dict[str, NDArray[np.float32]], name: str) -> Layers:
    """Weights ``[m, out, in]`` and biases ``[m, out, 1]`` of the layers of an encoder."""
    found: Layers = []
    while f"{name}.{len(found)}.weight" in arrays:
        number = len(found)
        weight, bias = (arrays[f"{name}.{number}.{part}"] for part in ("weight", "bias"))
        found.append((np.ascontiguousarray(weight.swapaxes(1, 2)), bias.swapaxes(1, 2)))
    return found
