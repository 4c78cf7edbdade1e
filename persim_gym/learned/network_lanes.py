"""Steps of many rows of fitted networks, in the same memory again and again."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from persim_gym.learned.lane_calls import (
    Call,
    Floats,
    Through,
    blocks,
    product_calls,
    with_bias,
)
from persim_gym.threads import few_threads

if TYPE_CHECKING:
    from persim_gym.learned.compiled import LaneStep
    from persim_gym.learned.compiled_network import CompiledNetwork


class _Block:
    """Room for ``n`` rows that go through the layers together."""

    def __init__(self, network: CompiledNetwork, n: int, inputs: int) -> None:
        shape = network.shape
        m, d, r = shape.members, shape.obs_dim, shape.rank
        state, action = network.state, network.action
        self.state = Through(state, len(state), network.relu, n, inputs if shape.skip else 0)
        self.action = Through(action, len(action) - 1, network.relu, n)
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
        parts = blocks(n, m * widest)
        self.work = m * parts[0].stop, shape.widths, torch.device("cpu")
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
