"""New agents in every family: known worlds, files, environments, and what a family cannot do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from persim_gym.learned import PerSim
from persim_gym.learned.data import Data
from persim_gym.learned.features.ensemble import FrameEnsemble
from persim_gym.learned.hierarchical.model import HierarchicalModel
from persim_gym.learned.mixture import MixtureEnsemble
from persim_gym.learned.posterior.agent import AgentPosterior
from persim_gym.learned.posterior.calibration import learn_knowledge
from persim_gym.learned.posterior.knowledge import Knowledge
from persim_gym.learned.posterior.mixture import MixedPosterior
from persim_gym.learned.posterior.new_agents import NewAgent
from persim_gym.learned.posterior.prior import FactorModel
from persim_gym.offline.transitions import Transitions
from tests.learned.features.frames import CONTINUOUS, DISCRETE, made
from tests.learned.posterior.worlds import GaussianWorld, Rows, error, network, part
from tests.learned.worlds import PlainTask

KNOWN, NEW = 40, 10
OPTIONS: dict[str, dict[str, Any]] = {
    "als": {"degree": 2, "rank": 3, "threshold": 0.0, "ensemble_size": 2},
    "sgd": {"rank": 3, "ensemble_size": 3, "state_hidden": (32, 32), "epochs": 20},
    "hierarchical": {"degree": 3, "ensemble_size": 2},
    "latent": {"latent": 2, "hidden": (24, 24), "first_steps": 150, "steps": 300,
               "batch_size": 200, "ensemble_size": 2},
}  # fmt: skip
FAMILIES = [*OPTIONS, "mixture"]
#: Families of which transitions of an agent add up one by one.
LINEAR = ["als", "sgd", "hierarchical"]


class Population:
    """A world of Gaussian agents, of whom the last are not in training."""

    def __init__(self) -> None:
        self.world = GaussianWorld(noise=0.003)
        data = self.world.record(KNOWN + NEW)
        self.known = replace(data.select(data.agent < KNOWN), num_agents=KNOWN)
        self.new = data.select(data.agent >= KNOWN)
        self.fits: dict[str, PerSim] = {}

    def sim(self, family: str) -> PerSim:
        """A simulator, which may be changed."""
        if family not in self.fits:
            self.fits[family] = self._mixed() if family == "mixture" else self._fitted(family)
        return self.fits[family].view()

    def _fitted(self, family: str) -> PerSim:
        return PerSim.fit(self.known, task=self.world.task, method=family, **OPTIONS[family])

    def _mixed(self) -> PerSim:
        one, other = self.sim("hierarchical"), self.sim("latent")
        mixture = MixtureEnsemble([one.ensemble, other.ensemble], (1, 2))
        known = learn_knowledge(mixture, Data(self.known, self.world.task))
        return PerSim(mixture, self.world.task, one.experience, one.card, known)

    def rows(self, agent: int, steps: int = 60) -> Rows:
        """Further transitions of an agent."""
        shares = self.world.shares(KNOWN + NEW, 0)[agent]
        return self.world.rows(np.repeat(shares[None], steps, axis=0), 900 + agent)


@pytest.fixture(scope="module")
def population() -> Population:
    return Population()


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_agent_is_predicted_nearly_as_well_as_a_fitted_one(
    family: str, population: Population
) -> None:
    sim = population.sim(family)
    fitted = np.median([error(sim, k, population.rows(k)) for k in range(KNOWN)])
    unknown = sim.adapt()
    before = [error(sim, unknown, population.rows(KNOWN + k)) for k in range(NEW)]
    indices = sim.adapt(population.new)
    assert indices == list(range(KNOWN + 1, KNOWN + 1 + NEW))
    found = np.median([error(sim, index, population.rows(KNOWN + k))
                       for k, index in enumerate(indices)])  # fmt: skip
    assert found < 1.3 * fitted
    assert found < 0.8 * np.median(before)
    assert sim.card["adapted"][str(indices[0])]["transitions"] == 40
    with pytest.raises(ValueError, match="agent 60 does not exist"):
        sim.predict(60, *population.rows(0)[:2])


@pytest.mark.parametrize("family", FAMILIES)
def test_adapted_simulators_are_kept_and_stepped(
    family: str, population: Population, tmp_path: Path
) -> None:
    sim = population.sim(family)
    rows = population.rows(KNOWN)
    env = sim.env(0, guard=False)
    index = sim.adapt(*part(rows, 0, 30), name="Ada")
    sim.save(tmp_path)
    again = PerSim.load(tmp_path, task=sim.task)
    for other in (sim, again):
        # A file's simulator takes further agents as the one that was saved.
        assert other.adapt(*part(rows, 30, 60)) == index + 1
    assert again.names.names == sim.names.names
    for agent in (index, index + 1):
        np.testing.assert_array_equal(
            again.predict(agent, *rows[:2]), sim.predict(agent, *rows[:2])
        )
    state = rows[0][0]
    env.reset(options={"agent": "Ada", "state": state})  # made before she was there
    seen = env.step(1)[0]
    np.testing.assert_allclose(seen, sim.predict("Ada", state[None], [1])[0], atol=1e-5)
    lanes = again.vector_env(2, ["Ada", 0], guard=False)
    lanes.reset(options={"state": state})
    np.testing.assert_allclose(lanes.step(np.array([1, 1]))[0][0], seen, atol=1e-5)


@pytest.mark.parametrize("times", [1.0, 2.5, -4.0])
def test_the_mean_agent_is_predicted_alike_by_the_regression(
    times: float, population: Population
) -> None:
    """Beyond the record, too, where predictions are led back to it."""
    sim = population.sim("hierarchical")
    known = sim.knowledge
    assert isinstance(known, Knowledge)
    model = FactorModel(sim.ensemble, known.prior)
    obs, actions, _ = population.rows(0)
    states, acts = torch.as_tensor(times * obs).double(), torch.as_tensor(actions)
    agents = torch.zeros(len(states), dtype=torch.long)
    following = model.ensemble.step(agents, states, acts)
    change = model.ensemble.difference(states, following)
    np.testing.assert_allclose(model.design(states, acts)[1], change, atol=1e-5)


def means_of(known: AgentPosterior) -> NDArray[np.float64]:
    """Means of the personal numbers, of all parts and members."""
    parts = known.parts if isinstance(known, MixedPosterior) else (known,)
    return np.concatenate([part.personal[0].ravel() for part in parts])


@pytest.mark.parametrize("family", FAMILIES)
def test_transitions_in_pieces_are_worth_as_much_as_together(
    family: str, population: Population, tmp_path: Path
) -> None:
    sim, rows = population.sim(family), population.rows(KNOWN)
    together, pieces = sim.adapt(*rows), sim.adapt(name="Ada")
    alone = error(sim, pieces, rows)
    for first in range(0, 40, 20):
        known = sim.update("Ada", *part(rows, first, first + 20))
        assert known.count == first + 20
    sim.save(tmp_path)
    again = PerSim.load(tmp_path, task=sim.task)
    for other in (sim, again):
        known = other.update("Ada", *part(rows, 40, 60))
    np.testing.assert_array_equal(again.latent_factors, sim.latent_factors)
    whole = sim.posterior(together)
    exact = {"atol": 1e-6} if family in LINEAR else {"atol": 0.1}
    np.testing.assert_allclose(means_of(known), means_of(whole), **exact)
    assert known.count == whole.count == 60
    assert known.deviation == pytest.approx(whole.deviation, rel=0.05)
    fitted = error(sim, together, rows)
    assert error(sim, pieces, rows) < 1.05 * fitted
    assert error(sim, pieces, rows) < 0.9 * alone
    # The record again, and nothing else: what was known is not counted twice.
    known = sim.update("Ada", *rows, forget=True)
    assert known.count == 60
    np.testing.assert_allclose(means_of(known), means_of(whole), atol=0.02)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_agent_of_the_fit_goes_on_from_what_it_was(family: str, population: Population) -> None:
    sim, rows = population.sim(family), population.rows(3)
    before, first = sim.latent_factors[:, 3], error(sim, 3, rows)
    known = sim.posterior(3)
    assert 0 < known.deviation < 0.9 < sim.new_posterior().deviation <= 1 + 1e-6
    low, high = known.interval(*rows[:2], level=0.9)
    assert 0.75 < ((rows[2] >= low) & (rows[2] <= high)).mean() <= 1.0
    obs, actions, following = (values[:0] for values in rows)
    assert sim.update(3, obs, actions, following).count == known.count
    if family == "latent":  # its members are no draws
        np.testing.assert_allclose(sim.latent_factors[:, 3], before, atol=1e-4)
    assert sim.update(3, *rows).deviation < known.deviation
    assert error(sim, 3, rows) < 1.02 * first
    other = population.sim(family)
    np.testing.assert_array_equal(sim.latent_factors[:, :3], other.latent_factors[:, :3])


@pytest.mark.parametrize("family", FAMILIES)
def test_agents_by_their_covariates(family: str, population: Population) -> None:
    """Shares that decide all that is personal: agents without data are half known."""
    sim = population.sim(family)
    shares = population.world.shares(KNOWN + NEW, 0)[:, 1:3]
    mapping = sim.map_covariates(shares[:KNOWN])
    found = sim.adapt_covariates(mapping, shares[KNOWN:])
    unknown = sim.adapt()
    errors = [
        (
            error(sim, index, population.rows(KNOWN + k)),
            error(sim, unknown, population.rows(KNOWN + k)),
        )
        for k, index in enumerate(found)
    ]
    by_covariates, by_none = np.median(errors, axis=0)
    assert by_covariates < 0.7 * by_none
    assert sim.posterior(found[0]).deviation < 0.9 * sim.posterior(unknown).deviation
    sim.update(found[0], *population.rows(KNOWN))
    assert error(sim, found[0], population.rows(KNOWN)) < errors[0][0]
    with pytest.raises(ValueError, match="of another simulator"):
        population.sim("als" if family != "als" else "latent").adapt_covariates(
            mapping, shares[KNOWN:]
        )


def test_a_network_without_a_prior_in_its_file_says_so(population: Population) -> None:
    sim = population.sim("latent")
    old = PerSim(sim.ensemble, sim.task, sim.experience, sim.card)
    assert not old.keeps_posteriors
    calls: list[Callable[[], Any]] = [
        lambda: old.update(0, *population.rows(0)),
        lambda: old.posterior(0),
        lambda: old.map_covariates([[0.0]] * KNOWN),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"fit it again.*adapt\(\.\.\.\) adds agents"):
            call()


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_refused_changes_nothing(family: str, population: Population) -> None:
    sim, (obs, actions, following) = population.sim(family), population.rows(KNOWN)
    before = sim.ensemble
    for rows in ((obs * np.nan, actions, following), (obs, actions + 3, following)):
        with pytest.raises(ValueError, match="must be"):
            sim.adapt(*rows)
    assert sim.ensemble is before
    sim.adapt(name="Ada")
    named = sim.ensemble, sim.card
    with pytest.raises(ValueError, match="there is an agent 'Ada' already"):
        sim.adapt(obs, actions, following, name="Ada")
    assert (sim.ensemble, sim.card) == named
    assert population.sim(family).ensemble is before


def test_a_hierarchical_fit_brings_its_own_prior(population: Population) -> None:
    sim = population.sim("hierarchical")
    assert isinstance(sim.ensemble, FrameEnsemble)
    model, prior = sim.ensemble.model, sim.prior
    assert isinstance(model, HierarchicalModel)
    np.testing.assert_allclose(prior.mean[0], model.prior_mean)
    own = model.prior_root @ model.prior_root.T
    np.testing.assert_allclose(prior.root[0] @ prior.root[0].T, own, atol=1e-4 * float(own.max()))
    np.testing.assert_allclose(prior.noise[0].sqrt(), [0.003, 0.003], rtol=0.15)
    assert prior.temperature == 1.0
    # Members draw around one mean, as those of fitted agents do.
    index = sim.adapt(*part(population.rows(KNOWN), 0, 3))
    drawn = sim.latent_factors[:, index]
    assert drawn.std(axis=0).max() > 1e-3
    np.testing.assert_allclose(drawn.mean(0), sim.posterior(index).mean[0], atol=1e-4)


# -- latents and mixtures, with angles and a past -------------------------------------------------


def simulator(ensemble: Any, data: Data) -> PerSim:
    experience = data.experience(ensemble.lag, ensemble.past)
    return PerSim(ensemble, data.task, experience, {"task": "plain"})


def some_rows(sim: PerSim, data: Transitions, agent: int) -> tuple[NDArray[Any], ...]:
    """Transitions that an agent of the simulator would make."""
    rows = np.arange(40)
    states, actions = sim.states_of(data)[rows], data.action[rows]
    return states, actions, sim.predict(agent, states, actions)


@pytest.mark.parametrize("lag", [1, 3])
@pytest.mark.parametrize("task", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
def test_an_agent_of_a_network_is_found_again(task: PlainTask, lag: int) -> None:
    data, ensemble = made(task, lag)
    sim = simulator(network(data, ensemble), data)
    states, actions, following = some_rows(sim, data.transitions, 2)
    index = sim.adapt(states, actions, following)
    found = sim.predict(index, states, actions)
    np.testing.assert_allclose(found, following, atol=2e-3)
    other = sim.predict(0, states, actions)
    assert np.abs(other - following).max() > 0.05
    unknown = sim.adapt()
    np.testing.assert_allclose(sim.latent_factors[0, unknown], 0.0, atol=1e-6)


def test_each_part_of_a_mixture_adapts_by_itself() -> None:
    """With lags of their own, whose states hold other pasts."""
    data, short = made(DISCRETE, 1)
    long = made(DISCRETE, 3)[1]
    parts = [network(data, short), network(data, long, members=2)]
    mixed = simulator(MixtureEnsemble(parts, (2, 1)), data)
    rows = some_rows(mixed, data.transitions, 1)
    index = mixed.add_agent(NewAgent(*rows))
    assert isinstance(mixed.ensemble, MixtureEnsemble)
    for part_, ensemble in zip(mixed.ensemble.parts, parts, strict=True):
        alone = simulator(ensemble, data)
        own = alone.states_of(data.transitions)[:40]
        assert alone.adapt(own, *rows[1:]) == index
        assert torch.equal(part_.agent_factors(), alone.ensemble.agent_factors())
    assert mixed.latent_factors.shape == (4, index + 1, 2)
