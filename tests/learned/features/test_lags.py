"""How many past observations a state holds, judged by the data."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from persim_gym.learned.data import Data
from persim_gym.learned.features.lags import LagTrial, judge_lags, shortest
from tests.learned.features.late_worlds import late_level
from tests.learned.worlds import PlainTask, transitions


def test_lags_are_judged() -> None:
    """A law of the second order: its speed is hidden."""
    rng = np.random.default_rng(0)
    agents, steps = 20, 80
    push = rng.uniform(-1, 1, (agents, steps, 1))
    place, speed = rng.normal(size=(2, agents))
    stiff = rng.uniform(0.05, 0.15, agents)
    walk, speeds = [place], [speed]
    for t in range(steps):
        speed = speed - stiff * place + 0.2 * push[:, t, 0]
        place = place + 0.5 * speed
        walk.append(place)
        speeds.append(speed)
    whole = np.stack([np.stack(walk, 1), np.stack(speeds, 1)], axis=2)
    who = np.repeat(np.arange(agents), steps)
    flat = push.reshape(-1, 1)
    for columns, lag in (([0, 1], 1), ([0], 2)):
        seen = whole[:, :, columns]
        before, after = (p.reshape(len(who), -1) for p in (seen[:, :-1], seen[:, 1:]))
        task = PlainTask.of(len(columns), action_dim=1)
        found = judge_lags(Data(transitions(who, before, flat, after), task))
        assert [trial.lag for trial in found.trials] == [1, 2, 3, 4, 5]
        assert found.chosen == lag
        assert found.trials[lag - 1].open_loop < 1e-3
    assert found.trials[0].open_loop > 0.1
    assert judge_lags(Data(transitions(who, before, flat, after), task), gain=1.0).chosen == 1
    assert json.loads(json.dumps(found.to_json()))["chosen"] == 2
    short = transitions(who[:40], before[:40], flat[:40], after[:40], episode=np.arange(40) // 2)
    assert judge_lags(Data(short, task)).chosen == 1


@pytest.mark.parametrize("hold", [1, 3])
@pytest.mark.parametrize(("late", "lag"), [(3, 4), (6, 7), (8, 9)])
def test_an_action_that_acts_many_steps_later_is_found(late: int, lag: int, hold: int) -> None:
    """And where it is held for some steps, so that shorter pasts know a part of it."""
    rng = np.random.default_rng(0)
    agents, steps = 20, 80
    push = np.repeat(rng.uniform(-1, 1, (agents, -(-steps // hold), 1)), hold, axis=1)[:, :steps]
    gain, level = rng.uniform(0.5, 1.5, agents), rng.normal(size=agents)
    walk = [level]
    for t in range(steps):
        level = 0.8 * level + (gain * push[:, t - late, 0] if t >= late else 0.0)
        walk.append(level)
    seen = np.stack(walk, 1)[..., None]
    before, after = (part.reshape(-1, 1) for part in (seen[:, :-1], seen[:, 1:]))
    who = np.repeat(np.arange(agents), steps)
    data = Data(transitions(who, before, push.reshape(-1, 1), after), PlainTask.of(1, action_dim=1))
    found = judge_lags(data)
    # Where nothing is left to chance, rounding alone decides between 7 and 9.
    assert found.chosen == lag if hold == 1 else lag <= found.chosen
    assert [trial.lag for trial in found.trials] == [
        1,
        2,
        3,
        4,
        5,
        *([] if lag < 6 else (7, 9, 12)),
    ]


@pytest.mark.parametrize(
    ("errors", "lag"),
    [
        # The fourth observation takes a fourth off the error of one step: the past needs it.
        ([(0.93, 0.24), (0.08, 0.08), (0.0089, 0.012), (0.0065, 0.011), (0.0062, 0.009)], 4),
        # From the second one on, an observation more takes away a little noise.
        ([(0.90, 0.33), (0.00074, 0.0017), (0.00075, 0.0015), (0.00086, 0.0014)], 2),
        ([(0.20, 0.15), (0.14, 0.14), (0.12, 0.14)], 1),
        # A heating that is on or off: the last change says which, until it switches.
        ([(0.94, 0.27), (0.63, 0.24), (0.61, 0.21), (0.60, 0.25)], 2),
        # The least error of one step is not among those that last.
        ([(0.9, 0.3), (0.3, 0.1), (0.1, 0.2)], 2),
    ],
)
def test_the_shortest_past_is_taken_that_is_nearly_as_good_as_any(
    errors: list[tuple[float, float]], lag: int
) -> None:
    trials = tuple(LagTrial(k + 1, *error) for k, error in enumerate(errors))
    assert shortest(trials).chosen == lag


@pytest.mark.parametrize("hidden", [True, False])
def test_process_noise_does_not_hide_what_is_hidden_nor_observation_noise_feign_it(
    hidden: bool,
) -> None:
    """Food is taken up over some steps; or all is seen, if not exactly."""
    rng = np.random.default_rng(1)
    agents, steps = 40, 100
    food = rng.uniform(0, 1, (agents, steps)) * (rng.random((agents, steps)) < 0.2)
    level, gut, walk = np.ones(agents), np.zeros(agents), []
    for t in range(steps + 1):
        walk.append(level)
        if t < steps:
            gut = gut + food[:, t]
            level = 0.9 * level + (0.3 * gut if hidden else food[:, t])
            level = level + (0.12 if hidden else 0.0) * rng.normal(size=agents)
            gut = 0.7 * gut
    seen = np.stack(walk, 1)[..., None]
    if not hidden:
        seen = seen + 0.1 * rng.normal(size=seen.shape)
    before, after = (part.reshape(-1, 1) for part in (seen[:, :-1], seen[:, 1:]))
    who = np.repeat(np.arange(agents), steps)
    data = Data(transitions(who, before, food.reshape(-1, 1), after), PlainTask.of(1, action_dim=1))
    found = judge_lags(data)
    assert (found.chosen > 1) == hidden
    if hidden:  # a past takes too little away from the error of one step
        least = min(trial.one_step for trial in found.trials)
        assert least > 0.7 * found.trials[0].one_step
    assert (found.trials[0].carried > 0.05) == hidden


@pytest.mark.parametrize(
    ("errors", "carried", "lag"),
    [
        # Errors of one step and of ten, and the tail of these.
        ([(0.155, 0.032, 0.27), (0.1, 0.042, 0.24), (0.097, 0.036, 0.23)], 0.6, 2),
        ([(0.198, 0.092, 0.48), (0.136, 0.086, 0.51), (0.136, 0.085, 0.45)], 0.5, 3),
        # Errors do not go on, longer pasts go wrong, or nothing is left after ten steps.
        ([(0.198, 0.092, 0.48), (0.136, 0.086, 0.51), (0.136, 0.085, 0.45)], 0.0, 1),
        ([(0.424, 0.489, 1.70), (0.283, 0.659, 3.07), (0.241, 0.672, 2.32)], 0.8, 1),
        ([(0.028, 0.011, 0.03), (0.012, 0.005, 0.03), (0.012, 0.015, 0.03)], 0.9, 1),
    ],
)
def test_what_is_hidden_shows_in_one_step_where_most_stretches_are_at_rest(
    errors: list[tuple[float, float, float]], carried: float, lag: int
) -> None:
    """As where doses are rare: the middle stretch says nothing of a past."""
    trials = tuple(LagTrial(k + 1, *own[:2], carried, own[2]) for k, own in enumerate(errors))
    assert shortest(trials).chosen == lag
    assert shortest(trials, gain=1.0).chosen == shortest(trials, rare=False).chosen == 1


@pytest.mark.parametrize(
    ("errors", "lags"),
    [
        ([0.3, 0.205, 0.19], (2, 3)),
        ([0.3, 0.195, 0.19], (2,)),
        ([0.3, 0.015, 0.001], (2,)),
        ([0.2, 0.3, 0.19], ()),
    ],
)
def test_a_longer_past_is_compared_where_it_is_better(
    errors: list[float], lags: tuple[int, ...]
) -> None:
    trials = tuple(LagTrial(k + 1, 0.9, error, 0.2) for k, error in enumerate(errors))
    assert shortest(trials).compared == lags
    assert shortest(tuple(replace(trial, carried=0.0) for trial in trials)).compared == ()


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_of_a_few_agents_an_action_acts_later(noise: float) -> None:
    """A short past predicts the middle agent; a fourth of them it does not."""
    data = late_level((1, 1, 1, 6), agents=60, noise=noise)
    found = judge_lags(data)
    assert found.chosen == 7
    short = {trial.lag: trial for trial in found.trials}[3]
    assert short.open_loop < 0.2 < short.tail
