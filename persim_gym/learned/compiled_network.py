"""Networks made ready for stepping: no tensors, agents' factors multiplied into the last layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from persim_gym.learned.compiled_steps import CompiledSteps, Lanes, LaneStep, Row, RowStep
from persim_gym.learned.contrasts import Turning
from persim_gym.learned.lane_calls import WIDE, Floats, Layers
from persim_gym.learned.network_lanes import Block, Inputs, NetworkLanes
from persim_gym.threads import few_threads

if TYPE_CHECKING:
    from persim_gym.learned.networks.ensemble import NetworkEnsemble


class CompiledNetwork(CompiledSteps):
    """Steps of an ensemble of networks in NumPy, before bounds.

    Args:
        ensemble: On the processor.
        unit: Unit of disagreement ``[d]``.
    """

    def __init__(self, ensemble: NetworkEnsemble, unit: NDArray[np.float64]) -> None:
        super().__init__()
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
        self.mean, self.scale = (
            part.numpy()[:, None] for part in (scaling.input_mean, scaling.input_scale)
        )
        self.scaled = bool((self.mean != 0).any() or (self.scale != 1).any())
        self.hold: tuple[Any, Any] | None = None
        if scaling.hold_low is not None and scaling.hold_high is not None:
            self.hold = scaling.hold_low.numpy()[:, None], scaling.hold_high.numpy()[:, None]
        #: Inputs of the state encoder.
        self.inputs = len(self.mean) + len(shape.angles) + shape.joint * shape.action_dim
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
        self._single: _Single | None = None

    def _row_of(self, agent: int) -> Row:
        if self._single is None:
            self._single = _Single(self)
        single, own = self._single, self.agent[:, agent]
        heads: list[Floats] | None = None
        if self.choices is not None:
            factors = (own * self.choices[:, a] for a in range(self.shape.num_actions))
            heads = [np.einsum("mdrh,mr->mdh", self.head, f) for f in factors]
        elif self.shape.joint:
            heads = [np.einsum("mdrh,mr->mdh", self.head, own)]
        d, centre = self.shape.obs_dim, self.centre[:, 0].tolist()
        deviations, known = self.turning.deviations, self.choices is not None

        def step(state: Sequence[float], action: Any) -> RowStep:
            acted = action if known else np.asarray(action, dtype=np.float32)[None]
            with np.errstate(over="ignore", invalid="ignore"):  # the guard checks it
                single.inputs(np.array(state)[:, None], acted)
                if heads is not None:
                    change = single.hidden(heads[action if known else 0])
                else:
                    change = single.every(own)
                found = deviations.dot(change)
                apart = found[d:]
                disagreement = math.sqrt(apart.dot(apart))
            mean = zip(state[-d:], found[:d].tolist(), centre, strict=True)
            return [x + y + z for x, y, z in mean], apart, disagreement

        return step

    def _lanes_of(self, n: int) -> Lanes:
        return self._in_torch if self.wide else NetworkLanes(self, n)

    def _in_torch(
        self, agents: NDArray[np.int64], states: NDArray[np.float64], actions: NDArray[Any]
    ) -> LaneStep:
        flat = np.ascontiguousarray(states.T, dtype=np.float32)
        acted = actions.astype(np.float32) if actions.dtype.kind == "f" else actions
        ensemble, rows = self.ensemble, self.shape.members * len(agents)
        with few_threads(rows, ensemble.widths, ensemble.device):
            parts = (torch.as_tensor(part) for part in (agents, flat, acted))
            change = ensemble.change(*parts).permute(2, 0, 1).contiguous()
        return self.turning(np.asarray(change.numpy()))


class _Single:
    """Room for one row."""

    def __init__(self, network: CompiledNetwork) -> None:
        shape = network.shape
        self.inputs, self.block = Inputs(network, 1), Block(network, 1)
        self.own = np.empty((1, shape.members, shape.rank, 1), dtype=np.float32)
        z, acted = self.inputs.z, self.inputs.acted
        self.through = self.block.state.calls(z)
        self.last = self.block.state.rooms[-1]
        self.calls = self.block.calls(z, acted, self.own[0])

    def hidden(self, head: Floats) -> Floats:
        """Members' changes ``[m * d]`` by an agent's own last layer ``[m, d, H + 1]``."""
        for call in self.through:
            call()
        return np.matmul(head, self.last).reshape(-1)

    def every(self, own: Floats) -> Floats:
        """Members' changes ``[m * d]`` of factors ``[m, r]`` of an agent alone."""
        self.own[0, ..., 0] = own
        for call in self.calls:
            call()
        return self.block.changes.swapaxes(0, 1).reshape(-1)


def _layers(arrays: dict[str, NDArray[np.float32]], name: str) -> Layers:
    """Weights ``[m, out, in]`` and biases ``[m, out, 1]`` of the layers of an encoder."""
    found: Layers = []
    while f"{name}.{len(found)}.weight" in arrays:
        number = len(found)
        weight, bias = (arrays[f"{name}.{number}.{part}"] for part in ("weight", "bias"))
        found.append((np.ascontiguousarray(weight.swapaxes(1, 2)), bias.swapaxes(1, 2)))
    return found
