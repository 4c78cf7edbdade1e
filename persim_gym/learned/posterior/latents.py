"""What is known of an agent whose latent enters a network nonlinearly: a Gaussian near its latent.

Near the most likely latent a network is linear in it (Laplace). What transitions say is then two
sums, as it is of models that are linear everywhere, and no transition has to be kept. Further
transitions begin from that Gaussian: the most likely latent is sought again with the network as it
is, and their sums are taken there.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from persim_gym.core import Array, Task
from persim_gym.learned.bounds import cutting_bounds
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.features.ensemble import FrameEnsemble
from persim_gym.learned.latent.data import LatentData, beyond
from persim_gym.learned.latent.network import LatentNetwork
from persim_gym.learned.latent.posterior import STARTS, posterior, tangent
from persim_gym.learned.posterior.agent import AgentPosterior, Given, check_rows
from persim_gym.learned.posterior.prior import Evidence, FactorModel, FactorPrior, rows_at_once


def prior_of_latents(ensemble: FrameEnsemble) -> FactorPrior:
    """The population's latents as the prior of a new agent's, in each member by itself."""
    network, unit = _network(ensemble), ensemble.frame.unit.double()
    mean, covariance = network.prior
    root = torch.linalg.cholesky(covariance.double())
    return FactorPrior(mean.double(), root, network.noise.double() * unit.square())


def _network(ensemble: FrameEnsemble) -> LatentNetwork:
    assert isinstance(ensemble.model, LatentNetwork)
    return ensemble.model


class LatentModel(FactorModel):
    """A network of latents as a regression that is linear near given ones, in double precision.

    Args:
        ensemble: The network in its frame; its agents are places to begin a search.
        prior: The population's, by :func:`prior_of_latents`.
    """

    def __init__(self, ensemble: FrameEnsemble, prior: FactorPrior) -> None:
        super().__init__(ensemble, prior)
        precise = ensemble.to(ensemble.device, torch.float64)
        self.frame, self.network = precise.frame, _network(precise)

    def personal(self, latents: Tensor) -> Tensor:
        """Latents ``[m, n, r]`` as personal numbers ``[m, n, q]``."""
        apart = latents.double() - self.prior.mean[:, None]
        return torch.linalg.solve_triangular(self.prior.root, apart.mT, upper=False).mT

    def near(self, w: Tensor, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """What personal numbers are multiplied to near ``w [m, n, q]``, and the change without.

        Args:
            w: Personal numbers of each row.
            states: ``[n, l * d]``.
            actions: ``[n(, a)]``.

        Returns:
            ``[m, n, c, q]`` and ``[m, n, c]``, in the data's units.
        """
        features = self.frame.features(states.double(), actions)
        design, change = self._tangent(w, features)
        return design, change - torch.einsum("mncq,mnq->mnc", design, w)

    def _tangent(self, w: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives by personal numbers ``w``, and changes there, in the data's units."""
        change, slope = tangent(self.network, self.prior.factors(w), features, self.frame)
        unit = self.frame.unit
        return (slope @ self.prior.root[:, None]) * unit[:, None], change * unit

    def rows(
        self, task: Task, agents: Tensor, states: Tensor, actions: Tensor, next_obs: Tensor, n: int
    ) -> LatentData:
        """Transitions as a fit has them: what a bound cut off counts one-sided.

        Args:
            task: Whose bounds they are.
            agents: ``[k]``, below ``n``.
            states: ``[k, l * d]``.
            actions: ``[k(, a)]``.
            next_obs: ``[k, d]``.
            n: Number of agents.
        """
        frame = self.frame
        cut = frame.cut(next_obs.cpu().numpy(), *cutting_bounds(task))
        if self.ensemble.effects is not None:
            self.ensemble.effects.mark_resets(cut)
        own, features = agents.cpu().numpy(), frame.features(states.double(), actions)
        changes = frame.change(states[:, -frame.obs_dim :].double(), next_obs.double())
        arrays = features.cpu().numpy(), changes.cpu().numpy()
        return LatentData(*arrays, own, own, n, cut=cut if cut.any() else None)

    def left(self, w: Tensor, rows: LatentData) -> tuple[Tensor, Tensor, Tensor]:
        """What personal numbers ``[m, k, q]`` of each row leave.

        Returns:
            Derivatives ``[m, k, c, q]`` and errors ``[m, k, c]`` in the data's units, and where
            a bound leaves nothing to be known ``[m, k, c]``.
        """
        place = w.device
        design, change = self._tangent(w, torch.as_tensor(rows.features, device=place))
        error = change - torch.as_tensor(rows.changes, device=place) * self.frame.unit
        if rows.cut is None:
            return design, error, torch.zeros_like(error, dtype=torch.bool)
        return design, error, beyond(error, torch.as_tensor(rows.cut, device=place))

    def standardised(self, w: Tensor, covariance: Tensor, rows: LatentData) -> Tensor:
        """Absolute errors ``[k, c]`` in standard deviations, nan where a bound hides them.

        Args:
            w: The agents' personal numbers ``[m, N', q]``.
            covariance: Theirs ``[m, N', q, q]``.
            rows: The transitions.
        """
        own = torch.as_tensor(rows.agents, device=w.device)
        sure = covariance.index_select(1, own)
        design, error, unknown = self.left(w.index_select(1, own), rows)
        within = torch.einsum("mncq,mnqp,mncp->mnc", design, sure, design)
        variance = (within + self.prior.noise[:, None]).mean(0) + error.var(0, correction=0)
        return (error.mean(0).abs() / variance.sqrt()).masked_fill(unknown.any(0), torch.nan)

    def curvature(self, w: Tensor, rows: LatentData) -> Evidence:
        """What transitions say of agents of personal numbers ``w [m, N', q]``: how sure they are.

        The information is left at zero; see :func:`around`.
        """
        agents = torch.as_tensor(rows.agents, device=w.device)
        found = Evidence.none(self.prior, w.shape[1])
        found.count += torch.bincount(agents, minlength=w.shape[1])
        for part in torch.arange(len(rows)).split(rows_at_once(self.prior)):
            own = agents[part.to(agents.device)]
            design, _, unknown = self.left(w.index_select(1, own), rows.select(part.numpy()))
            weight = ~unknown / self.prior.noise[:, None]
            found.precision.index_add_(1, own, (design * weight[..., None]).mT @ design)
        return found

    def most_likely(self, mean: Tensor, covariance: Tensor, rows: LatentData) -> Tensor:
        """The most likely personal numbers ``[m, q]`` of an agent after transitions.

        Args:
            mean: What was known of them before ``[m, q]``.
            covariance: ``[m, q, q]``.
            rows: The transitions, by :meth:`rows`.
        """
        root = self.prior.root
        known = self.network.with_tensors(
            prior_mean=self.prior.factors(mean), prior_covariance=root @ covariance @ root.mT
        )
        found, _ = posterior(known, rows, frame=self.frame, starts=STARTS)
        return self.personal(found)[:, 0]


def around(w: Tensor, evidence: Evidence) -> Evidence:
    """The same evidence with information by which ``w [m, n, q]`` are the most likely numbers.

    Agents without transitions have none.
    """
    information = w + torch.einsum("mnqp,mnp->mnq", evidence.precision, w)
    return replace(evidence, information=information * (evidence.count > 0)[:, None])


class LatentPosterior(AgentPosterior):
    """What is known of an agent's latent: a Gaussian a member, around the most likely one.

    Updates are exact as far as the network is linear between the latents before and after them.
    """

    _model: LatentModel

    def update(self, obs: Array, actions: Array, next_obs: Array) -> AgentPosterior:
        """Add transitions; see :meth:`AgentPosterior.update`."""
        checked = check_rows(self._model.ensemble, self._task, obs, actions, next_obs)
        if not len(checked[0]):
            return self
        own = torch.zeros(len(checked[0]), dtype=torch.long, device=checked[0].device)
        rows = self._model.rows(self._task, own, *checked, 1)
        w = self._model.most_likely(*self._moments(), rows)[:, None]
        new = self._model.curvature(w, rows)
        precision, information = self._evidence.precision, w
        if self._given is not None:
            given, said = self._given
            information = information + (given @ w[:, 0, :, None])[..., 0][:, None] - said[:, None]
        total = precision + new.precision
        information = information + torch.einsum("mnqp,mnp->mnq", total, w)
        self._evidence = Evidence(total, information, self._evidence.count + new.count)
        self._solved = None
        return self

    def draw(self, seed: int = 0) -> Tensor:
        """The most likely latent of each member ``[m, r]``, for any seed."""
        return self._model.prior.factors(self._moments()[0])

    def _design(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        w = self._moments()[0][:, None].expand(-1, len(states), -1)
        return self._model.near(w, states, actions)


def model_of(ensemble: Ensemble, prior: FactorPrior) -> FactorModel:
    """A model of one family, no mixture, as a regression on the personal numbers of ``prior``."""
    if isinstance(ensemble, FrameEnsemble) and isinstance(ensemble.model, LatentNetwork):
        return LatentModel(ensemble, prior)
    return FactorModel(ensemble, prior)


def posterior_of(
    model: FactorModel, task: Task, evidence: Evidence | None = None, given: Given | None = None
) -> AgentPosterior:
    """One agent's posterior in a model of one family."""
    if isinstance(model, LatentModel):
        return LatentPosterior(model, task, evidence, given)
    return AgentPosterior(model, task, evidence, given)
