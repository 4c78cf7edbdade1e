"""What a command line names: simulators, true tasks, populations and policies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from persim_gym.cli.options import TASKS
from persim_gym.core import as_agent
from persim_gym.envs.suites import SUITES, Suite, find_suite

if TYPE_CHECKING:
    from persim_gym.core import Policy
    from persim_gym.learned.simulator import PerSim

POLICIES = ("random", "mpc")


def open_model(name: str) -> tuple[Suite, PerSim | None]:
    """The suite of a task's name, or of a simulator's folder together with the simulator.

    Raises:
        FileNotFoundError: If there is neither.
        ValueError: If the folder's simulator cannot be read or its task has no true environment.
    """
    if name in {*SUITES, *(suite.env_id for suite in SUITES.values())}:
        return find_suite(name), None
    if not Path(name).exists():
        raise FileNotFoundError(
            f"there is no simulator at {name} (persim-gym fit makes one), and no task of that name "
            f"either: there are {', '.join(TASKS)}"
        )
    sim = open_simulator(Path(name))
    return find_suite(sim.task.name), sim


def open_simulator(folder: Path) -> PerSim:
    """The simulator in a folder.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it cannot be read.
    """
    from persim_gym.learned.simulator import PerSim

    try:
        return PerSim.load(folder)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}: persim-gym fit makes one") from None


def population_of(sim: PerSim) -> object:
    """``population=`` of the agents that a simulator was fitted on, as its data set tells it.

    Raises:
        ValueError: If the simulator's agents cannot be the default population's, and its data set
            is not on this machine.
    """
    from minari import MinariDataset
    from minari.storage import get_dataset_path

    suite = find_suite(sim.task.name)
    dataset_id = sim.card.get("dataset", {}).get("id") or ""
    folder = get_dataset_path(dataset_id) / "data"
    source: Any = None
    if dataset_id and (folder / "metadata.json").is_file():
        source = MinariDataset(folder).env_spec.kwargs.get("population")
    if len(suite.population(source)) != sim.num_agents:
        raise ValueError(
            f"the true covariates of this simulator's {sim.num_agents} agents are not known: its "
            f"data set {dataset_id!r} is not on this machine, or was recorded anew with others"
        )
    return source


def check_agents(agents: list[int], sim: PerSim | None, suite: Suite) -> None:
    """Check that agents exist, before any work.

    Raises:
        ValueError: If one does not.
    """
    there = sim.num_agents if sim is not None else len(suite.population())
    for agent in agents:
        as_agent(agent, there)


def make_policy(name: str, suite: Suite, sim: PerSim | None, agent: int, seed: int) -> Policy:
    """The policy of a name, ``random`` or ``mpc``, or of a folder that ``train`` has made.

    Raises:
        ValueError: If there is none, or it acts in another task.
    """
    if name == "random":
        from persim_gym.offline.behaviours import RandomPolicy

        return RandomPolicy(suite.task().action_space, seed=seed)
    if name == "mpc":
        from persim_gym.planning import MPC

        return MPC(suite.name if sim is None else sim, agent, seed=seed)
    if not Path(name).is_dir():
        raise ValueError(
            f"unknown policy {name!r}: it must be {', '.join(POLICIES)} or the folder of a policy "
            "that persim-gym train has made"
        )
    from persim_gym.benchmark.training import load_policy

    return load_policy(name)
