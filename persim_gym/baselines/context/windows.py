"""What CaDM's networks are fitted on: windows of past and future transitions, in units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray
from torch import Tensor

from persim_gym import checks
from persim_gym.baselines.context.network import Batch
from persim_gym.core import Task
from persim_gym.learned.data import on_bounds
from persim_gym.learned.history import coded
from persim_gym.offline.transitions import Transitions

#: Coordinates that are no input and are predicted themselves, not by their change. HalfCheetah's
#: first one is a mean velocity over the last step: nothing depends on it.
DIRECT = {"half-cheetah": (0,)}

#: Transitions whose units are measured at most: more of them say nothing new.
MEASURED = 200_000

#: Most windows that are held out.
HELD = 5000


def choices_of(space: Any) -> int:
    """Number of discrete actions; 0 where actions are continuous."""
    return int(space.n) if isinstance(space, Discrete) else 0


@dataclass(frozen=True, slots=True)
class Units:
    """Units of the networks, and how states are seen: angles as sine and cosine.

    Attributes:
        state: Mean and scale of what is seen of a state ``[2, in]``.
        action: Mean and scale of an action ``[2, b]``.
        change: Mean and scale of what is predicted ``[2, d]``.
        back: The same of what is predicted backward ``[2, d]``.
        stay: 1 for a coordinate that is predicted by its change, 0 for one predicted itself
            ``[d]``.
        angles: Coordinates in radians that go round.
    """

    state: Tensor
    action: Tensor
    change: Tensor
    back: Tensor
    stay: Tensor
    angles: tuple[int, ...] = ()

    @classmethod
    def measure(cls, data: Transitions, task: Task, *, absolute: bool = False) -> Units:
        """Units of some data.

        Discrete actions, which are coded with a column for each but the first, stay as they are.

        Args:
            data: The data.
            task: Their task.
            absolute: Scales are mean absolute deviations, not standard deviations.
        """
        stay = torch.ones(data.obs.shape[1], dtype=torch.float32)
        stay[list(DIRECT.get(task.name, ()))] = 0.0
        angles = tuple(getattr(task, "angles", ()))
        free = np.flatnonzero(free_rows(data, task))
        rows = free[np.linspace(0, len(free) - 1, min(len(free), MEASURED)).astype(np.int64)]
        obs = torch.as_tensor(data.obs[rows])
        change, back = changes(data, rows, stay)
        choices = choices_of(task.action_space)
        acted = coded(torch.as_tensor(data.action[rows]), choices)
        action = _moments(acted, absolute)
        if choices:
            action = torch.stack([torch.zeros_like(action[0]), torch.ones_like(action[1])])
        return cls(
            state=_moments(_features(obs, stay, angles), absolute),
            action=action,
            change=_moments(change, absolute),
            back=_moments(back, absolute),
            stay=stay,
            angles=angles,
        )

    def seen(self, obs: Tensor) -> Tensor:
        """Observations ``[..., d]`` as the models see them ``[..., in]``."""
        return (self.features(obs) - self.state[0]) / self.state[1]

    def features(self, obs: Tensor) -> Tensor:
        """What is seen of observations ``[..., d]``, in the data's units ``[..., in]``."""
        return _features(obs, self.stay, self.angles)

    def acted(self, actions: Tensor) -> Tensor:
        """Coded actions ``[..., b]`` as the models see them."""
        return (actions - self.action[0]) / self.action[1]

    def past(self, steps: Tensor) -> Tensor:
        """Changes and coded actions ``[..., d + b]`` as the encoder sees them; 0 stays 0.

        Original: there the changes are left as they are. MountainCar's are some hundredths, of
        which the encoder would see next to nothing.
        """
        scale = torch.where(self.stay > 0, self.change[1], self.back[1])
        return steps / torch.cat([scale, torch.ones_like(self.action[1])])

    def following(self, obs: Tensor, predicted: Tensor) -> Tensor:
        """Observations after ``[..., d]`` by what the forward model predicts."""
        return obs * self.stay + (predicted * self.change[1] + self.change[0])

    def tensors(self) -> dict[str, Tensor]:
        """What there is, by name."""
        return {name: getattr(self, name) for name in ("state", "action", "change", "back", "stay")}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], angles: tuple[int, ...]) -> Units:
        """Units from what :meth:`tensors` gave."""
        return cls(**tensors, angles=angles)

    def to(self, device: torch.device | str) -> Units:
        """The same on a device."""
        return self.of({k: t.to(device) for k, t in self.tensors().items()}, self.angles)


def changes(data: Transitions, rows: Any, stay: Tensor) -> tuple[Tensor, Tensor]:
    """What is predicted of some transitions, forward and backward: ``[k, d]``, ``[k, d]``."""
    change = torch.as_tensor(data.change(rows).astype(np.float32))
    forward = torch.where(stay > 0, change, torch.as_tensor(data.next_obs[rows]))
    return forward, torch.where(stay > 0, -change, torch.as_tensor(data.obs[rows]))


def _features(obs: Tensor, stay: Tensor, angles: tuple[int, ...]) -> Tensor:
    plain = [i for i, stays in enumerate(stay.tolist()) if stays and i not in angles]
    if len(plain) == obs.shape[-1]:
        return obs
    turned = obs[..., list(angles)]
    return torch.cat([obs[..., plain], turned.sin(), turned.cos()], dim=-1)


def _moments(values: Tensor, absolute: bool) -> Tensor:
    """Mean and scale ``[2, w]``; the scale is 1 where a column is constant."""
    values = values.double()
    mean = values.mean(0)
    apart = (values - mean).abs()
    scale = apart.mean(0) if absolute else apart.square().mean(0).sqrt()
    scale = torch.where(scale < 1e-12, 1.0, scale)
    return torch.stack([mean, scale]).float()


def free_rows(data: Transitions, task: Task) -> NDArray[np.bool_]:
    """Transitions that do not end on a bound of the space ``[T]``; all where none is left.

    At a bound the environment has cut off what the dynamics did. As PerSim does, networks learn
    from the others, and what goes with a bound is learned from these (``known_models.walls``).
    """
    free = ~on_bounds(data, task)
    return free if free.any() else np.ones_like(free)


class Windows:
    """Windows of some data: a past of ``history`` transitions, and ``future`` ones after it.

    A *pair* is a transition with the past of the window that it lies in. Windows are cut into
    pairs, as in the authors' code, so that one context serves all of a window's transitions.

    Args:
        data: The data.
        task: Their task.
        units: Units of the networks.
        history: Transitions ``H`` of a past.
        future: Transitions ``K`` that a window goes on for, at most.
        device: Where to.
    """

    def __init__(
        self,
        data: Transitions,
        task: Task,
        units: Units,
        history: int,
        future: int,
        device: torch.device,
    ) -> None:
        n, d = data.obs.shape
        checks.enough_memory(
            f"windows of {n} transitions", 8 * n * (future + 4 * d), "give fewer of them"
        )
        every = slice(None)
        own = units.to("cpu")
        self.history, self.future, self.device = history, future, device
        acted = coded(torch.as_tensor(data.action), choices_of(task.action_space)).reshape(n, -1)
        forward, back = changes(data, every, own.stay)
        moved = torch.as_tensor(data.next_obs - data.obs)
        # What stands before an episode's beginning is a row of zeros, the last one.
        steps = own.past(torch.cat([moved, acted.float()], dim=1))
        self._steps = torch.cat([steps, steps.new_zeros(1, steps.shape[1])]).to(device)
        parts = [
            own.seen(torch.as_tensor(data.obs)),
            own.acted(acted.float()),
            (forward - own.change[0]) / own.change[1],
            own.seen(torch.as_tensor(data.next_obs)),
            (back - own.back[0]) / own.back[1],
        ]
        self._widths = [part.shape[1] for part in parts]
        self._rows = torch.cat(parts, dim=1).to(device)  # side by side: a batch is one indexing
        self._first = torch.as_tensor(np.repeat(data.starts, data.lengths)).to(device)
        self._end = torch.as_tensor(np.repeat(data.starts + data.lengths, data.lengths)).to(device)
        self._free = torch.as_tensor(free_rows(data, task)).to(device)

    def __len__(self) -> int:
        """Number of windows: each transition begins one."""
        return len(self._rows)

    def pairs(self, windows: NDArray[np.bool_]) -> Tensor:
        """The pairs of some windows ``[T]``: rows of window and transition ``[q, 2]``."""
        first = torch.as_tensor(np.flatnonzero(windows)).to(self._end.device)
        rows = first[:, None] + torch.arange(self.future, device=first.device)
        inside = rows < self._end[first][:, None]
        inside &= self._free[rows.clamp(max=len(self) - 1)]
        whose = first[:, None].expand_as(rows)
        return torch.stack([whose[inside], rows[inside]], dim=1)

    def known(self, pairs: Tensor) -> Tensor:
        """Transitions of the past that each of some pairs ``[..., 2]`` has: ``[...]``, 0 to H."""
        window = pairs[..., 0]
        return (window - self._first[window]).clamp(max=self.history)

    def batch(self, pairs: Tensor, worth: Tensor | None = None) -> Batch:
        """A batch of pairs.

        Args:
            pairs: Those of each member ``[m, n, 2]``.
            worth: Weights of pasts by their length ``[H + 1]``; all alike by default.
        """
        m, n, _ = pairs.shape
        window, row = pairs[..., 0].flatten(), pairs[..., 1].flatten()
        past = window[:, None] + torch.arange(-self.history, 0, device=window.device)
        past = torch.where(past < self._first[window][:, None], len(self), past)

        history = self._steps.index_select(0, past.flatten()).view(m, n, -1)
        found = self._rows.index_select(0, row).view(m, n, -1)
        weights = None if worth is None else worth[self.known(pairs)][..., None]
        parts = found.split(self._widths, dim=-1)
        return replace(Batch(history, *parts), worth=weights)


def hold_out(count: int, fraction: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Windows that are held out: a mask ``[count]`` of a share of them, :data:`HELD` at most."""
    held = np.zeros(count, dtype=np.bool_)
    held[rng.permutation(count)[: min(HELD, int(fraction * count))]] = True
    return held
