"""Predictions fade where they are worthless, and nowhere else."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from persim_gym.learned import PerSim
from persim_gym.learned.comparison.holdout import Record
from persim_gym.learned.uncertainty.fading import AGREED, STEPS, TORN, Fading, learn_fading
from tests.learned.noisy_worlds import TASK, fitted
from tests.learned.worlds import PlainTask, transitions

AGENTS, LENGTH = 30, 60


def stub(courses: Any) -> Any:
    """Members that predict ``courses [m, N, h]`` of the agents, whatever is done."""

    def unroll(agents: Any, states: Any, actions: Any) -> Any:
        for t in range(actions.shape[2]):
            yield torch.as_tensor(courses[:, agents.numpy(), t])[:, :, None, None]

    return SimpleNamespace(lag=1, past=0, obs_dim=1, device=torch.device("cpu"), unroll=unroll)


def record_of_courses(truth: Any) -> Record:
    """A record of which the last half of each agent's course ``[N, 2 h]`` will be held out."""
    n, total = truth.shape
    agent = np.repeat(np.arange(n), total - 1)
    states = truth[:, :-1].reshape(-1, 1).astype(np.float32)
    following = truth[:, 1:].reshape(-1, 1).astype(np.float32)
    actions = np.zeros((len(agent), 1), dtype=np.float32)
    return Record(agent, agent, states, actions, following, np.ones(1))


def learned(predict: Any, spread: float = 0.0) -> tuple[Fading | None, Any]:
    """What is learned of members whose mean predicts ``predict(truth, other)`` of held-out courses.

    The truth is around 3 with standard deviation 1, each step by itself; ``other`` is as the truth
    is, and has nothing to do with it.
    """
    rng = np.random.default_rng(0)
    truth = 3 + rng.standard_normal((AGENTS, 2 * LENGTH + 1))
    held = truth[:, LENGTH + 1 :]
    other = 3 + rng.standard_normal(held.shape)
    mean = predict(held, other, truth[:, LENGTH : LENGTH + 1])
    courses = mean + spread * np.array([-1.0, 1.0])[:, None, None]
    record = record_of_courses(truth)
    rows = np.flatnonzero(np.arange(len(record.agent)) % (2 * LENGTH) >= LENGTH)

    def first(record: Record, kept: Any) -> Any:  # one start of each agent, of all steps
        begins = np.flatnonzero(kept & ~np.append(False, kept[:-1]))
        return begins, np.full(len(begins), LENGTH), np.full(len(begins), LENGTH)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("persim_gym.learned.uncertainty.fading.starts_in", first)
        patch.setattr("persim_gym.learned.uncertainty.fading.ENOUGH", AGENTS)
        return learn_fading(stub(courses), record, rows, ()), truth


def test_what_is_right_up_to_a_step_fades_from_there_on_into_the_mean() -> None:
    def predict(truth: Any, other: Any, begun: Any) -> Any:
        return np.where(np.arange(1, LENGTH + 1) <= 7, truth, other)

    fading, _ = learned(predict)
    assert fading is not None
    late = np.array(STEPS) > 7
    assert (fading.model[~late] == 1).all()
    assert (fading.model[late] < 0.2).all()
    assert fading.mean == pytest.approx(3.0, abs=0.1)
    predicted = torch.full((2, 1, LENGTH, 1), 5.0, dtype=torch.float64)
    faded = fading(predicted, torch.tensor([[4.0]]))[..., 0]
    assert (faded[:, :, :7] == 5).all()
    assert (faded[:, :, 30:] - 3).abs().max() < 0.5


@pytest.mark.parametrize("off", [0.0, 0.3])
def test_what_is_right_does_not_fade(off: float) -> None:
    assert learned(lambda truth, other, begun: truth + off * (other - 3))[0] is None


def test_what_changes_little_fades_into_what_it_began_from() -> None:
    """The model goes anywhere, and the course stays where it was."""
    rng = np.random.default_rng(1)
    places = rng.standard_normal((AGENTS, 1))
    truth = places + 0.02 * rng.standard_normal((AGENTS, 2 * LENGTH + 1))
    courses = places + 3 * rng.standard_normal((1, AGENTS, LENGTH))
    record = record_of_courses(truth)
    rows = np.flatnonzero(np.arange(len(record.agent)) % (2 * LENGTH) >= LENGTH)
    fading = learn_fading(stub(courses), record, rows, ())
    assert fading is not None
    assert (fading.start[-1] > 0.9).all()
    assert (fading.model[-1] < 0.1).all()
    assert learn_fading(stub(courses), record, rows, (0,)) is None, "an angle has no mean"


def test_members_that_disagree_are_believed_less_and_stay_apart() -> None:
    ones = np.ones(1)
    at = np.array([1.0])
    torn = np.full(1, TORN[-1])
    fading = Fading(
        at, np.ones((1, 1)), np.zeros((1, 1)), torn, 0 * ones, ones, -9 * ones, 9 * ones
    )
    apart = torch.tensor([0.0, 0.01, 3.0], dtype=torch.float64)
    signs = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    predicted = 2 + signs[:, None, None, None] * apart[None, :, None, None]
    faded = fading(predicted, torch.zeros(3, 1))[:, :, 0, 0]
    assert torch.equal(faded[:, :2], predicted[:, :2, 0, 0])
    less = 1 + (3 - AGREED) ** 2
    assert faded.mean(0)[2] == pytest.approx(2 / less)
    assert faded.std(0, correction=0)[2] == pytest.approx(3 / less**0.5)


@pytest.mark.parametrize("mixed", [False, True])
def test_families_of_a_mixture_may_disagree(mixed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean is right: with or without their disagreement errors are small."""
    if mixed:
        kind = "persim_gym.learned.uncertainty.fading.MixtureEnsemble"
        monkeypatch.setattr(kind, SimpleNamespace)
    fading, _ = learned(lambda truth, other, begun: truth, spread=0.5)
    assert (fading is None) == mixed
    assert fading is None or fading.torn.tolist() == [TORN[0]]


def test_kept_in_a_file() -> None:
    fading, _ = learned(lambda truth, other, begun: other)
    assert fading is not None
    tensors = {name.partition(".")[2]: part for name, part in fading.tensors().items()}
    back = Fading.from_tensors(tensors)
    predicted, states = torch.randn(2, 3, 70, 1), torch.randn(3, 1)
    assert torch.equal(back(predicted, states), fading(predicted, states))
    assert set(fading.to_json()) == {"weight", "disagreement_counts"}


class Hill:
    """A ball on a hill, ``x' = 1.2 x + b u + w``, kept there by pushes of each agent's own size."""

    agents = 40
    task = PlainTask.of(1, action_dim=1)

    def play(self, steps: int, seed: int, noise: float) -> tuple[Any, Any]:
        """Observations ``[N, T + 1, 1]`` and actions ``[N, T, 1]``."""
        rng = np.random.default_rng(seed)
        push = 0.8 + 0.4 * np.random.default_rng(0).random(self.agents)
        x = np.zeros((self.agents, steps + 1))
        u = np.zeros((self.agents, steps))
        for t in range(steps):
            u[:, t] = np.clip(-0.5 * x[:, t] + 0.3 * rng.standard_normal(self.agents), -2, 2)
            w = noise * rng.standard_normal(self.agents)
            x[:, t + 1] = 1.2 * x[:, t] + push * u[:, t] + w
        return x[..., None], u[..., None]


@cache
def hill(noise: float) -> PerSim:
    x, u = Hill().play(150, 1, noise)
    agents = np.repeat(np.arange(Hill.agents), 150)
    parts = x[:, :-1].reshape(-1, 1), u.reshape(-1, 1), x[:, 1:].reshape(-1, 1)
    options = {"method": "hierarchical", "degree": 1, "progress": False}
    return PerSim.fit(transitions(agents, *parts), task=Hill.task, **options)


@pytest.mark.slow
def test_a_course_that_noise_makes_worthless_fades_and_one_without_noise_does_not() -> None:
    x, u = Hill().play(70, 7, 0.1)
    agents = np.arange(Hill.agents)
    sim = hill(0.1)
    start, actions = x[:, 20].astype(np.float32), u[:, 20:].astype(np.float32)
    faded = sim.rollout(agents, start, actions).mean(0)[..., 0]
    course = sim.rollout(agents, start, actions, propagation="course").mean(0)[..., 0]
    truth = x[:, 21:, 0]
    off, plain = (np.sqrt(np.square(p - truth).mean(0)) for p in (faded, course))
    unit = truth.std()
    np.testing.assert_allclose(faded[:, 0], course[:, 0], atol=0.02 * unit)
    assert plain[40] > 3 * unit
    assert off[40] < 1.2 * unit
    assert "fading" in sim.card["metrics"]
    sure = hill(0.0)
    assert sure.uncertainty.fading is None
    plain = sure.rollout(agents, start, actions, propagation="course")
    assert np.array_equal(sure.rollout(agents, start, actions), plain)


@pytest.mark.slow
def test_intervals_lie_around_what_has_faded_and_the_report_is_of_the_course() -> None:
    sim = hill(0.1)
    x, u = Hill().play(60, 8, 0.1)
    where = np.arange(Hill.agents), x[:, 10].astype(np.float32), u[:, 10:].astype(np.float32)
    inside = []
    for seed in range(8, 16):
        begun, acted = Hill().play(60, seed, 0.1)
        first, ahead = begun[:, 10].astype(np.float32), acted[:, 10:].astype(np.float32)
        low, high = sim.rollout_interval(where[0], first, ahead)
        inside.append((begun[:, 11:] >= low) & (begun[:, 11:] <= high))
    for step in (1, 10, 40):
        assert 0.9 < np.mean(inside, axis=(0, 1, 3))[step - 1] < 0.99, step
    predicted, report = sim.rollout_report(*where)
    np.testing.assert_array_equal(predicted, sim.rollout(*where))
    known = sim.experience
    assert ((predicted.mean(0) >= known.low) & (predicted.mean(0) <= known.high)).mean() > 0.95
    assert report.states.sum() > 0


def test_a_saved_simulator_fades_alike(tmp_path: Any) -> None:
    sim = hill(0.1)
    sim.save(tmp_path / "hill")
    again = PerSim.load(tmp_path / "hill", task=Hill.task)
    where = np.arange(5), np.ones((5, 1), np.float32), np.zeros((5, 50, 1), np.float32)
    np.testing.assert_array_equal(again.rollout(*where), sim.rollout(*where))


def test_a_damped_world_with_noise_of_the_process_fades_nowhere() -> None:
    sim = fitted("process")
    fading = sim.uncertainty.fading
    assert fading is None or (fading.model == 1).all()
    assert TASK.observation_space.shape == (2,)
