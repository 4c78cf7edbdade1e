"""Fitting: what is held out, what each option does, seeds, and going on after a kill."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from persim_gym import store
from persim_gym.envs import find_suite
from persim_gym.learned import FitProgress, Networks, PerSim
from persim_gym.learned.data import Data, on_bounds
from persim_gym.learned.ensemble import before_bounds
from persim_gym.learned.fitting import assembly
from persim_gym.learned.history import slots
from persim_gym.learned.networks.gradients import mixed_precision_pays
from persim_gym.learned.networks.network import LowRankNetwork
from persim_gym.learned.networks.optimise import fit_network, validation_window
from persim_gym.learned.networks.preparation import prepare
from persim_gym.offline.transitions import Transitions
from tests.learned.worlds import PlainTask, random_walks, transitions, weights

DISCRETE = PlainTask.of(2, actions=3)
CONTINUOUS = PlainTask.of(2, action_dim=2)
BOUNDED = PlainTask.of(2, actions=3, low=-0.6)


@dataclasses.dataclass(frozen=True)
class Turning(PlainTask):
    """A task whose first coordinate is an angle."""

    angles: tuple[int, ...] = (0,)


TURNING = Turning.of(2, action_dim=2)
OPTIONS: dict[str, Any] = {
    "rank": 2,
    "ensemble_size": 2,
    "state_hidden": (8,),
    "action_hidden": (8,),
    "batch_size": 16,
    "epochs": 4,
    "learning_rate": 1e-2,
    "spare_members": 0,
    "validation_fraction": 0.2,
}


def fit(data: Transitions, task: PlainTask = DISCRETE, **changes: Any) -> PerSim:
    return PerSim.fit(data, task=task, **{**OPTIONS, **changes})


@pytest.fixture(scope="module")
def walks() -> Transitions:
    return random_walks(DISCRETE)


# -- held-out windows ------------------------------------------------------------------------------


def window(lengths: list[int], fraction: float, seed: int = 0) -> list[NDArray[np.bool_]]:
    """The held-out mask of each trajectory."""
    array = np.array(lengths)
    ends = np.cumsum(array)
    held = validation_window(ends - array, array, fraction, np.random.default_rng(seed))
    assert held.shape == (array.sum(),)
    assert held.dtype == np.bool_
    return np.split(held, ends[:-1])


@pytest.mark.parametrize("fraction", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("seed", range(5))
def test_windows_are_contiguous_and_inside_their_trajectories(fraction: float, seed: int) -> None:
    lengths = [100, 1, 7, 40, 19, 200, 2]
    for mask, length in zip(window(lengths, fraction, seed), lengths, strict=True):
        assert mask.sum() == int(length * fraction)
        if mask.any():
            rows = np.flatnonzero(mask)
            assert rows[-1] - rows[0] + 1 == mask.sum()


def test_short_trajectories_are_not_touched() -> None:
    masks = window([19, 20, 1], 0.05)
    assert [mask.sum() for mask in masks] == [0, 1, 0]
    assert not any(mask.any() for mask in window([50, 60], 0.0))
    assert not any(mask.any() for mask in window([1, 1, 1], 0.5))


def test_windows_lie_anywhere() -> None:
    rows = np.stack([window([10], 0.2, seed)[0] for seed in range(200)])
    assert rows.any(axis=0).all()  # the first and the last transition too
    assert len({row.tobytes() for row in rows}) == 9  # all places of two among ten


def test_held_out_rows_never_reach_the_loss(walks: Transitions) -> None:
    config = Networks(**OPTIONS)
    held = prepare(Data(walks, DISCRETE), config).held
    assert held.sum() == 4 * 5
    good = fit(walks, normalise_inputs=True, normalise_targets=True)

    def poisoned(rows: NDArray[np.bool_]) -> Transitions:
        obs, following = walks.obs.copy(), walks.next_obs.copy()
        obs[rows] += 1e3
        following[rows] -= 1e4
        action = np.where(rows, 0, walks.action)
        return dataclasses.replace(walks, obs=obs, next_obs=following, action=action)

    bad = fit(poisoned(held), normalise_inputs=True, normalise_targets=True)
    assert torch.equal(weights(good), weights(bad))
    for name in ("input_mean", "input_scale", "target_mean", "target_scale"):
        left, right = (getattr(s.ensemble.scaling, name) for s in (good, bad))
        assert torch.equal(left, right), name
    assert good.card["metrics"]["loss"] == bad.card["metrics"]["loss"]
    # They are looked at all the same ...
    assert good.card["metrics"]["heldout_rmse"] < 1 < bad.card["metrics"]["heldout_rmse"]
    # ... and any other row does reach the loss.
    other = np.zeros_like(held)
    other[np.flatnonzero(~held)[0]] = True
    assert not torch.equal(weights(good), weights(fit(poisoned(other))))


def test_rows_on_a_bound_never_reach_the_loss_when_skipped() -> None:
    data = random_walks(BOUNDED)
    at = on_bounds(data, BOUNDED)
    assert 5 < at.sum() < 60
    touching = (data.next_obs == np.float32(0.6)) | (data.next_obs == np.float32(-0.6))
    np.testing.assert_array_equal(at, touching.any(axis=1))
    obs = np.where(at[:, None], 0.1, data.obs).astype(np.float32)
    changed = dataclasses.replace(data, obs=obs)
    same = {"skip_clipped": True, "validation_fraction": 0.0}
    assert torch.equal(weights(fit(data, BOUNDED, **same)), weights(fit(changed, BOUNDED, **same)))
    same["skip_clipped"] = False
    assert not torch.equal(
        weights(fit(data, BOUNDED, **same)), weights(fit(changed, BOUNDED, **same))
    )


@pytest.mark.slow
def test_skipping_what_was_clipped_finds_the_motion_behind_the_wall() -> None:
    # A walker that moves by 0.3 and is stopped by a wall at 1.
    task = PlainTask.of(1, actions=2, low=-1.0)
    rng = np.random.default_rng(0)
    obs = rng.uniform(-1, 1, (800, 1))
    actions = rng.integers(2, size=800)
    following = np.clip(obs + 0.3 * (2 * actions[:, None] - 1), -1, 1)
    data = transitions(np.zeros(800), obs, actions, following)
    more = {"epochs": 40, "state_hidden": (16,), "rank": 2, "validation_fraction": 0.0}
    change = {}
    for skip in (True, False):
        sim = fit(data, task, skip_clipped=skip, **more)
        states = torch.tensor([[0.95], [-0.95]])
        raw = before_bounds(sim.ensemble, torch.tensor([0, 0]), states, torch.tensor([1, 0])).mean(
            0
        )
        change[skip] = (raw - states).abs()
        # Either way a prediction stays in the space.
        assert (sim.predict(0, states, torch.tensor([1, 0])).abs() <= 1).all()
    assert change[True].sub(0.3).abs().max() < 0.05
    assert change[False].max() < 0.15


# -- options ---------------------------------------------------------------------------------------

EFFECTS: dict[str, Any] = {
    "rank": 3,
    "ensemble_size": 3,
    "spare_members": 2,
    "lag": 2,
    "state_hidden": (8, 8),
    "action_hidden": (4, 4),
    "encoder": "joint",
    "angles": True,
    "skip": True,
    "activation": "relu",
    "hold": False,
    "normalise_inputs": False,
    "normalise_targets": False,
    "centre_targets": True,
    "skip_clipped": True,
    "batch_size": 8,
    "epochs": 5,
    "learning_rate": 2e-2,
    "schedule": "constant",
    "halve_every": 2,
    "precision": "mixed",
    "validation_fraction": 0.1,
    "seed": 1,
}


def test_every_option_is_tested() -> None:
    assert set(EFFECTS) == {field.name for field in dataclasses.fields(Networks)}


@functools.cache
def fitted_before(name: str) -> tuple[Transitions, PlainTask, dict[str, Any], PerSim]:
    """Data, task, options and fit that an option changes; those without a name do for most."""
    task = {"skip_clipped": BOUNDED, "angles": TURNING}.get(name, CONTINUOUS)
    data = random_walks(task)
    base = {"schedule": "halving"} if name == "halve_every" else {}
    return data, task, base, fit(data, task, **base)


@pytest.mark.parametrize("name", EFFECTS)
def test_every_option_changes_the_fit(name: str) -> None:
    special = name in ("skip_clipped", "angles", "halve_every")
    data, task, base, before = fitted_before(name if special else "")
    after = fit(data, task, **base, **{name: EFFECTS[name]})
    assert after.card["config"][name] != before.card["config"][name]
    # What is held can only be seen outside of what was recorded.
    rows = (data.agent, data.obs * (9 if name == "hold" else 1), data.action)
    if name != "precision" or mixed_precision_pays(before.device):
        assert np.abs(before.predict(*rows) - after.predict(*rows)).max() > 1e-5
    shapes = [s.ensemble.network.shape for s in (before, after)]
    if name in ("rank", "lag", "state_hidden", "action_hidden", "activation"):
        assert getattr(shapes[1], name) == EFFECTS[name]
    if name == "ensemble_size":
        assert after.members == len(after.latent_factors) == 3
    if name == "spare_members":
        assert shapes[0] == shapes[1]
    if name == "epochs":
        seen: list[FitProgress] = []
        fit(data, task, epochs=5, on_epoch=seen.append)
        assert [now.epoch for now in seen] == [1, 2, 3, 4, 5]
        assert all(now.epochs == 5 and len(now.loss) == 2 for now in seen)


def test_spare_members_are_the_worst(walks: Transitions) -> None:
    seen: list[FitProgress] = []
    sim = fit(walks, ensemble_size=2, spare_members=3, on_epoch=seen.append)
    losses = seen[-1].loss
    assert len(losses) == 5
    assert sorted(sim.card["metrics"]["loss"]) == sorted(losses)[:2]
    every = fit(walks, ensemble_size=5)
    kept = [losses.index(loss) for loss in sim.card["metrics"]["loss"]]
    np.testing.assert_array_equal(sim.latent_factors, every.latent_factors[kept])


def test_units_are_those_of_the_data(walks: Transitions) -> None:
    change = walks.next_obs - walks.obs
    plain = fit(walks, validation_fraction=0.0, normalise_inputs=False, normalise_targets=False)
    s = plain.ensemble.scaling
    for mean, scale in ((s.input_mean, s.input_scale), (s.target_mean, s.target_scale)):
        assert mean.tolist() == [0, 0]
        assert scale.tolist() == [1, 1]
    scaled = fit(walks, validation_fraction=0.0, normalise_inputs=True, normalise_targets=True)
    s = scaled.ensemble.scaling
    np.testing.assert_allclose(s.input_mean, walks.obs.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(s.input_scale, walks.obs.std(0), rtol=1e-4)
    assert s.target_mean.tolist() == [0, 0]
    centred = fit(walks, validation_fraction=0.0, normalise_targets=True, centre_targets=True)
    centre = centred.ensemble.scaling.target_mean
    np.testing.assert_allclose(centre, change.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(s.target_scale, change.std(0), rtol=1e-4)
    lagged = fit(walks, lag=2, validation_fraction=0.0, normalise_inputs=True)
    seen = slots(walks, 2, 2)[:, 2:]  # two observations and the coded action between
    np.testing.assert_allclose(lagged.ensemble.scaling.input_mean, seen.mean(0), atol=1e-6)


def test_a_constant_coordinate_does_not_divide_by_nothing() -> None:
    data = random_walks(DISCRETE)
    obs, following = data.obs.copy(), data.next_obs.copy()
    obs[:, 1] = following[:, 1] = 0.25
    data = dataclasses.replace(data, obs=obs, next_obs=following)
    sim = fit(data, normalise_inputs=True, normalise_targets=True, epochs=30)
    predicted = sim.predict(data.agent, data.obs, data.action)
    assert np.abs(predicted[:, 1] - 0.25).max() < 0.05


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_normalised_fits_do_not_depend_on_units(walks: Transitions, scale: float) -> None:
    other = dataclasses.replace(walks, obs=walks.obs * scale, next_obs=walks.next_obs * scale)
    options = {"normalise_inputs": True, "normalise_targets": True, "epochs": 3}
    one, two = fit(walks, **options), fit(other, **options)
    torch.testing.assert_close(weights(one), weights(two), rtol=1e-2, atol=2e-3)


# -- what a fit is ---------------------------------------------------------------------------------


def test_a_fit_is_what_torch_would_do(walks: Transitions) -> None:
    """The whole fit against a plain one: torch's gradient, torch's Adam, the same batches."""
    config = Networks(**{**OPTIONS, "activation": "silu", "epochs": 3, "schedule": "constant"})
    ready = prepare(Data(walks, DISCRETE), config)
    data = ready.training_data(torch.device("cpu"))
    start = LowRankNetwork.initial(ready.shape, ready.generator(0))
    # One batch holds all transitions: the order inside it cannot matter.
    config = dataclasses.replace(config, batch_size=len(data))
    fitted, progress = fit_network(start, data, config)

    leaves = {name: t.clone().requires_grad_() for name, t in start.tensors.items()}
    adam = torch.optim.Adam(leaves.values(), lr=config.learning_rate)
    losses: list[Any] = []
    for _ in range(3):
        u = leaves["agent.factors"][:, data.agents] + leaves["agent.bias"]
        f = leaves["action.factors"][:, data.actions] + leaves["action.bias"]
        x = data.inputs.expand(2, -1, -1) @ leaves["state.0.weight"] + leaves["state.0.bias"]
        g = torch.nn.functional.silu(x) @ leaves["head.weight"].mT + leaves["head.bias"].mT
        change = torch.einsum("mnr,mnr,mndr->mnd", u, f, g.view(2, -1, 2, 2))
        loss = (change - data.targets).square().mean(dim=(1, 2))
        losses.append(loss.detach())
        adam.zero_grad()
        loss.sum().backward()
        adam.step()
    for name, leaf in leaves.items():
        torch.testing.assert_close(fitted.tensors[name], leaf.detach(), rtol=1e-3, atol=1e-4)
        assert not torch.equal(fitted.tensors[name], start.tensors[name])
    assert progress.loss == pytest.approx(losses[-1].tolist(), rel=1e-4)


def test_every_row_is_seen_once_an_epoch(walks: Transitions) -> None:
    """A learning rate of next to nothing: the loss is that of the start, whatever the batches."""
    config = Networks(**{**OPTIONS, "learning_rate": 1e-12, "epochs": 1})
    ready = prepare(Data(walks, DISCRETE), config)
    data = ready.training_data(torch.device("cpu"))
    network = LowRankNetwork.initial(ready.shape, ready.generator(0))
    inputs = data.inputs.expand(2, -1, -1)
    errors = network(data.agents, inputs, data.actions) - data.targets
    expected = errors.square().mean(dim=(1, 2)).tolist()
    for batch_size in (1, 7, 16, len(data), 1000):
        config = dataclasses.replace(config, batch_size=batch_size)
        _, progress = fit_network(network, data, config)
        assert progress.loss == pytest.approx(expected, rel=1e-5)


def test_members_of_a_fit_are_independent(walks: Transitions) -> None:
    config = Networks(**OPTIONS)
    ready = prepare(Data(walks, DISCRETE), config)
    data = ready.training_data(torch.device("cpu"))
    start = LowRankNetwork.initial(ready.shape, ready.generator(0))
    before = {name: t.clone() for name, t in start.tensors.items()}
    one, _ = fit_network(start, data, config)
    assert all(torch.equal(start.tensors[n], t) for n, t in before.items()), "the start was changed"
    start.tensors["head.weight"][0] += 1.0
    two, _ = fit_network(start, data, config)
    for name, tensor in one.tensors.items():
        assert not torch.equal(two.tensors[name][0], tensor[0]), name
        assert torch.equal(two.tensors[name][1], tensor[1]), name


def test_progress_is_reported(walks: Transitions) -> None:
    seen: list[FitProgress] = []
    sim = fit(walks, on_epoch=seen.append, epochs=40)
    assert [now.epoch for now in seen] == list(range(1, 41))
    looks = [now.epoch for now in seen if np.isfinite(now.heldout_rmse)]
    assert looks == [1, *range(2, 41, 2)]
    assert seen[-1].heldout_rmse == pytest.approx(sim.card["metrics"]["heldout_rmse"], rel=1e-5)
    assert np.mean(seen[-1].loss) < 0.5 * np.mean(seen[0].loss)
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(seen))
    without = fit(walks, validation_fraction=0.0)
    assert without.card["metrics"]["heldout_rmse"] is None
    assert without.card["metrics"]["heldout_transitions"] == 0


def test_a_progress_bar_on_request(walks: Transitions, capsys: pytest.CaptureFixture[str]) -> None:
    fit(walks)
    assert capsys.readouterr() == ("", "")
    fit(walks, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "4/4" in err
    assert "held-out" in err


def test_card(walks: Transitions) -> None:
    sim = fit(walks, seed=3)
    card = sim.card
    assert card["task"] == "plain"
    assert card["preset"] == "default"
    assert card["config"]["seed"] == 3
    assert card["dataset"] == {
        "id": "test/plain",
        "sha256": walks.sha256(),
        "transitions": 100,
        "agents": 4,
        "population": None,
    }
    drawn = dataclasses.replace(walks, population={"size": 4, "seed": 1})
    assert fit(drawn).card["dataset"]["population"] == {"size": 4, "seed": 1}


def test_the_papers_preset_is_fitted_with_the_papers_settings() -> None:
    task = find_suite("cartpole").task()
    data = random_walks(task, agents=2, steps=20, scale=0.01)
    sim = PerSim.fit(data, preset="paper", epochs=1)
    assert sim.card["preset"] == "paper"
    assert sim.card["config"] == {**Networks().to_json(), **{
        "rank": 5, "batch_size": 64, "epochs": 1, "schedule": "halving",
        "validation_fraction": 0.0, "state_hidden": [256],
    }}  # fmt: skip
    assert sim.members == 5
    assert sim.ensemble.network.shape.activation == "relu"
    assert sim.card["metrics"]["heldout_transitions"] == 0


def test_divergence_is_an_error_that_says_what_to_do(walks: Transitions) -> None:
    with pytest.raises(FloatingPointError, match=r"learning_rate \(now 1e\+20\)"):
        fit(walks, learning_rate=1e20, activation="relu")


def test_no_graph_is_kept(walks: Transitions) -> None:
    sim = fit(walks)
    tensors = list(sim.ensemble.network.tensors.values())
    obs = torch.as_tensor(walks.obs)
    tensors.append(sim.predict(walks.agent, obs, walks.action))
    tensors.append(sim.rollout(walks.agent, obs, walks.action[:, None]))
    tensors.extend(sim.unroll(walks.agent, obs, walks.action[:, None, None]))
    for tensor in tensors:
        assert not tensor.requires_grad
        assert tensor.grad_fn is None
        assert tensor.grad is None


# -- data that cannot be fitted --------------------------------------------------------------------


def test_data_of_another_task_are_refused(walks: Transitions) -> None:
    with pytest.raises(ValueError, match="has 3 coordinates, the data have 2"):
        fit(walks, PlainTask.of(3, actions=3))
    with pytest.raises(ValueError, match="actions 0 to 1, the data 0 to 2"):
        fit(walks, PlainTask.of(2, actions=2))
    with pytest.raises(ValueError, match=r"actions of shape \(2,\), the data \(\)"):
        fit(walks, CONTINUOUS)
    with pytest.raises(ValueError, match=r"has discrete actions, the data's are float32"):
        fit(random_walks(CONTINUOUS), DISCRETE)
    with pytest.raises(ValueError, match="task 'half-cheetah' has 18 coordinates, the data have 2"):
        PerSim.fit(dataclasses.replace(walks, task_name="half-cheetah"))


def test_nothing_left_to_fit() -> None:
    n = 10
    data = transitions(np.zeros(n), np.zeros((n, 2)), np.zeros(n), np.full((n, 2), 0.6))
    with pytest.raises(ValueError, match="no transition is left to fit"):
        fit(data, BOUNDED, skip_clipped=True)


def test_a_device_that_is_not_there(walks: Transitions) -> None:
    for device in ("abacus", "cuda:99"):
        with pytest.raises(ValueError, match=f"device '{device}' is not available"):
            fit(walks, device=device)


# -- seeds -----------------------------------------------------------------------------------------


def test_one_seed_gives_one_fit(walks: Transitions) -> None:
    one, two, other = fit(walks, seed=7), fit(walks, seed=7), fit(walks, seed=8)
    assert torch.equal(weights(one), weights(two))
    assert one.experience.disagreement_limit == two.experience.disagreement_limit
    assert not torch.equal(weights(one), weights(other))
    assert (prepared_held(walks, 7) != prepared_held(walks, 8)).any()


def prepared_held(data: Transitions, seed: int) -> NDArray[np.bool_]:
    return prepare(Data(data, DISCRETE), Networks(**{**OPTIONS, "seed": seed})).held


def test_global_random_state_is_left_alone_and_not_used(walks: Transitions) -> None:
    def everything() -> tuple[Any, ...]:
        numpy_state = np.random.get_state()  # noqa: NPY002
        return (
            torch.get_rng_state().tolist(),
            [np.asarray(part).tolist() for part in numpy_state],
            random.getstate(),
        )

    before = everything()
    sim = fit(walks)
    sim.predict(walks.agent, walks.obs, walks.action)
    sim.rollout(0, walks.obs[:2], walks.action[:6].reshape(2, 3))
    assert everything() == before
    torch.manual_seed(1234)  # other global states: the same fit
    try:
        assert torch.equal(weights(fit(walks)), weights(sim))
    finally:
        torch.manual_seed(0)


# -- going on --------------------------------------------------------------------------------------

# Stops for good after four epochs, when three have been saved, and waits to be killed.
CHILD = """
import sys
sys.path.insert(0, {tests!r})
from tests.learned.networks.test_optimise import DISCRETE, OPTIONS
from tests.learned.worlds import random_walks
from persim_gym.learned import PerSim

def tell(now):
    if now.epoch == 4:
        print("four", flush=True)
        sys.stdin.read()

PerSim.fit(random_walks(DISCRETE), task=DISCRETE, out={out!r}, save_every=0, on_epoch=tell,
           **{{**OPTIONS, "epochs": 9}})
"""


@pytest.mark.slow
def test_a_killed_fit_goes_on_where_it_was(walks: Transitions, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code = CHILD.format(tests=str(Path(__file__).parents[3]), out=str(out))
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "four\n"
        finally:
            child.kill()
    assert (out / store.CHECKPOINT).is_file()
    assert not (out / store.SIMULATOR).exists()

    seen: list[FitProgress] = []
    resumed = fit(walks, epochs=9, out=out, on_epoch=seen.append)
    assert [now.epoch for now in seen] == [4, 5, 6, 7, 8, 9]
    assert seen[0].seconds > 0
    whole = fit(walks, epochs=9)
    assert torch.equal(weights(resumed), weights(whole))
    assert resumed.card["metrics"]["loss"] == whole.card["metrics"]["loss"]
    assert resumed.experience.disagreement_limit == whole.experience.disagreement_limit
    assert not (out / store.CHECKPOINT).exists()
    assert torch.equal(weights(PerSim.load(out, task=DISCRETE)), weights(whole))


class Interrupted(Exception):
    """Someone has pressed a key."""


def interrupt(data: Transitions, out: Path, **changes: Any) -> None:
    """Leave a checkpoint after two epochs, within this process."""

    def stop(now: FitProgress) -> None:
        if now.epoch == 3:
            raise Interrupted

    with pytest.raises(Interrupted):
        fit(data, out=out, save_every=0, on_epoch=stop, **changes)


@pytest.mark.parametrize("task", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
@pytest.mark.parametrize("schedule", ["one-cycle", "halving"])
def test_an_interrupted_fit_ends_bit_for_bit(
    task: PlainTask, schedule: str, tmp_path: Path
) -> None:
    data = random_walks(task)
    changes = {"task": task, "schedule": schedule, "halve_every": 1, "epochs": 5, "lag": 2}
    interrupt(data, tmp_path, **changes)
    assert torch.equal(weights(fit(data, out=tmp_path, **changes)), weights(fit(data, **changes)))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["simulator.json", store.SIMULATOR]


@pytest.mark.parametrize("changes", [{"rank": 3}, {"seed": 1}, {"epochs": 7}], ids=repr)
def test_a_checkpoint_of_another_fit_is_refused(
    walks: Transitions, tmp_path: Path, changes: dict[str, Any]
) -> None:
    interrupt(walks, tmp_path)
    with pytest.raises(ValueError, match=r"checkpoint of another fit.*delete it, or choose"):
        fit(walks, out=tmp_path, **changes)
    assert (tmp_path / store.CHECKPOINT).is_file(), "it must not be lost by a mistake"


def test_a_checkpoint_of_other_data_is_refused(walks: Transitions, tmp_path: Path) -> None:
    interrupt(walks, tmp_path)
    obs = walks.obs.copy()
    obs[17, 1] += 1e-3
    with pytest.raises(ValueError, match="checkpoint of another fit"):
        fit(dataclasses.replace(walks, obs=obs), out=tmp_path)


def test_a_damaged_checkpoint_is_refused(walks: Transitions, tmp_path: Path) -> None:
    interrupt(walks, tmp_path)
    file = tmp_path / store.CHECKPOINT
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors is no whole safetensors file"):
        fit(walks, out=tmp_path)


def test_checkpoints_are_written_as_often_as_asked(walks: Transitions, tmp_path: Path) -> None:
    existed: dict[float, list[bool]] = {0.0: [], 1e6: []}
    for every, seen in existed.items():
        folder = tmp_path / str(every)

        def look(now: FitProgress, folder: Path = folder, seen: list[bool] = seen) -> None:
            seen.append((folder / store.CHECKPOINT).exists())

        fit(walks, out=folder, save_every=every, on_epoch=look)
    assert existed == {0.0: [False, True, True, True], 1e6: [False] * 4}


def test_the_disagreement_limit_has_a_floor(
    walks: Transitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However well members agree, what is harmless stops nothing."""

    def limit(harmless: float) -> float:
        monkeypatch.setattr(assembly, "HARMLESS", harmless)
        return fit(walks).experience.disagreement_limit

    calibrated = limit(0.0)
    assert 0 < calibrated < math.inf
    assert limit(calibrated / 2) == calibrated
    assert limit(calibrated * 2) == calibrated * 2
