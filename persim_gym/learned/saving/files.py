"""Simulators on disk: tensors by name and plain types, whatever they were fitted by."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from persim_gym import store
from persim_gym.core import Task
from persim_gym.learned.bounds import BoundEffects
from persim_gym.learned.closed_form.ensemble import PolynomialEnsemble
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.features.charted import ChartedEnsemble
from persim_gym.learned.features.ensemble import FrameEnsemble
from persim_gym.learned.geometry.geometry import Geometry
from persim_gym.learned.mixture import MixtureEnsemble, parts_of
from persim_gym.learned.networks.ensemble import NetworkEnsemble, Scaling
from persim_gym.learned.networks.network import LowRankNetwork, NetworkShape
from persim_gym.learned.outcomes.data_task import DataTask
from persim_gym.learned.outcomes.given_reward import RewardedTask, rewarded, without_given
from persim_gym.learned.parts import Parts
from persim_gym.learned.posterior.knowledge import Knowledge, Known, MixedKnowledge
from persim_gym.learned.preparation import task_of
from persim_gym.learned.saving import soundness
from persim_gym.learned.support import Experience
from persim_gym.learned.uncertainty.learn import Uncertainty

#: Parts of a file that an ensemble's tensors are in, by the beginning of their names.
PARTS = (
    "network", "scaling", "polynomial", "inputs", "effects", "frame", "model", "space", "mixture",
)  # fmt: skip
#: Parts of what else is kept.
OTHERS = (
    "experience",
    "task",
    "prior",
    "evidence",
    "given",
    "knowledge",
    "noise",
    "intervals",
    "fading",
)


def write_simulator(folder: Path, parts: Parts) -> Path:
    """Write a simulator into a folder, whole or not at all."""
    tensors, card = _content(parts)
    store.write(folder / store.SIMULATOR, "simulator", tensors, card, beside=True)
    return folder


def simulator_sha256(parts: Parts) -> str:
    """The hash that a simulator's file has, or would have."""
    return store.checksum("simulator", *_content(parts))


def _content(parts: Parts) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All that is kept of a simulator: tensors, and a card of plain types."""
    ensemble, task, experience = parts.ensemble, parts.task, parts.experience
    knowledge = parts.knowledge
    tensors = ensemble_tensors(ensemble)
    for name in (field.name for field in fields(experience)):
        if isinstance(known := getattr(experience, name), np.ndarray):
            tensors[f"experience.{name}"] = torch.as_tensor(known)
    given = _given_reward(task)
    task = without_given(task)
    if isinstance(task, DataTask):
        tensors |= {f"task.{name}": t for name, t in task.tensors().items()}
    limit = experience.disagreement_limit
    card = {
        **_without_times(parts.card),
        "shape": ensemble.to_json(),
        "disagreement_limit": limit if math.isfinite(limit) else None,
        **given,
    }
    if knowledge is not None:
        tensors |= knowledge.tensors()
        card["prior"] = knowledge.to_json()
    if parts.uncertainty is not None:
        tensors |= parts.uncertainty.tensors()
    return tensors, card


def _given_reward(task: Task) -> dict[str, str]:
    """What a file keeps of a reward that a user has given.

    Raises:
        ValueError: If it is a function.
    """
    if not isinstance(task, RewardedTask):
        return {}
    if not isinstance(task.given, str):
        raise ValueError(
            "this simulator's reward is a Python function, which no file keeps: save "
            "sim.with_reward(None), or give the reward as an expression"
        )
    return {"given_reward": task.given}


def _without_times(card: Mapping[str, Any]) -> dict[str, Any]:
    """A card without how long the fit took: two equal fits give equal files."""
    metrics = card.get("metrics")
    if not isinstance(metrics, Mapping):
        return dict(card)
    return {**card, "metrics": {k: v for k, v in metrics.items() if k != "seconds"}}


def read_simulator(path: Path, task: Task | None = None) -> Parts:
    """Read what :func:`write_simulator` has written.

    Args:
        path: The folder, or the file in it.
        task: The task, if it is none of this package's.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If the file is truncated, altered, foreign or of a newer format.
    """
    file = path / store.SIMULATOR if path.suffix != ".safetensors" else path
    tensors, card = store.read(file, "simulator")
    try:
        return _parts(tensors, card, task)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError) as error:
        raise ValueError(f"{file} lacks what a simulator needs: {error}") from None
    except _Unfit as error:
        raise ValueError(f"{file} is no sound simulator: {error}; fit it again") from None


class _Unfit(ValueError):
    """Parts that do not fit together."""


@contextlib.contextmanager
def _fitting() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise _Unfit(str(error)) from None


def _parts(tensors: dict[str, Tensor], card: dict[str, Any], task: Task | None) -> Parts:
    shape = card.pop("shape")
    with _fitting():
        soundness.check_tensors(tensors, shape)
    parts: dict[str, dict[str, Tensor]] = {p: {} for p in (*PARTS, *OTHERS)}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    limit = card["disagreement_limit"]
    with _fitting():
        ensemble = ensemble_from_file(shape, parts)
        soundness.check_card(card, ensemble.num_agents)
        soundness.check_fits(tensors, ensemble)
    del card["disagreement_limit"]
    experience = Experience(
        **{name: tensor.numpy() for name, tensor in parts["experience"].items()},
        disagreement_limit=math.inf if limit is None else float(limit),
    )
    knowledge: Known = None
    if parts["prior"]:
        knowledge = Knowledge.from_file(parts, card.pop("prior"))
    elif "parts" in card.get("prior", {}):
        knowledge = MixedKnowledge.from_file(parts["knowledge"], card.pop("prior"))
    own = task is None and bool(parts["task"])
    if own:
        task = DataTask.from_parts(parts["task"], card["data_task"])
    task = task or task_of(card["task"])
    with _fitting():
        soundness.check_works(ensemble, task, parts["experience"]["starts"], own)
        task = rewarded(task, card.pop("given_reward", None))
    uncertainty = Uncertainty.from_file(parts)
    return Parts(ensemble, task, experience, card, knowledge, uncertainty)


def ensemble_tensors(ensemble: Ensemble) -> dict[str, Tensor]:
    """All that is kept of an ensemble, beside :meth:`Ensemble.to_json`."""
    found = ensemble.tensors()
    if ensemble.effects is not None:
        found |= {f"effects.{name}": t for name, t in ensemble.effects.tensors().items()}
    return found


def ensemble_from_file(
    shape: Mapping[str, Any], parts: Mapping[str, Mapping[str, Tensor]]
) -> Ensemble:
    """The ensemble that :func:`ensemble_tensors` has taken apart.

    Args:
        shape: What :meth:`Ensemble.to_json` has given.
        parts: Tensors by part and name.

    Raises:
        KeyError: If something is missing.
        TypeError: If something is unknown.
        ValueError: If sizes do not fit together, or the kind is unknown.
    """
    sizes = dict(shape)
    kind = sizes.pop("kind", "network")
    ensemble: Ensemble
    if kind == "network":
        network = NetworkShape.from_json(sizes)
        tensors = {name: parts["network"][name] for name in network.tensors()}
        ensemble = NetworkEnsemble(LowRankNetwork(network, tensors), Scaling(**parts["scaling"]))
    elif kind == "polynomial":
        ensemble = PolynomialEnsemble.from_file(sizes, parts["polynomial"], parts["inputs"])
    elif kind == "frame":
        ensemble = FrameEnsemble.from_file(sizes, parts)
    elif kind == "charted":
        inner = ensemble_from_file(sizes["inner"], parts)  # with the effects of bounds
        geometry = Geometry.from_json(sizes["geometry"])
        return ChartedEnsemble(inner, geometry, parts["space"]["low"], parts["space"]["high"])
    elif kind == "mixture":
        empty: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
        pieces = zip(sizes["parts"], parts_of(parts["mixture"]), strict=True)
        read = [ensemble_from_file(shape, empty | own) for shape, own in pieces]
        return MixtureEnsemble(read, sizes["times"])
    else:
        raise ValueError(f"this version knows no model of kind {kind!r}")
    return ensemble.with_effects(BoundEffects(**parts["effects"]) if parts["effects"] else None)
