"""How CaDM and MOReL are fitted: frozen configurations of plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from persim_gym import checks
from persim_gym.baselines.config import OfflineConfig
from persim_gym.planning.choices import PLANNER_NAMES

#: The authors' sizes and schedule of CaDM; the defaults are for a laptop.
CADM_PAPER: dict[str, Any] = {
    "encoder": (256, 128, 64),
    "hidden": (200, 200, 200, 200),
    "steps": 100_000,
    "falling": False,
    "tempering": 0.0,
    "particles": 20,
}

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
        planner: Who plans when the baseline acts: a name that
            :func:`~persim_gym.planning.choose_planner` knows.
    """

    called: ClassVar[str] = "CaDM"

    ensemble_size: int = 5
    probabilistic: bool = True
    particles: int = 10
    history: int = 10
    future: int = 10
    context: int = 10
    encoder: tuple[int, ...] = (128, 64)
    hidden: tuple[int, ...] = (64, 64)
    steps: int = 5000
    batch_size: int = 256
    learning_rate: float = 1e-3
    falling: bool = True
    validation: float = 0.1
    decay: float = 1.0
    backward_weight: float = 0.5
    tempering: float = 1.0
    planner: str = "default"

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        counts = ("ensemble_size", "particles", "history", "future", "steps", "batch_size")
        self._check(counts, ("learning_rate", "validation", "tempering"))
        object.__setattr__(self, "encoder", _widths("encoder", self.encoder))
        for name in ("probabilistic", "falling"):
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


def _widths(name: str, given: Any) -> tuple[int, ...]:
    return tuple(
        checks.positive_integer(f"a width in {name}", width)
        for width in checks.a_sequence(name, given)
    )
