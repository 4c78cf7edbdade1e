"""What every baseline keeps to: fit, predict, save, load, seed, resume, and clear refusals."""

from __future__ import annotations

import copy
import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from persim_gym import store
from persim_gym.baselines import MODULES, Baseline, SfBC, face
from persim_gym.core import Dynamics
from persim_gym.learned.outcomes.data_task import DataTask
from persim_gym.policies.behaviours import as_policy
from tests.baselines.small import ENTRIES, SILENT, Entry, Killed, data_of, each, of_each
from tests.random_states import states as states_of_all

CONTINUOUS = [entry for entry in ENTRIES if entry.task == "continuous"]


def acts(fitted: Any, obs: Any) -> Any:
    return np.asarray(fitted.predict(obs)[0])


def states(entry: Entry, n: int = 20) -> Any:
    return data_of(entry.task).obs[:n]


@each
def test_predict_is_that_of_a_policy(entry: Entry) -> None:
    fitted = entry.shared()
    obs, space = states(entry), fitted.action_space
    actions, _ = fitted.predict(obs, state=None, episode_start=np.ones(len(obs), dtype=bool))
    assert np.shape(actions) == (len(obs), *space.shape)
    one, _ = fitted.predict(obs[0])
    assert space.contains(np.asarray(one, dtype=space.dtype))
    # A row's action does not depend on what other rows there are.
    if not entry.plans:
        alone = np.array([acts(fitted, row) for row in obs])
        np.testing.assert_allclose(np.asarray(actions, dtype=float), alone, atol=1e-5)
    assert as_policy(fitted, fitted.task) is fitted
    assert fitted.dynamics is None or isinstance(fitted.dynamics, Dynamics)


@each
def test_what_is_loaded_acts_as_what_was_saved(entry: Entry, tmp_path: Path) -> None:
    fitted = entry.shared()
    fitted.save(tmp_path / "it")
    for kind in (Baseline, type(fitted)):
        loaded = kind.load(tmp_path / "it")
        assert type(loaded) is type(fitted)
        assert loaded.agents == fitted.agents == (0, 2, 3)
        assert loaded.task.name == fitted.task.name
        assert loaded.config == fitted.config
        np.testing.assert_array_equal(acts(loaded, states(entry)), acts(fitted, states(entry)))
    assert {path.suffix for path in (tmp_path / "it").iterdir()} == {".safetensors", ".json"}
    written = tmp_path / "it" / face.FILE
    content = bytearray(written.read_bytes())
    content[-1] ^= 1
    written.write_bytes(content)
    with pytest.raises(ValueError, match="altered"):
        Baseline.load(tmp_path / "it")


@pytest.mark.slow
@each
def test_a_fit_is_its_seed_and_leaves_global_randomness_alone(entry: Entry) -> None:
    state = torch.get_rng_state()
    first = entry.fit(seed=3)
    torch.rand(5)
    again, other = entry.fit(seed=3), entry.fit(seed=4)
    torch.set_rng_state(state)
    before = torch.rand(1)
    torch.set_rng_state(state)
    entry.fit()
    assert torch.equal(before, torch.rand(1))
    for name, tensor in first.tensors.items():
        assert torch.equal(tensor, again.tensors[name])
    assert any(not torch.equal(t, other.tensors[name]) for name, t in first.tensors.items())


@pytest.mark.slow
@each
def test_a_killed_fit_goes_on_to_the_same_weights(entry: Entry, tmp_path: Path) -> None:
    whole = entry.shared()

    def kill(done: int, total: int) -> None:
        # Called before a block's checkpoint is written: the second call has the first's.
        if (tmp_path / store.CHECKPOINT).exists():
            raise Killed

    with pytest.raises(Killed):
        entry.fit(checkpoint=tmp_path, save_every=0, on_progress=kill)
    told: list[tuple[int, int]] = []
    resumed = entry.fit(checkpoint=tmp_path, on_progress=lambda *now: told.append(now))
    assert told
    assert told[0][0] > 1, "it began anew"
    for name, tensor in whole.tensors.items():
        assert torch.equal(tensor, resumed.tensors[name]), name
    assert not (tmp_path / store.CHECKPOINT).exists()
    np.testing.assert_array_equal(
        acts(Baseline.load(tmp_path), states(entry)), acts(whole, states(entry))
    )
    with pytest.raises(Killed):
        entry.fit(checkpoint=tmp_path / "b", save_every=0, on_progress=_killer(tmp_path / "b"))
    with pytest.raises(ValueError, match="checkpoint of another fit"):
        entry.fit(checkpoint=tmp_path / "b", seed=9)


@each
@pytest.mark.parametrize(
    "last", [pytest.param(False, marks=pytest.mark.slow), True], ids=["middle", "last"]
)
def test_going_on_leaves_global_randomness_alone(entry: Entry, last: bool, tmp_path: Path) -> None:
    def kill(done: int, total: int) -> None:
        if done == (total if last else total // 2 + 1):
            raise Killed

    with pytest.raises(Killed):
        entry.fit(checkpoint=tmp_path, save_every=0, on_progress=kill)
    torch.manual_seed(123)  # of nobody's fit
    np.random.seed(123)  # noqa: NPY002 - to be compared
    random.seed(123)
    before = states_of_all()
    resumed = entry.fit(checkpoint=tmp_path)
    assert states_of_all() == before
    for name, tensor in entry.shared().tensors.items():
        assert torch.equal(tensor, resumed.tensors[name]), name


def _killer(folder: Path) -> Any:
    def kill(done: int, total: int) -> None:
        if (folder / store.CHECKPOINT).exists():
            raise Killed

    return kill


@pytest.mark.slow
@each
def test_one_agent_is_learned_from_alone(entry: Entry) -> None:
    data = data_of(entry.task)
    alone = entry.fit(agent=2)
    assert alone.agents == (2,)
    only = data.select(data.agent == 2)
    assert alone.card["dataset"]["transitions"] == len(only)
    named = dataclasses.replace(data, agent_names=("a", "b", "c", "d"))
    assert entry.fit(named, agent="c").agents == ("c",)
    # Spaces are those of all the data: its actions are tried out, and it acts, where others' are.
    assert alone.observation_space == entry.shared().observation_space
    assert alone.action_space == entry.shared().action_space
    for name, tensor in entry.fit(only, task=alone.task).tensors.items():
        assert torch.equal(tensor, alone.tensors[name])


@each
@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"agent": SILENT}, ValueError, "agent 1 has no transitions"),
        ({"agent": 99}, ValueError, "agent 99 does not exist"),
        ({"agent": "nobody"}, ValueError, "not known by name"),
        ({"seed": -1}, ValueError, "seed"),
        ({"device": "abacus"}, ValueError, "device 'abacus'"),
        ({"depth": 3}, ValueError, "unknown option 'depth'"),
        ({"config": 3}, TypeError, "config must be"),
        ({"progress": "loud"}, ValueError, "progress"),
        ({"on_progress": 3}, TypeError, "on_progress must be a function"),
        ({"columns": {}}, TypeError, "columns= is for tables"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, dict) else "",
)
def test_bad_input_is_refused_before_any_work(
    entry: Entry, changes: dict[str, Any], error: Any, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: Any) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr(entry.kind, "_learn", work)
    with pytest.raises(error, match=says) as caught:
        entry.fit(**changes)
    assert "\n" not in str(caught.value)


CHOOSING = [entry for entry in ENTRIES if entry.name not in ("CaDM", "Cloning")]


def nothing_to_choose(entry: Entry) -> dict[str, tuple[Any, str]]:
    """Data of no known task that say of no action that it is better than another."""
    data = dataclasses.replace(data_of(entry.task), task_name="own")
    zero, ended = np.zeros_like(data.reward), np.zeros_like(data.terminated)
    found = {
        "no reward": (dataclasses.replace(data, reward=zero), "have no reward"),
        "one reward": (
            dataclasses.replace(data, reward=zero + 3, terminated=ended), "the same reward"
        ),
    }  # fmt: skip
    if entry.task == "discrete":
        idle = dataclasses.replace(data, action=np.zeros_like(data.action), action_labels=("-",))
        found["one action"] = idle, "but one action"
        taken = dataclasses.replace(data, action=np.ones_like(data.action))
        found["one of several"] = taken, "but one action"
    return found


@of_each(*CHOOSING)
def test_data_without_a_choice_are_refused_before_any_work(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: Any) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr(DataTask, "from_transitions", work)
    for data, says in nothing_to_choose(entry).values():
        with pytest.raises(ValueError, match=f"{entry.name} .*{says}") as caught:
            entry.fit(data)
        assert "\n" not in str(caught.value)


def test_data_without_actions_are_no_reason_to_try_another_method() -> None:
    idle, _ = nothing_to_choose(Entry("SfBC", "discrete"))["one action"]
    with pytest.raises(ValueError, match=r"SfBC .*but one action"):
        SfBC.fit(idle)


@of_each(*(entry for entry in ENTRIES if entry.name == "CaDM"))
def test_a_model_is_learned_without_a_reward_and_does_not_plan_without_one(entry: Entry) -> None:
    data, _ = nothing_to_choose(entry)["no reward"]
    fitted, obs = entry.fit(data), data.obs[:2]
    with pytest.raises(ValueError, match="no reward that could be learned"):
        fitted.predict(obs)
    assert len(fitted.mpc(fitted.config.planner, reward="-obs_0").predict(obs)[0]) == 2


@of_each(*(entry for entry in CHOOSING if entry.task == "discrete"))
def test_a_known_task_says_what_the_data_leave_out(entry: Entry) -> None:
    data = data_of("discrete")
    bare = dataclasses.replace(
        data, reward=np.zeros_like(data.reward), terminated=np.zeros_like(data.terminated),
        truncated=data.truncated | data.terminated,
    )  # fmt: skip
    for name, tensor in entry.fit(bare).tensors.items():
        assert torch.equal(tensor, entry.shared().tensors[name]), name


@of_each(*CONTINUOUS)
def test_actions_without_bounds_are_refused_before_any_work(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: Any) -> None:
        raise AssertionError("work was begun")

    task = copy.copy(entry.shared().task)
    monkeypatch.setattr(entry.kind, "_learn", work)
    for low, high in ((-np.inf, np.inf), (-1.0, np.inf)):
        task.action_space = Box(low, high, task.action_space.shape)
        with pytest.raises(ValueError, match="has actions without bounds: give a task"):
            entry.fit(task=task)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Cloning", {"learning_rate": 1e30}),
        ("SfBC", {"learning_rate": 1e30}),
        ("SfBC", {"critic_learning_rate": 1e30}),
    ],
)
def test_a_fit_that_diverges_is_no_fit(name: str, options: Any, tmp_path: Path) -> None:
    entry = next(e for e in CONTINUOUS if e.name == name)
    with pytest.raises(FloatingPointError, match="smaller learning_rate"):
        entry.fit(**options, checkpoint=tmp_path, save_every=0)
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".safetensors"]


@each
@pytest.mark.parametrize(
    ("obs", "error"),
    [(np.zeros(7), ValueError), (np.full((2, 4), np.nan), ValueError), ("no", TypeError)],
    ids=["shape", "nan", "text"],
)
def test_observations_that_are_none_are_refused(entry: Entry, obs: Any, error: Any) -> None:
    fitted = entry.shared()
    if isinstance(obs, np.ndarray) and obs.ndim == 2:
        obs = obs[:, : fitted.observation_space.shape[0]]
    with pytest.raises(error, match="observation must"):
        fitted.predict(obs)


@each
def test_configurations_are_frozen_plain_values(entry: Entry) -> None:
    config = entry.kind.Config().replaced(entry.options)
    assert entry.kind.Config.from_json(json.loads(json.dumps(config.to_json()))) == config
    name = dataclasses.fields(config)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, name, 1)


@pytest.mark.slow
def test_a_baseline_of_another_name_is_refused(tmp_path: Path) -> None:
    entry = Entry("BCQ", "discrete", {"updates": 1, "hidden": [2]}, ("tianshou",))
    entry.fit().save(tmp_path)
    from persim_gym.baselines import CQL

    with pytest.raises(ValueError, match="holds BCQ, not CQL"):
        CQL.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no baseline"):
        Baseline.load(tmp_path / "nowhere")
    with pytest.raises(TypeError, match="fit one of the methods"):
        Baseline.fit(data_of("discrete"))
    with pytest.raises(ValueError, match=f"there are {', '.join(MODULES).lower()}"):
        face.method_class("DQN")
