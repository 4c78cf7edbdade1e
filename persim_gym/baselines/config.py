"""How BCQ and CQL are fitted: frozen configurations of plain values."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from gymnasium.spaces import Discrete

from persim_gym import checks
from persim_gym.core import Task
from persim_gym.learned.config import Values


class OfflineConfig(Values):
    """What the configurations of baselines share.

    Fields that are ``None`` differ between discrete and continuous actions: :meth:`settled` puts
    in the values of ``DISCRETE`` or ``CONTINUOUS``.
    """

    __slots__ = ()
    DISCRETE: ClassVar[dict[str, Any]] = {}
    CONTINUOUS: ClassVar[dict[str, Any]] = {}

    def settled(self, task: Task) -> Self:
        """The configuration for a task's actions, with no field left open."""
        discrete = isinstance(task.action_space, Discrete)
        own = self.DISCRETE if discrete else self.CONTINUOUS
        found = {name: value for name, value in own.items() if getattr(self, name) is None}
        return dataclasses.replace(self, **found)  # type: ignore[type-var]

    def _check(
        self,
        counts: tuple[str, ...],
        rates: tuple[str, ...],
        widths: tuple[str, ...] = ("hidden",),
    ) -> None:
        """Refuse what cannot be."""
        checks.make_plain(self)
        for name in counts:
            if (value := getattr(self, name)) is not None:
                checks.positive_integer(name, value)
        for name in rates:
            if (value := getattr(self, name)) is not None:
                checks.number(name, value, 0, 1, says="a number from 0 to 1")
        self._take_widths(*widths)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFreeConfig(OfflineConfig):
    """What BCQ and CQL share.

    Attributes:
        updates: Gradient steps.
        batch_size: Transitions in each.
        learning_rate: Adam's step size.
        hidden: Widths of the hidden layers.
        discount: Of rewards to come.
        tau: Share by which target networks move in each step.
    """

    updates: int = 20_000
    batch_size: int | None = None
    learning_rate: float | None = None
    hidden: tuple[int, ...] | None = None
    discount: float = 0.99
    tau: float = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class BCQConfig(ModelFreeConfig):
    """Batch-constrained Q-learning (Fujimoto et al., 2019), discrete and continuous.

    Attributes:
        updates: Gradient steps.
        batch_size: Transitions in each; ``None`` for 64 (discrete) or 100 (continuous).
        learning_rate: Adam's step size; ``None`` for 3e-4 or 1e-3.
        hidden: Widths of the hidden layers of the networks of values and actions; ``None`` for
            256, 256 or 400, 300.
        discount: Of rewards to come.
        tau: Share by which target networks move in each step.
        threshold: Discrete: an action is allowed where its probability under the behaviour is
            at least this share of the likeliest action's.
        logits_penalty: Discrete: weight of the imitation network's squared outputs.
        behaviour_hidden: Continuous: widths of the hidden layers of the model of behaviour.
        perturbation: Continuous: how far an action may be moved from a sampled one, as a share of
            half the action range.
        candidates: Continuous: actions that are sampled in targets.
        choices: Continuous: actions that are sampled to choose from when acting.
        pessimism: Continuous: weight of the smaller of two values in targets.
    """

    called: ClassVar[str] = "BCQ"
    DISCRETE: ClassVar[dict[str, Any]] = {
        "batch_size": 64, "learning_rate": 3e-4, "hidden": (256, 256),
    }  # fmt: skip
    CONTINUOUS: ClassVar[dict[str, Any]] = {
        "batch_size": 100, "learning_rate": 1e-3, "hidden": (400, 300),
    }  # fmt: skip

    threshold: float = 0.3
    logits_penalty: float = 0.01
    behaviour_hidden: int = 750
    perturbation: float = 0.05
    candidates: int = 10
    choices: int = 100
    pessimism: float = 0.75

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        self._check(
            ("updates", "batch_size", "behaviour_hidden", "candidates", "choices"),
            ("learning_rate", "discount", "tau", "threshold", "perturbation", "pessimism"),
        )
        checks.number("logits_penalty", self.logits_penalty, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CQLConfig(ModelFreeConfig):
    """Conservative Q-learning (Kumar et al., 2020), discrete and continuous.

    Attributes:
        updates: Gradient steps.
        batch_size: Transitions in each; ``None`` for 64 (discrete) or 256 (continuous).
        learning_rate: Adam's step size, of values; ``None`` for 3e-4.
        policy_learning_rate: Continuous: Adam's step size, of policy and temperature.
        hidden: Widths of the hidden layers; ``None`` for 256, 256 or 256, 256, 256.
        discount: Of rewards to come.
        tau: Share by which target networks move in each step.
        weight: Weight of the conservative term; ``None`` for 1 or 5.
        quantiles: Discrete: quantiles of the distribution of returns.
        samples: Continuous: random actions, and actions of the policy, of each conservative term.
        imitation: Continuous: share of the updates, at their beginning, in which the policy
            imitates the data.
        entropy_in_target: Continuous: count the policy's entropy in targets.
    """

    called: ClassVar[str] = "CQL"
    DISCRETE: ClassVar[dict[str, Any]] = {
        "batch_size": 64, "learning_rate": 3e-4, "hidden": (256, 256), "weight": 1.0,
    }  # fmt: skip
    CONTINUOUS: ClassVar[dict[str, Any]] = {
        "batch_size": 256, "learning_rate": 3e-4, "hidden": (256, 256, 256), "weight": 5.0,
    }  # fmt: skip

    policy_learning_rate: float = 1e-4
    weight: float | None = None
    quantiles: int = 20
    samples: int = 10
    imitation: float = 0.2
    entropy_in_target: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        self._check(
            ("updates", "batch_size", "quantiles", "samples"),
            ("learning_rate", "policy_learning_rate", "discount", "tau", "imitation"),
        )
        if self.weight is not None:
            checks.number("weight", self.weight, 0)
        checks.integer("quantiles", self.quantiles, 2)
        checks.switch("entropy_in_target", self.entropy_in_target)
