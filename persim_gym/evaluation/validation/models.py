"""What predicts the part of a record that was kept from the fit: the simulator and references."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from persim_gym.evaluation.matching import agents_by_name
from persim_gym.evaluation.references import Persistence, PooledModel, Predictor, pooled
from persim_gym.evaluation.validation.splits import Split, compact
from persim_gym.learned.fitting.plain_models import RidgeModels
from persim_gym.learned.simulator import PerSim
from persim_gym.offline.transitions import Transitions

Refit = Callable[[Transitions], PerSim]

#: What predicts, in the order in which tables show them.
SIMULATOR, PERSISTENCE, POOLED, LINEAR, SAVED = (
    "simulator",
    "persistence",
    "pooled",
    "linear",
    "as saved",
)
REFERENCES = (PERSISTENCE, POOLED, LINEAR)


@dataclass(frozen=True, slots=True)
class Asked:
    """A model, and which of its agents each agent of the data is.

    Attributes:
        model: What predicts.
        agents: ``[N]``, -1 for those that it does not know.
    """

    model: Predictor
    agents: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Models:
    """All that predicts one split.

    Attributes:
        sim: The simulator.
        asked: Everything that predicts, the simulator too, by name.
        notes: What could not be fitted, and why.
    """

    sim: PerSim
    asked: dict[str, Asked]
    notes: tuple[str, ...] = field(default=())


def fit_models(
    data: Transitions,
    split: Split,
    refit: Refit,
    turn: NDArray[np.float64],
    saved: PerSim | None,
    done: Callable[[int], None],
) -> Models:
    """Fit the simulator and the references to what a split leaves.

    Args:
        data: All data.
        split: What is fitted.
        refit: Fits a simulator.
        turn: Full turns ``[d]``.
        saved: A simulator that was fitted to all of the data, which is to be asked as well.
        done: Called with the number of fits that are done.

    Raises:
        ValueError: If too little is left for a simulator.
        FloatingPointError: If its fit diverges.
    """
    train = compact(data, split.fitted)
    sim = refit(train)
    done(1)
    agents = _index(data, split.fitted)
    own = agents
    if len(split.known):
        known = compact(data, split.known)
        added = sim.adapt(known)
        own = agents.copy()
        own[np.unique(data.agent[split.known])] = added
    asked = {SIMULATOR: Asked(sim, own), PERSISTENCE: Asked(Persistence(), own)}
    notes = []
    choices = choices_of(sim)
    try:
        one = PooledModel(sim.refit(pooled(train), chosen=True))
    except (ValueError, FloatingPointError) as error:
        simple = RidgeModels.fit(pooled(train), turn, choices)
        one = PooledModel(simple)
        notes.append(
            f"The pooled model is a linear one, for it could not be fitted like the simulator: "
            f"{error}"
        )
    done(2)
    asked[POOLED] = Asked(one, np.zeros_like(own))
    rows = np.sort(np.concatenate([split.fitted, split.known]))
    linear = RidgeModels.fit(compact(data, rows), turn, choices)
    asked[LINEAR] = Asked(linear, _index(data, rows))
    if saved is not None and saved.num_agents >= data.num_agents:
        asked[SAVED] = Asked(saved, np.arange(data.num_agents))
    return Models(sim, asked, tuple(notes))


def models_as_they_are(
    data: Transitions, sim: PerSim, fitted_on: Transitions | None, turn: NDArray[np.float64]
) -> Models:
    """The simulator as it is, with references fitted to what it was fitted to, where that is known.

    Raises:
        ValueError: If the simulator knows none of the data's agents.
    """
    agents = agents_by_name(data, sim)
    asked = {SIMULATOR: Asked(sim, agents), PERSISTENCE: Asked(Persistence(), agents)}
    if fitted_on is None:
        note = (
            "The data of the fit were not given: the simulator is compared with persistence alone. "
            "Name them (--fitted-on, or fitted_on= in Python) for the pooled model and each "
            "agent's linear model."
        )
        return Models(sim, asked, (note,))
    notes = []
    try:
        asked[POOLED] = Asked(
            PooledModel(sim.refit(pooled(fitted_on), chosen=True)), np.zeros_like(agents)
        )
    except (ValueError, FloatingPointError) as error:
        notes.append(f"There is no pooled model: {error}")
    linear = RidgeModels.fit(fitted_on, turn, choices_of(sim))
    known = np.where(agents < fitted_on.num_agents, agents, -1)
    asked[LINEAR] = Asked(linear, known)
    return Models(sim, asked, tuple(notes))


def choices_of(sim: PerSim) -> int:
    """Number of a simulator's discrete actions, 0 where they are continuous."""
    space = sim.task.action_space
    return int(space.n) if isinstance(space, Discrete) else 0


def _index(data: Transitions, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which agent of ``compact(data, rows)`` each agent of the data is ``[N]``."""
    found = np.full(data.num_agents, -1, dtype=np.int64)
    there = np.unique(data.agent[rows])
    found[there] = np.arange(len(there))
    return found
