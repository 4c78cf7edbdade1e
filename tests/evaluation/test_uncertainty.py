import dataclasses

import numpy as np
import pytest

from persim_gym.envs.suites import find_suite
from persim_gym.evaluation.episodes import follow
from persim_gym.evaluation.uncertainty import (
    BAD,
    OpenLoopUncertainty,
    StepUncertainty,
    open_loop_uncertainty,
    step_uncertainty,
)
from persim_gym.learned import PerSim
from persim_gym.policies.scripted import scripted_policy


def drawn(size: float, n: int = 4000, h: int = 3) -> OpenLoopUncertainty:
    """Errors drawn with the deviation times a factor."""
    rng = np.random.default_rng(0)
    deviation = np.exp(rng.normal(size=(n, h)))
    error = size * deviation * np.abs(rng.standard_normal((n, h)))
    return OpenLoopUncertainty(deviation, error, np.ones((n, h), dtype=bool))


@pytest.mark.parametrize("size", [0.5, 1.0, 3.0])
def test_calibration_gives_back_how_far_spread_is_off(size: float) -> None:
    found = drawn(size)
    deviation, error = found.calibration(5)
    np.testing.assert_allclose(error / deviation, size, rtol=0.2)
    assert (np.diff(deviation) > 0).all()
    # The median of a half-normal variable is 0.674 of its scale.
    np.testing.assert_allclose(found.ratio(), 0.674 * size, rtol=0.1)


def test_rank_correlation_sees_order_alone_and_only_valid_steps() -> None:
    rng = np.random.default_rng(1)
    deviation = rng.random((50, 2))
    error = np.stack([np.exp(9 * deviation[:, 0]), -deviation[:, 1]], axis=1)
    valid = np.ones((50, 2), dtype=bool)
    valid[:10] = False
    error[:10] = rng.random((10, 2))
    found = OpenLoopUncertainty(deviation, error, valid).rank_correlation()
    np.testing.assert_allclose(found, [1.0, -1.0])
    few = OpenLoopUncertainty(deviation[:12], error[:12], valid[:12]).rank_correlation()
    assert np.isnan(few).all()


def test_a_limit_is_judged_by_what_it_stops() -> None:
    disagreement = np.linspace(0, 1, 1001)
    error = np.where(disagreement > 0.7, 2 * BAD, 0.0)
    steps = StepUncertainty(disagreement, error, np.zeros(1001))
    caught, vain = steps.caught(0.35)
    assert caught == 1.0
    assert vain == pytest.approx(0.5, abs=0.01)
    assert steps.best_limit() == pytest.approx(0.7, abs=0.005)
    assert steps.caught(0.85)[0] == pytest.approx(0.5, abs=0.01)
    good = StepUncertainty(disagreement, 0 * error, np.zeros(1001))
    assert np.isnan(good.caught(0.1)[0])
    assert np.isnan(good.best_limit())


def test_simulators_are_compared_with_the_truth(cartpole: PerSim) -> None:
    suite = find_suite("cartpole")
    true = suite.dynamics(suite.population(cartpole.num_agents))
    agents = range(min(5, cartpole.num_agents))
    episodes = follow(suite.task(), true, agents, scripted_policy("cartpole"), episodes=3, seed=0)
    open_loop = open_loop_uncertainty(cartpole, episodes)
    assert open_loop.valid.any()
    assert (open_loop.deviation[open_loop.valid] > 0).all()
    members = episodes.predicted_by(cartpole)
    unit = episodes.true[episodes.valid].std(axis=0)
    error = np.sqrt(np.mean(((members.mean(0) - episodes.true) / unit) ** 2, axis=-1))
    np.testing.assert_allclose(open_loop.error, error)

    rows = np.repeat(np.arange(5), 4)
    one = step_uncertainty(cartpole, true, rows, steps=5, seed=3)
    assert len(one.error) == len(one.disagreement) == 5 * len(rows)
    again = step_uncertainty(cartpole, true, rows, steps=5, seed=3)
    np.testing.assert_array_equal(one.error, again.error)
    # The truth is never wrong about itself.
    exact = dataclasses.replace(one, error=np.zeros_like(one.error))
    assert exact.caught(0.0)[1] > 0.9


def test_one_member_cannot_disagree(cartpole: PerSim) -> None:
    alone = PerSim(
        type(cartpole.ensemble)(
            cartpole.ensemble.network.members([0]),  # type: ignore[attr-defined]
            cartpole.ensemble.scaling,  # type: ignore[attr-defined]
        ),
        cartpole.task,
        cartpole.experience,
        cartpole.card,
    )
    with pytest.raises(ValueError, match="ensemble_size of at least 2"):
        open_loop_uncertainty(alone, None)  # type: ignore[arg-type]
