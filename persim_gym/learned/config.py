"""How a simulator is fitted: one frozen configuration, and the presets of the three tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np

from persim_gym import checks

Activation = Literal["relu", "silu"]
METHODS = ("auto", "als", "sgd", "hierarchical", "latent")
EFFORTS = ("quick", "default", "thorough")
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


class Values:
    """What all configurations can: plain types out and in, copies with changes."""

    __slots__ = ()
    #: What a fit with it is called in messages.
    called: ClassVar[str] = "a fit"

    def to_json(self) -> dict[str, Any]:
        """The configuration as plain types."""
        plain = dataclasses.asdict(self)  # type: ignore[call-overload]
        return {key: list(v) if isinstance(v, tuple) else v for key, v in plain.items()}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """A configuration from plain types.

        Raises:
            ValueError: If a field is unknown or a value invalid.
        """
        return cls().replaced(plain)

    def replaced(self, changes: Mapping[str, Any]) -> Self:
        """A copy with some fields changed.

        Raises:
            ValueError: If a field is unknown or a value invalid.
        """
        changes = checks.a_mapping("options", changes)
        names = [field.name for field in dataclasses.fields(self)]  # type: ignore[arg-type]
        if unknown := sorted(set(changes) - set(names)):
            raise ValueError(
                f"unknown option {unknown[0]!r} of {self.called}: there are {', '.join(names)}"
            )
        plain = {key: v.item() if isinstance(v, np.generic) else v for key, v in changes.items()}
        changed = {key: tuple(v) if isinstance(v, list) else v for key, v in plain.items()}
        return dataclasses.replace(self, **changed)  # type: ignore[type-var]


@dataclass(frozen=True, slots=True, kw_only=True)
class Networks(Values):
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
        checks.make_plain(self)
        for name in ("rank", "ensemble_size", "lag", "batch_size", "epochs", "halve_every"):
            checks.positive_integer(name, getattr(self, name))
        for name in ("spare_members", "seed"):
            checks.integer(name, getattr(self, name), wrong_type=ValueError)
        says = "a list of positive integers"
        for name in ("state_hidden", "action_hidden"):
            given = getattr(self, name)
            try:
                if not isinstance(given, (tuple, list)):
                    raise TypeError
                widths = [checks.integer(name, width, 1) for width in given]
            except (TypeError, ValueError):
                raise ValueError(f"{name} must be {says}, got {checks.shown(given)}") from None
            object.__setattr__(self, name, tuple(widths))
        if not self.state_hidden:
            raise ValueError("state_hidden must name at least one hidden layer, got ()")
        for name in _SWITCHES:
            checks.switch(name, getattr(self, name))
        for name, known in _NAMED.items():
            checks.one_of(name, getattr(self, name), known.__args__)  # type: ignore[attr-defined]
        checks.number("learning_rate", self.learning_rate, 0, above=True, says="positive")
        fraction = self.validation_fraction
        checks.number("validation_fraction", fraction, 0, 0.5, says="in [0, 0.5]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedForm(Values):
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
        effort: How far the choice looks: ``"quick"``, ``"default"`` or ``"thorough"``: seconds, a
            quarter of a minute and minutes of one core at the most.
        seed: Seed of the choice and of the members.
    """

    called: ClassVar[str] = "a closed-form fit"

    degree: int | None = None
    rank: int | None = None
    threshold: float | None = None
    effort: str = "default"
    ridge: float = 1e-10
    rounds: int = 200
    ensemble_size: int = 5
    lag: int = 1
    skip_clipped: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be fitted, before any work is done."""
        checks.make_plain(self)
        for name in ("degree", "rank", "rounds", "ensemble_size", "lag"):
            value = getattr(self, name)
            if value is not None or name not in ("degree", "rank"):
                checks.positive_integer(name, value)
        checks.one_of("effort", self.effort, EFFORTS)
        if self.threshold is not None:
            checks.number("threshold", self.threshold, 0, 1, below=True, says="in [0, 1)")
        checks.number("ridge", self.ridge, 0, 1, says="in [0, 1]")
        checks.switch("skip_clipped", self.skip_clipped)
        checks.integer("seed", self.seed, wrong_type=ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchical(Values):
    """Everything that decides a hierarchical regression, beside the data.

    Attributes:
        degree: Degree of each agent's polynomial; ``None`` means chosen from the data.
        ensemble_size: Draws ``m`` from the agents' posteriors.
        lag: Number of past observations, and of the actions between them, that it sees.
        skip_clipped: Leave transitions out that end on a bound of the observation space, and learn
            from them what happens there.
        effort: How large a basis may be: ``"quick"``, ``"default"`` or ``"thorough"``.
        seed: Seed of the draws.
    """

    called: ClassVar[str] = "a hierarchical regression"

    degree: int | None = None
    ensemble_size: int = 5
    lag: int = 1
    skip_clipped: bool = True
    effort: str = "default"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be fitted, before any work is done."""
        checks.make_plain(self)
        for name in ("degree", "ensemble_size", "lag"):
            if getattr(self, name) is not None or name != "degree":
                checks.positive_integer(name, getattr(self, name))
        checks.one_of("effort", self.effort, EFFORTS)
        checks.switch("skip_clipped", self.skip_clipped)
        checks.integer("seed", self.seed, wrong_type=ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latent(Values):
    """Everything that decides a fit of networks with latents, beside the data.

    Attributes:
        ensemble_size: Members ``m``.
        latent: Coordinates ``r`` of a latent.
        hidden: Widths of the hidden layers.
        batch_size: Transitions in a batch.
        first_steps: Steps of the optimiser before noise is looked for.
        steps: Steps after that, where none is found.
        window_steps: Steps after that over windows, where noise is found.
        window: Transitions in a window.
        windows: Windows in a batch.
        learning_rate: Highest step size, one step ahead.
        window_learning_rate: The same over windows.
        noise_share: Share of what one step leaves unexplained that must be noise of observations,
            in some coordinate, for windows to be used.
        decay: Weight of the weights' prior.
        hold: How far outside the data's range features are held, in widths of the range.
        max_agents: Agents that the network is fitted on. Any more are adapted to afterwards, so
            that the cost of each is small.
        lag: Number of past observations, and of the actions between them, that it sees.
        skip_clipped: Leave transitions out that end on a bound of the observation space, and learn
            from them what happens there.
        seed: Seed of everything.
    """

    called: ClassVar[str] = "a fit of latent networks"

    ensemble_size: int = 4
    latent: int = 6
    hidden: tuple[int, ...] = (64, 64)
    batch_size: int = 512
    first_steps: int = 1000
    steps: int = 4000
    window_steps: int = 1500
    window: int = 10
    windows: int = 64
    learning_rate: float = 1e-2
    window_learning_rate: float = 4e-3
    noise_share: float = 0.2
    decay: float = 0.1
    hold: float = 0.1
    max_agents: int = 1000
    lag: int = 1
    skip_clipped: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be fitted, before any work is done."""
        checks.make_plain(self)
        whole = ("ensemble_size", "latent", "batch_size", "first_steps", "window", "windows")
        for name in (*whole, "max_agents", "lag"):
            checks.positive_integer(name, getattr(self, name))
        for name in ("steps", "window_steps", "seed"):
            checks.integer(name, getattr(self, name), wrong_type=ValueError)
        hidden = self.hidden
        if not isinstance(hidden, (list, tuple)) or not hidden:
            raise ValueError(
                f"hidden must name at least one width, all positive, got {checks.shown(hidden)}"
            )
        widths = tuple(checks.positive_integer("a width of hidden", width) for width in hidden)
        object.__setattr__(self, "hidden", widths)
        for name in ("learning_rate", "window_learning_rate", "noise_share", "decay", "hold"):
            checks.number(name, getattr(self, name), 0)
        checks.switch("skip_clipped", self.skip_clipped)


#: A configuration of one family.
Config = ClosedForm | Networks | Hierarchical | Latent

#: Families by the names of methods.
FAMILIES: dict[str, type[Any]] = {
    "als": ClosedForm,
    "sgd": Networks,
    "hierarchical": Hierarchical,
    "latent": Latent,
}
#: What the choice may take, where nothing says which; and the options that all of these have.
CHOICE = ("als", "hierarchical", "latent")
SHARED = ("effort", "ensemble_size", "lag", "seed", "skip_clipped")


@dataclass(frozen=True, slots=True)
class FitPlan:
    """What a fit is to do: the method, and the configuration of each family it may use.

    Attributes:
        method: A family's name, or ``"auto"``.
        preset: Preset of the networks.
        configs: By family.
        lag: Past observations that are seen; ``None`` where the data decide.
    """

    method: str
    preset: str
    configs: Mapping[str, Any]
    lag: int | None

    @property
    def seed(self) -> int:
        """Seed of the fit."""
        return int(next(iter(self.configs.values())).seed)

    def to_json(self) -> dict[str, Any]:
        """The configuration as plain types; of several families by name."""
        found = {name: own.to_json() for name, own in self.configs.items()}
        return found.get(self.method, found)


def plan_fit(
    task_name: str,
    *,
    config: Config | None = None,
    method: str = "auto",
    preset: str = "default",
    options: Mapping[str, Any],
    known: bool = True,
) -> FitPlan:
    """Decide by which family data of a task are fitted, and with what configuration.

    With ``"auto"``, a preset other than the default or an option that one family alone has chooses
    that family; else the families are compared, but for tasks of which it is known that no
    polynomial is their law.

    Args:
        task_name: The task's name.
        config: A family's configuration, which then decides everything.
        method: A family's name, or ``"auto"``.
        preset: Of networks.
        options: Fields that differ from the defaults.
        known: Whether the task observes its whole state: nothing has to be found in the past.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the method, the preset or an option is unknown, or an option invalid.
    """
    options = checks.a_mapping("options", options)
    checks.text("task_name", task_name)
    if not isinstance(preset, str):
        raise TypeError(f"preset must be a name, got {checks.shown(preset)}")
    if config is not None:
        return _configured(config, method, preset, options)
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}: there are {', '.join(METHODS)}")
    fields = {
        name: {field.name for field in dataclasses.fields(own)} for name, own in FAMILIES.items()
    }
    every = set().union(*fields.values())
    if unknown := sorted(set(options) - every):
        raise ValueError(
            f"unknown option {unknown[0]!r} of a fit: there are {', '.join(sorted(every))}"
        )
    names: tuple[str, ...] = (method,)
    if method == "auto":
        method, names = _named_by(set(options), fields, preset, task_name)
    if preset != "default" and method != "sgd":
        raise ValueError(f"preset {preset!r} is one of networks, method {method!r} has none")
    configs = {}
    for name in names:
        kept = {k: v for k, v in options.items() if k in fields[name] or k not in SHARED}
        start = preset_config(preset, task_name) if name == "sgd" else FAMILIES[name]()
        configs[name] = start.replaced(kept)
    lag = options.get("lag", None if method == "auto" and not known and names == CHOICE else 1)
    return FitPlan(method, preset, configs, lag)


def _configured(config: Config, method: str, preset: str, options: Mapping[str, Any]) -> FitPlan:
    """The plan of a configuration that was given."""
    names = [name for name, own in FAMILIES.items() if isinstance(config, own)]
    if not names:
        kinds = ", ".join(own.__name__ for own in FAMILIES.values())
        raise TypeError(f"config must be one of {kinds}, got {checks.shown(config)}")
    if options or method not in ("auto", names[0]) or preset != "default":
        raise ValueError(
            "config= decides everything: give no method, preset or option beside it; "
            "dataclasses.replace makes another configuration"
        )
    return FitPlan(names[0], preset, {names[0]: config}, config.lag)


def _named_by(
    options: set[str], fields: Mapping[str, set[str]], preset: str, task_name: str
) -> tuple[str, tuple[str, ...]]:
    """The method that options ask for, and the families that it may use."""
    fitting = [name for name in FAMILIES if options - {"effort"} <= fields[name]]
    if not fitting:
        if (one := sorted(options - fields["als"])) and (other := sorted(options - fields["sgd"])):
            raise ValueError(
                f"{one[0]!r} is an option of networks (method 'sgd') and {other[0]!r} one of the "
                "closed form (method 'als'): a fit is one or the other"
            )
        raise ValueError(f"no family has all of {', '.join(sorted(options))}: name a method")
    if preset != "default" or (task_name in NETWORKS_AT_ONCE and "sgd" in fitting):
        return "sgd", ("sgd",)
    if options <= set(SHARED):
        return "auto", CHOICE
    if options <= {*SHARED, "rank"}:
        return "auto", ("als", "sgd")
    return fitting[0], (fitting[0],)


# Paper: the settings of the authors' code (its last commit), to the letter.
_PAPER = {
    "mountain-car": Networks(
        rank=3, state_hidden=(256,), batch_size=512, epochs=300, schedule="halving",
        validation_fraction=0.0,
    ),
    "cartpole": Networks(
        rank=5, state_hidden=(256,), batch_size=64, epochs=300, schedule="halving",
        validation_fraction=0.0,
    ),
    "half-cheetah": Networks(
        rank=15, state_hidden=(512,) * 4, action_hidden=(512, 512), batch_size=1024, epochs=300,
        schedule="halving", normalise_inputs=True, normalise_targets=True, centre_targets=True,
        validation_fraction=0.0,
    ),
}  # fmt: skip

_DEFAULT = {
    "mountain-car": Networks(
        rank=3, state_hidden=(64, 64), activation="silu", normalise_inputs=True,
        normalise_targets=True, skip_clipped=True, batch_size=512, epochs=30, learning_rate=1e-2,
        spare_members=1,
    ),
    "cartpole": Networks(
        rank=5, state_hidden=(32, 32), activation="silu", batch_size=64, epochs=300,
        learning_rate=5e-3, spare_members=2,
    ),
    "half-cheetah": Networks(
        rank=8, encoder="joint", state_hidden=(256, 256, 256), activation="silu", angles=True,
        skip=True, hold=True, normalise_inputs=True, normalise_targets=True, batch_size=512,
        epochs=30, learning_rate=1e-2, precision="mixed",
    ),
}  # fmt: skip

# For a task of the user's own, of whose scales nothing is known.
_GENERIC = Networks(
    state_hidden=(64, 64), activation="silu", normalise_inputs=True, normalise_targets=True,
    hold=True, learning_rate=1e-2, spare_members=1,
)  # fmt: skip

#: Tasks that ``"auto"`` does not try in closed form. HalfCheetah's contacts are no polynomial: of
#: its 25 inputs one of degree 2 can be afforded, which leaves a tenth of a step's variance.
NETWORKS_AT_ONCE = ("half-cheetah",)

PRESETS: dict[str, dict[str, Networks]] = {"default": _DEFAULT, "paper": _PAPER}


def preset_config(preset: str, task_name: str) -> Networks:
    """The configuration of a preset for a task; a generic one for tasks that have none.

    Raises:
        ValueError: If the preset is unknown, or ``"paper"`` is asked for a task not in the paper.
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}: there are {', '.join(PRESETS)}")
    if preset == "paper" and task_name not in _PAPER:
        raise ValueError(f"the paper has no task {task_name!r}: it has {', '.join(_PAPER)}")
    return PRESETS[preset].get(task_name, _GENERIC)
