"""An ensemble of low-rank models in a polynomial basis: what closed-form fitting finds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from persim_gym.learned.bounds import BoundEffects
from persim_gym.learned.closed_form.basis import Inputs, Monomials
from persim_gym.learned.closed_form.evaluation import Evaluation
from persim_gym.learned.ensemble import Change, Ensemble


class PolynomialEnsemble(Ensemble):
    """Members ``change_d = scale_d * sum_r v_r(agent) phi(state) . W[action, r, :, d]``.

    Args:
        inputs: Units of states and continuous actions.
        monomials: The basis ``phi``, of ``P`` monomials.
        weights: ``[m, A, r, P, d]``; one action ``A`` where actions are continuous.
        factors: The agents' factors ``[m, N, r]``.
        scale: Units of the changes ``[d]``.
        low: Lower bounds of observations ``[d]``, may be infinite.
        high: Upper bounds ``[d]``.
        discrete: Whether actions are discrete; continuous ones are the last inputs.
        lag: Observations that a state holds.
        past: Numbers of the past action that it holds with each.
        effects: What going over a bound does, where that was learned.
    """

    precise = True

    def __init__(
        self,
        inputs: Inputs,
        monomials: Monomials,
        weights: Tensor,
        factors: Tensor,
        scale: Tensor,
        low: Tensor,
        high: Tensor,
        *,
        discrete: bool,
        lag: int = 1,
        past: int = 0,
        effects: BoundEffects | None = None,
    ) -> None:
        super().__init__(low, high, effects)
        self.inputs = inputs
        self.monomials = monomials
        self.weights = weights
        self.factors = factors
        self.scale = scale
        self.discrete = discrete
        self.lag, self.past = lag, past
        self.members, self.num_agents, self.rank = factors.shape
        self.widths = (inputs.size, monomials.size, weights.shape[1] * len(low))

    def to(
        self, device: torch.device | str, dtype: torch.dtype | None = None
    ) -> PolynomialEnsemble:
        """The same on a device, in a precision."""
        dtype = dtype or self.weights.dtype
        names = ("weights", "factors", "scale", "low", "high")
        return self._with(
            **{name: getattr(self, name).to(device, dtype) for name in names},
            inputs=self.inputs.to(device, dtype),
            effects=None if self.effects is None else self.effects.to(device, dtype),
        )

    def agent_factors(self) -> Tensor:
        """The agents' factors ``[m, N, r]``; the first is 1."""
        return self.factors

    def with_factors(self, factors: Tensor) -> PolynomialEnsemble:
        """The same model for agents of other factors ``[m, N', r]``."""
        factors = factors.to(self.device, self.weights.dtype)
        return self._with(factors=factors, num_agents=factors.shape[1])

    def features(self, states: Tensor, actions: Tensor) -> Tensor:
        """Monomials ``[..., P, n]`` of states ``[..., n, in]`` and actions ``[n(, a)]``."""
        values = states[..., self.past :].to(self.weights.dtype)  # but what was done first
        if not self.discrete:
            acted = actions.to(values.dtype).expand(*values.shape[:-1], actions.shape[-1])
            values = torch.cat([values, acted], dim=-1)
        return self.monomials(self.inputs(values))

    @torch.no_grad()
    def design(self, states: Tensor, actions: Tensor) -> Tensor:
        """What an agent's factor is multiplied to, ``[m, n, d, r]``."""
        m, choices, r, p, d = self.weights.shape
        phi = self.features(states, actions)
        flat = self.weights.permute(0, 1, 2, 4, 3).reshape(m, choices * r * d, p)
        every = (flat @ phi).view(m, choices, r, d, -1)
        if choices > 1:
            index = actions.expand(m, 1, r, d, -1)
            every = every.gather(1, index)
        return every[:, 0].permute(0, 3, 2, 1) * self.scale[:, None]

    def offset(self) -> Tensor:
        """The change that no factor has a part in ``[d]``: none."""
        return torch.zeros_like(self.scale)

    @torch.no_grad()
    def _unsettled(self, agents: Tensor, states: Tensor, actions: Tensor) -> Tensor:
        if states.ndim == 2:
            design = self.design(states, actions)
        else:  # each member from states of its own
            each = [self._member(number).design(own, actions) for number, own in enumerate(states)]
            design = torch.cat(each)
        change = (design * self.factors[:, agents, None, :]).sum(-1)
        return (states[..., -self.obs_dim :] + change).to(states.dtype)

    def _member(self, number: int) -> PolynomialEnsemble:
        one = slice(number, number + 1)
        return self._with(weights=self.weights[one], factors=self.factors[one], members=1)

    def _change(self, agents: Tensor, actions: Tensor, *, together: bool) -> Change:
        return _PersonalChange(self, agents, actions, together=together)

    def tensors(self) -> dict[str, Tensor]:
        """Weights, factors and units, by name."""
        found = {f"polynomial.{n}": getattr(self, n) for n in ("weights", "factors", "scale")}
        found |= {"polynomial.low": self.low, "polynomial.high": self.high}
        found |= {f"inputs.{name}": tensor for name, tensor in self.inputs.tensors().items()}
        return found

    def to_json(self) -> dict[str, Any]:
        """Kind and sizes as plain types."""
        return {
            "kind": "polynomial",
            "monomials": self.monomials.to_json(),
            "angles": list(self.inputs.angles),
            "discrete": self.discrete,
            "lag": self.lag,
            "past": self.past,
        }

    @classmethod
    def from_file(
        cls, shape: Mapping[str, Any], tensors: Mapping[str, Tensor], units: Mapping[str, Tensor]
    ) -> PolynomialEnsemble:
        """What :meth:`tensors` (``polynomial`` and ``inputs``) and :meth:`to_json` have given.

        Raises:
            KeyError: If something is missing.
            ValueError: If sizes do not fit together.
        """
        monomials = Monomials.from_json(shape["monomials"])
        inputs = Inputs(**units, angles=tuple(shape["angles"]))
        if tensors["weights"].shape[3] != monomials.size or (
            monomials.exponents.shape[1] != inputs.size
        ):
            raise ValueError("weights, basis and inputs are not of the same model")
        return cls(
            inputs,
            monomials,
            *(tensors[name] for name in ("weights", "factors", "scale", "low", "high")),
            discrete=bool(shape["discrete"]),
            lag=int(shape["lag"]),
            past=int(shape.get("past", 0)),
        )


class _PersonalChange:
    """An agent's factors are multiplied into the weights: what is left is one product a step.

    Coordinates stand before rows, and every step works in the same memory. Of discrete actions the
    first one's change is there in any case, and the others' differences from it are added where
    they are taken.
    """

    def __init__(
        self, ensemble: PolynomialEnsemble, agents: Tensor, actions: Tensor, *, together: bool
    ) -> None:
        m, choices, _, monomials, d = ensemble.weights.shape
        self.p, self.k = actions.shape[1:3]
        self.m, self.d, self.choices = m, d, choices
        self.ensemble, self.together = ensemble, together
        own = ensemble.factors[:, agents]
        ordered = (ensemble.weights * ensemble.scale)[:, :, :, ensemble.monomials.order.order]
        personal = torch.einsum("mnr,marpd->mnadp", own, ordered)
        personal[:, :, 1:] -= personal[:, :, :1]
        if together:  # members see the same monomials: theirs is one product
            self.weight = personal.transpose(0, 1).reshape(self.p, m * choices * d, monomials)
        else:
            self.weight = personal.reshape(m * self.p, choices * d, monomials)
        if ensemble.discrete:
            # For each time and action 1 where it is taken.
            order = actions.permute(3, 0, 1, 2)[:, None] == torch.arange(
                1, choices, device=actions.device
            ).view(-1, 1, 1, 1)
            self.taken = order.to(self.weight.dtype)[..., None, :]  # [h, A - 1, m or 1, p, 1, k]
        else:
            order = actions.permute(3, 0, 1, 4, 2)
            self.taken = order.to(self.weight.dtype)  # [h, m or 1, p, a, k]
        self._allocate()

    def _allocate(self) -> None:
        e = self.ensemble
        batches = self.p if self.together else self.m * self.p
        self.evaluation = Evaluation(e.inputs, e.monomials, batches, self.k)
        self.every = self.weight.new_empty(batches, self.weight.shape[1], self.k)
        if self.together:
            every = self.every.view(self.p, self.m, self.choices, self.d, self.k).transpose(0, 1)
        else:
            every = self.every.view(self.m, self.p, self.choices, self.d, self.k)
        self.change, *self.others = every.unbind(2)

    def keep(self, columns: Tensor) -> None:
        index = columns[:, :, None]  # before these stand times, and actions where discrete
        index = index.view(*[1] * (self.taken.ndim - index.ndim), *index.shape)
        self.taken = torch.take_along_dim(self.taken, index, -1)
        self.k = columns.shape[2]
        self._allocate()

    def __call__(self, states: Tensor, t: int) -> Tensor:
        values = states[:, :, self.ensemble.past :]
        if not self.ensemble.discrete:
            taken = self.taken[t].expand(len(states), -1, -1, -1)
            values = torch.cat([values, taken.to(states.dtype)], dim=2)
        torch.bmm(self.weight, self.evaluation(values.flatten(0, 1)), out=self.every)
        if self.others:
            for other, taken in zip(self.others, self.taken[t].unbind(0), strict=True):
                self.change.addcmul_(other, taken)
        return self.change.to(states.dtype)
