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
from persim_gym.learned.frames.ensemble import FrameEnsemble
from persim_gym.learned.hierarchical.model import HierarchicalModel
from persim_gym.learned.latent.network import LatentNetwork, LatentShape
from persim_gym.learned.mixture import MixtureEnsemble
from persim_gym.learned.posterior.calibration import learn_knowledge
from persim_gym.learned.posterior.new_agents import NewAgent
from persim_gym.learned.preparation import Data
from persim_gym.offline.transitions import Transitions
from tests.learned.frames.test_ensemble import made
from tests.learned.frames.test_frame import CONTINUOUS, DISCRETE
from tests.learned.posterior.worlds import GaussianWorld, Rows, error, part
from tests.learned.worlds import PlainTask

KNOWN, NEW = 40, 10
OPTIONS: dict[str, dict[str, Any]] = {
    "als": {"degree": 2, "rank": 3, "threshold": 0.0, "ensemble_size": 3},
    "sgd": {"rank": 3, "ensemble_size": 3, "state_hidden": (32, 32), "epochs": 20},
    "hierarchical": {"degree": 3, "ensemble_size": 3},
    "latent": {"latent": 2, "hidden": (24, 24), "first_steps": 200, "steps": 500,
               "ensemble_size": 2},
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


@pytest.mark.parametrize("family", FAMILIES)
def test_further_transitions_and_covariates(family: str, population: Population) -> None:
    sim, rows = population.sim(family), population.rows(KNOWN)
    covariates = population.world.shares(KNOWN + NEW, 0)[:KNOWN, 1:3]
    calls: list[Callable[[], Any]] = [
        lambda: sim.update(0, *rows),
        lambda: sim.posterior(0),
        lambda: sim.map_covariates(covariates),
        lambda: sim.prior,
    ]
    if family in LINEAR:
        one, two = sim.adapt(*rows), sim.adapt()
        for first in range(0, 60, 20):
            sim.update(two, *part(rows, first, first + 20))
        np.testing.assert_allclose(sim.posterior(two).mean, sim.posterior(one).mean, atol=1e-7)
        for call in calls:
            call()
        return
    before = sim.ensemble
    for call in calls:
        with pytest.raises(TypeError, match=r"adapt\(...\) adds agents.*'hierarchical' carries"):
            call()
    assert sim.ensemble is before


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


def network(data: Data, ensemble: FrameEnsemble, members: int = 1) -> FrameEnsemble:
    """A network of random weights in a frame, whose agents are drawn from its prior."""
    q, c, n = ensemble.frame.size, ensemble.frame.targets, data.transitions.num_agents
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(members, n, 2, generator=generator)
    made_ = LatentNetwork.initial(LatentShape(members, n, q, c, 2, (16, 16)), latents, generator)
    quiet = made_.with_tensors(noise=torch.full((members, c), 1e-6))
    bounds = data.task.observation_space
    ends = (torch.as_tensor(end.copy()) for end in (bounds.low, bounds.high))
    return FrameEnsemble(ensemble.frame.to("cpu", torch.float32), quiet, *ends)


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
