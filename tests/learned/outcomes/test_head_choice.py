"""What is learned of rewards and ends is as simple as it can be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from persim_gym.learned.outcomes import heads
from persim_gym.learned.outcomes.head_choice import fit_classifier, fit_regression, split

ROWS = np.random.default_rng(0).uniform(-1.0, 1.0, (400, 2))
PARTS = split(np.arange(0, 400, 40), np.full(10, 40), np.zeros(10, dtype=np.bool_), seed=0)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "STEPS", 50)


def test_whole_trajectories_are_held_out() -> None:
    assert len(PARTS.held) == 80
    assert len(np.unique(PARTS.held // 40)) == 2
    assert set(PARTS.fit) | set(PARTS.held) == set(range(400))
    few = split(np.array([0]), np.array([50]), np.zeros(1, dtype=np.bool_), seed=0)
    assert few.held.tolist() == list(range(40, 50))


@pytest.mark.parametrize(
    ("values", "kind", "terms"),
    [
        (np.full(400, 3.0), "constant", None),
        (2 * ROWS[:, 0] - 1, "polynomial", 2),
        (ROWS[:, 0] * ROWS[:, 1] - ROWS[:, 1] ** 2, "polynomial", 4),
    ],
    ids=["constant", "line", "two products"],
)
def test_a_value_is_found_in_its_shortest_form(
    values: np.ndarray, kind: str, terms: int | None
) -> None:
    head, about = fit_regression(ROWS, values, PARTS, seed=0)
    assert about["kind"] == head.kind == kind
    if terms is not None:
        assert about["terms"] <= terms  # of centred inputs, of which there are six of degree 2
    np.testing.assert_allclose(head(torch.as_tensor(ROWS)), values, atol=1e-3)


def test_noise_is_no_value_of_the_rows() -> None:
    noise = np.random.default_rng(1).normal(size=400)
    head, _ = fit_regression(ROWS, noise, PARTS, seed=0)
    assert float(head(torch.as_tensor(ROWS)).std()) < 0.2


def test_a_limit_is_found_and_chance_is_not() -> None:
    beyond = np.abs(ROWS[:, 0]) > 0.7
    head, about = fit_classifier(ROWS, beyond, PARTS, seed=0)
    assert head is not None
    assert about["kind"] == "limits"
    assert ((head(torch.as_tensor(ROWS)) > 0).numpy() == beyond).mean() > 0.99
    chance = np.random.default_rng(2).random(400) < 0.05
    assert fit_classifier(ROWS, chance, PARTS, seed=0)[0] is None
