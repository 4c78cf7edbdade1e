"""What is known of a latent: near it a network is a regression, and transitions add up."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from persim_gym.learned.frames.ensemble import FrameEnsemble
from persim_gym.learned.latent.network import LatentNetwork
from persim_gym.learned.posterior.latents import LatentModel, LatentPosterior, prior_of_latents
from persim_gym.learned.preparation import Data
from tests.learned.frames.test_ensemble import made
from tests.learned.frames.test_frame import CONTINUOUS, DISCRETE
from tests.learned.posterior.test_new_agents import network
from tests.learned.worlds import PlainTask


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


@pytest.mark.parametrize("times", [1, 3], ids=["recorded", "beyond the record"])
def test_the_regression_is_the_network_s_tangent(times: int) -> None:
    data, ensemble = holding(CONTINUOUS, 1)
    model = LatentModel(ensemble, prior_of_latents(ensemble))
    states = ensemble.frame.states(data)[:5]
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
