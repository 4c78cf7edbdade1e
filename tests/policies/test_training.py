"""Training until a target: it stops there, goes on after an interruption, and refuses nonsense."""

from __future__ import annotations

import dataclasses
import functools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from persim_gym import store
from persim_gym.policies.recipes import Recipe, find_recipe
from persim_gym.policies.saved import SavedPolicy, load_policy
from persim_gym.policies.training import CHECKPOINT, TrainingProgress, _Run, train_policy


def small(task: str, name: str, **changes: Any) -> Recipe:
    """A recipe of little work: whatever is looked at comes soon."""
    recipe = find_recipe(task, name)
    settings = {
        **recipe.settings,
        "learning_starts": 64,
        "batch_size": 32,
        "policy_kwargs": {"net_arch": [16]},
        "buffer_size": 400,
    }
    common = {
        "section_steps": 160,
        "evaluate_every": 80,
        "evaluation_episodes": 4,
        "max_steps": 800,
    }
    return dataclasses.replace(recipe, settings=settings, **{**common, **changes})


CAR = small("mountain-car", "gravity-0.0003")
# No policy earns this: training goes on to its end.
ENDLESS = {
    "cartpole": small("cartpole", "test", target=1000.0),
    "mountain-car": dataclasses.replace(CAR, target=10.0, tolerance=0.01),
    "cartpole begun on another": small(
        "cartpole", "test", target=1000.0, first_on=({"force": 18.0, "length": 0.85}, 400)
    ),
    "half-cheetah": small(
        "half-cheetah",
        "test",
        target=1e6,
        tolerance=1e-6,
        lanes=2,
        evaluation_episodes=1,
        evaluate_every=800,
    ),
}


def same(one: SavedPolicy, other: SavedPolicy) -> bool:
    return equal(one._network.state_dict(), other._network.state_dict())


@pytest.mark.slow
def test_training_stops_at_the_target(tmp_path: Path) -> None:
    # A car that hardly feels gravity: in a few evaluations it climbs within 400 steps on average.
    recipe = dataclasses.replace(
        find_recipe("mountain-car", "gravity-0.0003"), target=-250.0, tolerance=0.4
    )
    seen: list[TrainingProgress] = []
    policy = train_policy(recipe, tmp_path, on_progress=seen.append)
    assert policy.card["reached"]
    assert policy.card["steps"] == seen[-1].steps < recipe.max_steps
    assert all(abs(one.mean - recipe.target) > recipe.band for one in seen[:-1])
    assert abs(seen[-1].mean - recipe.target) <= recipe.band
    assert len(seen) > 1
    assert abs(policy.card["mean_return"] - recipe.target) <= 1.3 * recipe.band
    assert sorted(path.name for path in (tmp_path / "mountain-car").iterdir()) == [
        "gravity-0.0003.json",
        "gravity-0.0003.safetensors",
    ]


@pytest.mark.slow
def test_without_the_target_the_nearest_evaluation_is_kept_and_the_card_says_so(
    tmp_path: Path,
) -> None:
    seen: list[TrainingProgress] = []
    recipe = dataclasses.replace(CAR, target=-100.0, tolerance=1e-6)
    card = train_policy(recipe, tmp_path, max_steps=1600, on_progress=seen.append).card
    assert not card["reached"]
    assert seen[-1].steps == 1600
    nearest = min(seen, key=lambda one: abs(one.mean - recipe.target))
    assert card["steps"] == nearest.steps


class Killed(Exception):
    """Stands for the end of a process."""


@pytest.mark.slow
def test_an_interrupted_training_ends_as_one_that_was_not(tmp_path: Path) -> None:
    recipe = ENDLESS["cartpole"]
    whole: list[TrainingProgress] = []
    expected = train_policy(recipe, tmp_path / "whole", on_progress=whole.append)
    assert len({one.mean for one in whole}) > 3

    def killed_at(steps: int, progress: TrainingProgress) -> None:
        if progress.steps >= steps:
            raise Killed

    parts: list[TrainingProgress] = []
    for steps in (320, 720):
        kill = functools.partial(killed_at, steps)
        with pytest.raises(Killed):
            train_policy(recipe, tmp_path / "parts", on_progress=kill, checkpoint_every=0.0)
    assert len(list((tmp_path / "parts" / "cartpole").iterdir())) == 1
    found = train_policy(recipe, tmp_path / "parts", on_progress=parts.append)
    # It went on, and did not begin anew.
    assert 0 < len(parts) < len(whole)
    assert parts == whole[-len(parts) :]
    assert same(found, expected)
    assert found.card["steps"] == expected.card["steps"]
    assert found.card["mean_return"] == expected.card["mean_return"]


@pytest.mark.slow
def test_training_may_begin_on_another_agent() -> None:
    recipe = ENDLESS["cartpole begun on another"]
    plain = dataclasses.replace(recipe, first_on=None)
    own, begun = _Run(plain, 0), _Run(recipe, 0)
    forces = []
    for _ in range(4):
        own.section(recipe.max_steps)
        begun.section(recipe.max_steps)
        forces.append(begun.model.env.envs.dynamics.population.covariates(0)["force"])
    # The third section ends where the beginning does, the fourth is as long as any.
    assert (forces, begun.steps) == ([18.0, 18.0, 18.0, 10.0], 560)
    # No evaluation before: what the policy earns on another agent is no return of its.
    assert [steps for steps, _ in begun.state.evaluations] == [400, 480, 560]
    assert [steps for steps, _ in own.state.evaluations] == list(range(80, 641, 80))
    seen = begun.model.replay_buffer.next_observations, own.model.replay_buffer.next_observations
    assert not np.array_equal(*seen)


@pytest.mark.slow
@pytest.mark.parametrize("task", ENDLESS)
def test_a_checkpoint_holds_all_that_the_rest_depends_on(task: str, tmp_path: Path) -> None:
    recipe, file = ENDLESS[task], tmp_path / "checkpoint.safetensors"
    whole, before = _Run(recipe, 0), _Run(recipe, 0)
    for _ in range(3):
        whole.section(recipe.max_steps)
    for _ in range(2):
        before.section(recipe.max_steps)
    before.save(file)
    after = _Run(recipe, 0)
    after.restore(file)
    halfway = parameters(after)
    after.section(recipe.max_steps)
    # The ring of the buffer is full by then.
    assert after.steps == whole.steps >= recipe.settings["buffer_size"]
    assert after.state.evaluations == whole.state.evaluations
    assert equal(parameters(after), parameters(whole))
    assert not equal(parameters(after), halfway)
    for name in ("observations", "actions", "rewards", "dones", "timeouts"):
        mine, yours = (getattr(run.model.replay_buffer, name) for run in (after, whole))
        assert np.array_equal(mine, yours)


@pytest.mark.slow
def test_an_episode_that_a_leg_breaks_off_does_not_go_on_into_the_next() -> None:
    # Sums over five steps would: the goal is far, so no episode ends by itself.
    run = _Run(CAR, 0)
    run.section(CAR.max_steps)
    run.section(CAR.max_steps)
    cut = run.model.replay_buffer.timeouts[: 2 * CAR.section_steps // CAR.lanes]
    assert np.flatnonzero(cut.all(axis=1)).tolist() == [19, 39]
    assert cut.sum() == 2 * CAR.lanes


def parameters(run: _Run) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in run.model.policy.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.slow
def test_seeds_differ_and_repeat_and_leave_global_randomness_alone(tmp_path: Path) -> None:
    random.seed(3)
    torch.manual_seed(3)
    before = random.getstate(), torch.get_rng_state()
    numpy = np.random.get_state()[1].copy()  # noqa: NPY002
    one, again, other = (
        train_policy(CAR, tmp_path / name, seed=seed, max_steps=160)
        for name, seed in (("one", 0), ("again", 0), ("other", 1))
    )
    assert same(one, again)
    assert not same(one, other)
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert np.array_equal(np.random.get_state()[1], numpy)  # noqa: NPY002


@pytest.mark.slow
def test_a_policy_that_is_there_is_read_and_not_trained(tmp_path: Path) -> None:
    made = train_policy(CAR, tmp_path, max_steps=160)

    def never(progress: TrainingProgress) -> None:
        raise AssertionError

    read = train_policy(CAR, tmp_path, max_steps=160, on_progress=never)
    assert same(made, read)
    with pytest.raises(ValueError, match="is there already, made with another seed"):
        train_policy(CAR, tmp_path, seed=1, max_steps=160)
    with pytest.raises(ValueError, match="is there already"):
        train_policy(dataclasses.replace(CAR, target=-1.0), tmp_path, max_steps=160)
    with pytest.raises(ValueError, match="number of steps"):
        train_policy(CAR, tmp_path, max_steps=320)


@pytest.mark.slow
def test_a_checkpoint_of_another_training_or_of_none_is_refused(tmp_path: Path) -> None:
    recipe = ENDLESS["mountain-car"]

    def kill(progress: TrainingProgress) -> None:
        if progress.steps > 200:
            raise Killed

    with pytest.raises(Killed):
        train_policy(recipe, tmp_path, on_progress=kill, checkpoint_every=0.0)
    (file,) = (tmp_path / "mountain-car").iterdir()
    with pytest.raises(ValueError, match="other settings or another seed"):
        train_policy(recipe, tmp_path, seed=1)
    tensors, card = store.read(file, CHECKPOINT)
    assert card["steps"] == 160
    assert "looks" in card  # as in files of trainings that were begun by an older version
    assert tensors["buffer/rewards"].shape == (20, 8)  # what is filled of the ring of 50 x 8
    with pytest.raises(ValueError, match="not a policy"):
        load_policy(file)
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ValueError, match="no whole safetensors file"):
        train_policy(recipe, tmp_path)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"seed": 1.5}, TypeError, r"seed must be an integer, got 1\.5"),
        ({"max_steps": 0}, ValueError, "max_steps must be at least 1, got 0"),
        ({"max_steps": True}, TypeError, "max_steps must be an integer"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(
    changes: dict[str, Any], error: type[Exception], says: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=says):
        train_policy(CAR, tmp_path, **changes)
    assert list(tmp_path.iterdir()) == []
