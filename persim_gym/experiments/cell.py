"""A cell: one method on one task and data set with one seed; the unit in which all is run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from persim_gym import checks
from persim_gym.envs.populations import DEFAULT_SIZE
from persim_gym.envs.suites import SUITES
from persim_gym.policies.paper_behaviours import BEHAVIOURS

EXPERIMENTS = ("prediction", "reward", "unseen", "latent")

#: The paper's test agents.
TEST_AGENTS = (0, 1, 2, 3, 4)

_NAMES = {"experiment": EXPERIMENTS, "task": tuple(SUITES), "dataset": BEHAVIOURS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """All that decides one row of results, as plain types.

    Attributes:
        experiment: ``"prediction"``, ``"reward"``, ``"unseen"`` or ``"latent"``.
        task: The task.
        dataset: The behaviour under which its data were recorded; ``None`` for methods that learn
            nothing from data, such as planning in the true dynamics.
        method: Name of a method; see :mod:`persim_gym.experiments.methods`.
        seed: Of the population beyond its test agents, of data, fit, episodes and planner.
        agents: Agents that are judged. The default ones are the paper's test agents.
        train_agents: Agents whose recordings the method learns from, one trajectory each. The
            judged agents are among them, except in ``"unseen"``.
        episodes: Episodes of each judged agent.
        max_episode_steps: Time limit of episodes that are played; ``None`` for the task's.
        planner: Of methods that plan: a name of :func:`persim_gym.planning.choose_planner`.
        penalty: Of methods that plan: weight of the members' disagreement; ``None`` for the
            planner's.
        fit: Options of the fit that differ from the method's, such as ``(("epochs", 10),)``.
    """

    experiment: str
    task: str
    dataset: str | None
    method: str
    seed: int = 0
    agents: tuple[int, ...] = TEST_AGENTS
    train_agents: int = DEFAULT_SIZE
    episodes: int = 200
    max_episode_steps: int | None = None
    planner: str | None = None
    penalty: float | None = None
    fit: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be, before any work."""
        checks.make_plain(self)
        for name, known in _NAMES.items():
            value = getattr(self, name)
            if value not in known and not (name == "dataset" and value is None):
                label = "data set" if name == "dataset" else name
                raise ValueError(checks.unknown(label, value, known))
        checks.text("method", self.method)
        if self.planner is not None:
            checks.text("planner", self.planner)
        for name in ("agents", "fit"):
            if not isinstance(getattr(self, name), (tuple, list)):
                shown = checks.shown(getattr(self, name))
                raise TypeError(f"{name} of a cell must be a tuple, got {shown}")
        for name, least in (("seed", 0), ("train_agents", 1), ("episodes", 1)):
            checks.integer(name, getattr(self, name), least)
        if self.max_episode_steps is not None:
            checks.integer("max_episode_steps", self.max_episode_steps, 1)
        agents = tuple(checks.integer("an agent", agent) for agent in self.agents)
        object.__setattr__(self, "agents", agents)
        if not self.agents or len(set(self.agents)) < len(self.agents):
            raise ValueError(f"agents must be one or more different ones, got {self.agents}")
        if self.experiment != "unseen" and max(self.agents) >= self.train_agents:
            raise ValueError(
                f"agent {max(self.agents)} is judged but not among the {self.train_agents} agents "
                "of the data: judge agents of the data, or use more of them"
            )
        seen = [agent for agent in self.agents if agent < self.train_agents]
        if self.experiment == "unseen" and seen:
            raise ValueError(
                f"agents {seen} are among the {self.train_agents} agents of the fit: unseen ones "
                f"have indices from {self.train_agents} on"
            )
        if max(self.agents) >= self.population_size:
            raise ValueError(
                f"agent {max(self.agents)} is judged, but the population has "
                f"{self.population_size} agents"
            )
        penalty = self.penalty
        if penalty is not None:
            penalty = checks.number("penalty", penalty, 0, says="a number of at least 0")
        # Equal cells have equal keys: a penalty of 1 is one of 1.0, options of a fit are sorted.
        fit = sorted((str(name), _frozen(value)) for name, value in self.fit)
        object.__setattr__(self, "fit", tuple(fit))
        object.__setattr__(self, "penalty", penalty)

    def to_json(self) -> dict[str, Any]:
        """Plain types; :meth:`from_json` takes them."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return plain | {"agents": list(self.agents), "fit": dict(self.fit)}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Cell:
        """The cell of :meth:`to_json`.

        Raises:
            TypeError: If a field is unknown or missing.
            ValueError: If a value is invalid.
        """
        given = dict(plain)
        if not isinstance(given.get("agents"), (list, tuple)):
            raise TypeError(f"a cell needs a list of agents, got {given.get('agents')!r}")
        fit = given.pop("fit", {})
        if not isinstance(fit, Mapping):
            raise TypeError(f"a cell's fit must hold options by name, got {fit!r}")
        return cls(**{**given, "agents": tuple(given["agents"]), "fit": tuple(fit.items())})

    @property
    def population_size(self) -> int:
        """Agents of the population: fewer in the data are the first ones of it."""
        return max(DEFAULT_SIZE, self.train_agents)

    @property
    def key(self) -> str:
        """A name for files: what a reader searches for, and a hash of everything."""
        text = json.dumps(self.to_json(), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        parts = [self.experiment, self.task, self.dataset, self.method, self.planner]
        if self.train_agents != DEFAULT_SIZE:
            parts.append(f"n{self.train_agents}")
        return "_".join([*(part for part in parts if part), f"s{self.seed}", digest])

    @property
    def group(self) -> Cell:
        """The same for all seeds: repeats of one experiment differ in nothing else."""
        return replace(self, seed=0)

    @property
    def fit_key(self) -> str | None:
        """Cells of one key learn the same from the same data; ``None`` if nothing is learned."""
        if self.dataset is None:
            return None
        names = ("task", "dataset", "method", "seed", "train_agents", "fit")
        plain = self.to_json()
        text = json.dumps({name: plain[name] for name in names}, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        name = f"{self.task}_{self.dataset}_{self.method}"
        return f"{name}_n{self.train_agents}_s{self.seed}_{digest}"

    def describe(self) -> str:
        """A few words for messages."""
        parts = [self.experiment, self.task, self.dataset, self.method, self.planner]
        if self.train_agents != DEFAULT_SIZE:
            parts.append(f"{self.train_agents} agents")
        return " ".join([*(part for part in parts if part), f"seed {self.seed}"])


def _frozen(value: Any) -> Any:
    """A value of an option, such that equal ones have one hash."""
    if isinstance(value, (list, tuple)):
        return tuple(map(_frozen, value))
    if isinstance(value, Mapping):
        raise TypeError(f"an option of a fit must be no mapping, got {value!r}")
    return value
