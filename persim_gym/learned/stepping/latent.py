"""Networks that latents enter, made ready for stepping: no tensors, and agents known beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from persim_gym.learned.features.ensemble import FrameEnsemble
from persim_gym.learned.latent.network import STEEP, LatentNetwork
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

#: What a gate's input is where it is to be open: the sigmoid of it is 1 in single precision.
OPEN = 100.0


class CompiledLatent(CompiledSteps):
    """Steps of latent networks in their frame in NumPy, before bounds.

    Beside the gates of the network there is one that is always open: that of the first head. The
    change is then the same sum for all heads.

    Args:
        ensemble: On the processor, for which :func:`compilable` holds.
        unit: Unit of disagreement ``[d]``.
    """

    def __init__(self, ensemble: FrameEnsemble, unit: NDArray[np.float64]) -> None:
        super().__init__()
        model, frame = ensemble.model, ensemble.frame
        assert isinstance(model, LatentNetwork)
        self.shape = shape = model.shape
        m, c = shape.members, shape.outputs
        self.reach = math.sqrt(m * c) * unit
        self.turning = Turning(m, self.reach)
        self.axes = self.turning.axes
        arrays = {name: t.float().numpy() for name, t in model.tensors().items()}
        self.features = Features(frame, model)
        mix = arrays["mix"]
        #: What held features ``[q, n]`` are multiplied with; ``None`` for nothing.
        self.mix = None if (mix == np.eye(len(mix))).all() else np.ascontiguousarray(mix.T)
        self.latents = arrays["latent.mean"]  # [m, N, r]
        self.layers: Layers = [
            (
                np.ascontiguousarray(arrays[f"{number}.weight"].swapaxes(1, 2)),
                np.ascontiguousarray(arrays[f"{number}.bias"].swapaxes(1, 2)),
            )
            for number in range(len(shape.hidden))
        ]
        self.head = _heads(arrays, shape.heads, frame.unit.numpy())
        self._single: _Single | None = None

    def _row_of(self, agent: int) -> Row:
        if self._single is None:
            self._single = _Single(self)
        single, latent = self._single, self.latents[:, agent]
        features, z, deviations, d = (
            self.features,
            single.z,
            self.turning.deviations,
            len(self.reach),
        )

        def step(state: Sequence[float], action: Any) -> RowStep:
            given, acted = np.array(state)[:, None], np.asarray(action)[None]
            with np.errstate(over="ignore", invalid="ignore"):  # the guard checks it
                beyond = features(given, acted, z)
                change = single(z, latent)
                if beyond is not None:
                    change = beyond.answered(change, lambda x: single(x, latent))
                found = deviations.dot(change.reshape(-1))
                apart = found[d:]
                disagreement = math.sqrt(apart.dot(apart))
            mean = zip(state[-d:], found[:d].tolist(), strict=True)
            return [x + y for x, y in mean], apart, disagreement

        return step

    def _lanes_of(self, n: int) -> Lanes:
        return LatentLanes(self, n)


class _Single:
    """Room for one row."""

    def __init__(self, network: CompiledLatent) -> None:
        s, self.mix = network.shape, network.mix
        self.block = Block(network, 1)
        self.z = np.empty((s.features, 1), dtype=np.float32)
        self.first = np.ones((s.members, s.features + s.latent + 1, 1), dtype=np.float32)
        self.calls = self.block.calls(self.first)

    def __call__(self, z: Floats, latent: Floats) -> Floats:
        """Members' changes ``[m, d, 1]`` of features ``[q, 1]`` and latents ``[m, r]``."""
        q = len(z)
        self.first[:, :q] = z if self.mix is None else self.mix @ z
        self.first[:, q:-1, 0] = latent
        for call in self.calls:
            call()
        return self.block.changes.swapaxes(0, 1)


@dataclass(frozen=True, slots=True)
class Beyond:
    """How answers go on beyond what a network knows.

    Attributes:
        free: Features ``[q, n]`` with actions as far inside as they are outside, if any is.
        back: The same of states.
        both: The same of both.
        outward: Signs of where each coordinate is outside ``[c, n]``.
    """

    free: Floats | None
    back: Floats | None = None
    both: Floats | None = None
    outward: Floats | None = None

    def answered(self, known: Floats, answer: Callable[[Floats], Floats]) -> Floats:
        """Changes ``[m, c, n]``.

        Args:
            known: The answer at the edge.
            answer: The answer to features ``[q, n]``, in memory that may be used again.
        """
        change = _straight(known.copy(), self.free, answer)
        if self.back is None or self.outward is None:
            return change
        further = 2 * change - _straight(answer(self.back).copy(), self.both, answer)
        # What leads further back is taken, of what is outside.
        return np.where((further - change) * self.outward < 0, further, change)


def _straight(known: Floats, other: Floats | None, answer: Callable[[Floats], Floats]) -> Floats:
    return known if other is None else 2 * known - answer(other)


class Features:
    """Held features of states and actions, as :class:`Frame` and :class:`LatentNetwork` have them.

    Args:
        frame: Of a single observation, whose coordinates are as they are.
        model: The network.
    """

    def __init__(self, frame: Any, model: LatentNetwork) -> None:
        g = frame.geometry
        self.choices = frame.choices
        self.others = np.arange(1, frame.choices)[:, None]
        self.plain, self.periodic = list(g.plain), list(g.periodic)
        self.kept = list(frame.kept)
        units = (frame.centre, frame.scale, frame.low, frame.high, *model.held)
        self.centre, self.scale, low, high, self.least, self.most = (
            part.float().numpy()[:, None] for part in units
        )
        self.free, self.present = list(frame.free), list(frame.present)
        self.own, self.outputs = frame.own, model.shape.outputs
        #: What the frame holds features to; to be held twice is to be held once.
        self.low, self.high = low, high
        if not self.free:
            ends = (np.clip(end, self.least, self.most) for end in (low, high))
            self.least, self.most = ends

    def __call__(
        self, states: NDArray[np.float64], actions: NDArray[Any], out: Floats
    ) -> Beyond | None:
        """Features ``[q, n]`` into ``out``.

        Args:
            states: ``[d, n]``.
            actions: ``[n]`` or ``[n, a]``.
            out: Room for them.

        Returns:
            Where some state or action is beyond what the network knows, how its answer goes on.
        """
        obs = states.astype(np.float32)
        parts: list[NDArray[Any]] = [obs]
        if self.periodic:
            turned = obs[self.periodic]
            parts = [obs[self.plain], np.cos(turned), np.sin(turned)]
        parts.append(actions == self.others if self.choices else actions.T)
        raw = np.concatenate(parts, dtype=np.float32, casting="same_kind")
        if len(self.kept) < len(raw):
            raw = raw[self.kept]
        raw -= self.centre
        raw /= self.scale
        if self.free:
            np.maximum(raw, self.low, out=raw)
            np.minimum(raw, self.high, out=raw)
        np.maximum(raw, self.least, out=out)
        np.minimum(out, self.most, out=out)
        return None if np.array_equal(raw, out) else self._beyond(raw, out)

    def _beyond(self, raw: Floats, out: Floats) -> Beyond | None:
        """How the answer of held features ``[q, n]`` goes on; see ``answered`` of the frames."""
        off = np.minimum(np.maximum(raw, self.low), self.high) - out

        def mirrored(columns: list[int]) -> Floats:
            found = out.copy()
            found[columns] -= off[columns]
            return np.minimum(np.maximum(found, self.least), self.most)

        acted, moved = (bool((off[columns] != 0).any()) for columns in (self.free, self.present))
        free = mirrored(self.free) if acted else None
        if not moved:
            return None if free is None else Beyond(free)
        outward = np.zeros((self.outputs, raw.shape[1]), dtype=np.float32)
        outward[self.own] = np.sign(off[self.present])
        both = mirrored([*self.present, *self.free]) if acted else None
        return Beyond(free, mirrored(self.present), both, outward)


def compilable(ensemble: FrameEnsemble) -> bool:
    """Whether it is of narrow networks, and a state is one observation without disguised angles."""
    model, frame = ensemble.model, ensemble.frame
    narrow = isinstance(model, LatentNetwork) and max(model.shape.hidden) <= WIDE
    return narrow and frame.geometry.trivial and frame.lag == 1


def _heads(
    arrays: dict[str, Floats], sizes: tuple[int, int, int], unit: NDArray[Any]
) -> tuple[Floats, Floats]:
    """The last layer: inputs of ``g + 1`` gates, the last one open, and of each coordinate heads.

    Args:
        arrays: The network's.
        sizes: Columns of the first head, the gates, and their heads.
        unit: What a change of 1 is ``[c]``.

    Returns:
        Weights ``[m, (g + 1) + c * (g + 1), in]`` and biases ``[m, ..., 1]``.
    """
    c, g, _ = sizes
    both = np.concatenate([arrays["head.weight"], arrays["head.bias"]], axis=1)
    head = np.ascontiguousarray(both.swapaxes(1, 2))  # [m, c + g + c * g, in + 1]
    m, _, into = head.shape
    first, gates, gated = head[:, :c], head[:, c : c + g], head[:, c + g :]
    found = np.zeros((m, g + 1, into), dtype=np.float32)
    found[:, :g] = np.float32(STEEP) * gates
    found[:, g, -1] = OPEN
    own = np.concatenate([gated.reshape(m, c, g, into), first[:, :, None]], axis=2)
    own = (own * unit.astype(np.float32)[:, None, None]).reshape(m, c * (g + 1), into)
    every = np.concatenate([found, own], axis=1)
    return np.ascontiguousarray(every[..., :-1]), np.ascontiguousarray(every[..., -1:])


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
