"""Files that somebody else has signed: what does not fit together is refused when it is loaded."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from persim_gym import store
from persim_gym.learned import PerSim
from persim_gym.learned.mixture import MixtureEnsemble
from persim_gym.offline import record


def of_table(**options: Any) -> PerSim:
    """Rewards and ends learned from the data, agents with names, continuous actions."""
    rng = np.random.default_rng(0)
    rows = []
    for agent in range(5):
        x = rng.normal(size=2)
        for time in range(40):
            u = rng.normal()
            rows.append((f"p{agent}", time, *x, u, -(x[0] ** 2), time == 39))
            x = 0.9 * x + np.array([0.1 * u * (agent + 1), 0.1 * x[0]])
    frame = pd.DataFrame(rows, columns=["id", "t", "x", "y", "u", "r", "end"])
    columns = {"agent": "id", "time": "t", "state": ["x", "y"], "action": "u", "reward": "r"}
    columns["terminated"] = "end"
    options = options or {"method": "als", "degree": 1, "rank": 2}
    return PerSim.fit(frame, columns=columns, progress=False, **options)


LATENT = {"hidden": (6,), "first_steps": 2, "steps": 2, "window_steps": 2}


def mixed(first: PerSim, second: PerSim) -> PerSim:
    ensemble = MixtureEnsemble([first.ensemble, second.ensemble], [1, 2])
    return PerSim(ensemble, first.task, first.experience, first.card)


def of_recordings(task: str, **options: Any) -> PerSim:
    data = record(task, agents=4, population=5, max_episode_steps=60, progress=False)
    return PerSim.fit(data, progress=False, **options)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A simulator of each kind on disk."""
    root = tmp_path_factory.mktemp("simulators")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MINARI_DATASETS_PATH", str(root / "data"))
        (root / "data").mkdir()
        made = {
            "polynomial": of_recordings("mountain-car", method="als", degree=2, rank=2),
            "network": of_recordings("cartpole", method="sgd", epochs=1, ensemble_size=2),
            "table": of_table(),
            "hierarchical": of_table(method="hierarchical", degree=1, ensemble_size=2),
            "latent": of_table(method="latent", ensemble_size=2, **LATENT),
        }
    made["mixture"] = mixed(made["hierarchical"], made["latent"])
    adapted = made["polynomial"]
    adapted.adapt(name=None)
    return {name: sim.save(root / name) / store.SIMULATOR for name, sim in made.items()}


KINDS = ("polynomial", "network", "table", "hierarchical", "latent", "mixture")


def changes(tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Other tensors under the same name."""
    yield "flat", tensor.reshape(-1, 1, 1, 1)
    yield "none", tensor.reshape(-1)[:0]
    if tensor.ndim:
        yield "shorter", tensor[:-1]
        yield "longer", torch.cat([tensor, tensor[-1:]])
        yield "narrower", tensor[..., :-1]
    if tensor.ndim > 1:
        yield "turned", tensor.mT
    yield "integers", torch.ones_like(tensor, dtype=torch.int32)
    yield "complex", torch.ones_like(tensor, dtype=torch.complex64)
    if tensor.dtype.is_floating_point:
        yield "nan", torch.full_like(tensor, torch.nan)
        yield "zero", torch.zeros_like(tensor)
    else:
        yield "large", tensor.to(torch.int64) + 2**40


def use(path: Path) -> None:
    """Load a file; if that goes well, everything with it must go well."""
    sim = PerSim.load(path)
    obs = sim.experience.starts[:1]
    space = sim.task.action_space
    action = np.array([space.sample()])
    for agent in (0, sim.num_agents - 1):
        if sim.experience.seen is None or sim.experience.seen[agent]:
            assert sim.predict(agent, obs, action).shape == obs.shape
    if not sim.ensemble.linear:
        return
    sim.prior.factors(torch.zeros(sim.members, 1, sim.prior.size, dtype=torch.float64))
    sim.task.reward(obs, action, obs)
    sim.task.terminated(obs)
    sim.adapt(name="another" if sim.agent_names else None)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_tensors_of_other_shapes_kinds_and_values(
    kind: str, files: dict[str, Path], tmp_path: Path
) -> None:
    tensors, card = store.read(files[kind], "simulator")
    use(files[kind])
    refused = tried = 0
    for name in tensors:
        for how, other in changes(tensors[name]):
            store.write(tmp_path / "other.safetensors", "simulator", {**tensors, name: other}, card)
            tried += 1
            try:
                use(tmp_path / "other.safetensors")
            except ValueError:
                refused += 1
            except Exception as error:
                raise AssertionError(f"{name}, {how}: {type(error).__name__} {error}") from error
    assert refused > 0.6 * tried


VALUES = [None, -1, 0, 10**12, 1.5, "x", "", [], [1], [[]], {}, {"a": 1}, True, float("nan")]


def places(card: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(card, dict):
        for key in card:
            yield from places(card[key], (*path, key))
    if path:
        yield path


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS[:3])
def test_headers_with_other_values(kind: str, files: dict[str, Path], tmp_path: Path) -> None:
    tensors, card = store.read(files[kind], "simulator")
    parts = ("shape", "prior", "data_task", "agent_names", "obs_names", "action_names", "task")
    parts += ("disagreement_limit",)
    for place in places({key: card[key] for key in parts if key in card}):
        for value in VALUES:
            other = copy.deepcopy(card)
            inner = other
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = value
            store.write(tmp_path / "other.safetensors", "simulator", tensors, other)
            try:
                use(tmp_path / "other.safetensors")
            except ValueError:
                continue
            except Exception as error:
                said = f"{place} = {value!r}: {type(error).__name__} {error}"
                raise AssertionError(said) from error


@pytest.mark.slow
def test_the_refusal_says_what_does_not_fit(files: dict[str, Path], tmp_path: Path) -> None:
    tensors, card = store.read(files["polynomial"], "simulator")
    file = tmp_path / store.SIMULATOR
    other = {**tensors, "polynomial.scale": tensors["polynomial.scale"][:1]}
    store.write(file, "simulator", other, card)
    with pytest.raises(ValueError, match=r"no sound simulator: .* has shape .*; fit it again"):
        PerSim.load(file)
    assert json.loads(file.with_suffix(".json").read_text())["task"] == "mountain-car"
