"""Close candidates are mixed where that is better for agents that had no say in the weights."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from persim_gym.learned.comparison.family_choice import compare
from persim_gym.learned.comparison.mixing import simplex_least_squares
from tests.learned.comparison.records import Known, of, record


def test_opposite_errors_are_mixed() -> None:
    data = record(100)
    candidates = {"up": of(Known(drift=0.03)), "down": of(Known(drift=-0.02))}
    found = compare(data, candidates)
    assert found.weights["up"] == pytest.approx(0.4, abs=0.05)
    assert sum(found.weights.values()) == pytest.approx(1.0)
    assert found.scores["mixture"].score < found.scores["down"].score - 1.0
    alone = compare(data, candidates, mix=False)
    assert alone.weights == {"down": 1.0}
    # One that is far worse takes no part.
    far = compare(data, candidates | {"nothing": of(Known(1.0))})
    assert set(far.weights) == {"up", "down"}


def test_agents_with_a_short_record_have_no_part_in_long_horizons() -> None:
    data = record(100)
    short = (data.agent > 0) | (np.arange(len(data.agent)) < 6)
    parts = {f.name: getattr(data, f.name) for f in dataclasses.fields(data)}
    few = {k: v[short] for k, v in parts.items() if np.shape(v)[:1] == short.shape}
    found = compare(
        dataclasses.replace(data, **few),
        {"up": of(Known(drift=0.03)), "down": of(Known(drift=-0.02))},
    )
    assert found.weights["up"] == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_weights_are_the_best_of_the_simplex(seed: int) -> None:
    rng = np.random.default_rng(seed)
    left = rng.normal(size=(3, 50)) * [[1.0], [1.5], [4.0]] + rng.normal(size=50)
    gram = left @ left.T
    weights = simplex_least_squares(gram)
    assert weights.sum() == pytest.approx(1.0)
    assert (weights >= 0).all()
    others = rng.dirichlet(np.ones(3), 500)
    least = np.einsum("ni,ij,nj->n", others, gram, others).min()
    assert weights @ gram @ weights <= least * (1 + 1e-3)
