"""Steps of many rows of networks that latents enter, in the same memory again and again."""

from __future__ import annotations

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
    from persim_gym.learned.compiled_latent import CompiledLatent
    from persim_gym.learned.compiled_steps import LaneStep


class Block:
    """Room for ``n`` rows that go through the layers together."""

    def __init__(self, network: CompiledLatent, n: int) -> None:
        s = network.shape
        self.layers = Through(network.layers, len(network.layers), False, n, s.features + s.latent)
        self.head = with_bias(*network.head)
        m, rows, _ = self.head.shape
        gates = s.gates + 1
        self.heads = np.empty((m, rows, n), dtype=np.float32)
        self.gates = self.heads[:, :gates]
        self.by_gate = self.heads[:, gates:].reshape(m, s.outputs, gates, n)
        self.changes = np.empty((s.outputs, m, n), dtype=np.float32)

    def calls(self, first: Floats) -> list[Call]:
        """What makes the members' changes of inputs ``[m, in + 1, n]``, of which the last is 1."""
        opened = torch.from_numpy(self.gates)
        return [
            *self.layers.calls(first),
            *product_calls(self.head, self.layers.rooms[-1], self.heads),
            partial(torch.sigmoid_, opened),
            partial(np.einsum, "mcgn,mgn->cmn", self.by_gate, self.gates, out=self.changes),
        ]


class LatentLanes:
    """Steps of ``n`` rows, each of an agent that stays for a while."""

    def __init__(self, network: CompiledLatent, n: int) -> None:
        self.network, s = network, network.shape
        m, q = s.members, s.features
        self.agents: bytes | None = None
        self.turned = np.empty((m, s.outputs, n), dtype=np.float32)
        self.result = self.turned[0], self.turned[1:].reshape(-1, n)
        self.z = np.empty((q, n), dtype=np.float32)
        #: Features, latents and a 1, of each member.
        self.first = np.ones((m, q + s.latent + 1, n), dtype=np.float32)
        parts = blocks(n, m * max(*s.hidden, network.head[0].shape[1]))
        self.work = m * parts[0].stop, s.widths, torch.device("cpu")
        # Blocks use the same memory one after the other: it stays in the cache.
        rooms = {k: Block(network, k) for k in {p.stop - p.start for p in parts}}
        self.calls: list[Call] = []
        #: The members' changes, where these are asked for, and what makes them.
        self.changes = np.empty((s.outputs, m, n), dtype=np.float32)
        self.plain: list[Call] = []
        for p in parts:
            room, turned = rooms[p.stop - p.start], self.turned[..., p].swapaxes(0, 1)
            made = room.calls(self.first[..., p])
            self.calls += [*made, partial(np.matmul, network.turning.turn, room.changes, turned)]
            self.plain += [*made, partial(np.copyto, self.changes[..., p], room.changes)]

    def __call__(
        self, agents: NDArray[np.int64], states: NDArray[np.float64], actions: NDArray[Any]
    ) -> LaneStep:
        """The members' mean change and their contrasts."""
        network, q = self.network, self.network.shape.features
        if (who := agents.tobytes()) != self.agents:
            self.first[:, q:-1] = network.latents[:, agents].swapaxes(1, 2)
            self.agents = who
        beyond = network.features(states, actions, self.z)
        with few_threads(*self.work):
            if beyond is None:
                self._run(self.z, self.calls)
            else:
                change = beyond.answered(self._members(self.z), self._members).swapaxes(0, 1)
                np.matmul(network.turning.turn, change, self.turned.swapaxes(0, 1))
        return self.result

    def _members(self, z: Floats) -> Floats:
        """The members' changes ``[m, c, n]``."""
        self._run(z, self.plain)
        return self.changes.swapaxes(0, 1)

    def _run(self, z: Floats, calls: list[Call]) -> None:
        """Answer features ``[q, n]``."""
        mix = self.network.mix
        self.first[:, : len(z)] = z if mix is None else mix @ z
        for call in calls:
            call()
