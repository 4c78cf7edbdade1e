"""The work of a demo, stage by stage: each finds numbers, as plain types, and writes files."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym import training
from persim_gym.core import Dynamics, Task
from persim_gym.demo.settings import DemoSettings
from persim_gym.envs.populations import DEFAULT_SIZE, Population
from persim_gym.envs.suites import Suite
from persim_gym.evaluation.episodes import HORIZON, WARMUP, follow
from persim_gym.evaluation.latent_factors import LatentProbe, probe_covariates
from persim_gym.evaluation.open_loop import OpenLoopError, Traces, open_loop_error
from persim_gym.evaluation.references import Persistence, PooledModel, Predictor, pooled
from persim_gym.evaluation.returns import Outcomes, episode_outcomes
from persim_gym.experiments.cell import TEST_AGENTS
from persim_gym.experiments.recordings import first_agents
from persim_gym.learned.environments.guard import GuardedSimulator
from persim_gym.learned.networks.optimise import FitProgress
from persim_gym.learned.simulator import PerSim
from persim_gym.offline import datasets, provenance
from persim_gym.offline.reading import read_transitions
from persim_gym.offline.recorder import Recording, prepare
from persim_gym.offline.transitions import Transitions
from persim_gym.planning import MPC, choose_planner
from persim_gym.policies.scripted import scripted_policy
from persim_gym.writing import read_arrays, write_arrays

#: Models whose predictions are compared.
PERSIM, POOLED, PERSISTENCE = "PerSim", "pooled model", "persistence"
#: Ways to act.
RANDOM = "random actions"
TRAINED = "trained in the simulator"
MPC_LEARNED = "MPC, planned in the simulator"
MPC_TRUE = "MPC, planned in the true dynamics"

#: Called with a stage, how much of it is done, and of how much.
OnStageProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Demo:
    """What a demo is about, and what follows from that.

    Attributes:
        suite: The task with its agents.
        out: The demo's folder.
        quick: Whether its settings are the small ones.
        seed: Seed of everything random.
        settings: How much of everything.
        on_progress: Called with the progress inside a stage.
    """

    suite: Suite
    out: Path
    quick: bool
    seed: int
    settings: DemoSettings
    on_progress: OnStageProgress | None = None

    @cached_property
    def task(self) -> Task:
        """The task."""
        return self.suite.task()

    @cached_property
    def population(self) -> Population:
        """The agents."""
        return self.suite.population(self.settings.agents)

    @cached_property
    def true(self) -> Dynamics:
        """The true dynamics."""
        return self.suite.dynamics(self.population)

    @cached_property
    def simulators(self) -> PerSim:
        """What the stage ``fit`` has fitted."""
        return PerSim.load(self.out / "simulator")

    @property
    def steps(self) -> int:
        """Time limit of episodes that are played."""
        return self.settings.plan_steps or self.task.max_episode_steps

    def file(self, stage: str, suffix: str = ".json") -> Path:
        """Where a stage keeps what it has found."""
        return self.out / "stages" / f"{stage}{suffix}"

    def progress(self, stage: str, first: int = 0, share: int = 1) -> Callable[[int, int], None]:
        """Progress of one part of a stage: of ``share`` equal parts, the one after ``first``."""
        report = self.on_progress or (lambda *_: None)
        return lambda done, total: report(stage, first * total + done, share * total)

    def outcomes(
        self, policy: Any, episodes: int, dynamics: Any = None, **options: Any
    ) -> Outcomes:
        """Episodes of the test agents; by default in the true environment."""
        agents = options.pop("agents", TEST_AGENTS)
        return episode_outcomes(
            self.task, dynamics or self.true, agents, policy, episodes, self.seed,
            max_episode_steps=self.steps, **options,
        )  # fmt: skip


# -- data ------------------------------------------------------------------------------------------


def record(demo: Demo) -> dict[str, Any]:
    """Record the data, or find them."""
    data = transitions_of(demo)
    returns = np.bincount(data.episode - data.episode.min(), weights=data.reward)
    return {
        "id": data.dataset_id,
        "sha256": data.sha256(),
        "agents": data.num_agents,
        "transitions": len(data),
        "mean_length": float(data.lengths.mean()),
        "mean_return": float(returns.mean()),
    }


def transitions_of(demo: Demo) -> Transitions:
    """This demo's transitions, from a data set that is there or is made now.

    Raises:
        ValueError: If a data set has this demo's own id and was made otherwise.
    """
    agents, name = demo.settings.agents, demo.suite.name
    standard = f"persim/{name}/random-v0"
    own = f"persim/{name}/random-{agents}-agents-seed-{demo.seed}-v0"

    def prepared(dataset_id: str) -> Recording:
        return prepare(name, "random", agents, seed=demo.seed, dataset_id=dataset_id)

    for dataset_id in (standard, own):
        data = _found(demo, prepared(dataset_id))
        if data is not None:
            return data
    # A small demo must not take the place of the paper's recording.
    is_standard = agents == DEFAULT_SIZE and datasets.find(standard) is None
    dataset_id = standard if is_standard else own
    if datasets.find(dataset_id) is not None:
        raise ValueError(
            f"data set {dataset_id!r} is there, but is not what its name says: delete it "
            "(persim-gym datasets delete)"
        )
    recording = prepared(dataset_id)
    recording.run(on_progress=demo.progress("record"), progress=False)
    data = _found(demo, recording)
    assert data is not None
    return data


def _found(demo: Demo, recording: Recording) -> Transitions | None:
    """The first agents of a data set, if they are recorded just as this demo would."""
    dataset = datasets.find(recording.dataset_id)
    if dataset is None:
        return None
    card, agents = datasets.card_of(dataset), demo.settings.agents
    who = ("agents", "population")  # a larger recording will do: its first agents are the same
    recipe = {name: value for name, value in recording.recipe.items() if name not in who}
    if provenance.differences(recipe, card):
        return None
    values = demo.suite.population(card.get("population")).values
    if not np.array_equal(values[:agents], demo.population.values):
        return None
    data = first_agents(read_transitions(dataset), agents, demo.population.to_json())
    return data if np.array_equal(data.agent[data.starts], np.arange(agents)) else None


# -- fit -------------------------------------------------------------------------------------------


def fit(demo: Demo) -> dict[str, Any]:
    """Fit the simulators, and the pooled model."""
    data = transitions_of(demo)
    options = {"seed": demo.seed, "progress": False, "save_every": 10.0, **demo.settings.fit}

    def report(first: int) -> Callable[[FitProgress], None]:
        progress = demo.progress("fit", first, share=2)
        return lambda now: progress(now.epoch, now.epochs)

    sim = PerSim.fit(data, out=demo.out / "simulator", on_epoch=report(0), **options)
    # Nothing is asked of its uncertainty: one member, the same method and settings otherwise.
    family = sim.card["fitted_by"]
    method = "auto" if family == "mixture" else family
    reference = {**options, "ensemble_size": 1, "method": method}
    model = PerSim.fit(pooled(data), out=demo.out / "pooled", on_epoch=report(1), **reference)
    return {**_fit_facts(sim), "pooled": _fit_facts(model)}


def _fit_facts(sim: PerSim) -> dict[str, Any]:
    """What the page says of a fit."""
    metrics, config = sim.card["metrics"], sim.card["config"]
    method = sim.card["fitted_by"]
    return {
        "method": method,
        "heldout_rmse": metrics["heldout_rmse"],
        "seconds": metrics["seconds"],
        "chosen": metrics.get("chosen"),
        "config": config.get(method, config),
    }


# -- evaluation ------------------------------------------------------------------------------------


def evaluate(demo: Demo) -> dict[str, Any]:
    """Predict open loop, and probe the latent factors; the arrays for figures go to a file."""
    policy, episodes = scripted_policy(demo.suite.name, demo.seed), demo.settings.episodes
    followed = follow(demo.task, demo.true, TEST_AGENTS, policy, episodes=episodes, seed=demo.seed)
    models: dict[str, Predictor] = {
        PERSIM: demo.simulators,
        POOLED: PooledModel(PerSim.load(demo.out / "pooled")),
        PERSISTENCE: Persistence(),
    }
    progress = demo.progress("evaluate")
    errors: dict[str, OpenLoopError] = {}
    arrays: dict[str, NDArray[Any]] = {}
    for i, (name, model) in enumerate(models.items()):
        errors[name] = open_loop_error(model, followed)
        arrays |= _pack(f"{name}.", errors[name])
        progress(i + 1, len(models) + 1)
    names, values = demo.population.names, demo.population.values
    probe = probe_covariates(demo.simulators.latent_factors, values, names, seed=demo.seed)
    write_arrays(demo.file("evaluate", ".npz"), arrays | _pack("probe.", probe))
    progress(len(models) + 1, len(models) + 1)
    return {
        "policy": policy.name,
        "episodes": episodes,
        "warmup": WARMUP,
        "horizon": HORIZON,
        "errors": {name: error.to_json() for name, error in errors.items()},
        "latent": probe.to_json(),
    }


def read_evaluation(demo: Demo) -> tuple[dict[str, OpenLoopError], LatentProbe]:
    """The errors of each model, and the probe, from the file of :func:`evaluate`."""
    arrays = read_arrays(demo.file("evaluate", ".npz"))
    errors = {
        name: _unpack(
            OpenLoopError,
            f"{name}.",
            arrays,
            coordinates=demo.suite.coordinates,
            traces=_unpack(Traces, f"{name}.traces.", arrays),
        )
        for name in (PERSIM, POOLED, PERSISTENCE)
    }
    return errors, _unpack(LatentProbe, "probe.", arrays, names=demo.population.names)


def _pack(prefix: str, values: Any) -> dict[str, NDArray[Any]]:
    """The arrays of a dataclass, and of those in it, by name."""
    arrays: dict[str, NDArray[Any]] = {}
    for part in dataclasses.fields(values):
        value = getattr(values, part.name)
        if dataclasses.is_dataclass(value):
            arrays |= _pack(f"{prefix}{part.name}.", value)
        elif isinstance(value, np.ndarray):
            arrays[prefix + part.name] = value
    return arrays


def _unpack(kind: Any, prefix: str, arrays: dict[str, NDArray[Any]], **others: Any) -> Any:
    """The dataclass of :func:`_pack`, given what in it is no array."""
    names = [part.name for part in dataclasses.fields(kind) if part.name not in others]
    return kind(**{name: arrays[prefix + name] for name in names}, **others)


# -- planning and training -------------------------------------------------------------------------


def plan(demo: Demo) -> dict[str, Any]:
    """Plan with MPC, in the simulators and in the true dynamics; act in the true environment."""
    settings = demo.settings
    choice = choose_planner(demo.task, **settings.planner)
    planner: Any = choice.planner
    returns = {RANDOM: _by_agent(demo.outcomes("random", settings.return_episodes))}
    seconds = {}
    ways: dict[str, Any] = {MPC_LEARNED: demo.simulators, MPC_TRUE: demo.true}
    for i, (name, model) in enumerate(ways.items()):
        began = time.perf_counter()
        mpc = MPC(model, task=demo.task, planner=choice, seed=demo.seed)
        progress = demo.progress("plan", i, share=2)
        found = demo.outcomes(mpc, settings.plan_episodes, on_progress=progress)
        returns[name], seconds[name] = _by_agent(found), time.perf_counter() - began
    return {
        "planner": {"kind": type(planner).__name__, **dataclasses.asdict(planner)},
        "steps": demo.steps,
        "returns": returns,
        "seconds": seconds,
    }


def train(demo: Demo) -> dict[str, Any]:
    """Train a policy in the simulator of one agent; judge it there and in the true environment."""
    settings, agent = demo.settings, demo.settings.train_agent
    algorithm = training.default_algorithm(demo.task.action_space)
    config = training.default_config(demo.suite.name, algorithm)
    model = training.train_in_simulator(
        demo.simulators, agent, settings.train_steps, demo.seed, algorithm, demo.progress("train")
    )
    about = {
        "task": demo.suite.name, "agent": agent, "seed": demo.seed, "steps": settings.train_steps,
    }  # fmt: skip
    training.save_policy(model, demo.out / "policy", about)
    policy = training.load_policy(demo.out / "policy")

    def judged(dynamics: Any) -> dict[str, Any]:
        found = demo.outcomes(policy, settings.return_episodes, dynamics, agents=[agent])
        return _by_agent(found, [agent])

    return {
        "algorithm": algorithm,
        "agent": agent,
        "steps": settings.train_steps,
        "config": dataclasses.asdict(config),
        "limit": demo.steps,
        "returns": {TRAINED: judged(demo.true)},
        "in_simulator": judged(GuardedSimulator(demo.simulators, guard=config.guard)),
    }


def _by_agent(
    outcomes: Outcomes, agents: tuple[int, ...] | list[int] = TEST_AGENTS
) -> dict[str, dict[str, Any]]:
    return {
        str(agent): {
            "mean": float(own.mean()),
            "sd": float(own.std(ddof=1)) if len(own) > 1 else None,
            "episodes": len(own),
            "values": own.tolist(),
            "stopped": int(stopped.sum()),
        }
        for agent, own, stopped in zip(agents, outcomes.returns, outcomes.stopped, strict=True)
    }


#: The stages before the report, in their order.
WORK: dict[str, Callable[[Demo], dict[str, Any]]] = {
    "record": record,
    "fit": fit,
    "evaluate": evaluate,
    "plan": plan,
    "train": train,
}
