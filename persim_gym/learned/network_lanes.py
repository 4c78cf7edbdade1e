"""Steps of many rows of fitted networks, in the same memory again and again."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import silu

from persim_gym.learned.products import columns
from persim_gym.threads import few_threads

if TYPE_CHECKING:
    from persim_gym.learned.compiled import LaneStep
    from persim_gym.learned.compiled_network import CompiledNetwork, Layers

Floats = NDArray[np.float32]
#: A part of a step. As memory stays where it is, all parts are put together once, with their
#: arrays, and a step is nothing but calling them in turn.
Call = Callable[[], object]

#: Numbers of a layer's values, of all members, up to which rows go through all layers together:
#: enough that the calls cost less than the arithmetic, and few enough to stay in the processor's
#: cache from one layer to the next.
TOGETHER = 1 << 16


class _Through:
    """An encoder's layers for ``n`` rows: weights with their biases, and room for what they give.

    Layers take turns in two rooms: what the last but one gave is not needed any more.

    Args:
        layers: Weights ``[m, out, in]`` and biases ``[m, out, 1]``.
        bent: Number of layers with the nonlinearity, from the first.
        relu: Whether that is ReLU, or else SiLU.
        n: Rows.
        inputs: Inputs that come again behind the last layer's values.
    """

    def __init__(self, layers: Layers, bent: int, relu: bool, n: int, inputs: int = 0) -> None:
        self.weights = [with_bias(*layer) for layer in layers]
        self.relu, self.bent, self.inputs = relu, bent, inputs
        self.rooms: list[Floats] = []
        for number, weight in enumerate(self.weights, start=1):
            m, out, _ = weight.shape
            shape = (m, out + (inputs if number == len(layers) else 0) + 1, n)
            before = self.rooms[-2] if number > 2 else None
            again = before is not None and before.shape == shape
            self.rooms.append(before if again else np.ones(shape, dtype=np.float32))

    def calls(self, x: Floats) -> list[Call]:
        """What inputs ``[in + 1, n]``, of which the last is 1, need to reach the last room.

        That is ``[m, out + 1, n]``, likewise.
        """
        found: list[Call] = []
        inputs = x
        for number, (weight, room) in enumerate(zip(self.weights, self.rooms, strict=True)):
            values = room[:, : weight.shape[1]]
            found += product_calls(weight, x, values)
            if number < self.bent and self.relu:
                found.append(partial(np.maximum, values, 0.0, out=values))
            elif number < self.bent:  # NumPy takes several passes for it
                found.append(partial(silu, torch.from_numpy(values), True))
            x = room
        if self.inputs:
            found.append(partial(np.copyto, x[:, -self.inputs - 1 : -1], inputs[:-1]))
        return found


class _Block:
    """Room for ``n`` rows that go through the layers together."""

    def __init__(self, network: CompiledNetwork, n: int, inputs: int) -> None:
        shape = network.shape
        m, d, r = shape.members, shape.obs_dim, shape.rank
        state, action = network.state, network.action
        self.state = _Through(state, len(state), network.relu, n, inputs if shape.skip else 0)
        self.action = _Through(action, len(action) - 1, network.relu, n)
        self.last = with_bias(*network.last)
        self.turn = network.turning.turn
        self.products = np.empty((m, d * r, n), dtype=np.float32)
        self.by_rank = self.products.reshape(m, d, r, n)
        self.factors = np.empty((m, r, n), dtype=np.float32)
        self.changes = np.empty((d, m, n), dtype=np.float32)

    def calls(
        self, z: Floats, acted: Floats, own: Floats, taken: Floats, turned: Floats
    ) -> list[Call]:
        """What makes the members' changes of these rows.

        Args:
            z: Inputs ``[in + 1, n]``.
            acted: Continuous actions ``[a + 1, n]``.
            own: Factors of the rows' agents, with each discrete action's ``[A, m, r, n]``.
            taken: Which discrete action is taken ``[A, n]``.
            turned: The members' mean change and contrasts ``[m, d, n]``.
        """
        found: list[Call] = []
        factors = own[0]
        if len(own) > 1:
            factors = self.factors
            found.append(partial(np.einsum, "amrn,an->mrn", own, taken, out=factors))
        elif self.action.weights:
            factors = self.factors
            found += self.action.calls(acted)
            found.append(partial(np.multiply, self.action.rooms[-1][:, :-1], own[0], factors))
        found += self.state.calls(z)
        found += product_calls(self.last, self.state.rooms[-1], self.products)
        found.append(partial(np.einsum, "mdrn,mrn->dmn", self.by_rank, factors, out=self.changes))
        found.append(partial(np.matmul, self.turn, self.changes, turned.swapaxes(0, 1)))
        return found


class NetworkLanes:
    """Steps of ``n`` rows, each of an agent that stays for a while.

    Rows go through all layers a few hundred at a time: what a layer gives is still in the
    processor's cache when the next one reads it.

    Args:
        network: The networks.
        n: Number of rows.
    """

    def __init__(self, network: CompiledNetwork, n: int) -> None:
        self.network, self.n, shape = network, n, network.shape
        m, d, r = shape.members, shape.obs_dim, shape.rank
        self.agents: bytes | None = None
        self.turned = np.empty((m, d, n), dtype=np.float32)
        self.result = self.turned[0], self.turned[1:].reshape(-1, n)
        self.plain = len(network.mean)
        self.acted = np.ones((shape.action_dim + 1, n), dtype=np.float32)
        choices = 1 if network.choices is None else network.choices.shape[1]
        self.which = np.arange(choices)[:, None]
        self.taken = np.ones((choices, n), dtype=np.float32)
        #: Of each row's agent, with what each discrete action multiplies them by.
        self.own = np.empty((choices, m, r, n), dtype=np.float32)
        inputs = self.plain + len(shape.angles) + (shape.action_dim if shape.joint else 0)
        self.z = np.ones((inputs + 1, n), dtype=np.float32)
        widest = max(weight.shape[1] for weight, _ in (*network.state, *network.action))
        count = -(-n // max(1, TOGETHER // (m * widest)))
        step = min(n, -(-n // (8 * count)) * 8)
        self.work = m * step, shape.widths, torch.device("cpu")
        parts = [slice(first, min(first + step, n)) for first in range(0, n, step)]
        # Blocks use the same memory one after the other: it stays in the cache.
        rooms = {k: _Block(network, k, inputs) for k in {p.stop - p.start for p in parts}}
        every = (self.z, self.acted, self.own, self.taken, self.turned)
        calls = (rooms[p.stop - p.start].calls(*(part[..., p] for part in every)) for p in parts)
        self.calls = list(itertools.chain.from_iterable(calls))

    def __call__(
        self, agents: NDArray[np.int64], states: NDArray[np.float64], actions: NDArray[Any]
    ) -> LaneStep:
        """The members' mean change and their contrasts."""
        if (who := agents.tobytes()) != self.agents:
            self._take(agents)
            self.agents = who
        self._inputs(states, actions)
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

    def _inputs(self, states: NDArray[np.float64], actions: NDArray[Any]) -> None:
        """Scale states ``[in, n]``: what the first layer sees."""
        network, shape = self.network, self.network.shape
        if network.choices is None:
            self.acted[:-1] = actions.T
        elif len(self.taken) > 1:
            np.equal(actions, self.which, out=self.taken)
        z = self.z[: self.plain]
        z[:] = states
        if network.hold is not None:
            low, high = network.hold
            np.maximum(z, low[:, None], out=z)
            np.minimum(z, high[:, None], out=z)
        turned = z[list(shape.angles)] if shape.angles else z[:0]
        if network.scaled:
            z -= network.mean[:, None]
            z /= network.scale[:, None]
        if shape.angles:
            z[list(shape.angles)] = np.sin(turned)
            self.z[self.plain : self.plain + len(turned)] = np.cos(turned)
        if shape.joint:
            self.z[-1 - shape.action_dim : -1] = self.acted[:-1]


def product_calls(weight: Floats, x: Floats, out: Floats) -> list[Call]:
    """What makes ``out`` ``[..., o, n]`` of ``weight`` ``[..., o, t]`` times ``x`` ``[..., t, n]``."""
    return [
        partial(np.matmul, weight, x[..., part], out[..., part])
        for part in columns(weight, x.shape[-1])
    ]


def with_bias(weight: Floats, bias: Floats) -> Floats:
    """Weights ``[m, out, in]`` and biases ``[m, out, 1]`` as one, for inputs with a 1 behind."""
    return np.ascontiguousarray(np.concatenate([weight, bias], axis=2))
