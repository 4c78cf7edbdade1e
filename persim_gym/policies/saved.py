"""Policies on disk: a small network with ``predict``, as safetensors with a JSON card.

Not Stable-Baselines3's archive, whose loading can run code.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import nn

from persim_gym import checks, store
from persim_gym.threads import few_threads

#: The name of a policy's file in its folder.
POLICY = store.POLICY

Head = Literal["greedy", "squashed", "clipped"]
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "tanh": nn.Tanh, "elu": nn.ELU, "silu": nn.SiLU,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Shape:
    """A policy network in plain types: all that a file says beside the weights."""

    widths: tuple[int, ...]
    activation: str
    head: Head
    algorithm: str

    def __post_init__(self) -> None:
        """Refuse widths of no network."""
        whole = all(type(width) is int and width > 0 for width in self.widths)
        if len(self.widths) < 2 or not whole:
            raise ValueError(f"widths of layers must be positive, two at least, got {self.widths}")


class SavedPolicy:
    """A trained policy without the library that trained it: a small network with ``predict``.

    Deterministic: DQN's greedy actions, the mean actions of the others.

    Args:
        network: Observations ``[n, d]`` -> values of the actions, or actions before their bounds.
        shape: What it is.
        observation_space: What it sees.
        action_space: What it does.
        card: Whatever else is known of it.
    """

    def __init__(
        self,
        network: nn.Sequential,
        shape: _Shape,
        observation_space: Box,
        action_space: Discrete | Box,
        card: Mapping[str, Any],
    ) -> None:
        self._network, self._shape = network.requires_grad_(False).train(False), shape
        self.observation_space = observation_space
        self.action_space = action_space
        self.card = dict(card)

    @property
    def name(self) -> str:
        """The algorithm's name."""
        return self._shape.algorithm

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """Actions ``[n(, a)]`` for observations ``[n, d]``, or one for ``[d]``.

        Raises:
            ValueError: If the observation has the wrong shape.
        """
        obs = np.asarray(observation, dtype=np.float32)
        d = self._shape.widths[0]
        if obs.ndim not in (1, 2) or obs.shape[-1] != d:
            raise ValueError(f"an observation must have shape ({d},) or (n, {d}), got {obs.shape}")
        rows = torch.as_tensor(np.atleast_2d(obs))
        with few_threads(len(rows), self._shape.widths, rows.device):
            output = self._network(rows).numpy()
        space = self.action_space
        if isinstance(space, Discrete):
            actions = output.argmax(axis=1) + int(space.start)
        elif self._shape.head == "squashed":
            actions = space.low + 0.5 * (output + 1.0) * (space.high - space.low)
        else:
            actions = np.clip(output, space.low, space.high)
        return (actions if obs.ndim > 1 else actions[0]), state


def save_policy(model: Any, folder: str | Path, card: Mapping[str, Any] | None = None) -> Path:
    """Write a model's deterministic policy: ``policy.safetensors`` with a JSON card in its header.

    A ``policy.json`` beside it repeats the card for readers; nothing reads it.

    Args:
        model: A DQN, PPO, A2C, SAC or TD3 model of Stable-Baselines3 with an ``"MlpPolicy"``, or a
            :class:`SavedPolicy`.
        folder: Where to; made if it is missing.
        card: Facts of plain types to keep with it, such as the simulator and the seed.

    Returns:
        The folder.

    Raises:
        TypeError: If the model is of another kind, or its policy no plain network.
    """
    folder = checks.output_folder("folder", folder)
    write_policy(model, folder / POLICY, card)
    return folder


def write_policy(model: Any, file: str | Path, card: Mapping[str, Any] | None = None) -> Path:
    """Write a policy to a safetensors file, with its card for readers in a ``.json`` beside it.

    Args:
        model: As in :func:`save_policy`.
        file: The file; its folder is made if it is missing.
        card: Facts of plain types to keep with it.

    Returns:
        The file.

    Raises:
        TypeError: If the model is of another kind, or its policy no plain network.
    """
    file = checks.output_file("file", file)
    policy = model if isinstance(model, SavedPolicy) else extract_policy(model)
    spaces = {
        "observation": _plain_space(policy.observation_space),
        "action": _plain_space(policy.action_space),
    }
    plain = {
        **policy.card,
        **(card or {}),
        "network": {**dataclasses.asdict(policy._shape), "widths": list(policy._shape.widths)},
        "spaces": spaces,
    }
    store.write(file, "policy", policy._network.state_dict(), plain, beside=True)
    return file


def load_policy(folder: str | Path) -> SavedPolicy:
    """Read a policy that :func:`save_policy` has written.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If the file is truncated, altered or something else.
    """
    path = checks.as_path("folder", folder)
    file = path if path.suffix == ".safetensors" else path / POLICY
    tensors, card = store.read(file, "policy")
    try:
        plain = card.pop("network")
        shape = _Shape(**{**plain, "widths": tuple(plain["widths"])})
        network = _sequential(shape)
        network.load_state_dict(tensors, assign=True)
        spaces = card.pop("spaces")
        observation = _space(spaces["observation"])
        action = _space(spaces["action"])
        _check_fits(shape, tensors, observation, action)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError) as error:
        raise ValueError(f"{file} lacks what a policy needs: {error}") from None
    except ValueError as error:
        raise ValueError(f"{file} is no sound policy: {error}; train it again") from None
    assert isinstance(observation, Box)
    for key in ("format", "version", "kind"):
        card.pop(key, None)
    return SavedPolicy(network, shape, observation, action, card)


def _check_fits(
    shape: _Shape, tensors: Mapping[str, torch.Tensor], observation: object, action: object
) -> None:
    """Check that a file's network acts in its spaces.

    Raises:
        ValueError: If it does not.
    """
    if not all(t.dtype == torch.float32 and bool(t.isfinite().all()) for t in tensors.values()):
        raise ValueError("its weights must be finite and of single precision")
    if shape.head not in ("greedy", "squashed", "clipped"):
        raise ValueError(f"it has a head {shape.head!r}")
    ends = shape.widths[0], shape.widths[-1]
    acts = action.n if isinstance(action, Discrete) else math.prod(getattr(action, "shape", ()))
    if not isinstance(observation, Box) or ends != (math.prod(observation.shape), acts):
        raise ValueError(f"its network is of {ends}, its spaces are {observation} and {action}")
    if isinstance(action, Discrete) != (shape.head == "greedy"):
        raise ValueError(f"its head is {shape.head!r}, its actions are {action}")


def _sequential(shape: _Shape) -> nn.Sequential:
    """The network without weights: torch would draw them from its global generator."""
    layers: list[nn.Module] = []
    for before, after in zip(shape.widths[:-1], shape.widths[1:], strict=True):
        linear = nn.Linear(before, after, device="meta", dtype=torch.float32)
        layers += [linear, _ACTIVATIONS[shape.activation]()]
    layers.pop()
    if shape.head == "squashed":
        layers.append(nn.Tanh())
    return nn.Sequential(*layers)


def extract_policy(model: Any) -> SavedPolicy:
    """The network of a Stable-Baselines3 model, from observations to actions."""
    from stable_baselines3 import A2C, DQN, PPO, SAC, TD3

    head: Head
    policy: Any = getattr(model, "policy", None)
    if isinstance(model, DQN):
        parts, head = [*policy.q_net.q_net], "greedy"
        features = policy.q_net.features_extractor
    elif isinstance(model, (PPO, A2C)):
        parts = [*policy.mlp_extractor.policy_net, policy.action_net]
        head = "greedy" if isinstance(model.action_space, Discrete) else "clipped"
        features = policy.features_extractor
    elif isinstance(model, SAC):
        parts, head = [*policy.actor.latent_pi, policy.actor.mu], "squashed"
        features = policy.actor.features_extractor
    elif isinstance(model, TD3):
        parts, head = [*policy.actor.mu][:-1], "squashed"
        features = policy.actor.features_extractor
    else:
        raise TypeError(
            f"a DQN, PPO, A2C, SAC or TD3 model can be saved, got {type(model).__name__}"
        )
    if type(features).__name__ != "FlattenExtractor" or getattr(policy, "squash_output", False) != (
        head == "squashed"
    ):
        raise TypeError(f"only a plain 'MlpPolicy' can be saved, got {type(policy).__name__}")
    linear = [part for part in parts if isinstance(part, nn.Linear)]
    between = [type(part) for part in parts if not isinstance(part, nn.Linear)]
    names = [name for name, kind in _ACTIVATIONS.items() if all(b is kind for b in between)]
    if not names or len(between) != len(linear) - 1:
        raise TypeError(
            "only layers with the same one of "
            f"{', '.join(_ACTIVATIONS)} in between can be saved, got {parts}"
        )
    shape = _Shape(
        widths=(linear[0].in_features, *(layer.out_features for layer in linear)),
        activation=names[0],
        head=head,
        algorithm=type(model).__name__.lower(),
    )
    network = _sequential(shape)
    own = [layer for layer in network if isinstance(layer, nn.Linear)]
    for layer, trained in zip(own, linear, strict=True):
        weights = {name: t.detach().clone() for name, t in trained.state_dict().items()}
        layer.load_state_dict(weights, assign=True)
    return SavedPolicy(network, shape, model.observation_space, model.action_space, {})


def _plain_space(space: Box | Discrete) -> dict[str, Any]:
    if isinstance(space, Discrete):
        return {"n": int(space.n), "start": int(space.start)}
    # Unbounded ends are written as words: JSON has no infinity.
    return {"low": [str(v) for v in space.low], "high": [str(v) for v in space.high]}


def _space(plain: Mapping[str, Any]) -> Box | Discrete:
    if "n" in plain:
        return Discrete(plain["n"], start=plain["start"])
    low, high = (np.array([float(v) for v in plain[k]], dtype=np.float32) for k in ("low", "high"))
    return Box(low, high, dtype=np.float32)
