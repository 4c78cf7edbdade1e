"""Every family behind one call: a fit of data, and its members' predictions of some rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from persim_gym.learned.config import ClosedForm, Latent
from persim_gym.learned.data import Data
from persim_gym.learned.features.charted import ChartedEnsemble
from persim_gym.learned.fitting.families import (
    Setting,
    fit_als,
    fit_latents,
    in_inner_coordinates,
    one_step_rmse,
)
from persim_gym.learned.fitting.progress import FitReport
from persim_gym.learned.history import slots
from persim_gym.learned.latent import fit as latent_fit
from persim_gym.learned.latent import posterior
from persim_gym.learned.latent.data import LatentData
from persim_gym.learned.outcomes.data_task import DataTask
from persim_gym.offline import read_table
from tests.learned.features.late_worlds import late_body
from tests.learned.features.swings import SEEN, Swing, data_of
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


def heated(agents: int, steps: int, seed: int) -> pd.DataFrame:
    """Rooms whose heater cannot cool: half the steps end on its wall."""
    rng = np.random.default_rng(seed)
    gain, loss = rng.uniform(0.4, 0.8, agents), rng.uniform(0.05, 0.15, agents)
    room, rows = rng.uniform(17, 23, agents), []
    power = np.zeros(agents)
    for time in range(steps + 1):
        wanted = rng.uniform(17, 23, agents)
        rows.append(np.stack([np.arange(agents), np.full(agents, time), room, power, wanted], 1))
        power = np.maximum(2 * (wanted - room), 0.0)
        room = room + gain * power - loss * (room - 5)
    return pd.DataFrame(np.concatenate(rows), columns=["agent", "time", "room", "power", "wanted"])


@pytest.mark.slow
@pytest.mark.parametrize("window", [0, 60], ids=["one step", "windows"])
def test_what_else_happens_where_a_coordinate_is_cut_off_is_learned(
    window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if window:  # as if observations were noisy
        monkeypatch.setattr(latent_fit, "FEWEST_WINDOWS", 1)
        noisy = (torch.full((2,), 1e-4), torch.full((2,), 2e-4))
        monkeypatch.setattr(latent_fit, "noise_of_observations", lambda *_: noisy)
    names = {"agent": "agent", "time": "time", "state": ["room", "power"], "action": "wanted"}
    table = heated(6, 60, 0)
    transitions = read_table(table, **names)
    data = Data(transitions, DataTask.from_transitions(transitions))
    assert 0.1 < data.clipped.mean() < 0.9, "the world must show its wall"
    config = Latent(ensemble_size=2, hidden=(32,), first_steps=200, steps=300, window_steps=window)
    found = fit_latents(data, config, SETTING).ensemble
    for where in (data.clipped, ~data.clipped):
        states = data.states(1)
        assert one_step_rmse(found, data, states, where) < 0.1


@pytest.mark.slow
def test_a_wall_that_stops_is_learned_as_an_effect_of_its_bound() -> None:
    rng = np.random.default_rng(0)
    agents, steps = 6, 80
    place, speed, pushed = rng.uniform(-1, 1, agents), rng.normal(0, 0.1, agents), []
    rows = []
    for time in range(steps + 1):
        pushed = rng.uniform(-1, 1, agents) if time % 5 == 0 else pushed
        rows.append(np.stack([np.arange(agents), np.full(agents, time), place, speed, pushed], 1))
        speed = 0.97 * speed + 0.08 * pushed - 0.02 * place
        place = place + speed
        place, speed = np.maximum(place, -1.0), np.where(place <= -1.0, 0.0, speed)
    columns = ["agent", "time", "place", "speed", "push"]
    table = pd.DataFrame(np.concatenate(rows), columns=columns)
    names = {"agent": "agent", "time": "time", "state": ["place", "speed"], "action": "push"}
    transitions = read_table(table, **names)
    data = Data(transitions, DataTask.from_transitions(transitions))
    assert data.clipped.any(), "the world must show its wall"
    config = Latent(ensemble_size=1, hidden=(32,), first_steps=200, steps=300, window_steps=0)
    found = fit_latents(data, config, SETTING).ensemble
    assert found.effects is not None
    assert one_step_rmse(found, data, data.states(1), data.clipped) < 1e-3


@pytest.mark.parametrize(
    ("hidden", "noise", "most"), [(False, 0.1, 0.03), (True, 0.05, 0.057), (True, 0.1, 0.11)]
)
def test_noise_is_seen_beside_a_past(hidden: bool, noise: float, most: float) -> None:
    """Single steps from noisy states leave .047, .071 and .13: a fit has to go over windows.

    An action acts three steps late, and of the past nothing else is needed where speeds are seen.
    """
    noisy, clean = (late_body(own, agents=30, steps=60, hidden=hidden) for own in (noise, 0.0))
    acting = None if hidden else (13, 14)  # the second action three steps ago, and the first
    config = Latent(
        lag=4, seen=acting, ensemble_size=1, first_steps=300, steps=300, window_steps=300
    )
    found = fit_latents(noisy, config, SETTING).ensemble
    rows = clean.transitions.step >= 3
    assert one_step_rmse(found, clean, slots(clean.transitions, 4, 2), rows) < most


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
