"""Steps of many rows of fitted networks, in the same memory again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import silu

from persim_gym.learned.products import product
from persim_gym.threads import few_threads

if TYPE_CHECKING:
    from persim_gym.learned.compiled import LaneStep
    from persim_gym.learned.compiled_network import CompiledNetwork, Layers

Floats = NDArray[np.float32]

#: Numbers of a layer's values, of all members, up to which rows go through all layers together:
#: enough that the calls cost less than the arithmetic, and few enough to stay in the processor's
#: cache from one layer to the next.
TOGETHER = 1 << 17


class _Through:
    """An encoder's layers for ``n`` rows: weights with their biases, and room for what they give.

    Args:
        layers: Weights ``[m, out, in]`` and biases ``[m, out, 1]``.
        bent: Number of layers with the nonlinearity, from the first.
        relu: Whether that is ReLU, or else SiLU.
        n: Rows.
        inputs: Inputs that come again behind the last layer's values.
    """

    def __init__(self, layers: Layers, bent: int, relu: bool, n: int, inputs: int = 0) -> None:
        self.weights = [with_bias(*layer) for layer in layers]
        self.relu, self.bent = relu, bent
        self.rooms: list[Floats] = []
        self.values: list[torch.Tensor] = []
        for number, weight in enumerate(self.weights, start=1):
            m, out, _ = weight.shape
            more = inputs if number == len(layers) else 0
            room = np.ones((m, out + more + 1, n), dtype=np.float32)
            self.rooms.append(room)
            self.values.append(torch.from_numpy(room)[:, :out])

    def __call__(self, x: Floats) -> Floats:
        """Inputs ``[in + 1, n]``, of which the last is 1: ``[m, out + 1, n]``, likewise."""
        for number, (weight, room) in enumerate(zip(self.weights, self.rooms, strict=True)):
            values = room[:, : weight.shape[1]]
            product(weight, x, values)
            if number < self.bent and self.relu:
                np.maximum(values, 0.0, out=values)
            elif number < self.bent:  # NumPy takes four passes for it
                silu(self.values[number], inplace=True)
            x = room
        return x


class _Block:
    """Room for ``n`` rows that go through the layers together."""

    def __init__(self, network: CompiledNetwork, n: int, inputs: int) -> None:
        shape = network.shape
        m, d, r = shape.members, shape.obs_dim, shape.rank
        self.inputs = inputs if shape.skip else 0
        state, action = network.state, network.action
        self.state = _Through(state, len(state), network.relu, n, self.inputs)
        self.encodes = bool(action)
        self.action = _Through(action, len(action) - 1, network.relu, n)
        self.last = with_bias(*network.last)
        self.products = np.empty((m, d * r, n), dtype=np.float32)
        self.by_rank = self.products.reshape(m, d, r, n)

    def factors(self, acted: Floats) -> Floats:
        """Factors of continuous actions ``[a + 1, n]``: ``[m, r, n]``."""
        return self.action(acted)[:, :-1]

    def __call__(self, z: Floats, factors: Floats, out: Floats) -> None:
        """Members' changes ``[d, m, n]`` of inputs ``[in + 1, n]``."""
        hidden = self.state(z)
        if self.inputs:
            hidden[:, -self.inputs - 1 : -1] = z[:-1]
        product(self.last, hidden, self.products)
        np.einsum("mdrn,mrn->dmn", self.by_rank, factors, out=out)


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
        self.out = np.empty((d, m, n), dtype=np.float32)
        self.turned = np.empty((m, d, n), dtype=np.float32)
        self.plain = len(network.mean)
        self.acted = np.ones((shape.action_dim + 1, n), dtype=np.float32)
        choices = 1 if network.choices is None else network.choices.shape[1]
        self.which = np.arange(choices)[:, None]
        self.taken = np.ones((choices, n), dtype=np.float32)
        #: Of each row's agent, with what each discrete action multiplies them by.
        self.own = np.empty((choices, m, r, n), dtype=np.float32)
        self.factors = self.own[0] if choices == 1 else np.empty_like(self.own[0])
        inputs = self.plain + len(shape.angles) + (shape.action_dim if shape.joint else 0)
        self.z = np.ones((inputs + 1, n), dtype=np.float32)
        layers = [weight.shape for weight, _ in (*network.state, *network.action, network.last)]
        most = max(1, TOGETHER // max(m * out for m, out, _ in layers))
        count = -(-n // most)
        self.together = step = min(n, -(-n // (8 * count)) * 8)
        parts = [slice(first, min(first + step, n)) for first in range(0, n, step)]
        # Blocks use the same memory one after the other: it stays in the cache.
        rooms = {k: _Block(network, k, inputs) for k in {p.stop - p.start for p in parts}}
        self.blocks = [(part, rooms[part.stop - part.start]) for part in parts]
        self.device = torch.device("cpu")

    def __call__(
        self, agents: NDArray[np.int64], states: NDArray[np.float64], actions: NDArray[Any]
    ) -> LaneStep:
        """The members' mean change and their contrasts."""
        network, shape = self.network, self.network.shape
        if (who := agents.tobytes()) != self.agents:
            self._take(agents)
            self.agents = who
        self._inputs(states, actions)
        if len(self.own) > 1:
            np.copyto(self.taken, actions == self.which)
            np.einsum("amrn,an->mrn", self.own, self.taken, out=self.factors)
        with few_threads(shape.members * self.together, shape.widths, self.device):
            for rows, block in self.blocks:
                own = self.factors[..., rows]
                if block.encodes:
                    own = block.factors(self.acted[:, rows]) * own
                block(self.z[:, rows], own, self.out[..., rows])
        mean, contrasts = network.turning(self.out, self.turned)
        mean += network.centre[:, None]
        return mean, contrasts

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
        z = self.z[: self.plain]
        z[:] = states
        if network.hold is not None:
            low, high = network.hold
            np.maximum(z, low[:, None], out=z)
            np.minimum(z, high[:, None], out=z)
        turned = z[list(shape.angles)] if shape.angles else z[:0]
        z -= network.mean[:, None]
        z /= network.scale[:, None]
        if shape.angles:
            z[list(shape.angles)] = np.sin(turned)
            self.z[self.plain : self.plain + len(turned)] = np.cos(turned)
        if shape.joint:
            self.z[-1 - shape.action_dim : -1] = self.acted[:-1]


def with_bias(weight: Floats, bias: Floats) -> Floats:
    """Weights ``[m, out, in]`` and biases ``[m, out, 1]`` as one, for inputs with a 1 behind."""
    return np.ascontiguousarray(np.concatenate([weight, bias], axis=2))
