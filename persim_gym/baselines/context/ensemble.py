"""CaDM's networks as an ensemble: what planners unroll and environments step."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from persim_gym.baselines.context.network import ContextNetwork
from persim_gym.baselines.context.windows import Units
from persim_gym.learned.bounds import BoundEffects
from persim_gym.learned.ensemble import Change, Ensemble, UnrollMode
from persim_gym.learned.history import coded

#: Seed of the particles' noise in every unrolling.
_NOISE = 0x7473


class _ContextModel(Ensemble):
    """Networks with units; what knows of agents' factors has nothing to say here.

    Args:
        network: The stacked members.
        units: Their units.
        low: Lower bounds of observations ``[d]``.
        high: Upper bounds ``[d]``.
        num_agents: Agents; all alike but for their past.
        choices: Discrete actions; 0 where actions are continuous.
        particles: Particles that unrolling follows; 0: each member once, without noise.
        effects: What going over a bound does.
    """

    rank = 0
    linear = False

    def __init__(
        self,
        network: ContextNetwork,
        units: Units,
        low: Tensor,
        high: Tensor,
        num_agents: int,
        choices: int,
        particles: int = 0,
        effects: BoundEffects | None = None,
    ) -> None:
        super().__init__(low, high, effects)
        self.network, self.units = network, units
        self.choices, self.particles = choices, particles
        self.num_agents, self.widths = num_agents, network.shape.stacks["forward"]
        shape = network.shape
        self.members = shape.members
        self.lag, self.past = (shape.history + 1, shape.acts) if shape.context else (1, 0)

    def agent_factors(self) -> Tensor:
        """There are none."""
        self._nothing()

    def with_factors(self, factors: Tensor) -> Ensemble:
        """There are none."""
        self._nothing()

    def design(self, states: Tensor, actions: Tensor) -> Tensor:
        """There is none."""
        self._nothing()

    def offset(self) -> Tensor:
        """There is none."""
        self._nothing()

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and units, by name."""
        found = {f"network.{name}": t for name, t in self.network.tensors.items()}
        return found | {f"units.{name}": t for name, t in self.units.tensors().items()}

    def to_json(self) -> dict[str, Any]:
        """Kind and sizes as plain types."""
        return {"kind": "context", **self.network.shape.to_json()}

    def _nothing(self) -> NoReturn:
        raise TypeError("this model has no agents' factors: it knows an agent by its past alone")


class ContextEnsemble(_ContextModel):
    """Members that know an agent by its last transitions; arguments of ``_ContextModel``.

    A state holds the last ``H + 1`` observations and the actions between them. A step makes the
    context of that past. Unrolling makes it once and keeps it, as the authors' planner does:
    imagined transitions say nothing of an agent.

    With particles (TS-infinity) each of them follows one member to the end, with noise of the
    variance that it predicts; noise is drawn anew from the same seed in each unrolling.
    """

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> ContextEnsemble:
        """The same on a device; networks are in single precision.

        Raises:
            ValueError: If another precision is asked for.
        """
        if dtype not in (None, torch.float32):
            raise ValueError(f"networks are in single precision, got {dtype}")
        network, units = self.network.to(device), self.units.to(device)
        low, high = self.low.to(device), self.high.to(device)
        effects = None if self.effects is None else self.effects.to(device)
        rest = (self.num_agents, self.choices, self.particles, effects)
        return ContextEnsemble(network, units, low, high, *rest)

    def context(self, states: Tensor) -> Tensor | None:
        """Contexts ``[m, n, c]`` of states ``[n, l * w]`` or ``[m, n, l * w]``."""
        if not self.network.shape.context:
            return None
        slots = states.view(*states.shape[:-1], self.lag, self.past + self.obs_dim)
        obs, acted = slots[..., self.past :], slots[..., 1:, : self.past]
        steps = self.units.past(torch.cat([obs[..., 1:, :] - obs[..., :-1, :], acted], dim=-1))
        history = steps.flatten(-2)
        return self.network.encode(history if history.ndim == 3 else history[None])

    @torch.no_grad()
    def _unsettled(self, agents: Tensor, states: Tensor, actions: Tensor) -> Tensor:
        m, obs = self.members, states[..., -self.obs_dim :]
        acted = coded(actions, self.choices).to(obs).reshape(len(actions), -1)
        rows = [self.units.seen(obs), self.units.acted(acted)]
        context = self.context(states)
        parts = [part.expand(m, len(actions), -1) for part in rows]
        seen = torch.cat(parts if context is None else [*parts, context], dim=-1)
        return self.units.following(obs, self.network.forward(seen)[0])

    def _change(self, agents: Tensor, actions: Tensor, *, together: bool) -> Change:
        raise TypeError("unroll gives the context to a model of its own")

    @torch.no_grad()
    def unroll(
        self, agents: Tensor, states: Tensor, actions: Tensor, mode: UnrollMode = "members"
    ) -> Generator[Tensor, Tensor | None, None]:
        """As :meth:`Ensemble.unroll`, with the context of ``states`` in all steps.

        With particles what is yielded is ``[particles, p, k, d]``, except with mode ``"mean"``,
        where all go on from one state: there it is the members' predictions, without noise.
        """
        fixed = _FixedContext(self, self.context(states), 0 if mode == "mean" else self.particles)
        return fixed.unroll(agents, states[:, -self.obs_dim :], actions, mode)


class _FixedContext(_ContextModel):
    """The same networks in a context ``[m, p, c]`` that stays: a model without a past.

    What it calls members are the particles; those of one member stand side by side.
    """

    def __init__(self, whole: ContextEnsemble, context: Tensor | None, particles: int) -> None:
        parts = (whole.network, whole.units, whole.low, whole.high)
        super().__init__(*parts, whole.num_agents, whole.choices, particles, whole.effects)
        self.members, self.lag, self.past = particles or whole.members, 1, 0
        self.layers = _folded(whole.network, whole.units, context, noise=particles > 0)
        self.stays = bool((whole.units.stay > 0).all())

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Ensemble:
        """It stays where it was made."""
        self._unrolled()

    def _unsettled(self, agents: Tensor, states: Tensor, actions: Tensor) -> Tensor:
        self._unrolled()

    def _unrolled(self) -> NoReturn:
        raise TypeError("this model lives for one unrolling: ask the ensemble that it is of")

    def _change(self, agents: Tensor, actions: Tensor, *, together: bool) -> Change:
        return _ContextChange(self, actions)


class _Layers(NamedTuple):
    """The forward model in the data's units, in a context.

    Attributes:
        weights: Of each layer ``[m, in, out]``; of the last of several ``[m, out, in]``.
        biases: Of each layer ``[m, 1, out]``; the first ``[m, p, out]`` where there is a context,
            the last of several ``[m, out, 1]``.
        variance: Where members predict one, the least of each coordinate, and the reciprocal of the
            most ``[m, d, 1]``, ``[m, d, 1]``.
    """

    weights: list[Tensor]
    biases: list[Tensor]
    variance: tuple[Tensor, Tensor] | None


def _folded(
    network: ContextNetwork, units: Units, context: Tensor | None, *, noise: bool
) -> _Layers:
    """Units and context put into the layers, so that no step has to apply them again.

    The last layer gives the prediction, and with ``noise`` a number ``z`` for each coordinate of
    which the variance is ``least + 1 / (exp(z) + 1 / most)``: what the two soft bounds of the
    logarithm come to.
    """
    shape, t = network.shape, network.tensors
    depth, own = network.depth["forward"], shape.inputs + shape.acts
    weights = [t[f"forward.{i}.weight"] for i in range(depth)]
    biases = [t[f"forward.{i}.bias"] for i in range(depth)]
    if context is not None:
        biases[0] = torch.baddbmm(biases[0], context, weights[0][:, own:])
    mean, scale = torch.cat([units.state, units.action], dim=1)
    weights[0] = weights[0][:, :own] / scale[:, None]
    biases[0] = biases[0] - (mean @ weights[0])[:, None]
    d, (middle, unit) = shape.obs_dim, units.change
    last, shift, variance = weights[-1][..., :d] * unit, biases[-1][..., :d] * unit + middle, None
    if noise and shape.probabilistic:
        last = torch.cat([last, -weights[-1][..., d:]], dim=-1)
        shift = torch.cat([shift, -biases[-1][..., d:] - 2 * unit.log()], dim=-1)
        square = unit.square()
        least = t["least_log_variance"].exp() * square
        variance = least.mT, ((-t["most_log_variance"]).exp() / square).mT
    if depth > 1:
        last, shift = last.mT, shift.mT
    return _Layers([*weights[:-1], last], [*biases[:-1], shift], variance)


class _ContextChange:
    """Changes of particles that keep their member, in a context that stays.

    Noise is each particle's own and the same in all states: candidates are then compared under one
    noise, and a prediction does not depend on what is predicted beside it.

    Candidates that have taken the same actions so far are in the same state: networks see them
    once. Of discrete actions that stay for a while a third of all is the same.
    """

    def __init__(self, model: _FixedContext, actions: Tensor) -> None:
        self.model = model
        acted = coded(actions, model.choices).to(model.low)
        acted = acted.reshape(*actions.shape[:4], -1)
        self.actions = acted.permute(3, 0, 1, 2, 4).contiguous()  # [h, m or 1, p, k, b]
        self._rooms = [acted.new_empty(0), acted.new_empty(0)]
        # Of each sequence up to each step a number [p, k, h], which differs where they differ.
        self._paths = _paths(actions[0]) if model.choices and len(actions) == 1 else None
        self._alike: tuple[Tensor, Tensor] | None = None
        self._fresh = True  # what is alike is not known yet
        self.noise: Tensor | None = None  # [h, m, particles of each, d, 1]
        if model.layers.variance is not None:
            generator = torch.Generator(device=model.device).manual_seed(_NOISE)
            members, d = model.network.shape.members, model.obs_dim
            size = (len(self.actions), members, model.particles // members, 1, d)
            self.noise = torch.randn(size, generator=generator, device=model.device).mT

    def keep(self, columns: Tensor) -> None:
        self.actions = torch.take_along_dim(self.actions, columns[None, ..., None], -2)
        if self._paths is not None:
            self._paths = torch.take_along_dim(self._paths, columns[0, ..., None], 1)
            self._fresh = True

    def _room(self, layer: int, members: int, rows: int) -> Tensor:
        """Memory of what a layer puts out: used again in each step, and by every second layer."""
        width = self.model.layers.weights[layer].shape[-1]
        size = members * rows * width
        if len(self._rooms[layer % 2]) < size:
            self._rooms[layer % 2] = torch.empty(
                size, dtype=torch.float32, device=self.model.device
            )
        return self._rooms[layer % 2][:size].view(members, rows, width)

    def __call__(self, states: Tensor, t: int) -> Tensor:
        if self._paths is not None and (self._fresh or t % TOGETHER == 0):
            self._alike = _alike(self._paths[..., min(t + TOGETHER, self._paths.shape[-1]) - 1])
            self._fresh = False
        if self._alike is None:
            return self._of(states, self.actions[t], t)
        rows, which = self._alike
        m, p, d, k = states.shape
        seen = states.transpose(1, 2).reshape(m, 1, d, p * k).index_select(3, rows)
        acted = self.actions[t].flatten(1, 2).index_select(1, rows)[:, None]
        change = self._of(seen, acted, t, rows // k).index_select(3, which)
        return change.view(-1, d, p, k).transpose(1, 2)

    def _of(self, states: Tensor, acted: Tensor, t: int, whose: Tensor | None = None) -> Tensor:
        """Changes ``[m, p, d, k]`` of states of that shape, by coded actions ``[1, p, k, b]``.

        Args:
            states: The states.
            acted: The actions.
            t: The step.
            whose: Of which problem each candidate is ``[k]``, where all stand in one row.
        """
        model, (weights, biases, variance) = self.model, self.model.layers
        members, d = model.network.shape.members, model.obs_dim
        obs = states.mT  # [m or 1, p, k, d]
        p, k = obs.shape[1:3]
        acted = acted.expand(len(obs), -1, -1, -1)
        seen = torch.cat([model.units.features(obs), acted], dim=-1)
        rows = seen.view(1 if len(seen) == 1 else members, -1, seen.shape[-1])
        x = torch.matmul(rows, weights[0], out=self._room(0, members, rows.shape[1]))
        by_state = x.view(members, -1, p, k, x.shape[-1])
        bias = biases[0][:, :, None]  # [m, p, 1, out]
        if whose is not None and bias.shape[1] > 1:
            bias = biases[0].index_select(1, whose)[:, None]
        by_state += bias[:, None]
        for i in range(1, len(weights) - 1):
            x = model.network.activate_(x)
            x = torch.baddbmm(biases[i], x, weights[i], out=self._room(i, members, x.shape[1]))
        # The last layer has few outputs: each is one piece of memory [m, out, n].
        if len(weights) > 1:
            out = torch.baddbmm(biases[-1], weights[-1], model.network.activate_(x).mT)
        else:
            out = x.mT.contiguous()
        if self.noise is not None and variance is not None:
            deviation = out[:, d:].exp().add_(variance[1]).reciprocal_().add_(variance[0]).sqrt_()
            by_particle = deviation.view(members, d, -1, p * k)
            by_particle *= self.noise[t].transpose(1, 2)
            out = deviation.add_(out[:, :d])
        change = out.view(members, d, -1, p, k).permute(0, 2, 3, 1, 4).flatten(0, 1)
        stay = model.units.stay
        return change if model.stays else change - states * (1 - stay)[:, None]


#: Steps for which candidates that have been alike are taken together.
TOGETHER = 10


def _paths(actions: Tensor) -> Tensor:
    """Numbers ``[p, k, h]`` that tell sequences ``[p, k, h]`` apart, up to each of their steps."""
    generator = torch.Generator(device=actions.device).manual_seed(_NOISE)
    least, most = torch.iinfo(torch.int64).min, torch.iinfo(torch.int64).max
    size, device = actions.shape[-1:], actions.device
    parts = torch.randint(least, most, size, generator=generator, device=device)
    return (actions * parts).cumsum(-1)  # which goes round, as integers do


def _alike(paths: Tensor) -> tuple[Tensor, Tensor] | None:
    """One candidate of each path, and which of these each candidate is like.

    Args:
        paths: Of each candidate ``[p, k]``.

    Returns:
        Candidates ``[u]``, as rows of all ``p * k``, and of all of these places in them
        ``[p * k]``; ``None`` where it would not be worth it.
    """
    ordered, order = paths.sort(dim=1)
    begins = torch.ones_like(ordered, dtype=torch.bool)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    place = begins.flatten().cumsum(0) - 1
    if int(place[-1]) >= WORTH_JOINING * paths.numel():
        return None
    rows = (order + torch.arange(0, paths.numel(), paths.shape[1])[:, None].to(order)).flatten()
    return rows[begins.flatten()], torch.empty_like(place).scatter_(0, rows, place)


#: Share of candidates of different paths above which all are predicted.
WORTH_JOINING = 0.95
