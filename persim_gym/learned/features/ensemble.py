"""Models of plain arrays as an ensemble: a frame turns states into features, and changes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from persim_gym.learned.bounds import BoundEffects
from persim_gym.learned.ensemble import Change, Ensemble
from persim_gym.learned.features.frame import Frame

#: Scaled changes under features: of bound agents ``[m, p, k, c]`` and ``[m or 1, p, k, q]``.
Bound = Callable[[Tensor], Tensor]


class Model(Protocol):
    """Members that map features ``[q]`` to scaled changes ``[c]``, for each agent in its way."""

    #: By what it is known in files; see :func:`register`.
    kind: ClassVar[str]

    @property
    def factors(self) -> Tensor:
        """What is personal, ``[m, N, r]``."""

    @property
    def widths(self) -> Sequence[int]:
        """Widths of the layers that features go through: how much work a row is."""

    def change(self, agents: Tensor, features: Tensor) -> Tensor:
        """Scaled changes ``[m, n, c]`` of agents ``[n]`` under ``[n, q]`` or ``[m, n, q]``."""

    def with_factors(self, factors: Tensor) -> Model:
        """The same for agents of other factors ``[m, N', r]``."""

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Model:
        """The same on a device, in a precision."""

    def tensors(self) -> dict[str, Tensor]:
        """What is kept in a file; :meth:`meta` has the rest."""

    def meta(self) -> dict[str, Any]:
        """Everything else, as plain types."""

    @classmethod
    def from_parts(cls, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> Model:
        """What :meth:`tensors` and :meth:`meta` have given."""


@runtime_checkable
class BindingModel(Protocol):
    """A model that is quicker for agents that it knows beforehand."""

    def bind(self, agents: Tensor) -> Bound:
        """The model of agents ``[p]`` alone: each on ``k`` rows of features."""


@runtime_checkable
class HoldingModel(Protocol):
    """A model that holds features within a range, as it knows nothing of what is outside."""

    @property
    def held(self) -> tuple[Tensor, Tensor]:
        """Least and largest features ``[q]``, ``[q]``."""


@runtime_checkable
class LinearModel(Protocol):
    """A model that is linear in an agent's factor: new agents are a linear regression."""

    def design(self, features: Tensor) -> Tensor:
        """What a factor is multiplied to, ``[m, n, c, r]`` of features ``[n, q]``."""

    def offset(self) -> Tensor:
        """The scaled change that no factor has a part in ``[c]``."""


_MODELS: dict[str, type[Any]] = {}


def register(model: type[Any]) -> type[Any]:
    """Let files know a kind of model; a decorator of its class.

    Raises:
        ValueError: If another class has the kind.
    """
    known = _MODELS.setdefault(model.kind, model)
    if known.__qualname__ != model.__qualname__:
        raise ValueError(f"kind {model.kind!r} is {known.__qualname__}'s")
    return model


def read_model(kind: str, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> Any:
    """A model from its parts.

    Raises:
        ValueError: If the kind is unknown.
    """
    if kind not in _MODELS:
        raise ValueError(f"this version knows no model of kind {kind!r}")
    return _MODELS[kind].from_parts(tensors, meta)


class FrameEnsemble(Ensemble):
    """A model in its frame.

    It computes in inner coordinates, of which
    :class:`~persim_gym.learned.geometry.geometry.Geometry` knows: an angle's members can be
    averaged there, and a circle has one coordinate. Effects of bounds are of inner coordinates,
    too, of those that are no angles.

    Args:
        frame: The frame.
        model: The members.
        low: Lower bounds of observations ``[d]``, may be infinite.
        high: Upper bounds ``[d]``.
        effects: What going over a bound does to the inner coordinates, where that was learned.
    """

    precise = True

    def __init__(
        self,
        frame: Frame,
        model: Model,
        low: Tensor,
        high: Tensor,
        effects: BoundEffects | None = None,
    ) -> None:
        self.frame = frame
        self.model = model
        unit = frame.unit
        self._bounds = low.to(unit), high.to(unit)
        super().__init__(*frame.geometry.bounds(*self._bounds), effects)
        self.members, self.num_agents, self.rank = model.factors.shape
        self.lag, self.past, self.widths = frame.lag, frame.past, model.widths
        self.turning = not frame.geometry.trivial
        self.linear = isinstance(model, LinearModel)

    @property
    def obs_dim(self) -> int:
        """Coordinates ``d`` of an observation."""
        return self.frame.obs_dim

    @property
    def limits(self) -> tuple[Tensor, Tensor]:
        """Lower and upper bounds of observations ``[d]``, ``[d]``."""
        return self._bounds

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> FrameEnsemble:
        """The same on a device, in a precision."""
        frame = self.frame.to(device, dtype)
        effects = None if self.effects is None else self.effects.to(device, frame.unit.dtype)
        return FrameEnsemble(frame, self.model.to(device, dtype), *self._bounds, effects)

    def agent_factors(self) -> Tensor:
        """What is personal, ``[m, N, r]``."""
        return self.model.factors

    def with_factors(self, factors: Tensor) -> FrameEnsemble:
        """The same model for agents of other factors ``[m, N', r]``."""
        model = self.model.with_factors(factors.to(self.model.factors))
        return FrameEnsemble(self.frame, model, *self._bounds, self.effects)

    def _linear(self) -> LinearModel:
        if not isinstance(self.model, LinearModel):
            raise TypeError(
                f"a model of kind {self.model.kind!r} is not linear in what is personal, so that "
                "agents cannot be added to it in closed form"
            )
        return self.model

    @torch.no_grad()
    def design(self, states: Tensor, actions: Tensor) -> Tensor:
        """What a factor is multiplied to, in inner coordinates ``[m, n, c, r]``, near the mean one.

        Raises:
            TypeError: If the model is not linear in it.
        """
        linear, mean = self._linear(), self.model.factors.mean(1)

        def both(x: Tensor) -> Tensor:
            whole = linear.design(x)
            change = torch.einsum("mncr,mr->mnc", whole, mean) + linear.offset()
            return torch.cat([change[None], whole.movedim(-1, 0)])

        features = self.frame.features(states, actions)
        found = answered(self.frame, self.model, both, features, slopes=True)
        return found[1:].movedim(0, -1) * self.frame.unit[:, None]

    def offset(self) -> Tensor:
        """The change of inner coordinates that no factor has a part in ``[c]``."""
        return self._linear().offset() * self.frame.unit

    def difference(self, states: Tensor, next_obs: Tensor) -> Tensor:
        """Changes ``[..., c]`` of inner coordinates."""
        g = self.frame.geometry
        return g.between(g.inward(states[..., -self.obs_dim :]), g.inward(next_obs))

    def following(self, states: Tensor, change: Tensor) -> Tensor:
        """Observations ``[..., d]`` after changes of inner coordinates."""
        g = self.frame.geometry
        return g.outward(g.inward(states[..., -self.obs_dim :]) + change)

    @torch.no_grad()
    def _unsettled(self, agents: Tensor, states: Tensor, actions: Tensor) -> Tensor:
        inner = self._entered(states)
        features = self.frame.inner_features(inner, actions)
        change = answered(self.frame, self.model, partial(self.model.change, agents), features)
        latest = inner[..., -self.frame.targets :]
        following = latest + change.to(latest) * self.frame.unit
        return self._left(following).to(states.dtype)

    def settle(self, obs: Tensor) -> Tensor:
        """Predicted observations ``[..., d]`` put back into their space."""
        g = self.frame.geometry
        return g.outward(self._held(g.inward(obs)))

    def _change(self, agents: Tensor, actions: Tensor, *, together: bool) -> Change:
        return _FramedChange(self.frame, self.model, agents, actions)

    def _entered(self, states: Tensor) -> Tensor:
        return self.frame.inward(states)

    def _left(self, obs: Tensor) -> Tensor:
        return self.frame.geometry.outward(obs)

    def tensors(self) -> dict[str, Tensor]:
        """The frame's and the model's, by part and name."""
        found = {f"frame.{name}": tensor for name, tensor in self.frame.tensors().items()}
        found |= {f"model.{name}": tensor for name, tensor in self.model.tensors().items()}
        low, high = self._bounds
        return found | {"space.low": low, "space.high": high}

    def to_json(self) -> dict[str, Any]:
        """Kinds, the frame and the model, as plain types."""
        plain = {"frame": self.frame.to_json(), "model": self.model.kind, "meta": self.model.meta()}
        return {"kind": "frame", **plain}

    @classmethod
    def from_file(
        cls, shape: Mapping[str, Any], parts: Mapping[str, Mapping[str, Tensor]]
    ) -> FrameEnsemble:
        """What :meth:`tensors`, by part, and :meth:`to_json` have given.

        Raises:
            KeyError: If something is missing.
            ValueError: If sizes do not fit together, or the kind of model is unknown.
        """
        frame = Frame.from_parts(parts["frame"], shape["frame"])
        model = read_model(shape["model"], parts["model"], shape["meta"])
        for name in ("low", "high"):
            found, expected = tuple(parts["space"][name].shape), (frame.obs_dim,)
            if found != expected:
                raise ValueError(f"space.{name} has shape {found}, the frame asks for {expected}")
        return cls(frame, model, parts["space"]["low"], parts["space"]["high"])


class _FramedChange:
    """Changes of inner coordinates; rows stand before coordinates in the model, after outside."""

    def __init__(self, frame: Frame, model: Model, agents: Tensor, actions: Tensor) -> None:
        self.frame, self.model, self.agents = frame, model, agents
        # Times first: each step's actions are then one piece of memory.
        self.actions = actions.movedim(3, 0).contiguous()  # [h, m or 1, p, k(, a)]
        self.bound = model.bind(agents) if isinstance(model, BindingModel) else self._unbound

    def _unbound(self, features: Tensor) -> Tensor:
        p, k = features.shape[1:3]
        rows = features.flatten(1, 2)
        change = self.model.change(self.agents.repeat_interleave(k), rows)
        return change.unflatten(1, (p, k))

    def keep(self, columns: Tensor) -> None:
        index = columns[None, ..., None] if self.actions.ndim == 5 else columns[None]
        self.actions = torch.take_along_dim(self.actions, index, 3)

    def __call__(self, states: Tensor, t: int) -> Tensor:
        features = self.frame.inner_features(states.mT, self.actions[t])
        change = answered(self.frame, self.model, self.bound, features)
        return (change.to(states) * self.frame.unit).mT


def answered(
    frame: Frame, model: Model, response: Bound, features: Tensor, *, slopes: bool = False
) -> Tensor:
    """Scaled changes ``[..., c]``, of which those beyond the record lead back to it.

    A state that a model does not know is held at the edge. There, what draws it back is too weak:
    a level that rises while it loses more and more would rise for ever. So it goes on along a
    straight line as well, like an action, where that leads further back than being held; a step
    further out, that no record bears out, is never taken from it.

    Args:
        frame: Which features are the present state.
        model: The model.
        response: What is asked of it, for features.
        features: ``[..., q]``.
        slopes: Whether what is asked are changes and, after them, their derivatives
            ``[1 + r, ..., c]``: the changes decide for both.
    """
    change = continued(frame, model, response, features)
    if (out := _beyond(model, features, list(frame.present))) is None:
        return change
    given, edge = out
    place, own = (torch.as_tensor(c, device=features.device) for c in (frame.present, frame.own))
    before = features.index_copy(-1, place, 2 * edge - given)
    further = 2 * change - continued(frame, model, response, before)
    held, moved = change[..., frame.own], further[..., frame.own]
    gained = (moved - held)[0] if slopes else moved - held
    back = ((given < edge) & (gained > 0)) | ((given > edge) & (gained < 0))
    return change.index_copy(-1, own, torch.where(back, moved, held))


def continued(frame: Frame, model: Model, response: Bound, features: Tensor) -> Tensor:
    """What a model answers, on a straight line where actions leave what it knows.

    A present state that a model does not know is held at the edge, so that nothing runs away; see
    :func:`answered`. An action cannot run away: it is chosen. To hold it would be to predict that
    twice the largest dose does what the largest did. Beyond the edge the answer goes on as it came
    there: as much as it changed over the same width before it. Past changes, in which doses that
    are not seen show, are treated alike. The arguments are those of :func:`answered`.
    """
    if (out := _beyond(model, features, list(frame.free))) is None:
        return response(features)
    given, edge = out
    place = torch.as_tensor(frame.free, device=features.device)
    at_edge = features.index_copy(-1, place, edge)
    before = features.index_copy(-1, place, 2 * edge - given)
    return 2 * response(at_edge) - response(before)


def _beyond(model: Model, features: Tensor, columns: list[int]) -> tuple[Tensor, Tensor] | None:
    """Some features, and the same held to what a model knows; ``None`` where they are."""
    if not columns or not isinstance(model, HoldingModel):
        return None
    low, high = model.held
    given = features[..., columns]
    edge = given.clamp(low[columns].to(given), high[columns].to(given))
    out = torch.compiler.is_exporting() or not torch.equal(edge, given)
    return (given, edge) if out else None
