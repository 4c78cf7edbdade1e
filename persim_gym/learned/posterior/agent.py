"""What is known of one agent's factor: a Bayesian linear regression, exact as data arrive."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.core import Array, Task
from persim_gym.learned.bounds import cutting_bounds
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.inputs import check_actions, flat_states, real_numbers
from persim_gym.learned.posterior.prior import Evidence, FactorModel, moments, solve

#: Known of an agent by other means than transitions: precision and information ``[m, q(, q)]``.
Given = tuple[Tensor, Tensor]


class AgentPosterior:
    """What is known of one agent's factor: a Gaussian a member, and how it changes with data.

    :meth:`PerSim.posterior` makes them. Updating one does not touch the simulator:
    :meth:`PerSim.update` does both.

    Args:
        model: The fitted model and its prior.
        task: Spaces of observations and actions.
        evidence: What the agent's transitions say (of one agent).
        given: What else is known of the agent.
    """

    def __init__(
        self,
        model: FactorModel,
        task: Task,
        evidence: Evidence | None = None,
        given: Given | None = None,
    ) -> None:
        self._model = model
        self._task = task
        self._evidence = Evidence.none(model.prior, 1) if evidence is None else evidence
        self._given = given
        self._solved: tuple[Tensor, Tensor] | None = None

    @property
    def count(self) -> int:
        """Transitions that it has seen; in linear models without those that end on a bound."""
        return int(self._evidence.count[0])

    @property
    def evidence(self) -> Evidence:
        """What the transitions say, without the prior: precision, information and count."""
        return self._evidence

    @property
    def given(self) -> Given | None:
        """What is known by other means than transitions: precision and information."""
        return self._given

    def update(self, obs: Array, actions: Array, next_obs: Array) -> AgentPosterior:
        """Add transitions; the order, and whether they come together, makes no difference.

        Transitions that end on a bound of the observation space are left out: there the
        environment has cut off what the dynamics did. Networks with latents learn of them what
        they say.

        Args:
            obs: ``[n, d]``; with a lag above 1 states, which :meth:`PerSim.states` makes.
            actions: ``[n]`` integers or ``[n, a]``.
            next_obs: ``[n, d]``.

        Returns:
            Itself.

        Raises:
            TypeError: If discrete actions are no integers.
            ValueError: If shapes do not fit the task, or a value is not finite or out of range.
        """
        ensemble = self._model.ensemble
        states, acts, following = off_bounds(
            self._task, *check_rows(ensemble, self._task, obs, actions, next_obs)
        )
        change = ensemble.difference(states, following)
        own = torch.zeros(len(states), dtype=torch.long, device=states.device)
        self._evidence.add(self._model.evidence(own, states, acts, change, 1))
        self._solved = None
        return self

    def _moments(self) -> tuple[Tensor, Tensor]:
        if self._solved is None:
            given = None
            if self._given is not None:
                given = self._given[0][:, None], self._given[1][:, None]
            mean, covariance = solve(self._model.prior, self._evidence, given)
            self._solved = mean[:, 0], covariance[:, 0]
        return self._solved

    def _design(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """What the personal numbers are multiplied to, and the change where they are zero."""
        return self._model.design(states, actions)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean factor of each member ``[m, r]``."""
        mean, _ = self._moments()
        return _array(self._model.prior.factors(mean))

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance of the factor of each member ``[m, r, r]``."""
        _, covariance = self._moments()
        root = self._model.prior.root
        return _array(root @ covariance @ root.mT)

    @property
    def personal(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means and standard deviations of the personal numbers ``[m, q]``.

        A factor is the population's mean and a root of its covariance times these numbers: for
        the population they have mean 0 and standard deviation 1.
        """
        mean, covariance = self._moments()
        return _array(mean), _array(covariance.diagonal(dim1=-2, dim2=-1).sqrt())

    @property
    def deviation(self) -> float:
        """Mean standard deviation of the personal numbers, in units of the population's own.

        1 before any transition, 0 where the agent is known exactly.
        """
        variance = self._moments()[1].diagonal(dim1=-2, dim2=-1)
        return float(variance.sqrt().mean()) if variance.numel() else 0.0

    def draw(self, seed: int = 0) -> Tensor:
        """A factor for each member ``[m, r]``: draws whose mean over members is kept.

        The members' standard deviation is then the posterior's, and their mean predicts as well as
        the posterior's mean does. A seed means the same random numbers after every update.
        """
        mean, covariance = self._moments()
        m, q = self._model.members, mean.shape[1]
        if m > 1 and q > 0:
            noise = np.random.default_rng([seed, 7]).standard_normal((m, q))
            values, vectors = torch.linalg.eigh(covariance)
            draws = torch.as_tensor(noise, device=mean.device)
            # The symmetric root: members' draws stay comparable, so that they cancel.
            root = (vectors * values.clamp_min(0.0).sqrt()[:, None]) @ vectors.mT
            draws = (root @ draws[..., None])[..., 0]
            mean = mean + (draws - draws.mean(0)) * (m / (m - 1)) ** 0.5
        return self._model.prior.factors(mean.expand(m, q))

    def interval(
        self, obs: Array, actions: Array, level: float = 0.9
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Interval that holds an agent's next observation with a probability, one step ahead.

        Each coordinate on its own, inside the observation space.

        Args:
            obs: As in :meth:`update`.
            actions: As in :meth:`update`.
            level: The probability, above 0 and below 1.

        Returns:
            Lower and upper ends ``[n, d]``.

        Raises:
            ValueError: If an argument is invalid.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"level must be above 0 and below 1, got {level!r}")
        states, acts, _ = check_rows(self._model.ensemble, self._task, obs, actions, None)
        prior = self._model.prior
        change, variance = moments(*self._design(states, acts), *self._moments(), prior)
        half = prior.quantile(level, self.count) * variance.sqrt()
        following = self._model.ensemble.following
        ends = torch.stack([following(states, change + side * half) for side in (-1, 0, 1)])
        space = self._task.observation_space
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        found = _array(ends.amin(0)), _array(ends.amax(0))
        return np.clip(found[0], low, high), np.clip(found[1], low, high)


def check_rows(
    ensemble: Ensemble, task: Task, obs: Array, actions: Array, next_obs: Array | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Transitions ``[n, l * w]``, ``[n(, a)]``, ``[n, d]`` in double precision, checked.

    Raises:
        TypeError: If values are no real numbers, or discrete actions no integers.
        ValueError: If shapes do not fit, or a value is not finite or out of range.
    """
    d, device = ensemble.obs_dim, ensemble.device
    found = _tensor("obs", obs, device).double()
    if ensemble.lag > 1 and found.shape[1:] == (d,):  # their past is unknown
        raise ValueError(
            f"transitions of a simulator with a past of {ensemble.lag} observations need it: "
            f"states(obs, actions) makes obs of shape (n, {ensemble.lag}, {d + ensemble.past}), "
            "and states_of(data) those of recorded transitions"
        )
    states = flat_states(ensemble, found)
    n = len(states)
    following = states[:, -d:]
    if next_obs is not None:
        following = _tensor("next_obs", next_obs, device).double()
    if following.shape != (n, d):
        raise ValueError(f"next_obs must have shape {(n, d)}, got {tuple(following.shape)}")
    acts = check_actions(task, _tensor("actions", actions, device), n, "n")
    for name, values in (("obs", states), ("actions", acts), ("next_obs", following)):
        if not torch.isfinite(values).all():
            raise ValueError(f"{name} must be finite: leave such transitions out")
    return states, acts, following


def off_bounds(
    task: Task, states: Tensor, actions: Tensor, next_obs: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Those of some transitions that do not end on a bound of the observation space."""
    low, high = (torch.as_tensor(bound).to(next_obs) for bound in cutting_bounds(task))
    kept = ((next_obs > low) & (next_obs < high)).all(1)
    return states[kept], actions[kept], next_obs[kept]


def _tensor(name: str, values: Array, device: torch.device) -> Tensor:
    values = real_numbers(name, values)
    if isinstance(values, Tensor):
        return values.to(device)
    return torch.as_tensor(np.array(values), device=device)  # a copy: it may be read-only


def _array(values: Tensor) -> NDArray[np.float64]:
    return np.asarray(values.cpu().numpy(), dtype=np.float64)
