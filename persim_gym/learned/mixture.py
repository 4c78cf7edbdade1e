"""Members of several models as one ensemble, whose mean is a convex mixture of theirs."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from persim_gym.learned.bounds import BoundEffects
from persim_gym.learned.ensemble import UNROLL_MODES, Change, Ensemble, UnrollMode
from persim_gym.learned.history import coded, moved


class MixtureEnsemble(Ensemble):
    """All members of several ensembles, each counted a whole number of times.

    The members' mean is then the mixture's, wherever a mean is taken, and a member that is drawn
    is one of a model with the model's weight. Each member goes on from its own prediction, and is
    computed once however often it counts. Models may have lags of their own: a state holds the
    longest past, and each sees what it knows.

    Args:
        parts: The ensembles, of the same agents and observations.
        times: How often the members of each count: weights are in proportion to ``times`` times
            the number of its members.

    Raises:
        ValueError: If parts and times do not fit together.
    """

    def __init__(self, parts: Sequence[Ensemble], times: Sequence[int]) -> None:
        if not parts or len(parts) != len(times) or any(n < 1 for n in times):
            raise ValueError(
                f"a mixture is of ensembles, each counted once or more, got {len(parts)} ensembles "
                f"and times {list(times)}"
            )
        first = parts[0]
        for part in parts:
            if (part.num_agents, part.obs_dim) != (first.num_agents, first.obs_dim):
                raise ValueError(
                    f"parts of a mixture are of the same agents and coordinates, got "
                    f"{part.num_agents} and {part.obs_dim} beside {first.num_agents} and "
                    f"{first.obs_dim}"
                )
        super().__init__(first.low, first.high)
        self.parts, self.times = tuple(parts), tuple(int(n) for n in times)
        known, index = 0, []
        for part, count in zip(self.parts, self.times, strict=True):
            index += list(range(known, known + part.members)) * count
            known += part.members
        #: Which of the computed members each member is ``[m]``.
        self._index = torch.tensor(index, device=first.device)
        self.members, self.num_agents = len(index), first.num_agents
        #: The largest of the parts'; factors of others are filled up with zeros.
        self.rank = max(part.rank for part in self.parts)
        self.lag = max(part.lag for part in self.parts)
        self.past = max(part.past for part in self.parts)
        self.widths = max((part.widths for part in self.parts), key=sum)
        self.linear = all(part.linear for part in self.parts)
        # A part that knows of angles, if there is one: means are of its inner coordinates.
        self._finest = next((part for part in self.parts if part.turning), first)
        self.turning = self._finest.turning

    @property
    def limits(self) -> tuple[Tensor, Tensor]:
        """Lower and upper bounds of observations ``[d]``, ``[d]``."""
        return self.parts[0].limits

    # -- sizes ----------------------------------------------------------------------------------

    @property
    def obs_dim(self) -> int:
        """Coordinates ``d`` of an observation."""
        return self.parts[0].obs_dim

    # -- making others --------------------------------------------------------------------------

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> MixtureEnsemble:
        """The same on a device, in a precision."""
        moved_ = [part.to(device, dtype if part.precise else None) for part in self.parts]
        return MixtureEnsemble(moved_, self.times)

    def with_effects(self, effects: BoundEffects | None) -> MixtureEnsemble:
        """The same with what happens at bounds, in all parts."""
        return MixtureEnsemble([part.with_effects(effects) for part in self.parts], self.times)

    def agent_factors(self) -> Tensor:
        """The agents' factors ``[m, N, r]``, filled up with zeros."""
        return self.filled([part.agent_factors() for part in self.parts])

    def with_factors(self, factors: Tensor) -> MixtureEnsemble:
        """The same model for agents of other factors ``[m, N', r]``."""
        known = [
            part.with_factors(factors[own][: part.members, :, : part.rank])
            for part, own in zip(self.parts, self._slices(), strict=True)
        ]
        return MixtureEnsemble(known, self.times)

    def _slices(self) -> list[slice]:
        """Members of each part, as often as they count."""
        found, first = [], 0
        for part, count in zip(self.parts, self.times, strict=True):
            found.append(slice(first, first + count * part.members))
            first += count * part.members
        return found

    def filled(self, values: Sequence[Tensor]) -> Tensor:
        """Values of each part's members ``[m, ..., r]``, filled up with zeros and counted."""
        missing = [self.rank - value.shape[-1] for value in values]
        pad = torch.nn.functional.pad
        filled = [pad(value, (0, more)) for value, more in zip(values, missing, strict=True)]
        return torch.cat([value.to(filled[0]) for value in filled])[self._index]

    # -- one step -------------------------------------------------------------------------------

    def seen_by(self, part: Ensemble, states: Tensor) -> Tensor:
        """What a part knows of states ``[..., l * w]``."""
        slot = states.unflatten(-1, (self.lag, -1))[..., self.lag - part.lag :, :]
        return slot[..., self.past - part.past :].flatten(-2)

    def design(self, states: Tensor, actions: Tensor) -> Tensor:
        """What an agent's factor is multiplied to, filled up with zeros."""
        return self.filled([p.design(self.seen_by(p, states), actions) for p in self.parts])

    def offset(self) -> Tensor:
        """The change that no factor has a part in ``[m, 1, d]``."""
        parts = [p.offset().expand(p.members, 1, -1) for p in self.parts]
        return torch.cat([part.to(parts[0]) for part in parts])[self._index]

    def difference(self, states: Tensor, next_obs: Tensor) -> Tensor:
        """Changes of the inner coordinates that the parts share."""
        return self._finest.difference(states, next_obs)

    def following(self, states: Tensor, change: Tensor) -> Tensor:
        """Observations after such changes."""
        return self._finest.following(states, change)

    def _unsettled(self, agents: Tensor, states: Tensor, actions: Tensor) -> Tensor:
        if states.ndim == 2:
            each = [p._unsettled(agents, self.seen_by(p, states), actions) for p in self.parts]
            return torch.cat(each)[self._index]
        found = []
        for part, own in zip(self.parts, self._slices(), strict=True):
            for some in self.seen_by(part, states[own]).split(part.members):
                found.append(part._unsettled(agents, some, actions))
        return torch.cat(found)

    def settle(self, obs: Tensor) -> Tensor:
        """Members' predictions ``[m, ..., d]`` put back into their space."""
        pieces = zip(self.parts, self._slices(), strict=True)
        return torch.cat([part.settle(obs[own]) for part, own in pieces])

    # -- many steps -----------------------------------------------------------------------------

    @torch.no_grad()
    def unroll(
        self, agents: Tensor, states: Tensor, actions: Tensor, mode: UnrollMode = "members"
    ) -> Generator[Tensor, Tensor | None, None]:
        """Open-loop predictions; see :meth:`Ensemble.unroll`."""
        if mode not in UNROLL_MODES:
            raise ValueError(f"mode must be one of {', '.join(UNROLL_MODES)}, got {mode!r}")
        if mode == "mean":
            return self._unroll_mean(agents, states, actions)
        return self._unroll_members(agents, states, actions, sampled=mode == "sampled")

    def _unroll_members(
        self, agents: Tensor, states: Tensor, actions: Tensor, *, sampled: bool
    ) -> Generator[Tensor, Tensor | None, None]:
        p, k, h = actions.shape[:3]
        steps = [part.unroll(agents, self.seen_by(part, states), actions) for part in self.parts]
        member = self._index[torch.arange(k, device=actions.device) % self.members].expand(p, k)
        kept: Tensor | None = None
        for _ in range(h):
            each = [next(s) if kept is None else s.send(kept) for s in steps]
            obs = torch.cat([part.to(each[0]) for part in each])
            if sampled:
                kept = yield obs.gather(0, member[None, :, :, None].expand(1, *obs.shape[1:]))
                member = member if kept is None else member.gather(1, kept)
            else:
                kept = yield obs[self._index]

    def _unroll_mean(
        self, agents: Tensor, states: Tensor, actions: Tensor
    ) -> Generator[Tensor, Tensor | None, None]:
        p, k, h = actions.shape[:3]
        choices = 0 if actions.is_floating_point() else self.past + 1
        own = states.unflatten(1, (self.lag, -1)).repeat_interleave(k, 0)
        acted = actions
        for t in range(h):
            k = acted.shape[1]
            action = acted[:, :, t].flatten(0, 1)
            flat = own.flatten(1)
            obs = self.step(agents.repeat_interleave(k), flat, action)
            kept = yield obs.unflatten(1, (p, k))
            mean = self.following(flat, self.difference(flat, obs).mean(0))
            own = moved(own, coded(action, choices)[:, : self.past], mean)
            if kept is not None:
                rows = (torch.arange(p, device=kept.device)[:, None] * k + kept).flatten()
                own = own[rows]
                acted = torch.take_along_dim(
                    acted, kept.view(*kept.shape, *[1] * (acted.ndim - 2)), 1
                )

    def _change(self, agents: Tensor, actions: Tensor, *, together: bool) -> Change:
        raise TypeError("the parts of a mixture are unrolled each by itself")

    # -- keeping --------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """Those of the parts, by number."""
        found: dict[str, Tensor] = {}
        for number, part in enumerate(self.parts):
            own = part.tensors()
            if part.effects is not None:
                own |= {f"effects.{name}": t for name, t in part.effects.tensors().items()}
            found |= {f"mixture.{number}.{name}": tensor for name, tensor in own.items()}
        return found

    def to_json(self) -> dict[str, Any]:
        """Kind, parts and how often they count, as plain types."""
        parts = [part.to_json() for part in self.parts]
        return {"kind": "mixture", "parts": parts, "times": list(self.times)}


def parts_of(tensors: Mapping[str, Tensor]) -> list[dict[str, dict[str, Tensor]]]:
    """Tensors of :meth:`MixtureEnsemble.tensors`, by part, kind and name."""
    found: dict[int, dict[str, dict[str, Tensor]]] = {}
    for name, tensor in tensors.items():
        number, kind, rest = name.split(".", 2)
        found.setdefault(int(number), {}).setdefault(kind, {})[rest] = tensor
    return [found[number] for number in sorted(found)]
