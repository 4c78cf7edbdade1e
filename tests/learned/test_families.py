"""Every family behind one call: a fit of data, and its members' predictions of some rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from persim_gym.learned.config import ClosedForm, Latent
from persim_gym.learned.families import (
    Setting,
    fit_als,
    fit_latents,
    in_inner_coordinates,
    one_step_rmse,
)
from persim_gym.learned.frames.charted import ChartedEnsemble
from persim_gym.learned.latent import posterior
from persim_gym.learned.latent.loss import LatentData
from persim_gym.learned.preparation import Data
from persim_gym.learned.progress import FitReport
from tests.learned.frames.test_charted import SEEN, Swing, data_of
from tests.learned.worlds import PlainTask, random_walks

SETTING = Setting(torch.device("cpu"), FitReport())
CONFIG = ClosedForm(degree=2, rank=2, ensemble_size=2)


@pytest.mark.slow
@pytest.mark.parametrize("seen", SEEN)
def test_angles_in_disguise_are_fitted_as_angles(seen: str) -> None:
    look, task = SEEN[seen]
    data = Data(data_of(look, Swing(8), steps=40), task)
    found = in_inner_coordinates(lambda inner: fit_als(inner, CONFIG, SETTING), data)
    assert isinstance(found.ensemble, ChartedEnsemble)
    assert found.ensemble.obs_dim == data.transitions.obs.shape[1]
    assert found.metrics["geometry"] == data.geometry.to_json()


@pytest.mark.slow
def test_rows_that_are_left_out_do_not_matter() -> None:
    look, task = SEEN["circle"]
    world = Swing(8)
    clean, spoilt = (data_of(look, world, steps=40) for _ in range(2))
    out = np.arange(len(clean)) % 4 == 0
    spoilt.next_obs[out, 1] += 50.0
    errors = []
    for data in (clean, spoilt):
        checked = Data(data, task)
        found = fit_als(checked, CONFIG, SETTING, out)
        errors.append(one_step_rmse(found.ensemble.to("cpu"), checked, checked.states(1), ~out))
    assert errors[0] == pytest.approx(errors[1], rel=1e-6)


def test_agents_that_a_latent_fit_leaves_out_are_read_a_few_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    walks = random_walks(PlainTask.of(2, actions=3), agents=9)
    held: list[int] = []
    whole = LatentData.__post_init__

    def seen(self: LatentData) -> None:
        held.append(len(self))
        whole(self)

    monkeypatch.setattr(LatentData, "__post_init__", seen)
    monkeypatch.setattr(posterior, "MOST_ROWS", len(walks) // walks.num_agents)
    config = Latent(max_agents=2, ensemble_size=1, first_steps=5, steps=5, window_steps=5)
    data = Data(walks, PlainTask.of(2, actions=3))
    fitted = fit_latents(data, config, SETTING)
    assert fitted.ensemble.num_agents == walks.num_agents
    assert max(held) < len(walks) / 2
