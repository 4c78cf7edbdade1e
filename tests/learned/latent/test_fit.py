from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from persim_gym.learned.config import Latent
from persim_gym.learned.latent.data import LatentData, LatentSource
from persim_gym.learned.latent.fit import LatentSnapshot, fit_latent, initial_network
from persim_gym.learned.latent.network import LatentNetwork
from persim_gym.learned.latent.posterior import posterior
from persim_gym.learned.networks.optimise import FitProgress
from tests.learned.latent_worlds import (
    QUICK,
    THRESHOLDS,
    Recorded,
    bounce,
    error,
    kink,
    record,
    relax,
)

NAMES = ("features", "changes", "agents", "episodes")


@pytest.fixture(scope="module")
def kinked() -> Recorded:
    return record(kink, THRESHOLDS, 80, seed=0, scattered=True)


@pytest.fixture(scope="module")
def fitted(kinked: Recorded) -> LatentNetwork:
    return fit_latent(kinked.data, replace(QUICK, steps=600), frame=kinked.frame)


@pytest.mark.slow
def test_a_threshold_of_each_agents_own_is_found(kinked: Recorded, fitted: LatentNetwork) -> None:
    pooled = replace(kinked.data, agents=np.zeros_like(kinked.data.agents), num_agents=1)
    one_for_all = fit_latent(pooled, replace(QUICK, steps=600))
    alike = one_for_all.with_factors(one_for_all.factors.expand(-1, len(THRESHOLDS), -1))
    own = error(fitted, kinked, kink, THRESHOLDS)
    assert own < 0.05
    assert own < 0.3 * error(alike, kinked, kink, THRESHOLDS)


@pytest.mark.slow
def test_gates_make_the_edge_of_a_contact_sharper() -> None:
    rebounds = np.linspace(0.2, 1.0, 12)
    recorded = record(bounce, rebounds, 100, seed=0, scattered=True)
    with_gates, without = (
        error(
            fit_latent(recorded.data, replace(QUICK, gates=gates, steps=900)),
            recorded,
            bounce,
            rebounds,
        )
        for gates in (4, 0)
    )
    assert with_gates < 0.7 * without


def test_one_seed_one_network(kinked: Recorded) -> None:
    short = replace(QUICK, first_steps=40, steps=40)
    first, second = (fit_latent(kinked.data, short, frame=kinked.frame) for _ in range(2))
    other = fit_latent(kinked.data, replace(short, seed=1), frame=kinked.frame)
    assert all(torch.equal(a, second.tensors()[name]) for name, a in first.tensors().items())
    assert not torch.equal(first.factors, other.factors)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 0.2])
@pytest.mark.parametrize("killed_at", [1, 3, 5])
def test_a_fit_that_was_killed_ends_as_one_that_was_not(noise: float, killed_at: int) -> None:
    recorded = record(relax, np.linspace(0.5, 2.0, 6), 40, seed=1, noise=noise)
    config = replace(QUICK, first_steps=50, steps=50, window_steps=50, window=5)
    snapshots: list[LatentSnapshot] = []
    options = {"frame": recorded.frame, "save": snapshots.append, "save_every": 0.0}
    whole = fit_latent(recorded.data, config, **options)  # type: ignore[arg-type]
    resumed = fit_latent(recorded.data, config, frame=recorded.frame, resume=snapshots[killed_at])
    assert all(torch.equal(a, resumed.tensors()[name]) for name, a in whole.tensors().items())


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_it_is_said_whether_a_fit_went_over_windows(noise: float) -> None:
    recorded = record(relax, np.linspace(0.5, 2.0, 6), 40, seed=1, noise=noise)
    config = replace(QUICK, first_steps=50, steps=5, window_steps=5, window=5)
    snapshots: list[LatentSnapshot] = []
    said: list[int] = []
    fit_latent(
        recorded.data, config, frame=recorded.frame, save=snapshots.append,
        on_windows=lambda: said.append(1),
    )  # fmt: skip
    assert snapshots[-1].stage == 2
    again = snapshots[-1]  # one that is done says so as well
    fit_latent(
        recorded.data, config, frame=recorded.frame, resume=again, on_windows=lambda: said.append(2)
    )
    assert said == ([1, 2] if noise else [])


def test_progress_is_reported_from_the_first_epoch_to_the_last(kinked: Recorded) -> None:
    seen: list[FitProgress] = []
    fit_latent(kinked.data, replace(QUICK, first_steps=40, steps=40), on_epoch=seen.append)
    assert [p.epoch for p in seen] == list(range(1, seen[-1].epochs + 1))
    assert all(len(p.loss) == QUICK.ensemble_size and np.isfinite(p.loss).all() for p in seen)


@pytest.mark.slow
def test_agents_beyond_the_most_are_adapted_to(kinked: Recorded) -> None:
    few = fit_latent(kinked.data, replace(QUICK, steps=600, max_agents=10))
    assert few.num_agents == len(THRESHOLDS)
    assert error(few, kinked, kink, THRESHOLDS) < 0.05


def test_only_agents_beyond_the_most_are_solved_for(
    kinked: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, solved = replace(QUICK, first_steps=20, max_agents=10), []
    asked: list[NDArray[np.int64]] = []

    def watched(network: LatentNetwork, data: LatentSource, **options: Any) -> Any:
        asked.append(options["chosen"])
        solved.append(posterior(network, data, **options))
        return solved[-1]

    monkeypatch.setattr("persim_gym.learned.latent.fit.posterior", watched)
    few = fit_latent(kinked.data, config)
    (others,), ((mean, deviation),) = asked, solved
    fitted = np.setdiff1d(np.arange(len(THRESHOLDS)), others)
    assert (len(fitted), mean.shape[1]) == (10, len(THRESHOLDS) - 10)
    assert torch.equal(few.factors[:, others], mean)
    assert torch.equal(few.deviations[:, others], deviation)
    alone = fit_latent(kinked.data.of_agents(fitted), config)
    assert torch.equal(few.factors[:, fitted], alone.factors)


def test_agents_without_transitions_are_average(kinked: Recorded) -> None:
    network = fit_latent(replace(kinked.data, num_agents=len(THRESHOLDS) + 1), QUICK)
    assert network.deviations[:, -1].mean() > 2 * network.deviations[:, :-1].mean()
    assert torch.isfinite(network.factors).all()


@pytest.mark.parametrize(
    ("changed", "seen"),
    [
        ({"ensemble_size": 3}, lambda n: n.members == 3),
        ({"latent": 4}, lambda n: n.factors.shape[2] == 4),
        ({"hidden": (8,)}, lambda n: n.shape.widths[1:-1] == (8,)),
    ],
)
def test_sizes_are_what_was_asked_for(changed: dict, seen: object, kinked: Recorded) -> None:
    config = replace(QUICK, first_steps=20, **changed)
    assert seen(fit_latent(kinked.data, config))  # type: ignore[operator]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [
        {"batch_size": 32},
        {"first_steps": 60},
        {"steps": 20},
        {"learning_rate": 1e-3},
        {"decay": 100.0},
        {"noise_share": 1e9},
        {"window": 5},
        {"windows": 8},
        {"window_steps": 10},
        {"window_learning_rate": 1e-4},
        {"hold": 0.5},
        {"max_agents": 4},
    ],
)
def test_every_option_has_an_effect(changed: dict) -> None:
    noise = 0.0 if "steps" in changed else 0.2
    recorded = record(relax, np.linspace(0.5, 2.0, 6), 40, seed=1, noise=noise)
    base = replace(QUICK, first_steps=40, window_steps=20)
    one, two = (
        fit_latent(recorded.data, config, frame=recorded.frame)
        for config in (base, replace(base, **changed))
    )
    far = torch.tensor([[0.0, 0.0], [9.0, 9.0]])
    agents = torch.tensor([0, 1])
    assert not torch.equal(one.change(agents, far), two.change(agents, far))


@pytest.mark.parametrize(
    "changed",
    [{"ensemble_size": 0}, {"steps": -1}, {"hidden": ()}, {"decay": -1.0}, {"hold": float("nan")}],
)
def test_options_out_of_range_are_refused(changed: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(changed))):
        Latent(**changed)


def test_data_that_do_not_fit_together_are_refused(kinked: Recorded) -> None:
    with pytest.raises(ValueError, match="changes must have 2 axes"):
        replace(kinked.data, changes=kinked.data.changes[:-1])
    with pytest.raises(ValueError, match="finite"):
        replace(kinked.data, features=kinked.data.features * np.nan)
    with pytest.raises(ValueError, match="at least one transition"):
        fit_latent(replace(kinked.data, **{n: getattr(kinked.data, n)[:0] for n in NAMES}))
    with pytest.raises(ValueError, match="agents must be in"):
        replace(kinked.data, num_agents=3)


def test_a_fit_that_diverges_says_so(kinked: Recorded) -> None:
    with pytest.raises(FloatingPointError, match="learning_rate"):
        fit_latent(kinked.data, replace(QUICK, learning_rate=1e18))


@pytest.mark.parametrize(("noise", "least", "most"), [(0, 0, 10), (1e-7, 0, 10), (0.01, 50, 1000)])
def test_what_hardly_varies_is_not_made_large(noise: float, least: float, most: float) -> None:
    """A place less the one before it is a speed; of predictions, with their errors, it is not."""
    rng = np.random.default_rng(0)
    speed, place = rng.normal(size=(2, 400))
    moved = speed + noise * rng.normal(size=400)
    features = np.stack([speed, moved, place], axis=1)
    agents = np.repeat(np.arange(4), 100)
    data = LatentData(features, speed[:, None], agents, agents, 4)
    mix = initial_network(data, Latent(ensemble_size=1)).tensors()["mix"]
    apart = torch.tensor([0.5, -0.5, 0.0]) @ mix
    assert least <= float(apart.norm()) <= most
    seen = (torch.as_tensor(features, dtype=torch.float32) @ mix).std(0)
    assert float(seen.min()) > 0.5, "what both say is as large as ever"
