"""What is left of a run: the table's seconds, corrected by what the run has shown."""

from __future__ import annotations

import pytest

from persim_gym.experiments.costs import Estimate, expected_seconds
from persim_gym.experiments.presets import preset_cells
from tests.experiments.paper_cells import quick, tiny

PLANNED = quick(experiment="reward", method="true", planner="default", max_episode_steps=None)


@pytest.mark.slow
def test_every_cell_of_every_preset_has_an_expectation() -> None:
    for cell in preset_cells("paper", "cuda"):
        fit, run = expected_seconds(cell)
        assert (fit > 0) == (cell.fit_key is not None)
        assert run > 0
        assert expected_seconds(cell, fitted=True) == (0.0, run)


def test_planning_takes_longer_the_more_is_planned() -> None:
    short = quick(experiment="reward", method="true", planner="default", max_episode_steps=20)
    many = quick(
        experiment="reward", method="true", planner="default", max_episode_steps=20, episodes=30
    )
    both = [expected_seconds(cell)[1] for cell in (short, PLANNED, many)]
    assert both[0] < min(both[1:])


def test_a_longer_fit_takes_longer() -> None:
    for method, name, task in (
        ("bcq-p", "updates", "cartpole"), ("cql-a", "updates", "half-cheetah"),
        ("persim-dqn", "steps", "mountain-car"), ("persim-sac", "steps", "half-cheetah"),
    ):  # fmt: skip
        usual, longer = (
            expected_seconds(tiny("reward", task=task, method=method, fit=fit))[0]
            for fit in ((), ((name, 10**6),))
        )
        assert longer > 10 * usual > 0


def test_each_fit_counts_once() -> None:
    cells = [tiny(), tiny("latent", episodes=1), tiny(episodes=7)]
    first, *others = Estimate().of_all(cells)
    assert first > 5 > max(others)
    assert max(Estimate([str(tiny().fit_key)]).of_all(cells)) < 5


def test_a_run_corrects_the_table() -> None:
    estimate = Estimate()
    fit, run = expected_seconds(tiny())
    slow = {"data": 0.0, "fit": 3 * fit, "run": 5 * run}
    estimate.learn(tiny(), slow)
    # Its like: the same experiment, fitted anew, and fitted already.
    assert estimate.seconds(tiny(seed=1)) == pytest.approx(3 * fit + 5 * run)
    assert estimate.seconds(tiny(episodes=9)) == pytest.approx(5 * run)
    # Of what was not seen the machine is thought to be as slow as it was with the rest.
    other = expected_seconds(PLANNED)[1]
    assert estimate.seconds(PLANNED) == pytest.approx(5 * other)


def test_what_is_left() -> None:
    estimate = Estimate()
    one = expected_seconds(PLANNED)[1]
    assert estimate.left([], {}, 2) == 0.0
    assert estimate.left([PLANNED], {}, 2) == pytest.approx(one)  # nobody can help
    more = [quick(**vars_of(seed)) for seed in range(1, 5)]
    assert estimate.left(more, {}, 2) == pytest.approx(2 * one)
    half = estimate.left(more[1:], {more[0]: 0.5 * one}, 1)
    assert half == pytest.approx(3.5 * one)
    overdue = estimate.left(more[1:], {more[0]: 100 * one}, 1)
    assert 3 * one < overdue < 3.2 * one


def vars_of(seed: int) -> dict[str, object]:
    return {
        "experiment": "reward", "method": "true", "planner": "default", "seed": seed,
        "max_episode_steps": None,
    }  # fmt: skip
