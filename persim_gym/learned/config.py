"""How a simulator is fitted: one frozen configuration, and the presets of the three tasks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np

Activation = Literal["relu", "silu"]
Method = Literal["auto", "als", "sgd"]
METHODS = ("auto", "als", "sgd")
Schedule = Literal["halving", "one-cycle", "constant"]
Encoder = Literal["product", "joint"]
Precision = Literal["single", "mixed"]


#: Fields of a fit that are yes or no, and that are one of a few names.
_SWITCHES = (
    "normalise_inputs",
    "normalise_targets",
    "centre_targets",
    "skip_clipped",
    "angles",
    "skip",
    "hold",
)
_NAMED = {
    "encoder": Encoder,
    "activation": Activation,
    "schedule": Schedule,
    "precision": Precision,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig:
    """Everything that decides a fit, beside the data.

    Attributes:
        rank: Number of latent factors ``r`` of the product of encoders.
        ensemble_size: Number of members ``m``, fitted together; they differ in initial weights and
            in the order of the data.
        spare_members: Members fitted beyond those and dropped at the end, the ones with the largest
            loss: now and then a start gets stuck, and one such member spoils the mean of all.
        lag: Number of past observations that the state encoder sees.
        state_hidden: Widths of the state encoder's hidden layers.
        action_hidden: Widths of the action encoder's hidden layers; discrete actions have a
            factor each and no hidden layer.
        encoder: ``"product"``: states and actions have encoders of their own, whose products are
            summed, as in the paper. ``"joint"``: one encoder sees state and action together, and
            only the agent's factor is multiplied to it. Discrete actions have a factor each in
            either. Where forces act through contacts, state and action do not factor at a small
            rank: on HalfCheetah, all else equal, the product's 50-step error is a quarter larger,
            and more passes do not help it.
        angles: Let coordinates that the task declares as angles (``Task.angles``) enter as sine
            and cosine.
        skip: Let the state encoder's last layer see its inputs beside the last hidden layer: the
            linear part of a change then needs no hidden unit.
        activation: Nonlinearity of all hidden layers.
        hold: Hold states (but for angles, with ``angles``) within the recorded range when the
            network looks at them. Outside of it a network continues as it likes, and now and then
            a long prediction runs away: 4 of 900 on HalfCheetah, none with this.
        normalise_inputs: Scale observations to mean 0 and deviation 1 over the data.
        normalise_targets: Scale the differences that are predicted to deviation 1.
        centre_targets: With ``normalise_targets``, shift them to mean 0 as well. The shift is one
            more term of the product, the same for all agents: it costs a rank (measured: a world
            of rank 2 fitted at rank 2 with 20 times the error).
        skip_clipped: Leave transitions out of the loss that end on a bound of the observation
            space: there the environment has cut off what the dynamics did.
        batch_size: Transitions in a batch, of each member.
        epochs: Passes over the data.
        learning_rate: Adam's step size, or its peak.
        schedule: ``"halving"`` (every ``halve_every`` epochs), ``"one-cycle"`` (warm up over a
            tenth of the steps, then a cosine down to nothing) or ``"constant"``.
        halve_every: Epochs between halvings.
        precision: ``"single"``, or ``"mixed"``: matrix products of the fit in bfloat16, four times
            as fast on processors that have them (AVX-512 BF16, AMX); elsewhere the same as
            single. Predictions are in single precision.
        validation_fraction: Share of each trajectory held out, one contiguous window.
        seed: Seed of weights, windows and batches.
    """

    rank: int = 5
    ensemble_size: int = 5
    spare_members: int = 0
    lag: int = 1
    state_hidden: tuple[int, ...] = (256,)
    action_hidden: tuple[int, ...] = (256,)
    encoder: Encoder = "product"
    angles: bool = False
    skip: bool = False
    activation: Activation = "relu"
    hold: bool = False
    normalise_inputs: bool = False
    normalise_targets: bool = False
    centre_targets: bool = False
    skip_clipped: bool = False
    batch_size: int = 256
    epochs: int = 100
    learning_rate: float = 1e-3
    schedule: Schedule = "one-cycle"
    halve_every: int = 150
    precision: Precision = "single"
    validation_fraction: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be fitted, before any work is done."""
        for name in ("rank", "ensemble_size", "lag", "batch_size", "epochs", "halve_every"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a positive integer, got {value!r}")
        if (
            isinstance(self.spare_members, bool)
            or not isinstance(self.spare_members, int)
            or self.spare_members < 0
        ):
            raise ValueError(f"spare_members must be 0 or more, got {self.spare_members!r}")
        for name in ("state_hidden", "action_hidden"):
            given = getattr(self, name)
            widths = tuple(given) if isinstance(given, (tuple, list)) else (None,)
            if not all(isinstance(w, int) and w > 0 for w in widths):
                raise ValueError(f"{name} must be a list of positive integers, got {given!r}")
            object.__setattr__(self, name, widths)
        if not self.state_hidden:
            raise ValueError("state_hidden must name at least one hidden layer, got ()")
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False, got {getattr(self, name)!r}")
        for name, known in _NAMED.items():
            if getattr(self, name) not in known.__args__:  # type: ignore[attr-defined]
                names = ", ".join(known.__args__)  # type: ignore[attr-defined]
                raise ValueError(f"{name} must be one of {names}, got {getattr(self, name)!r}")
        if not (_is_number(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate!r}")
        if not (_is_number(self.validation_fraction) and 0 <= self.validation_fraction <= 0.5):
            raise ValueError(
                f"validation_fraction must be in [0, 0.5], got {self.validation_fraction!r}"
            )
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"seed must be an integer of at least 0, got {self.seed!r}")

    def to_json(self) -> dict[str, Any]:
        """The configuration as plain types."""
        plain = dataclasses.asdict(self)
        return {key: list(v) if isinstance(v, tuple) else v for key, v in plain.items()}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> FitConfig:
        """A configuration from plain types.

        Raises:
            ValueError: If a field is unknown or a value invalid.
        """
        return cls().replaced(plain)

    def replaced(self, changes: Mapping[str, Any]) -> FitConfig:
        """A copy with some fields changed.

        Raises:
            ValueError: If a field is unknown or a value invalid.
        """
        names = [field.name for field in dataclasses.fields(self)]
        if unknown := sorted(set(changes) - set(names)):
            raise ValueError(
                f"unknown option {unknown[0]!r} of a fit: there are {', '.join(names)}"
            )
        plain = {key: v.item() if isinstance(v, np.generic) else v for key, v in changes.items()}
        changes = {key: tuple(v) if isinstance(v, list) else v for key, v in plain.items()}
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlsConfig:
    """Everything that decides a closed-form fit, beside the data.

    ``None`` means chosen from the data, by agents held out.

    Attributes:
        degree: Degree of the polynomial basis.
        rank: Rank ``r``, the part that all agents share included.
        threshold: Contribution, in units of a change's deviation, under which a term is dropped.
        ridge: Penalty of the regressions, in units of each feature's mean square.
        rounds: Most rounds of alternation.
        ensemble_size: Number of members ``m``; they see agents with random importance, and draw
            each agent's factor from its posterior.
        lag: Number of past observations that the basis sees.
        skip_clipped: Leave transitions out that end on a bound of the observation space, and learn
            from them what happens there.
        seed: Seed of the choice and of the members.
    """

    degree: int | None = None
    rank: int | None = None
    threshold: float | None = None
    ridge: float = 1e-10
    rounds: int = 200
    ensemble_size: int = 5
    lag: int = 1
    skip_clipped: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be fitted, before any work is done."""
        for name in ("degree", "rank", "rounds", "ensemble_size", "lag"):
            value = getattr(self, name)
            chosen = value is None and name in ("degree", "rank")
            if not chosen and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"{name} must be a positive integer, got {value!r}")
        if self.threshold is not None and not (
            _is_number(self.threshold) and 0 <= self.threshold < 1
        ):
            raise ValueError(f"threshold must be in [0, 1), got {self.threshold!r}")
        if not (_is_number(self.ridge) and 0 <= self.ridge <= 1):
            raise ValueError(f"ridge must be in [0, 1], got {self.ridge!r}")
        if not isinstance(self.skip_clipped, bool):
            raise ValueError(f"skip_clipped must be True or False, got {self.skip_clipped!r}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"seed must be an integer of at least 0, got {self.seed!r}")

    def to_json(self) -> dict[str, Any]:
        """The configuration as plain types."""
        return dataclasses.asdict(self)

    def replaced(self, changes: Mapping[str, Any]) -> AlsConfig:
        """A copy with some fields changed.

        Raises:
            ValueError: If a field is unknown or a value invalid.
        """
        names = [field.name for field in dataclasses.fields(self)]
        if unknown := sorted(set(changes) - set(names)):
            raise ValueError(
                f"unknown option {unknown[0]!r} of a closed-form fit: there are {', '.join(names)}"
            )
        plain = {key: v.item() if isinstance(v, np.generic) else v for key, v in changes.items()}
        return dataclasses.replace(self, **plain)


@dataclass(frozen=True, slots=True)
class FitPlan:
    """What a fit is to do: the method, and the configuration of each method it may use.

    Attributes:
        method: ``"als"``, ``"sgd"`` or ``"auto"``.
        preset: Preset of the networks.
        als: Of the closed form; ``None`` where it is not used.
        sgd: Of the networks; ``None`` where they are not used.
    """

    method: Method
    preset: str
    als: AlsConfig | None
    sgd: FitConfig | None

    @property
    def seed(self) -> int:
        """Seed of the fit."""
        config = self.als or self.sgd
        assert config is not None
        return config.seed

    def to_json(self) -> dict[str, Any]:
        """The configuration as plain types; of both methods by name, where both may be used."""
        if self.als is None or self.sgd is None:
            config = self.als or self.sgd
            assert config is not None
            return config.to_json()
        return {"als": self.als.to_json(), "sgd": self.sgd.to_json()}


def plan_fit(
    task_name: str, *, method: str = "auto", preset: str = "default", options: Mapping[str, Any]
) -> FitPlan:
    """Decide by which method data of a task are fitted, and with what configuration.

    With ``"auto"``, a preset other than the default or an option that only networks have chooses
    networks, and an option that only the closed form has chooses that; else both may be used, but
    for tasks of which it is known that no polynomial is their law.

    Raises:
        ValueError: If the method, the preset or an option is unknown, or an option invalid.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}: there are {', '.join(METHODS)}")
    named = set(options)
    closed = {field.name for field in dataclasses.fields(AlsConfig)}
    network = {field.name for field in dataclasses.fields(FitConfig)}
    if unknown := sorted(named - closed - network):
        names = ", ".join(sorted(closed | network))
        raise ValueError(f"unknown option {unknown[0]!r} of a fit: there are {names}")
    if method == "auto":
        if (one := sorted(named - closed)) and (other := sorted(named - network)):
            raise ValueError(
                f"{one[0]!r} is an option of networks (method 'sgd') and {other[0]!r} one of the "
                "closed form (method 'als'): a fit is one or the other"
            )
        if preset != "default" or named - closed:
            method = "sgd"
        elif named - network:
            method = "als"
        elif task_name in NETWORKS_AT_ONCE:
            method = "sgd"
    if method == "als" and preset != "default":
        raise ValueError(f"preset {preset!r} is one of networks, method 'als' has none")
    als = None if method == "sgd" else AlsConfig().replaced(options)
    sgd = None if method == "als" else preset_config(preset, task_name).replaced(options)
    return FitPlan(cast(Method, method), preset, als, sgd)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


# Paper: the settings of the authors' code (its last commit), to the letter.
_PAPER = {
    "mountain-car": FitConfig(
        rank=3, state_hidden=(256,), batch_size=512, epochs=300, schedule="halving",
        validation_fraction=0.0,
    ),
    "cartpole": FitConfig(
        rank=5, state_hidden=(256,), batch_size=64, epochs=300, schedule="halving",
        validation_fraction=0.0,
    ),
    "half-cheetah": FitConfig(
        rank=15, state_hidden=(512,) * 4, action_hidden=(512, 512), batch_size=1024, epochs=300,
        schedule="halving", normalise_inputs=True, normalise_targets=True, centre_targets=True,
        validation_fraction=0.0,
    ),
}  # fmt: skip

_DEFAULT = {
    "mountain-car": FitConfig(
        rank=3, state_hidden=(64, 64), activation="silu", normalise_inputs=True,
        normalise_targets=True, skip_clipped=True, batch_size=512, epochs=30, learning_rate=1e-2,
        spare_members=1,
    ),
    "cartpole": FitConfig(
        rank=5, state_hidden=(32, 32), activation="silu", batch_size=64, epochs=300,
        learning_rate=5e-3, spare_members=2,
    ),
    "half-cheetah": FitConfig(
        rank=8, encoder="joint", state_hidden=(256, 256, 256), activation="silu", angles=True,
        skip=True, hold=True, normalise_inputs=True, normalise_targets=True, batch_size=512,
        epochs=30, learning_rate=1e-2, precision="mixed",
    ),
}  # fmt: skip

# For a task of the user's own, of whose scales nothing is known.
_GENERIC = FitConfig(
    state_hidden=(64, 64), activation="silu", normalise_inputs=True, normalise_targets=True,
    hold=True, learning_rate=1e-2, spare_members=1,
)  # fmt: skip

#: Tasks that ``"auto"`` does not try in closed form. HalfCheetah's contacts are no polynomial: of
#: its 25 inputs one of degree 2 can be afforded, which leaves a tenth of a step's variance.
NETWORKS_AT_ONCE = ("half-cheetah",)

PRESETS: dict[str, dict[str, FitConfig]] = {"default": _DEFAULT, "paper": _PAPER}


def preset_config(preset: str, task_name: str) -> FitConfig:
    """The configuration of a preset for a task; a generic one for tasks that have none.

    Raises:
        ValueError: If the preset is unknown, or ``"paper"`` is asked for a task not in the paper.
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}: there are {', '.join(PRESETS)}")
    if preset == "paper" and task_name not in _PAPER:
        raise ValueError(f"the paper has no task {task_name!r}: it has {', '.join(_PAPER)}")
    return PRESETS[preset].get(task_name, _GENERIC)
