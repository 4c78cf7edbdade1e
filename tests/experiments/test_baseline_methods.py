"""Baselines in the benchmark: they act, on all data, on one agent's, and with synthetic data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persim_gym.baselines.face import FILE, Baseline
from persim_gym.experiments import methods, preset_cells
from persim_gym.experiments.baseline_methods import SYNTHETIC, ModelPerAgent, PerAgent, joined
from persim_gym.experiments.context import context_of
from persim_gym.experiments.presets import BASELINES, CONTINUOUS
from persim_gym.experiments.runner import check_cell, is_fitted
from persim_gym.experiments.stages import run_cell
from persim_gym.offline import datasets
from persim_gym.offline.reading import read_transitions
from persim_gym.offline.transitions import Transitions
from persim_gym.rollout import EpisodeBatch
from tests.experiments.paper_cells import TINY_FIT, tiny

pytestmark = pytest.mark.usefixtures("recorded")

FIT = (("updates", 20), ("hidden", (8,)))


def cell_of(method: str, **changes: Any) -> Any:
    return tiny("reward", method=method, fit=FIT, **changes)


@pytest.mark.slow
@pytest.mark.parametrize("method", BASELINES[:4])
def test_a_baseline_acts_and_is_not_fitted_twice(
    method: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tianshou", reason="pip install 'persim-gym[baselines]'")
    cell = cell_of(method)
    check_cell(cell)
    assert not is_fitted(cell, folder)
    row = run_cell(cell, folder, threads=1)
    assert is_fitted(cell, folder)
    assert [own["agent"] for own in row.results["agents"]] == [0, 1]
    assert len(row.results["agents"][0]["returns"]) == 2
    alone = method.endswith("-a")
    place = folder / "models" / str(cell.fit_key)
    held = Baseline.load(place / "agent-1" if alone else place)
    assert held.agents == ((1,) if alone else tuple(range(25)))
    assert row.results["fit"]["config"]["updates"] == 20
    kind = type(held)
    monkeypatch.setattr(kind, "fit", lambda *a, **b: pytest.fail("it was fitted again"))
    assert run_cell(cell, folder, threads=1).results == row.results


def test_options_are_checked_beside_those_of_their_method() -> None:
    def of(name: str, value: int) -> Any:
        return tiny("reward", method="vanilla-cadm", fit=((name, value),))

    check_cell(of("particles", 3))  # of its one member
    with pytest.raises(ValueError, match="multiple of ensemble_size=5"):
        check_cell(of("ensemble_size", 5))


@pytest.mark.slow
def test_synthetic_trajectories_join_the_observed_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tianshou", reason="pip install 'persim-gym[baselines]'")
    cell = cell_of("persim-bcq-5")
    simulator = methods.fitted_simulator

    def small(context: Any, **options: Any) -> Any:
        return simulator(context, **options, **dict(TINY_FIT))

    monkeypatch.setattr(methods, "fitted_simulator", small)
    row = run_cell(cell, folder, threads=1)
    place = folder / "models" / str(cell.fit_key) / "agent-1"
    card = Baseline.load(place).card
    made = datasets.load(f"persim/synthetic/{cell.fit_key}-v0")
    assert (
        datasets.card_of(made)["synthetic"]["simulator_sha256"]
        == (row.results["fit"]["simulator_sha256"])
    )
    steps = read_transitions(made)
    observed = context_of(cell, folder).data()
    assert len(np.unique(steps.episode)) == 2 * SYNTHETIC
    own = int((steps.agent == 1).sum()) + int((observed.agent == 1).sum())
    assert card["dataset"]["transitions"] == own
    assert (place / FILE).is_file()
    datasets.delete(made.id)


def test_joined_transitions_keep_episodes_apart() -> None:
    def some(seed: int, offset: float = 0.0) -> Transitions:
        rng = np.random.default_rng(seed)
        obs, next_obs = offset + rng.normal(size=(2, 4, 2))
        return Transitions(
            agent=[0] * 4, obs=obs, action=np.zeros(4, dtype=int), next_obs=next_obs,
            reward=np.ones(4), terminated=np.zeros(4), truncated=np.zeros(4),
            episode=[0, 0, 1, 1], num_agents=1, task_name="a",
        )  # fmt: skip

    both = joined(some(0), some(1))
    assert both.episode.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    np.testing.assert_array_equal(both.obs, np.concatenate([some(0).obs, some(1).obs]))
    assert both.changes is None
    far = some(0, 1e5)
    assert far.changes is not None
    for first, second in ((far, some(1)), (some(1), far), (far, far)):
        change = joined(first, second).change(slice(None))
        kept = np.concatenate([first.change(slice(None)), second.change(slice(None))])
        np.testing.assert_allclose(change, kept, rtol=1e-6)


def test_each_agent_acts_by_its_own_policy() -> None:
    from persim_gym.envs.suites import SUITES

    class Always:
        def __init__(self, action: int) -> None:
            self.action = action

        def predict(self, obs: Any) -> Any:
            return np.full(len(obs), self.action), None

    policy = PerAgent({3: Always(0), 5: Always(1)})
    agents = np.array([5, 3, 5])
    batch = EpisodeBatch(SUITES["cartpole"].task(), agents, np.zeros(3, dtype=np.int64), 5, 0)
    choose = policy.begin_episodes(batch)
    obs = np.zeros((3, 4), dtype=np.float32)
    assert choose(0, np.arange(3), obs).tolist() == [1, 0, 1]
    assert choose(1, np.array([1, 2]), obs[:2]).tolist() == [0, 1]
    with pytest.raises(TypeError, match="whose agent is known"):
        policy.predict(obs)


def test_options_of_a_baselines_fit_are_checked_before_a_run() -> None:
    with pytest.raises(ValueError, match="unknown option 'degree' of BCQ"):
        check_cell(tiny("reward", method="bcq-p", fit=(("degree", 2),)))
    with pytest.raises(ValueError, match="takes part in reward"):
        check_cell(tiny(method="bcq-p", fit=()))


CHEETAH: dict[str, Any] = {
    "task": "half-cheetah", "dataset": "random", "train_agents": 2, "episodes": 1,
    "max_episode_steps": 3,
}  # fmt: skip
SFBC_FIT = (
    ("updates", 10), ("widths", (8, 4)), ("critic_updates", 10), ("planned", 2), ("steps", 2),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("method", CONTINUOUS)
def test_sfbc_acts_where_actions_are_continuous(method: str, folder: Path) -> None:
    cell = tiny("reward", method=method, fit=SFBC_FIT, **CHEETAH)
    check_cell(cell)
    row = run_cell(cell, folder, threads=1)
    assert row.results["fit"]["fitted_by"] == "SfBC"
    assert np.isfinite(row.results["agents"][1]["returns"]).all()


@pytest.mark.parametrize("method", CONTINUOUS)
def test_sfbc_is_refused_where_actions_are_discrete(method: str) -> None:
    for fit in ((), SFBC_FIT):
        with pytest.raises(ValueError, match="those of cartpole are discrete"):
            check_cell(tiny("reward", method=method, fit=fit))
    for name in ("laptop", "paper"):
        tasks = {cell.task for cell in preset_cells(name, "cuda") if cell.method == method}
        assert tasks <= {"half-cheetah"}
    assert tasks == {"half-cheetah"}


@pytest.mark.slow
def test_in_support_planning_takes_its_candidates_from_the_behaviour(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from persim_gym.baselines import Cloning

    asked, sample = [], Cloning.sample

    def watched(self: Any, observations: Any, k: int, rng: Any) -> Any:
        asked.append(len(observations) * k)
        return sample(self, observations, k, rng)

    monkeypatch.setattr(Cloning, "sample", watched)
    cell = tiny("reward", method="persim-in-support")
    check_cell(cell)
    row = run_cell(cell, folder, threads=1)
    assert row.results["planning"]["planner"] == "RandomShooting"
    assert row.results["fit"]["proposal"]["fitted_by"] == "Cloning"
    # 2 agents, 2 episodes each, 50 candidates, 35 steps, 5 decisions.
    assert sum(asked) == 4 * 50 * 35 * 5


def test_each_agent_is_predicted_by_its_own_model() -> None:
    class Adds:
        def __init__(self, what: float) -> None:
            self.what = what

        def rollout(self, agents: Any, obs: Any, actions: Any) -> Any:
            steps = np.arange(1, actions.shape[1] + 1)[:, None]
            return (obs[:, None] + self.what * steps)[None]

    models = ModelPerAgent({3: Adds(1.0), 1: Adds(10.0)})
    found = models.rollout([1, 3, 1], np.array([[0.0], [0.0], [5.0]]), np.zeros((3, 2)))
    assert found[0, :, :, 0].tolist() == [[10, 20], [1, 2], [15, 25]]
