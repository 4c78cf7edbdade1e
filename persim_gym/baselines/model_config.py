"""How CaDM and MOReL are fitted: frozen configurations of plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from persim_gym import checks
from persim_gym.baselines.config import OfflineConfig
from persim_gym.planning.planner_choice import PLANNER_NAMES

#: The authors' sizes and schedule of CaDM; the defaults are for a laptop.
CADM_PAPER: dict[str, Any] = {
    "encoder": (256, 128, 64),
    "hidden": (200, 200, 200, 200),
    "steps": 100_000,
    "falling": False,
    "decay": 1.0,
    "tempering": 0.0,
    "particles": 20,
}

#: For dense data of few agents; see the table of settings in the documentation.
DENSE: dict[str, Any] = {
    "encoder": (64, 64), "hidden": (64, 64), "learning_rate": 1e-2, "batch_size": 128,
    "steps": 40_000, "future": 40, "weigh_pasts": True,
}  # fmt: skip

#: One deterministic model in place of the ensemble.
VANILLA: dict[str, Any] = {"ensemble_size": 1, "probabilistic": False, "particles": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class CaDMConfig(OfflineConfig):
    """Context-aware dynamics models (Lee et al., 2020): PE-TS + CaDM, and Vanilla + CaDM.

    Attributes:
        ensemble_size: Members: 5, or 1 of Vanilla + CaDM.
        probabilistic: Whether members predict a variance; not of Vanilla + CaDM.
        particles: Particles that predictions follow, each with one member to the end; a multiple
            of ``ensemble_size``.
        history: Past transitions that the context is made of.
        future: Transitions that are predicted with one context.
        context: Width of the context; 0 for none, which is the plain ensemble.
        encoder: Widths of the encoder's hidden layers.
        hidden: Widths of the models' hidden layers.
        steps: Steps of the optimiser, at most.
        batch_size: Transitions in each, of each member.
        learning_rate: Adam's step size.
        falling: Whether it falls to 0 along half a cosine.
        validation: Share of windows that are held out; a fit stops where the rolling mean of
            their loss rises.
        decay: Factor on the authors' weight decay.
        backward_weight: Weight of the backward model's error.
        tempering: Power of the variance by which the likelihood is weighted; 0 for the plain one.
        weigh_pasts: Whether a past counts by the reciprocal of the error that is left with pasts of
            its length, in windows that are held out: for dense data of few agents.
        planner: Who plans when the baseline acts: a name that
            :func:`~persim_gym.planning.choose_planner` knows.
    """

    called: ClassVar[str] = "CaDM"

    ensemble_size: int = 5
    probabilistic: bool = True
    particles: int = 5
    history: int = 10
    future: int = 10
    context: int = 10
    encoder: tuple[int, ...] = (128, 64)
    hidden: tuple[int, ...] = (64, 64, 64)
    steps: int = 5000
    batch_size: int = 256
    learning_rate: float = 1e-3
    falling: bool = True
    validation: float = 0.1
    decay: float = 0.0
    backward_weight: float = 0.5
    tempering: float = 1.0
    weigh_pasts: bool = False
    planner: str = "default"

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        counts = ("ensemble_size", "particles", "history", "future", "steps", "batch_size")
        self._check(counts, ("learning_rate", "tempering"), ("hidden", "encoder"))
        checks.number("validation", self.validation, 0, 1, below=True)
        for name in ("probabilistic", "falling", "weigh_pasts"):
            checks.switch(name, getattr(self, name))
        checks.integer("context", self.context)
        for name in ("decay", "backward_weight"):
            checks.number(name, getattr(self, name), 0)
        checks.one_of("planner", self.planner, PLANNER_NAMES)
        if self.particles % self.ensemble_size:
            raise ValueError(
                f"particles must be a multiple of ensemble_size={self.ensemble_size}, so that each "
                f"member has as many of them, got {self.particles}"
            )


#: The authors' sizes of MOReL's dynamics; the defaults are for a laptop.
MOREL_PAPER: dict[str, Any] = {
    "hidden": (512, 512), "updates": 20_000, "falling": False, "policy_steps": 1_000_000,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class MOReLConfig(OfflineConfig):
    """Model-based offline reinforcement learning (Kidambi et al., 2020).

    Attributes:
        ensemble_size: Members of the dynamics.
        hidden: Widths of their hidden layers.
        updates: Steps of their optimiser.
        batch_size: Transitions in each, of each member.
        learning_rate: Adam's step size.
        falling: Whether it falls to 0 along half a cosine.
        pessimism: A state and action are unknown where members differ by more than the largest
            difference in the data, divided by this.
        penalty: Reward to subtract where an episode halts; ``None``: the smallest recorded reward
            (0 where all are above), discounted over endless steps.
        imitation: Epochs in which the policy imitates the data before it is optimised.
        policy_steps: Steps in the pessimistic environment.
        policy_hidden: Widths of the policy's hidden layers.
        policy_learning_rate: Its optimiser's step size.
        discount: Of rewards to come.
        lanes: Episodes side by side.
        anywhere: Share of episodes that begin in any recorded state, not in a recorded start.
    """

    called: ClassVar[str] = "MOReL"

    ensemble_size: int = 4
    hidden: tuple[int, ...] = (128, 128)
    updates: int = 3000
    batch_size: int = 256
    learning_rate: float = 1e-3
    falling: bool = True
    pessimism: float = 1.0
    penalty: float | None = None
    imitation: int = 5
    policy_steps: int = 65_536
    policy_hidden: tuple[int, ...] = (64, 64)
    policy_learning_rate: float = 1e-3
    discount: float = 0.99
    lanes: int = 32
    anywhere: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        counts = ("ensemble_size", "updates", "batch_size", "policy_steps", "lanes")
        rates = ("learning_rate", "policy_learning_rate", "discount", "anywhere")
        self._check(counts, rates, ("hidden", "policy_hidden"))
        checks.switch("falling", self.falling)
        checks.integer("ensemble_size", self.ensemble_size, 2)
        checks.integer("imitation", self.imitation)
        checks.number("pessimism", self.pessimism, 0, above=True, says="above 0")
        if self.penalty is not None:
            checks.number("penalty", self.penalty)
        elif self.discount >= 1:
            raise ValueError("with discount=1 give a penalty: there is none by default")
