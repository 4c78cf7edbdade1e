"""What is known of a latent: near it a network is a regression, and transitions add up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from persim_gym.learned import PerSim
from persim_gym.learned.bounds import BoundEffects
from persim_gym.learned.data import Data
from persim_gym.learned.features.ensemble import FrameEnsemble
from persim_gym.learned.features.frame import Frame
from persim_gym.learned.latent.network import LatentNetwork
from persim_gym.learned.posterior.calibration import learn_knowledge
from persim_gym.learned.posterior.latents import LatentModel, LatentPosterior, prior_of_latents
from tests.learned.features.frames import CONTINUOUS, DISCRETE, Bend, made
from tests.learned.posterior.worlds import network
from tests.learned.worlds import PlainTask, transitions


def holding(task: PlainTask, lag: int) -> tuple[Data, FrameEnsemble]:
    """Data, and a network of random weights that holds features within the record."""
    data, framed = made(task, lag)
    ensemble = network(data, framed, members=2)
    states, frame = framed.frame.states(data), ensemble.frame
    features = frame.features(states, torch.as_tensor(data.transitions.action)).float()
    assert isinstance(ensemble.model, LatentNetwork)
    model = ensemble.model.with_tensors(low=features.amin(0), high=features.amax(0))
    return data, FrameEnsemble(frame, model, *ensemble.limits)


@pytest.mark.parametrize("lag", [1, 3])
@pytest.mark.parametrize(
    ("task", "times"),
    [(DISCRETE, 1), (CONTINUOUS, 1), (CONTINUOUS, 3)],
    ids=["discrete", "continuous", "beyond the record"],
)
def test_a_latent_is_found_piece_by_piece(task: PlainTask, times: int, lag: int) -> None:
    """Transitions that the network itself has made: the agent's latent is the answer."""
    data, ensemble = holding(task, lag)
    model = LatentModel(ensemble, prior_of_latents(ensemble))
    t, states = data.transitions, ensemble.frame.states(data)[:60]
    agents = torch.full((60,), 2)
    actions = torch.as_tensor(times * t.action[:60])
    following = ensemble.step(agents, states, actions)[0]
    known = LatentPosterior(model, data.task)
    deviations = [known.deviation]
    assert deviations[0] == pytest.approx(1.0, rel=1e-6)
    for rows in np.split(np.arange(60), 3):
        known.update(states[rows], actions[rows], following[rows])
        deviations.append(known.deviation)
    assert (np.diff(deviations) < 0).all()
    true = ensemble.model.factors[0, 2]
    np.testing.assert_allclose(known.mean[0], true, atol=0.05)


def walled(size: int = 240) -> tuple[Data, FrameEnsemble]:
    """A network whose first coordinate stops at a wall half of the time, which sets the third."""
    rng = np.random.default_rng(3)
    whose, obs = np.repeat(np.arange(4), size // 4), rng.normal(size=(size, 3))
    action, after = rng.integers(0, 3, size), obs + 0.1 * rng.normal(size=(size, 3))
    space = Box(-np.inf, np.inf, (3,))
    data = Data(transitions(whose, obs, action, after), PlainTask.of(3, actions=3))
    frame = Frame.of(data)
    endless = (torch.as_tensor(end.copy()) for end in (space.low, space.high))
    free = network(data, FrameEnsemble(frame, Bend.drawn(frame), *endless))
    t = data.transitions
    ahead = free.step(torch.full((size,), 2), torch.as_tensor(t.obs), torch.as_tensor(t.action))[0]
    wall = float(ahead[:, 0].median())
    effect = torch.tensor([[0.0, 0, 0.7], [1, 1, 0], [0, 0, 0]]).double()
    bound = torch.tensor([0]), torch.tensor([-1.0]), torch.tensor([wall])
    low = np.array([wall, -np.inf, -np.inf], dtype=np.float32)
    task = replace(data.task, observation_space=Box(low, space.high))
    limits = torch.as_tensor(low), torch.as_tensor(space.high)
    stopped = FrameEnsemble(free.frame, free.model, *limits, BoundEffects(*bound, effect[None]))
    return Data(t, task), stopped


@pytest.mark.parametrize("rows", ["all", "on the wall"])
def test_transitions_on_a_wall_say_what_they_can(rows: str) -> None:
    """One-sided of what the wall has cut, nothing of what it has set, and all of the rest."""
    data, ensemble = walled()
    states, actions = ensemble.frame.states(data), torch.as_tensor(data.transitions.action)
    following = ensemble.settle(ensemble.step(torch.full((len(states),), 2), states, actions))[0]
    met = following[:, 0] == ensemble.limits[0][0]
    assert 0.4 < met.float().mean() < 0.6
    kept = met if rows == "on the wall" else torch.ones_like(met)
    told = states[kept], actions[kept], following[kept]
    model = LatentModel(ensemble, prior_of_latents(ensemble))
    known = LatentPosterior(model, data.task).update(*told)
    assert known.count == int(kept.sum())
    true = ensemble.model.factors[0, 2]
    np.testing.assert_allclose(known.mean[0], true, atol=0.05)
    assert known.deviation < 0.1
    experience = data.experience()
    sim = PerSim(ensemble, data.task, experience, {}, learn_knowledge(ensemble, data))
    index = sim.adapt(*told)
    np.testing.assert_allclose(sim.latent_factors[0, index], true, atol=0.05)
    assert sim.posterior(index).deviation == pytest.approx(known.deviation, rel=1e-2)


@pytest.mark.parametrize("times", [1, 3], ids=["recorded", "beyond the record"])
@pytest.mark.parametrize("further", [0.0, 30.0], ids=["states as recorded", "states beyond"])
def test_the_regression_is_the_network_s_tangent(times: int, further: float) -> None:
    data, ensemble = holding(CONTINUOUS, 1)
    model = LatentModel(ensemble, prior_of_latents(ensemble))
    states = ensemble.frame.states(data)[:5]
    states[:, 2] += further  # the speed
    actions = torch.as_tensor(times * data.transitions.action[:5])
    w = model.personal(ensemble.agent_factors()[:, :1]).expand(-1, 5, -1)
    design, common = model.near(w, states, actions)
    at = common + torch.einsum("mncq,mnq->mnc", design, w)
    step = 1e-5 * torch.ones_like(w)
    beyond, less = model.near(w + step, states, actions)
    moved = less + torch.einsum("mncq,mnq->mnc", beyond, w + step)
    expected = torch.einsum("mncq,mnq->mnc", design, step)
    np.testing.assert_allclose(moved - at, expected, atol=1e-9)
    network_ = ensemble.step(torch.zeros(5, dtype=torch.long), states, actions)
    change = ensemble.difference(states, network_)
    np.testing.assert_allclose(at, change, atol=1e-4)
