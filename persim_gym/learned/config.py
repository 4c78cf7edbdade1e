"""How a simulator is fitted: a frozen configuration for each family."""

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
                f"unknown option {unknown[0]!r} of {self.called}{checks.meant(unknown[0], names)}: "
                f"there are {', '.join(names)}"
            )
        plain = {key: v.item() if isinstance(v, np.generic) else v for key, v in changes.items()}
        changed = {key: tuple(v) if isinstance(v, list) else v for key, v in plain.items()}
        return dataclasses.replace(self, **changed)  # type: ignore[type-var]

    def _take_widths(self, *names: str, least: int = 0) -> None:
        """Make fields tuples of widths of layers; ``None`` stays.

        Raises:
            ValueError: If one is anything else, or has fewer than ``least``.
        """
        for name in names:
            if (given := getattr(self, name)) is None:
                continue
            try:
                widths = tuple(checks.integer(name, w, 1) for w in checks.a_sequence(name, given))
            except (TypeError, ValueError):
                widths = None
            if widths is None or len(widths) < least:
                says = f"a list of {'one or more ' if least else ''}positive integers"
                raise ValueError(f"{name} must be {says}, got {checks.shown(given)}")
            object.__setattr__(self, name, widths)


def _take_columns(config: Any) -> None:
    """Make a field of columns a tuple of them; ``None`` stays.

    Raises:
        ValueError: If it is anything else, names one twice, or there is no past.
    """
    if config.seen is None:
        return
    try:
        given = checks.a_sequence("seen", config.seen)
        columns = tuple(checks.integer("seen", column, 1) for column in given)
    except (TypeError, ValueError):
        says = "a list of positive integers, the columns of the past that are seen, or None"
        raise ValueError(f"seen must be {says}, got {checks.shown(config.seen)}") from None
    if len({*columns}) < len(columns):
        raise ValueError(f"seen must name each column once, got {checks.shown(config.seen)}")
    if config.lag == 1:
        raise ValueError(
            "seen says what is seen of a past, and a state of lag=1 has no past: leave seen out, "
            "or set lag to 2 or more"
        )
    object.__setattr__(config, "seen", columns)


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
            network sees them. Outside of it a network continues as it likes, and now and then
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
        self._take_widths("state_hidden", least=1)
        self._take_widths("action_hidden")
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
        effort: How far the choice searches: ``"quick"``, ``"default"`` or ``"thorough"``: seconds,
            a quarter of a minute and minutes of one core at the most.
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
        seen: Columns of the past and of the present action that it sees, of those in
            :attr:`Frame.optional`; all by default.
        skip_clipped: Leave transitions out that end on a bound of the observation space, and learn
            from them what happens there.
        effort: How large a basis may be, and how long its population is estimated: ``"quick"``,
            ``"default"`` or ``"thorough"``.
        seed: Seed of the draws.
    """

    called: ClassVar[str] = "a hierarchical regression"

    degree: int | None = None
    ensemble_size: int = 5
    lag: int = 1
    seen: tuple[int, ...] | None = None
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
        _take_columns(self)
        checks.integer("seed", self.seed, wrong_type=ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latent(Values):
    """Everything that decides a fit of networks with latents, beside the data.

    Attributes:
        ensemble_size: Members ``m``.
        latent: Coordinates ``r`` of a latent.
        hidden: Widths of the hidden layers.
        gates: Steep switches between heads: contacts and other jumps.
        jumps: Thresholds that all agents share, at the most, that are searched for in the data;
            each has a gate of its own.
        batch_size: Transitions in a batch.
        first_steps: Steps of the optimiser before noise is estimated.
        steps: Steps after that, where none is found.
        window_steps: Steps after that over windows, where noise is found.
        window: Transitions in a window.
        windows: Windows in a batch.
        learning_rate: Highest step size, one step ahead.
        window_learning_rate: The same over windows.
        noise_share: Share of what one step leaves unexplained that must be noise of observations,
            in some coordinate, for windows to be used; half as much where past ones are seen.
        decay: Weight of the weights' prior.
        hold: How far outside the data's range features are held, in widths of the range.
        max_agents: Agents that the network is fitted on. Any more are adapted to afterwards, so
            that the cost of each is small.
        lag: Number of past observations, and of the actions between them, that it sees.
        seen: Columns of the past and of the present action that it sees, of those in
            :attr:`Frame.optional`; all by default.
        skip_clipped: Of a coordinate that ends on a bound of the observation space, learn only
            that it would have gone at least so far; the others count as they are.
        seed: Seed of everything.
    """

    called: ClassVar[str] = "a fit of latent networks"

    ensemble_size: int = 4
    latent: int = 6
    hidden: tuple[int, ...] = (64, 64)
    gates: int = 4
    jumps: int = 4
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
    seen: tuple[int, ...] | None = None
    skip_clipped: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be fitted, before any work is done."""
        checks.make_plain(self)
        whole = ("ensemble_size", "latent", "batch_size", "first_steps", "window", "windows")
        for name in (*whole, "max_agents", "lag"):
            checks.positive_integer(name, getattr(self, name))
        for name in ("gates", "jumps", "steps", "window_steps", "seed"):
            checks.integer(name, getattr(self, name), wrong_type=ValueError)
        self._take_widths("hidden", least=1)
        for name in ("learning_rate", "window_learning_rate", "noise_share", "decay", "hold"):
            checks.number(name, getattr(self, name), 0)
        checks.switch("skip_clipped", self.skip_clipped)
        _take_columns(self)


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
