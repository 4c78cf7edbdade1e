"""Synthetic trajectories: episodes in a simulator, kept as a Minari data set that says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from minari import MinariDataset
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.core import several_agents
from persim_gym.envs.suites import SUITES
from persim_gym.learned.environments.guard import GuardedSimulator, Propagation
from persim_gym.offline import datasets, integrity, provenance
from persim_gym.offline.declared import declared_metadata
from persim_gym.offline.recorder import fill
from persim_gym.policies.behaviours import as_policy, behaviour_name
from persim_gym.progress import OnProgress, reporter
from persim_gym.rollout import EpisodeBatch, start_episodes

if TYPE_CHECKING:
    from persim_gym.learned.dynamics import LearnedDynamics

#: What is kept of each step beside the transition.
KEPT = ("guard", "disagreement")


def generate(
    sim: LearnedDynamics,
    agents: Sequence[int | str] | NDArray[np.integer[Any]] | None = None,
    policy: Any = "random",
    episodes: int = 1,
    seed: int = 0,
    *,
    dataset_id: str | None = None,
    propagation: Propagation = "mean",
    guard: bool = True,
    max_episode_steps: int | None = None,
    deterministic: bool = True,
    overwrite: bool = False,
    data_format: str = "hdf5",
    on_progress: OnProgress | None = None,
    progress: bool | None = None,
) -> MinariDataset:
    """Record episodes in a simulator; see :meth:`persim_gym.learned.PerSim.generate`."""
    task = sim.task
    episodes, seed = checks.integer("episodes", episodes, 1), checks.integer("seed", seed)
    horizon = task.max_episode_steps
    if max_episode_steps is not None:
        horizon = checks.integer("max_episode_steps", max_episode_steps, 1)
    deterministic = checks.switch("deterministic", deterministic)
    if progress is not None:
        progress = checks.switch("progress", progress)
    if on_progress is not None and not callable(on_progress):
        raise TypeError(f"on_progress must be a function, got {checks.shown(on_progress)}")
    datasets.check_format(data_format)
    dynamics = GuardedSimulator(sim, propagation, guard)
    chosen = seen_agents(sim) if agents is None else several_agents(dynamics, agents)
    named = policy if isinstance(policy, str) else None
    acting = as_policy(policy, task)
    behaviour = named or behaviour_name(acting)
    usual = f"{datasets.NAMESPACE}/synthetic/{_plain(task.name)}-{_plain(behaviour)}-v0"
    own_id = usual if dataset_id is None else datasets.check_id(dataset_id)
    suite, population = _truth_of(sim, chosen)
    everything = EpisodeBatch.of_each(
        task, chosen, episodes, horizon=horizon, seed=seed, deterministic=deterministic,
        population=population,
    )  # fmt: skip
    if named is not None:  # reads what the behaviour needs from disk
        start_episodes(acting, everything.rows(slice(1)))
    names = sim.agent_names
    called = [names[k] for k in chosen] if names else provenance.list_indices(chosen.tolist())
    recipe: dict[str, Any] = {
        "task": task.name,
        "behaviour": behaviour,
        "agents": called,
        "episodes": episodes,
        "seed": seed,
        "population": population.to_json() if population else None,
        "max_episode_steps": horizon,
        "deterministic": deterministic,
        "synthetic": _origin(sim) | {"propagation": propagation, "guard": bool(guard)},
    }
    with (
        datasets.publishing(own_id, checks.switch("overwrite", overwrite)) as folder,
        reporter(f"generate {task.name}", progress, on_progress) as report,
    ):
        spec = provenance.env_spec(suite, population, horizon) if suite and population else None
        storage = datasets.new_storage(folder, task, spec, data_format)
        storage.update_metadata(_metadata(own_id, sim, recipe, len(chosen)))
        if task.name not in SUITES:  # these have spaces of their own
            storage.update_metadata(declared_metadata(task, sim.card.get("bounds", ())))
        filled = fill(storage, everything, dynamics, acting, report, keep=KEPT, names=names)
        summary = provenance.summary(len(chosen), filled.returns)
        if filled.stopped:
            summary |= {"stopped": sum(filled.stopped.values()), "guard": filled.stopped}
        card = {
            **recipe,
            "command": "",
            "version": provenance.version("persim-gym"),
            "sha256": filled.sha256,
            "summary": summary,
        }
        integrity.seal(storage, card)
    return datasets.load(own_id)


def _origin(sim: LearnedDynamics) -> dict[str, Any]:
    """Which simulator, of which data."""
    dataset = (sim.card.get("dataset") or {}).get("id")
    return {"simulator_sha256": sim.sha256, "dataset": dataset}


def seen_agents(sim: LearnedDynamics) -> NDArray[np.int64]:
    """The agents that something was recorded of ``[n]``."""
    seen = sim.experience.seen
    return np.arange(sim.num_agents) if seen is None else np.flatnonzero(seen)


def _truth_of(sim: LearnedDynamics, agents: NDArray[np.int64]) -> tuple[Any, Any]:
    """Suite and population of a simulator's agents; nothing where one is not of them."""
    suite = SUITES.get(sim.task.name)
    adapted = {int(agent) for agent in sim.card.get("adapted", {})}
    if suite is None or sim.agent_names is not None or adapted & set(agents.tolist()):
        return None, None
    population = suite.population((sim.card.get("dataset") or {}).get("population"))
    return (suite, population) if agents.max() < len(population) else (None, None)


def _metadata(
    dataset_id: str, sim: LearnedDynamics, recipe: dict[str, Any], count: int
) -> dict[str, Any]:
    """Minari's own fields: they say that nothing of it was measured."""
    made = recipe["synthetic"]
    description = (
        f"Synthetic: episodes in a simulator of {sim.task.name}, not of any true environment. "
        f"{count} agents, {recipe['episodes']} "
        f"{'episode' if recipe['episodes'] == 1 else 'episodes'} each, behaviour "
        f"{recipe['behaviour']!r}; the simulator (sha256 {made['simulator_sha256']}) was fitted on "
        f"{made['dataset'] or 'data without an id'}. Replayed in the true environment the same "
        "actions lead elsewhere."
    )
    author = "persim_gym"
    return provenance.common_metadata(dataset_id, author, recipe["behaviour"], description)


def _plain(name: str) -> str:
    """A name as it may stand in a data set's id."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name) or "data"
