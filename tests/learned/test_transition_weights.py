"""Transitions of loud noise count less, where the record says clearly that noise differs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from persim_gym.learned import PerSim
from persim_gym.learned.transition_weights import MOST, SOFT, precisions
from tests.learned.springs import AGENTS, after, fitted, recorded, spring

Floats = NDArray[np.float64]


def left_of(power: float, seed: int = 0) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Residuals whose variance is a power of a size, sizes, and agents."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(0.1, 3, (4000, 1))
    noise = size ** (power / 2) * rng.normal(size=(4000, 1))
    other = rng.normal(size=(4000, 1))
    return noise, np.concatenate([other, size], axis=1), np.arange(4000) % 20


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_weights_go_with_the_inverse_of_the_noise(power: float) -> None:
    left, sizes, agent = left_of(power)
    found = precisions(left, sizes, agent)
    assert found is not None
    slope = np.polyfit(np.log(sizes[:, 1]), np.log(found[:, 0]), 1)[0]
    assert slope == pytest.approx(-SOFT * power, abs=0.25 * SOFT * power)
    assert found.mean() == pytest.approx(1.0)
    assert found.max() <= 1.5 * MOST


@pytest.mark.parametrize("seed", range(5))
def test_equal_noise_leaves_equal_weights(seed: int) -> None:
    assert precisions(*left_of(0.0, seed)) is None


def test_a_coordinate_of_equal_noise_keeps_its_own() -> None:
    left, sizes, agent = left_of(2.0)
    even = left_of(0.0, 1)[0]
    found = precisions(np.concatenate([left, even], axis=1), sizes, agent)
    assert found is not None
    assert (found[:, 1] == 1.0).all()
    assert found[:, 0].std() > 0.2


@pytest.mark.parametrize("rows", [0, 10])
def test_few_transitions_say_nothing(rows: int) -> None:
    left, sizes, agent = left_of(2.0)
    assert precisions(left[:rows], sizes[:rows], agent[:rows]) is None


def test_noise_that_only_one_half_of_the_agents_shows_is_not_believed() -> None:
    left, sizes, agent = left_of(2.0)
    even = left_of(0.0, 1)[0]
    assert precisions(np.where(agent[:, None] % 2 == 0, left, even), sizes, agent) is None


def miss(sim: PerSim, own: Floats) -> float:
    """Root mean square of what single steps miss near the middle."""
    rng = np.random.default_rng(6)
    agents = np.repeat(np.arange(AGENTS), 20)
    x, u = rng.uniform(-0.6, 0.6, len(agents)), rng.uniform(-1, 1, len(agents))
    found = sim.rollout(agents, x[:, None].astype(np.float32), u[:, None, None]).mean(0)[:, 0, 0]
    return float(np.sqrt(np.mean((found - after(x, u, own[agents], spring)) ** 2)))


#: Networks that learn a linear law within a second.
SMALL: dict[str, Any] = {"first_steps": 150, "steps": 300, "batch_size": 100, "hidden": (16,),
                         "latent": 1, "ensemble_size": 2}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "where", "options"),
    [
        ("als", "closed_form.fit", {"degree": 1, "rank": 2, "threshold": 0.0, "ensemble_size": 1}),
        ("latent", "latent.data", SMALL),
    ],
)
def test_fits_listen_less_to_what_is_loud(
    method: str, where: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    table, own = recorded(lambda x: 0.1 * (0.02 + np.abs(x)))
    weighted = miss(fitted(table, method, **options), own)
    monkeypatch.setattr(f"persim_gym.learned.{where}.precisions", lambda *_: None)
    assert weighted < 0.9 * miss(fitted(table, method, **options), own)
