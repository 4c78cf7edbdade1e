"""What of a past is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from persim_gym.learned.data import Data
from persim_gym.learned.features.frame import Frame
from persim_gym.learned.features.lags import LagTrial, few_of, judge_lags
from persim_gym.learned.features.past import Past, as_good, needed_past
from tests.learned.features.frames import names_of
from tests.learned.features.late_worlds import late_body, late_level
from tests.learned.worlds import PlainTask, transitions


def names(data: Data, past: Past, obs_names: tuple[str, ...] = ("x",)) -> set[str]:
    """Names of the inputs of a model that sees a part of a past."""
    frame = Frame.of(data, past.lag, seen=past.seen)
    coded = max(frame.past, 1)
    return set(names_of(frame, obs_names, tuple(f"u{k}" for k in range(coded))))


def of_others(data: Data) -> NDArray[np.bool_]:
    """Transitions of agents that are not compared ``[T]``."""
    t = data.transitions
    return ~np.isin(t.agent, few_of(data).transitions.agent)


NOISES: tuple[dict[str, float], ...] = ({}, {"noise": 0.05}, {"process": 0.02})


ACTING: tuple[tuple[tuple[int, ...], dict[str, Any], set[str]], ...] = (
    *(((k,), {}, {f"u0[-{k}]"}) for k in (1, 3, 5, 8, 9)),
    ((6,), {"hold": 0.9}, {"u0[-6]"}),
    ((2, 5), {}, {"u0[-2]", "u0[-5]"}),
    ((3, 9), {}, {"u0[-3]", "u0[-9]"}),
    ((1, 1, 1, 6), {}, {"u0[-1]", "u0[-6]"}),
    ((4,), {"now": True}, {"u0[-4]", "u1"}),
    ((5,), {"choices": 3}, {"u0[-5]", "u1[-5]"}),
)


@pytest.mark.parametrize(
    ("late", "kind", "expected", "noise"),
    [  # a quick run has each with one of the noises
        pytest.param(*acting, noise, marks=() if (i + k) % 3 == 1 else pytest.mark.slow)
        for i, acting in enumerate(ACTING)
        for k, noise in enumerate(NOISES)
    ],
)
def test_only_those_actions_are_seen_that_act(
    late: Sequence[int], kind: dict[str, Any], expected: set[str], noise: dict[str, float]
) -> None:
    """Late by any number of steps, of each agent its own, one of two, discrete; with noise."""
    data = late_level(late, agents=60, **kind, **noise)
    lags = judge_lags(data)
    past = needed_past(data, lags.chosen)
    found = names(data, past)
    assert expected | {"x"} <= found, "what acts is seen"
    # Rounds of chance may add one that is not needed, where there is noise.
    assert len(found - expected - {"x"}) <= (1 if noise else 0)
    assert past.lag <= max(late) + 2


@pytest.mark.parametrize("seed", [1, 5])
def test_past_observations_do_not_make_up_for_actions_that_are_not_needed(seed: int) -> None:
    """Weights of actions that do nothing cost as much as noise that a past observation averages."""
    data = late_body(0.05, seed=seed)
    found = names(data, needed_past(data, 4), ("place", "speed"))
    assert found == {"place", "speed", "u0", "u1[-3]"}


def test_what_tells_something_hidden_stays() -> None:
    """A law of the second order, of which the place is seen alone, and an action acts late."""
    rng = np.random.default_rng(0)
    agents, steps = 40, 80
    push = rng.uniform(-1, 1, (agents, steps))
    place, speed = rng.normal(size=(2, agents))
    stiff, walk = rng.uniform(0.05, 0.15, agents), [place]
    for t in range(steps):
        speed = speed - stiff * place + (0.2 * push[:, t - 3] if t >= 3 else 0.0)
        place = place + 0.5 * speed
        walk.append(place)
    seen = np.stack(walk, 1)[..., None]
    before, after = (part.reshape(-1, 1) for part in (seen[:, :-1], seen[:, 1:]))
    who = np.repeat(np.arange(agents), steps)
    data = Data(transitions(who, before, push.reshape(-1, 1), after), PlainTask.of(1, action_dim=1))
    for lag in (4, 5, 7):
        past = needed_past(data, lag)
        assert names(data, past) == {"x", "change of x[-1]", "u0[-3]"}
        assert past.lag == 4


@pytest.mark.parametrize("seed", [0, 6, 7])
def test_what_rare_doses_leave_is_seen(seed: int) -> None:
    """A drug's effect comes late and wears off with use; most of the time nothing happens."""
    rng = np.random.default_rng(seed)
    agents, steps = 40, 120
    dose = rng.uniform(0, 1, (agents, steps)) * (rng.random((agents, steps)) < 0.03)
    gone, late, used, half = np.exp(
        np.log([[0.15], [0.4], [0.05], [0.4]]) + 0.3 * rng.normal(size=(4, agents))
    )
    blood, site, habit = np.zeros((3, agents))
    walk = []
    for t in range(steps + 1):
        walk.append(np.stack([blood, site / (half * (1 + 4 * habit) + site)], axis=1))
        if t < steps:
            given = blood + dose[:, t]
            habit = habit + used * (site - habit)
            site = site + (1 - np.exp(-late)) * (given - site)
            blood = given * np.exp(-gone)
    seen = np.stack(walk, axis=1)
    before, after = (part.reshape(-1, 2) for part in (seen[:, :-1], seen[:, 1:]))
    who = np.repeat(np.arange(agents), steps)
    data = Data(transitions(who, before, dose.reshape(-1, 1), after), PlainTask.of(2, action_dim=1))
    lag = judge_lags(data).chosen
    assert lag > 1
    assert "change of effect[-1]" in names(data, needed_past(data, lag), ("blood", "effect"))


def test_a_part_of_a_past_keeps_what_goes_on_and_shows_in_one_step() -> None:
    """A fourth more than the whole leaves may be most of what the past takes away."""
    none, whole = LagTrial(2, 0.195, 0.083, 0.5), LagTrial(2, 0.141, 0.083, 0.5)
    assert not as_good(LagTrial(2, 0.176, 0.081, 0.5), whole, none)
    assert as_good(LagTrial(2, 0.150, 0.081, 0.5), whole, none)
    # Where errors do not go on, a past averages noise.
    assert as_good(LagTrial(2, 0.176, 0.081, 0.0), whole, none)


def test_nothing_is_narrowed_where_nothing_says_how() -> None:
    data = late_level((1,), agents=5, steps=8)
    assert needed_past(data, 1) == Past(1)
    assert needed_past(data, 8) == Past(8)


@pytest.mark.parametrize("who", ["others", "late"])
@pytest.mark.parametrize("choices", [0, 2])
def test_what_those_that_are_judged_by_never_do_is_seen(choices: int, who: str) -> None:
    """An action that only agents use that are not compared, or that is used at the end alone."""
    data = late_level((3,), agents=80, choices=choices)
    t, rng = data.transitions, np.random.default_rng(1)
    used = of_others(data) if who == "others" else t.step >= 75
    used &= rng.random(len(t)) < 0.3
    if choices:
        action = np.where(used, 2, t.action)
        task = PlainTask.of(1, actions=3)
    else:
        action = np.column_stack([t.action, used * rng.uniform(-1, 1, len(t))])
        task = PlainTask.of(1, action_dim=2)
    data = Data(transitions(t.agent, t.obs, action, t.next_obs), task)
    found = names(data, needed_past(data, 5))
    assert {"x", "u0[-3]", "u1", "u1[-1]", "u1[-3]"} <= found
    assert "u0[-1]" not in found, "what is known not to act is left out"


def test_columns_are_those_of_the_whole_data() -> None:
    """An hour is an angle of the agents that are looked at; clocks of others are broken."""
    data = late_level((4,), agents=80)
    t, rng = data.transitions, np.random.default_rng(0)
    hour = (t.step + 5 * t.agent) % 24.0
    obs, next_obs = (
        np.column_stack([level, clock])
        for level, clock in ((t.obs, hour), (t.next_obs, (hour + 1) % 24.0))
    )
    broken = of_others(data) & (t.agent % 4 == 0)
    walk = rng.uniform(0, 40, broken.sum())
    obs[broken, 1] = walk
    inside = broken & (t.step < 99)
    next_obs[inside, 1] = obs[np.flatnonzero(inside) + 1, 1]
    task = PlainTask.of(2, action_dim=1)
    data = Data(transitions(t.agent, obs, t.action, next_obs), task)
    few = Data(few_of(data).transitions, task)
    assert few.geometry.angles
    assert not data.geometry.angles
    assert {"level", "u0[-4]"} <= names(data, needed_past(data, 5), ("level", "hour"))
