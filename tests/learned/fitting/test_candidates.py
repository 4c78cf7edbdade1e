"""What a fit compares by default."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from persim_gym.learned.config import ClosedForm, Hierarchical, Latent
from persim_gym.learned.data import Data
from persim_gym.learned.features.past import Past
from persim_gym.learned.fitting.candidates import LAGS, SINGLE, candidates_of, linear, with_pasts
from persim_gym.learned.hierarchical.search import WORK, work_of
from tests.learned.fitting.panels import short_panel
from tests.learned.worlds import PlainTask, transitions

CONFIGS = {"als": ClosedForm(), "hierarchical": Hierarchical(), "latent": Latent()}


def late_wave(curved: float) -> Data:
    """A place and its speed under a spring, and one of two actions that acts three steps later."""
    rng = np.random.default_rng(0)
    agents, steps = 40, 100
    push = rng.uniform(-1, 1, (agents, steps, 2))
    stiff, drag, now, late = rng.uniform(
        [[0.3], [0.1], [0.5], [0.5]], [[1.5], [0.5], [2], [2]], (4, agents)
    )
    place, speed = rng.normal(size=(2, agents))
    walk = [np.stack([place, speed], 1)]
    for t in range(steps):
        came = push[:, t - 3, 1] if t >= 3 else 0.0
        pull = stiff * (place + curved * np.sin(2 * place)) + drag * speed
        speed = speed + 0.2 * (now * push[:, t, 0] + late * came - pull)
        place = place + 0.2 * speed
        walk.append(np.stack([place, speed], 1))
    seen = np.stack(walk, 1)
    before, after = (part.reshape(-1, 2) for part in (seen[:, :-1], seen[:, 1:]))
    who = np.repeat(np.arange(agents), steps)
    task = PlainTask.of(2, action_dim=2)
    return Data(transitions(who, before, push.reshape(-1, 2), after), task)


def test_late_actions_are_compared_alone_where_the_rest_of_a_past_may_make_up_for_something() -> (
    None
):
    """Past speeds tell of a force that is no polynomial; networks need the late action alone."""
    found, _ = candidates_of(late_wave(0.5), CONFIGS, None)
    alone = [name for name in found if name.endswith("actions alone")]
    assert {name.split(",")[0] for name in alone} == {"hierarchical", "latent"}
    assert [name for name in found if name.endswith("actions alone" + SINGLE)]
    own = found[alone[0]]
    first_action = 2 * (own.lag - 1)  # two past changes of each step are before them
    assert own.lag == 4
    assert own.seen is not None
    assert min(own.seen) >= first_action
    # Where these regressions say all of it, nothing else is needed, and compared once.
    found, _ = candidates_of(late_wave(0.0), CONFIGS, None)
    assert not [name for name in found if name.endswith("alone")]
    assert [name for name in found if name.startswith("latent, lag 4")]


def test_a_regression_with_a_past_that_would_take_minutes_is_not_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each agent's own coefficients of many columns; networks take the same past."""
    data = late_wave(0.0)
    found, kept = candidates_of(data, CONFIGS, None)
    (left_out,) = [name for name in found if name.startswith("hierarchical, lag")]
    assert not kept["notes"]
    monkeypatch.setitem(WORK, "default", work_of(3, 2, 40, 1))
    found, kept = candidates_of(data, CONFIGS, None)
    assert not [name for name in found if name.startswith("hierarchical, lag")]
    assert kept["notes"] == [f"{left_out} not tried: it would take minutes, of so many columns"]
    assert [name for name in found if name.startswith("latent, lag")]
    assert "hierarchical" in found, "without a past it always is"


@pytest.mark.parametrize("lag", [1, 3])
def test_a_lag_that_is_given_is_not_judged(lag: int) -> None:
    data = late_wave(0.5)
    assert candidates_of(data, CONFIGS, lag) == (CONFIGS, {})


@pytest.mark.parametrize(
    ("other", "names"),
    [
        (Past(3, (4,)), {"hierarchical, lag 3"}),
        (Past(3, (5,)), {"hierarchical, lag 3", "hierarchical, lag 3 of 7"}),
        (Past(4, (4,)), {"hierarchical, lag 3", "hierarchical, lag 4"}),
    ],
)
def test_each_past_is_compared_once(other: Past, names: set[str]) -> None:
    """Two lags may need the same past, or different parts of pasts that are as long."""
    pasts = {5: Past(3, (4,)), 7: other}
    found = with_pasts({"hierarchical": Hierarchical(), "latent": Latent()}, pasts, 5)
    single = "latent, lag 3" + SINGLE
    assert set(found) == {*names, "latent, lag 3", single}
    assert found[single] == replace(found["latent, lag 3"], window_steps=0)
    assert found["hierarchical, lag 3"].seen == (4,), "that of the chosen lag keeps its name"
    assert {Past(own.lag, own.seen) for own in found.values()} == {*pasts.values()}


@pytest.mark.parametrize(
    ("steps", "names"),
    [
        (7, {"linear"}),
        (8, {"linear", "linear, lag 2"}),
        (11, {"linear", "linear, lag 2"}),
        (20, {"linear", "linear, lag 2", "linear, lag 3"}),
        (30, set()),
    ],
)
def test_short_records_are_compared_by_linear_models_as_well(steps: int, names: set[str]) -> None:
    """Of lags that records are long enough for."""
    data = Data(short_panel(steps), PlainTask.of(1, actions=2))
    found = linear(data, {"hierarchical": Hierarchical(seed=3)}, LAGS)
    assert set(found) == names
    assert {(own.degree, own.seed) for own in found.values()} <= {(1, 3)}
    assert not linear(data, {"latent": Latent()}, LAGS)
    whole = data.transitions
    agent = whole.agent // 5 * 5  # what counts is all that is known of an agent, not an episode
    several = Data(replace(whole, agent=agent), PlainTask.of(1, actions=2))
    known = steps * 5 < 30
    assert bool(linear(several, {"hierarchical": Hierarchical()}, LAGS)) is known
