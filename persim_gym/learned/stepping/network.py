"""Networks made ready for stepping: no tensors, agents' factors multiplied into the last layer.

Many rows go through all layers in the same memory again and again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from persim_gym.learned.stepping.contrasts import Turning
from persim_gym.learned.stepping.lane_calls import (
    WIDE,
    Call,
    Floats,
    Layers,
    Through,
    blocks,
    product_calls,
    with_bias,
)
from persim_gym.learned.stepping.steps import CompiledSteps, Lanes, LaneStep, Row, RowStep
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


class Block:
    """Room for ``n`` rows that go through the layers together."""

    def __init__(self, network: CompiledNetwork, n: int) -> None:
        shape = network.shape
        m, d, r = shape.members, shape.obs_dim, shape.rank
        state, action = network.state, network.action
        self.state = Through(
            state, len(state), network.relu, n, network.inputs if shape.skip else 0
        )
        self.action = Through(action, len(action) - 1, network.relu, n)
        self.last = with_bias(*network.last)
        self.products = np.empty((m, d * r, n), dtype=np.float32)
        self.by_rank = self.products.reshape(m, d, r, n)
        self.factors = np.empty((m, r, n), dtype=np.float32)
        self.changes = np.empty((d, m, n), dtype=np.float32)

    def calls(self, z: Floats, acted: Floats, factors: Floats) -> list[Call]:
        """What makes the members' changes of these rows.

        Args:
            z: Inputs ``[in + 1, n]``.
            acted: Continuous actions ``[a + 1, n]``.
            factors: Of the rows' agents, with those of a discrete action ``[m, r, n]``.
        """
        found: list[Call] = []
        if self.action.weights:
            own, factors = factors, self.factors
            found += self.action.calls(acted)
            found.append(partial(np.multiply, self.action.rooms[-1][:, :-1], own, factors))
        found += self.state.calls(z)
        found += product_calls(self.last, self.state.rooms[-1], self.products)
        found.append(partial(np.einsum, "mdrn,mrn->dmn", self.by_rank, factors, out=self.changes))
        return found


def _chosen(own: Floats, taken: Floats) -> tuple[list[Call], Floats]:
    """Calls that choose the actions' factors, and where they put them ``[m, r, n]``.

    Args:
        own: Factors of the rows' agents ``[A, m, r, n]``: with the first discrete action's, and
            what the others' differ by from these.
        taken: Which of the others is taken ``[A - 1, n]``.
    """
    if len(own) == 1:
        return [], own[0]
    found: list[Call] = []
    room = np.empty_like(own[0])
    out, before = torch.from_numpy(room), torch.from_numpy(own[0])
    for other, here in zip(torch.from_numpy(own[1:]), torch.from_numpy(taken), strict=True):
        found.append(partial(torch.addcmul, before, other, here, out=out))  # NumPy passes twice
        before = out
    return found, room


class Inputs:
    """What the first layers of ``n`` rows see.

    Attributes:
        z: Scaled states, of a joint network with actions, and a 1 ``[in + 1, n]``.
        acted: Continuous actions and a 1 ``[a + 1, n]``.
        taken: Which discrete action but the first is taken ``[A - 1, n]``.

    Args:
        network: The networks.
        n: Number of rows.
    """

    def __init__(self, network: CompiledNetwork, n: int) -> None:
        self.network, shape = network, network.shape
        self.z = np.ones((network.inputs + 1, n), dtype=np.float32)
        self.acted = np.ones((shape.action_dim + 1, n), dtype=np.float32)
        self.which = np.arange(1, shape.num_actions)[:, None]
        self.taken = np.ones((len(self.which), n), dtype=np.float32)
        self.plain = self.z[: len(network.mean)]
        self.angles = list(shape.angles)
        self.cosines = self.z[len(network.mean) :][: len(self.angles)]
        self.last = self.z[-1 - shape.action_dim : -1] if shape.joint else None

    def __call__(self, states: NDArray[np.float64], actions: Any) -> None:
        """Take states ``[in, n]`` and actions ``[n]`` or ``[n, a]``."""
        network, z = self.network, self.plain
        if network.choices is None:
            self.acted[:-1] = actions.T
        else:
            np.equal(actions, self.which, out=self.taken)
        z[:] = states
        if network.hold is not None:
            low, high = network.hold
            np.maximum(z, low, out=z)
            np.minimum(z, high, out=z)
        turned = z[self.angles] if self.angles else None
        if network.scaled:
            z -= network.mean
            z /= network.scale
        if turned is not None:
            z[self.angles] = np.sin(turned)
            np.cos(turned, out=self.cosines)
        if self.last is not None:
            self.last[:] = self.acted[:-1]


class NetworkLanes:
    """Steps of ``n`` rows, each of an agent that stays for a while.

    Rows go through all layers a few hundred at a time: what a layer gives is still in the
    processor's cache when the next one reads it.
    """

    def __init__(self, network: CompiledNetwork, n: int) -> None:
        self.network, self.n, shape = network, n, network.shape
        m, d, r = shape.members, shape.obs_dim, shape.rank
        self.agents: bytes | None = None
        self.turned = np.empty((m, d, n), dtype=np.float32)
        self.result = self.turned[0], self.turned[1:].reshape(-1, n)
        self.inputs = Inputs(network, n)
        z, acted, taken = self.inputs.z, self.inputs.acted, self.inputs.taken
        #: Of each row's agent, with what the first discrete action multiplies them by, and what
        #: it is more or less with each of the others.
        self.own = np.empty((max(1, shape.num_actions), m, r, n), dtype=np.float32)
        widest = max(weight.shape[1] for weight, _ in (*network.state, *network.action))
        parts = blocks(n, m * widest)
        self.work = m * parts[0].stop, shape.widths, torch.device("cpu")
        # Blocks use the same memory one after the other: it stays in the cache.
        rooms = {k: Block(network, k) for k in {p.stop - p.start for p in parts}}
        self.calls, factors = _chosen(self.own, taken)
        for p in parts:
            room = rooms[p.stop - p.start]
            self.calls += room.calls(*(part[..., p] for part in (z, acted, factors)))
            turned = self.turned[..., p].swapaxes(0, 1)
            self.calls.append(partial(np.matmul, network.turning.turn, room.changes, turned))

    def __call__(
        self, agents: NDArray[np.int64], states: NDArray[np.float64], actions: NDArray[Any]
    ) -> LaneStep:
        """The members' mean change and their contrasts."""
        if (who := agents.tobytes()) != self.agents:
            self._take(agents)
            self.agents = who
        self.inputs(states, actions)
        with few_threads(*self.work):
            for call in self.calls:
                call()
        if self.network.centred:
            mean, _ = self.result
            mean += self.network.centre
        return self.result

    def _take(self, agents: NDArray[np.int64]) -> None:
        network = self.network
        factors = network.agent[:, agents].swapaxes(1, 2)  # [m, r, n]
        self.own[:] = factors
        if network.choices is not None:
            self.own *= network.choices.swapaxes(0, 1)[..., None]
            self.own[1:] -= self.own[0]
