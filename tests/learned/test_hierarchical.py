"""Every agent's own polynomial under a population's prior, on laws that are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from persim_gym.learned.hierarchical import HierarchicalFit, fit_hierarchical
from persim_gym.learned.hierarchical_model import HierarchicalModel
from persim_gym.learned.orthonormal import ProductBasis, orthonormal


class World:
    """Each agent has a full set of quadratic coefficients of its own, in two coordinates."""

    def __init__(self, agents: int, rank: int | None = None, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.agents = agents
        spread = rng.normal(size=(12, 12 if rank is None else rank)) / 4.0
        self.own = rng.normal(size=12) / 2.0 + rng.normal(size=(agents, spread.shape[1])) @ spread.T
        self.own = self.own.reshape(agents, 2, 6)

    def change(self, agent: Any, z: NDArray[Any]) -> NDArray[Any]:
        one = np.ones(len(z))
        phi = [one, z[:, 0], z[:, 1], z[:, 0] ** 2, z[:, 0] * z[:, 1], z[:, 1] ** 2]
        return np.einsum("ncp,np->nc", self.own[agent], np.stack(phi, 1))

    def record(self, steps: int, noise: float = 0.0, seed: int = 1) -> tuple[Any, Any, Any]:
        rng = np.random.default_rng(seed)
        agent = np.repeat(np.arange(self.agents), steps)
        z = rng.uniform(-1.5, 1.5, (len(agent), 2))
        y = self.change(agent, z) + noise * rng.normal(size=z.shape)
        return z, y, agent


def error(fit: HierarchicalFit, world: World, seed: int = 9) -> NDArray[Any]:
    """Root mean square error of each agent's mean prediction."""
    rng = np.random.default_rng(seed)
    agent = np.repeat(np.arange(world.agents), 20)
    z = rng.uniform(-1.4, 1.4, (len(agent), 2))
    found = fit.model.change(torch.as_tensor(agent), torch.as_tensor(z)).mean(0).numpy()
    left = ((found - world.change(agent, z)) ** 2).mean(1).reshape(world.agents, 20)
    return np.asarray(np.sqrt(left.mean(1)))


@pytest.mark.parametrize("agents", [1, 2, 30])
def test_a_law_of_full_rank_is_found(agents: int) -> None:
    world = World(agents)
    fit = fit_hierarchical(*world.record(40), agents)
    assert fit.degree == 2
    assert error(fit, world).max() < 1e-4
    assert float(fit.model.noise.max()) < 1e-9


def test_agents_with_few_transitions_lean_on_the_population() -> None:
    world = World(60, rank=2)
    z, y, agent = world.record(30, noise=0.05)
    few = agent < 20
    kept = ~few | (np.arange(len(agent)) % 30 < 4)  # four transitions, six coefficients
    fit = fit_hierarchical(z[kept], y[kept], agent[kept], 60, degree=2)
    pooled = fit_hierarchical(z[kept], y[kept], np.zeros(kept.sum(), int), 1, degree=2)
    shared = pooled.model.with_factors(pooled.model.factors.expand(-1, 60, -1))
    all_alike = error(HierarchicalFit(shared, 2, None, (), ()), world)
    assert np.median(error(fit, world)[:20]) < 0.15 * np.median(all_alike[:20])


def test_the_noise_is_estimated() -> None:
    world = World(40)
    fit = fit_hierarchical(*world.record(60, noise=0.1), 40)
    np.testing.assert_allclose(fit.model.noise.sqrt(), 0.1, rtol=0.1)


def test_members_differ_as_much_as_the_truth_from_their_mean() -> None:
    world = World(50)
    z, y, agent = world.record(12, noise=0.3)
    model = fit_hierarchical(z, y, agent, 50, degree=2, members=30).model
    rng = np.random.default_rng(4)
    point = rng.uniform(-1, 1, (50, 2))
    who = torch.arange(50)
    drawn = model.change(who, torch.as_tensor(point)).numpy()
    left = (drawn.mean(0) - world.change(np.arange(50), point)) / drawn.std(0)
    assert 0.7 < np.sqrt(np.mean(left**2)) < 1.5


def test_heavy_tails_are_found_and_do_no_harm() -> None:
    world = World(30)
    z, y, agent = world.record(50)
    y = y + 0.05 * np.random.default_rng(0).standard_t(1.5, size=y.shape)
    chosen, gaussian = (fit_hierarchical(z, y, agent, 30, tails=t) for t in ("auto", None))
    assert chosen.tails == 4.0
    assert np.median(error(chosen, world)) < 0.7 * np.median(error(gaussian, world))
    assert fit_hierarchical(*world.record(50, noise=0.05), 30).tails is None


def pair(rng: np.random.Generator, n: int) -> NDArray[Any]:
    angle = rng.uniform(-np.pi, np.pi, n)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


@pytest.mark.parametrize(
    ("make", "terms"),
    [
        (lambda rng, n: pair(rng, n), [1, 3, 5, 7]),  # cosines and sines of one to three angles
        (lambda rng, n: np.repeat(rng.normal(size=(n, 1)), 2, 1), [1, 2, 3, 4]),
        (lambda rng, n: np.eye(3)[rng.integers(3, size=n)][:, 1:], [1, 3, 3, 3]),
        (lambda rng, n: np.ones((n, 1)), [1, 1, 1, 1]),
        (lambda rng, n: np.stack([rng.normal(size=n), np.zeros(n)], 1), [1, 2, 3, 4]),
    ],
    ids=["circle", "copy", "indicators", "constant", "constant beside"],
)
def test_no_degree_is_collinear(make: Any, terms: list[int]) -> None:
    z = torch.as_tensor(make(np.random.default_rng(0), 500))
    basis, turn = orthonormal(ProductBasis.up_to(3, z, 0.1), z)
    assert [int((basis.degrees <= d).sum()) for d in range(4)] == terms
    phi = basis(z) @ turn
    gram = phi.mT @ phi / len(z)
    torch.testing.assert_close(gram, torch.eye(len(basis)).double(), atol=1e-6, rtol=0)
    single = (basis.to("cpu", torch.float32)(z.float()) @ turn.float()).double()
    torch.testing.assert_close(single, phi, atol=1e-3, rtol=0)


def test_a_model_is_kept_moved_and_given_other_factors() -> None:
    world = World(6)
    model = fit_hierarchical(*world.record(30), 6, members=3).model
    again = HierarchicalModel.from_parts(model.tensors(), model.meta())
    who, z = torch.arange(6), torch.rand(6, 2, dtype=torch.float64)
    found = model.change(who, z)
    assert found.shape == (3, 6, 2)
    torch.testing.assert_close(again.change(who, z), found, rtol=0, atol=0)
    single = model.to("cpu", torch.float32).change(who, z.float())
    torch.testing.assert_close(single.double(), found, atol=1e-4, rtol=1e-4)
    turned = model.with_factors(model.factors.flip(1))
    torch.testing.assert_close(turned.change(who.flip(0), z), found)
    # Linear in the factors, which is what adaptation needs; each member from inputs of its own.
    design = model.design(z)
    assert design.shape == (3, 6, 2, model.rank)
    torch.testing.assert_close((design * model.factors[:, :, None]).sum(-1), found)
    torch.testing.assert_close(model.change(who, z.expand(3, 6, 2)), found)
    # Many rows of few agents go another way, with the same result.
    many = torch.rand(200, 2, dtype=torch.float64)
    of = torch.arange(200) % 2
    one = torch.cat([model.change(a[None], row[None]) for a, row in zip(of, many, strict=True)], 1)
    torch.testing.assert_close(model.change(of, many), one)
    with pytest.raises(ValueError, match="not of the same model"):
        HierarchicalModel.from_parts(model.tensors(), {"terms": 5, "outputs": 2})


def test_the_population_is_a_prior_for_new_agents() -> None:
    world = World(80)
    model = fit_hierarchical(*world.record(30), 80, degree=2, members=1).model
    coefficients = model.factors[0]
    centred = coefficients - coefficients.mean(0)
    torch.testing.assert_close(model.prior_mean, coefficients.mean(0), atol=1e-4, rtol=1e-3)
    covariance = model.prior_root @ model.prior_root.T
    own = centred.T @ centred / 80
    p = model.rank // 2
    torch.testing.assert_close(covariance[:p, :p], own[:p, :p], atol=1e-3, rtol=1e-2)


def test_far_from_the_record_changes_stay_in_bounds() -> None:
    world = World(10)
    z, y, agent = world.record(40)
    model = fit_hierarchical(z, y, agent, 10).model
    far = model.change(torch.arange(10), torch.full((10, 2), 1e6, dtype=torch.float64))
    width = y.max(0) - y.min(0)
    assert (far.numpy() <= y.max(0) + width + 1e-9).all()
    assert (far.numpy() >= y.min(0) - width - 1e-9).all()


def test_more_agents_than_the_population_is_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    from persim_gym.learned import hierarchical, hierarchical_search

    monkeypatch.setattr(hierarchical_search, "FEWEST", 20)
    monkeypatch.setattr(hierarchical_search, "WORK", {"default": 1e3})
    monkeypatch.setattr(hierarchical, "AGENTS_AT_ONCE", 7)
    world = World(50)
    z, y, agent = world.record(30)
    order = np.random.default_rng(0).permutation(len(agent))  # in any order
    with pytest.raises(ValueError, match="too many: choose a lower degree"):
        fit_hierarchical(z, y, agent, 50, degree=2)
    monkeypatch.setattr(hierarchical_search, "WORK", {"default": 1e4})
    fit = fit_hierarchical(z[order], y[order], agent[order], 52, degree=2)
    assert error(fit, world).max() < 1e-3
    assert bool(torch.isfinite(fit.model.factors).all())
    torch.testing.assert_close(  # of an agent without transitions nothing is known
        fit.model.factors[:, 50:].mean(0), fit.model.prior_mean.expand(2, -1), atol=1e-6, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"features": np.zeros((3, 2))}, "of at least one transition are expected"),
        ({"features": np.full((8, 2), np.nan)}, "must be finite"),
        ({"agent": np.arange(8)}, "agents must be from 0 to 3, got 0 to 7"),
        ({"effort": "much"}, "effort must be one of quick, default, thorough"),
        ({"members": 0}, "members must be at least 1"),
    ],
)
def test_bad_input_is_refused(change: dict[str, Any], said: str) -> None:
    given = {"features": np.zeros((8, 2)), "change": np.zeros((8, 1)), "agent": np.arange(8) // 2}
    options = {"num_agents": 4} | given | change
    with pytest.raises(ValueError, match=said):
        fit_hierarchical(**options)


def test_equal_fits_are_equal_and_leave_random_state_alone() -> None:
    data = World(8).record(20, noise=0.1)
    state = torch.get_rng_state()
    one, two, other = (fit_hierarchical(*data, 8, seed=s).model.factors for s in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)
