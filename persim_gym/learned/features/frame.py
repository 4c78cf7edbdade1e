"""The frame in which models are fitted: scaled inputs and scaled changes of plain arrays.

Whatever is fitted on :meth:`Frame.features` and :meth:`Frame.change` needs to know nothing of
angles, circles, units, past observations and discrete actions:
:class:`~persim_gym.learned.features.ensemble.FrameEnsemble` turns what it predicts into an
observation again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.learned.data import Data
from persim_gym.learned.geometry.geometry import Geometry
from persim_gym.learned.history import coded, slots, width_of
from persim_gym.learned.moments import measure

#: Widths of the recorded range by which a feature may leave it before it is held there.
MARGIN = 1.0
#: What a frame holds for each feature.
_OF_FEATURES = ("centre", "scale", "low", "high")


@dataclass(frozen=True, slots=True)
class Frame:
    """A map from states and actions to features ``[q]``, and from scaled changes ``[c]`` back.

    The features, in this order: the present plain coordinates; cosines, then sines, of the present
    angles; how the inner coordinates changed in each of the last ``l - 1`` steps, the latest step
    first; the actions of these steps, the latest first; the present action, discrete ones with a
    column for each but the first. Cosines and sines are as they are, everything else is centred
    and in units of its standard deviation. Columns that are constant in the data are left out.

    The changes are those of the inner coordinates, of which a circle has one.

    Attributes:
        geometry: Which coordinates are angles.
        lag: Observations ``l`` of a state.
        past: Numbers of a past action in a state; 0 for none.
        choices: Number of discrete actions; 0 where they are continuous.
        kept: Columns of all features that are not constant ``[q]``.
        centre: ``[q]``.
        scale: ``[q]``.
        low: Least scaled value that a feature is held to ``[q]``.
        high: Largest ``[q]``.
        unit: Standard deviations of the changes ``[c]``, 1 where a coordinate never changes.
    """

    geometry: Geometry
    lag: int
    past: int
    choices: int
    kept: tuple[int, ...]
    centre: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor
    unit: Tensor

    # -- making ---------------------------------------------------------------------------------

    @classmethod
    def of(
        cls,
        data: Data,
        lag: int = 1,
        used: NDArray[np.bool_] | None = None,
        *,
        geometry: Geometry | None = None,
        seen: Sequence[int] | None = None,
    ) -> Frame:
        """The frame of data, in double precision.

        Args:
            data: The data.
            lag: Observations of a state.
            used: Transitions that are measured ``[T]``, by default those whose past is recorded.
            geometry: Which coordinates are angles, by default the data's.
            seen: Columns that are kept of those in :attr:`optional`; all of them by default.

        Raises:
            ValueError: If no transition is used, or a column that is ``seen`` is not optional.
        """
        t, space = data.transitions, data.task.action_space
        geometry = data.geometry if geometry is None else geometry
        choices = int(space.n) if isinstance(space, Discrete) else 0
        past = width_of(lag, space)
        used = t.step >= lag - 1 if used is None else used
        if not used.any():
            raise ValueError(
                f"no trajectory is longer than the {lag - 1} steps that a past of lag={lag} needs"
            )
        raw = _Raw(geometry, lag, past, choices)
        states = slots(t, lag, past)[used]
        actions, obs, next_obs = t.action[used], t.obs[used], t.next_obs[used]

        def features(rows: slice) -> NDArray[np.float64]:
            parts = torch.as_tensor(states[rows]), torch.as_tensor(actions[rows])
            return raw(*parts).numpy()

        def changes(rows: slice) -> NDArray[np.float64]:
            parts = torch.as_tensor(obs[rows]), torch.as_tensor(next_obs[rows])
            return geometry.difference(*parts).numpy()

        found = measure(len(states), features)
        constant = found.deviation <= 1e-6 * np.maximum(np.abs(found.mean), 1e-6)
        kept = np.flatnonzero(~constant)
        centre, scale = found.mean.copy(), found.deviation.copy()
        centre[raw.turning], scale[raw.turning] = 0.0, 1.0
        width = MARGIN * (found.high - found.low)
        ends = (found.low - width - centre), (found.high + width - centre)
        low, high = (end / np.where(constant, 1.0, scale) for end in ends)
        of_features = zip(_OF_FEATURES, (centre, scale, low, high), strict=True)
        tensors = {name: torch.as_tensor(part[kept]) for name, part in of_features}
        tensors["unit"] = torch.as_tensor(measure(len(obs), changes).unit)
        frame = cls(geometry, lag, past, choices, tuple(kept.tolist()), **tensors)
        return frame if seen is None else frame._seeing(seen)

    def _seeing(self, seen: Sequence[int]) -> Frame:
        """The same with no other optional columns than these.

        Raises:
            ValueError: If one is not optional.
        """
        optional = [*chain(*self.optional)]
        if unknown := sorted({*seen} - {*optional}):
            there = f"from {optional[0]} to {optional[-1]}" if optional else "none"
            raise ValueError(
                f"seen has no column {unknown[0]} to show: of these data, a state of "
                f"lag={self.lag} has {there}; leave seen out to see all of them"
            )
        hidden = {*optional} - {*seen}
        places = [k for k, column in enumerate(self.kept) if column not in hidden]
        ranges: dict[str, Any] = {n: getattr(self, n)[places] for n in _OF_FEATURES}
        return replace(self, kept=tuple(self.kept[k] for k in places), **ranges)

    def within(self, margin: float) -> Frame:
        """The same with features held within ``margin`` widths, which are at most the present."""
        low, high = self.low, self.high
        width = (high - low) / (1 + 2 * MARGIN)
        return replace(
            self, low=low + (MARGIN - margin) * width, high=high - (MARGIN - margin) * width
        )

    # -- using ----------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Number of features ``q``."""
        return len(self.kept)

    @property
    def targets(self) -> int:
        """Number of changes ``c``."""
        return self.geometry.size

    @property
    def obs_dim(self) -> int:
        """Coordinates ``d`` of an observation."""
        return self.geometry.obs_dim

    @property
    def free(self) -> tuple[int, ...]:
        """Features beside the present state: past changes, and continuous actions."""
        if self.choices and self.lag == 1:
            return ()
        first = len(self.geometry.plain) + 2 * len(self.geometry.periodic)
        return tuple(place for place, column in enumerate(self.kept) if column >= first)

    @property
    def present(self) -> tuple[int, ...]:
        """Features of the present state that may leave the record: those that are no angles."""
        last = len(self.geometry.plain)
        return tuple(place for place, column in enumerate(self.kept) if column < last)

    @property
    def own(self) -> list[int]:
        """The change ``[c]`` that is that of each of :attr:`present`."""
        return [int(self.geometry.plain[self.kept[place]]) for place in self.present]

    @property
    def optional(self) -> tuple[range, range, range]:
        """Columns of all features that a frame with a past may do without.

        Those of past changes and past actions, the latest first, and of the present action.
        """
        first = len(self.geometry.plain) + 2 * len(self.geometry.periodic)
        middle = first + (self.lag - 1) * self.geometry.size
        last = middle + (self.lag - 1) * self.past
        return range(first, middle), range(middle, last), range(last, last + self.past)

    def states(self, data: Data) -> Tensor:
        """States of all transitions ``[T, l * w]``, as the data have them."""
        return torch.as_tensor(slots(data.transitions, self.lag, self.past))

    def features(self, states: Tensor, actions: Tensor) -> Tensor:
        """Features ``[..., q]``, in the frame's precision.

        Args:
            states: ``[..., l * w]``, see :mod:`persim_gym.learned.history`.
            actions: Integers ``[...]`` or ``[..., a]``; leading axes are broadcast.
        """
        inner = self.inward(states)
        return self.inner_features(inner, actions)

    def change(self, obs: Tensor, next_obs: Tensor) -> Tensor:
        """Scaled changes ``[..., c]`` between observations ``[..., d]``, in double precision."""
        return self.geometry.difference(obs, next_obs) / self.unit.double()

    def inward(self, states: Tensor) -> Tensor:
        """States ``[..., l * w]`` with inner coordinates ``[..., l * (b + c)]``."""
        return self.geometry.inward_states(states.to(self.unit), self.past)

    def inner_features(self, states: Tensor, actions: Tensor) -> Tensor:
        """Features ``[..., q]`` of states in inner coordinates; see :meth:`features`."""
        raw = _raw(self).of_inner(states, actions)
        if len(self.kept) < raw.shape[-1]:
            raw = raw[..., list(self.kept)]
        return ((raw - self.centre) / self.scale).clamp(self.low, self.high)

    def cut(
        self, next_obs: NDArray[Any], low: NDArray[Any], high: NDArray[Any]
    ) -> NDArray[np.int8]:
        """Which changes ``[n, c]`` a bound cut off: 1 an upper one, -1 a lower one, else 0.

        Args:
            next_obs: Observations after the changes ``[n, d]``.
            low: Lower bounds ``[d]``, may be infinite.
            high: Upper bounds ``[d]``.
        """
        columns = list(self.geometry.columns)
        own = next_obs[:, columns]
        found = (own >= high[columns]).astype(np.int8) - (own <= low[columns]).astype(np.int8)
        found[:, list(self.geometry.periodic)] = 0
        return found

    def between(self, low: NDArray[Any], high: NDArray[Any]) -> tuple[Tensor, Tensor]:
        """Least and largest features ``[q]`` of states between bounds ``[d]``."""
        columns = [self.geometry.columns[k] for k in self.geometry.plain]
        places = [place for place, column in enumerate(self.kept) if column < len(columns)]
        found = []
        for end, none in ((low, -torch.inf), (high, torch.inf)):
            features = torch.full_like(self.centre, none)
            known = torch.as_tensor(end[columns]).to(features)
            features[places] = known[[self.kept[place] for place in places]]
            found.append((features - self.centre) / self.scale)
        return found[0], found[1]

    # -- keeping --------------------------------------------------------------------------------

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Frame:
        """The same on a device, in a precision."""
        moved = {n: t.to(device, dtype or t.dtype) for n, t in self.tensors().items()}
        changed: dict[str, Any] = {**moved}
        return replace(self, **changed)

    def tensors(self) -> dict[str, Tensor]:
        """What is kept in a file, beside :meth:`to_json`."""
        return {n: getattr(self, n) for n in ("centre", "scale", "low", "high", "unit")}

    def to_json(self) -> dict[str, Any]:
        """Everything else, as plain types."""
        return {
            "geometry": self.geometry.to_json(),
            "lag": self.lag,
            "past": self.past,
            "choices": self.choices,
            "kept": list(self.kept),
        }

    @classmethod
    def from_parts(cls, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> Frame:
        """What :meth:`tensors` and :meth:`to_json` have given.

        Raises:
            KeyError: If something is missing.
            ValueError: If sizes do not fit together.
        """
        geometry = Geometry.from_json(plain["geometry"])
        lag, past, choices = (int(plain[name]) for name in ("lag", "past", "choices"))
        kept = tuple(int(k) for k in plain["kept"])
        parts = {name: tensors[name] for name in ("centre", "scale", "low", "high", "unit")}
        if len(parts["centre"]) != len(kept) or len(parts["unit"]) != geometry.size:
            raise ValueError("features, units and geometry are not of the same frame")
        return cls(geometry, lag, past, choices, kept, **parts)


class _Raw:
    """All features before scaling, constant ones included."""

    def __init__(self, geometry: Geometry, lag: int, past: int, choices: int) -> None:
        self.geometry, self.lag, self.past, self.choices = geometry, lag, past, choices
        self.plain, self.periodic = list(geometry.plain), list(geometry.periodic)
        self.every = not self.periodic
        first = len(self.plain)
        #: Columns of cosines and sines.
        self.turning = slice(first, first + 2 * len(self.periodic))

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        return self.of_inner(self.geometry.inward_states(states.double(), self.past), actions)

    def of_inner(self, states: Tensor, actions: Tensor) -> Tensor:
        c, past = self.geometry.size, self.past
        latest = states[..., -c:]
        parts = [latest if self.every else latest[..., self.plain]]
        if self.periodic:
            turned = latest[..., self.periodic]
            parts += [turned.cos(), turned.sin()]
        if self.lag > 1:
            slot = states.unflatten(-1, (self.lag, past + c)).flip(-2)  # the latest first
            inner = slot[..., past:]
            steps = self.geometry.between(inner[..., 1:, :], inner[..., :-1, :])
            parts.append(steps.flatten(-2))
            if past:
                parts.append(slot[..., :-1, :past].flatten(-2))
        acted = coded(actions, self.choices).to(states.dtype)
        # NumPy's is quicker; a graph knows its own sizes only.
        broadcast = torch.broadcast_shapes if torch.compiler.is_exporting() else np.broadcast_shapes
        lead = broadcast(states.shape[:-1], acted.shape[:-1])
        return torch.cat([p.expand(*lead, p.shape[-1]) for p in (*parts, acted)], dim=-1)


def _raw(frame: Frame) -> _Raw:
    return _Raw(frame.geometry, frame.lag, frame.past, frame.choices)
