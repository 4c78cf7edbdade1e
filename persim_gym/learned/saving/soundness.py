"""Whether the parts of a simulator's file fit together, before anything is computed with them.

A checksum says that a file is what was written; it does not say who wrote it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from gymnasium.spaces import Discrete
from torch import Tensor

from persim_gym.core import Task
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.history import beginning
from persim_gym.learned.networks.network import NetworkShape

#: Shapes by letters: ``m`` members, ``N`` agents, ``d`` observation, ``c`` inner coordinates (as
#: many as ``d`` where nothing is an angle), ``r`` rank, ``q`` what of a
#: factor is personal, ``i`` and ``j`` inputs, ``e`` bounds, ``K`` agents with evidence; the others
#: stand alone. ``W`` columns of actions, ``k`` inner coordinates of noise, ``V`` agents whose noise
#: is known, ``H`` numbers of steps of intervals, ``F`` of fading. A letter is one number in a
#: whole file.
SHAPES = {
    "polynomial.weights": "m A r P c",
    "polynomial.factors": "m N r",
    "polynomial.scale": "c",
    "polynomial.low": "c",
    "polynomial.high": "c",
    **{f"inputs.{name}": "i" for name in ("centre", "scale", "low", "high")},
    **{f"scaling.{name}": "j" for name in ("input_mean", "input_scale", "hold_low", "hold_high")},
    **{f"scaling.{name}": "c" for name in ("target_mean", "target_scale", "low", "high")},
    "effects.coordinate": "e",
    "effects.side": "e",
    "effects.bound": "e",
    "effects.effect": "e 3 c",
    "experience.low": "d",
    "experience.high": "d",
    "experience.change_scale": "d",
    "experience.starts": "E d",
    "experience.seen": "N",
    **{f"experience.action_{name}": "W" for name in ("low", "high")},
    **{f"experience.own_{name}": "N W" for name in ("low", "high")},
    "prior.mean": "m r",
    "prior.root": "m r q",
    "prior.noise": "m c",
    "prior.quantiles": "C c L",
    "evidence.precision": "m K q q",
    "evidence.information": "m K q",
    "evidence.count": "K",
    "given.precision": "m G q q",
    "given.information": "m G q",
    "noise.observation": "k",
    "noise.process": "k k",
    "noise.scale": "V",
    **{f"noise.{name}": "2 k" for name in ("slope", "floor", "most")},
    "intervals.steps": "H",
    "intervals.base": "H d",
    "intervals.quantiles": "H d 8",
    "intervals.observed": "d",
    "intervals.turn": "d",
    "intervals.reach": "",
    "fading.steps": "F",
    **{f"fading.{name}": "F d" for name in ("model", "start")},
    **{f"fading.{name}": "d" for name in ("torn", "mean", "unit", "low", "high")},
    "task.low": "d",
    "task.high": "d",
    "task.starts": "S d",
    **{
        f"task.{part}.{name}": " ".join(f"{part}-{letter}" for letter in letters)
        for part in ("reward", "termination")
        for name, letters in {
            "mean": "p", "scale": "p", "low": "p", "high": "p", "terms": "tc", "weight": "t",
            "value": "", "weight.0": "hp", "bias.0": "h", "weight.1": "gh", "bias.1": "g",
            "weight.2": "g",
        }.items()
    },
}  # fmt: skip

#: Tensors that hold no numbers with a point; all others do.
KINDS = {
    "experience.seen": "booleans",
    "effects.coordinate": "integers",
    "evidence.count": "integers",
    "task.reward.terms": "integers",
    "task.termination.terms": "integers",
}

#: Parts whose models check themselves what they are made of.
FREE = ("model", "mixture", "knowledge")


def check_tensors(tensors: Mapping[str, Tensor], shape: Mapping[str, Any]) -> None:
    """Check kinds, shapes and values of a file's tensors by name.

    Args:
        tensors: All of them.
        shape: What :meth:`Ensemble.to_json` has given.

    Raises:
        KeyError: If a tensor of the network is missing.
        TypeError: If a size in the header is unknown.
        ValueError: If something does not fit.
    """
    sizes: dict[str, int] = {}
    exact: dict[str, tuple[int, ...]] = {}
    kind = shape.get("kind", "network")
    if kind == "network":
        own = {key: value for key, value in shape.items() if key != "kind"}
        network = NetworkShape.from_json(own)
        exact = {f"network.{name}": form for name, (form, _) in network.tensors().items()}
        sizes = {"m": network.members, "N": network.num_agents, "d": network.obs_dim}
        sizes |= {
            "r": network.rank,
            "j": network.state_dim - len(network.angles),
            "c": network.obs_dim,
        }
    for name, tensor in tensors.items():
        _check_values(name, tensor)
        expected = exact.get(name)
        if expected is None and name in SHAPES:
            letters = SHAPES[name].split()
            if len(letters) != tensor.ndim:
                raise ValueError(
                    f"{name} has {tensor.ndim} dimensions, {len(letters)} are expected"
                )
            expected = _sizes(letters, tensor, sizes)
        if expected is not None and tuple(tensor.shape) != tuple(expected):
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)}, the rest of the file asks for "
                f"{tuple(expected)}"
            )
    if kind in ("network", "polynomial") and sizes.get("c") != sizes.get("d", sizes.get("c")):
        raise ValueError(f"it predicts {sizes['c']} coordinates, {sizes['d']} are observed")


def check_fits(tensors: Mapping[str, Tensor], ensemble: Ensemble) -> None:
    """Check what is beside a model against its agents, coordinates and members.

    Raises:
        ValueError: If a shape does not fit.
    """
    sizes = {"N": ensemble.num_agents, "d": ensemble.obs_dim, "m": ensemble.members}
    for name, tensor in tensors.items():
        if name.startswith(("experience.", "prior.", "task.")) and name in SHAPES:
            found, own = tuple(tensor.shape), dict(sizes)
            if name.startswith("prior.") and found[:1] == (1,):
                own["m"] = 1  # a prior that all members share
            expected = _sizes(SHAPES[name].split(), tensor, own)
            if found != expected:
                raise ValueError(f"{name} has shape {found}, the model asks for {expected}")


def _sizes(letters: list[str], tensor: Tensor, sizes: dict[str, int]) -> tuple[int, ...]:
    """The shape that a tensor should have; letters that are new become its own."""
    return tuple(
        int(letter) if letter.isdigit() else sizes.setdefault(letter, length)
        for letter, length in zip(letters, tensor.shape, strict=True)
    )


def _check_values(name: str, tensor: Tensor) -> None:
    kind = KINDS.get(name, "numbers with a point")
    free = name.partition(".")[0] in FREE
    if tensor.dtype == torch.bool:
        found = "booleans"
    else:
        found = "numbers with a point" if tensor.dtype.is_floating_point else "integers"
    if (found != kind and not free) or tensor.dtype.is_complex:
        raise ValueError(f"{name} holds {found} ({tensor.dtype}), {kind} are expected")
    if found == "numbers with a point":
        # Bounds may be infinite, and sizes of polynomials that an input of few values does not
        # have; nothing may be no number.
        bound = name.endswith(("low", "high", "basis.size"))
        if bool(torch.isnan(tensor).any()) or not (bound or bool(torch.isfinite(tensor).all())):
            raise ValueError(f"{name} holds a value that is not finite")
        if name.endswith(("_scale", ".scale")) and bool((tensor <= 0).any()):
            raise ValueError(f"{name} holds a scale that is not positive")


def check_card(card: Mapping[str, Any], agents: int) -> None:
    """Check what the header says of the agents and of its own numbers.

    Raises:
        ValueError: If something does not fit.
    """
    names = card.get("agent_names")
    if names is not None:
        words = isinstance(names, list) and all(isinstance(name, str) for name in names)
        if not words or len(set(names)) != agents:
            raise ValueError(f"agent_names must be {agents} different names")
    limit = card.get("disagreement_limit")
    if limit is not None and not (_is_number(limit) and limit >= 0):
        raise ValueError(f"disagreement_limit must be a number or null, got {limit!r}")
    for name, least in (("temperature", 1e-12), ("correlation", 0.0)):
        value = card.get("prior", {}).get(name, 1.0)
        if not _is_number(value) or value < least:
            raise ValueError(f"{name} must be a number of at least {least:g}, got {value!r}")


def _is_number(value: object) -> bool:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return plain and math.isfinite(value)  # type: ignore[arg-type]


def check_works(ensemble: Ensemble, task: Task, starts: Tensor, own_task: bool) -> None:
    """Check that an ensemble fits its task, and predict one step.

    Args:
        ensemble: The ensemble.
        task: The task.
        starts: Observations ``[E, d]``.
        own_task: The task is of the file, too, and is asked for its reward and its end.

    Raises:
        ValueError: If it does not fit.
    """
    d = int(math.prod(task.observation_space.shape))
    if ensemble.obs_dim != d:
        raise ValueError(f"the model predicts {ensemble.obs_dim} coordinates, the task has {d}")
    effects = ensemble.effects
    inner = d if effects is None else effects.effect.shape[-1]
    if effects is not None and not all(0 <= k < inner for k in effects.coordinate.tolist()):
        raise ValueError("effects.coordinate names a coordinate that there is not")
    space = task.action_space
    discrete = isinstance(space, Discrete)
    obs = (
        torch.zeros(1, d, dtype=torch.float32) if len(starts) == 0 else starts[:1].to(torch.float32)
    )
    if isinstance(space, Discrete):
        # The last one: an index beyond the weights shows.
        actions = torch.full((1,), int(space.n) - 1)
    else:
        actions = torch.zeros(1, int(math.prod(space.shape or ())), dtype=torch.float32)
    try:
        last = torch.tensor([ensemble.num_agents - 1])
        states = beginning(obs, ensemble.lag, ensemble.past)
        found = ensemble.step(last, states, actions)
        if tuple(found.shape) != (ensemble.members, 1, d):
            raise ValueError(f"a prediction has shape {tuple(found.shape)}")
        if own_task:
            taken = actions.numpy() + (int(space.start) if isinstance(space, Discrete) else 0)
            rows = obs.numpy()
            task.reward(rows, taken if discrete else taken.astype("float32"), rows)
            task.terminated(rows)
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"a prediction with it fails: {reason}") from error
