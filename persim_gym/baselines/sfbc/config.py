"""What decides a fit of SfBC, beside the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from persim_gym import checks
from persim_gym.learned.config import Values

_POSITIVE = ("updates", "batch_size", "steps", "critic_updates", "critic_batch_size", "planned")


@dataclass(frozen=True, slots=True, kw_only=True)
class SfBCConfig(Values):
    """A configuration of SfBC. The defaults suit a laptop; :meth:`paper` is the authors'.

    Attributes:
        widths: Widths of the noise network's blocks, on the way down.
        frequency: Standard deviation of the frequencies at which it sees the time.
        updates: Gradient steps of the behaviour model.
        batch_size: Transitions of each.
        learning_rate: Of the behaviour model.
        fade: Let learning rates fall to zero along a cosine.
        steps: Steps of the sampler.
        critic_hidden: Widths of the critic's hidden layers.
        critic_updates: Gradient steps of the critic in a round.
        critic_batch_size: Transitions of each.
        critic_learning_rate: Of the critic.
        rounds: How often the critic is fitted, to returns that are planned with the one before.
            With 0 there is none: the policy is a clone of the behaviour.
        planned: Actions that are sampled in each recorded state to plan with.
        planning_sharpness: How sure the best of them counts: weights are
            ``exp(planning_sharpness * value)``, with values in units of their deviation.
        discount: Factor on the next step's reward.
        candidates: Actions that are sampled in a decision ``k``.
        sharpness: How sure the best of them is taken: weights are ``exp(sharpness * value)``.
        average: How many are drawn by these weights, to take their mean: one for strategies that
            must not be mixed; the authors take four for locomotion.
    """

    called: ClassVar[str] = "a fit of SfBC"

    widths: tuple[int, ...] = (128, 64, 32)
    frequency: float = 1.0
    updates: int = 10_000
    batch_size: int = 256
    learning_rate: float = 1e-3
    fade: bool = True
    steps: int = 12
    critic_hidden: tuple[int, ...] = (128, 128)
    critic_updates: int = 2_000
    critic_batch_size: int = 256
    critic_learning_rate: float = 1e-3
    rounds: int = 2
    planned: int = 16
    planning_sharpness: float = 20.0
    discount: float = 0.99
    candidates: int = 32
    sharpness: float = 100.0
    average: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        checks.make_plain(self)
        for name in (*_POSITIVE, "candidates", "average"):
            checks.positive_integer(name, getattr(self, name))
        checks.integer("rounds", self.rounds, 0)
        for name in ("frequency", "learning_rate", "critic_learning_rate"):
            checks.number(name, getattr(self, name), 0, above=True, says="positive")
        for name in ("planning_sharpness", "sharpness"):
            checks.number(name, getattr(self, name), 0, says="finite and not negative")
        checks.number("discount", self.discount, 0, 1, below=True, says="in [0, 1)")
        checks.switch("fade", self.fade)
        self._take_widths("widths", "critic_hidden", least=1)
        if self.average > self.candidates:
            raise ValueError(
                f"average={self.average} actions cannot be drawn of candidates={self.candidates}"
            )

    @classmethod
    def paper(cls) -> SfBCConfig:
        """The authors' settings for locomotion: hours on an accelerator."""
        return cls(
            widths=(512, 256, 128),
            frequency=30.0,
            updates=586_000,
            batch_size=4096,
            learning_rate=1e-4,
            fade=False,
            steps=15,
            critic_hidden=(256, 256),
            critic_updates=24_400,
            critic_batch_size=4096,
            average=4,
        )
