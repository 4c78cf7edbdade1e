"""What a command line names: simulators, true tasks, populations and policies."""

from __future__ import annotations

import ctypes.util
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persim_gym import checks
from persim_gym.cli import options
from persim_gym.cli.group import say
from persim_gym.cli.options import TASKS
from persim_gym.envs.populations import DEFAULT_SIZE
from persim_gym.envs.suites import SUITES, Suite, find_suite, suite_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from persim_gym.core import Policy, Task
    from persim_gym.envs.rendering import Frame
    from persim_gym.learned.naming import AgentNames
    from persim_gym.learned.simulator import PerSim

POLICIES = ("random", "mpc")


def open_model(name: str) -> tuple[Suite | None, PerSim | None]:
    """The suite of a task's name, or of a simulator's folder together with the simulator.

    There is no suite of a simulator of own data, which have no true environment.

    Raises:
        FileNotFoundError: If there is neither.
        ValueError: If the folder's simulator cannot be read.
    """
    if name in {*SUITES, *(suite.env_id for suite in SUITES.values())}:
        return find_suite(name), None
    folder = checks.as_path("SIM_OR_TASK", name)
    if not folder.exists():
        raise FileNotFoundError(
            f"there is no simulator at {name} (persim-gym fit makes one), and no task of that name "
            f"either{checks.meant(name, TASKS) or checks.beside(folder)}: there are "
            f"{', '.join(TASKS)}"
        )
    sim = open_simulator(folder)
    return SUITES.get(sim.task.name), sim


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
        hint = "" if folder.exists() else checks.beside(folder)
        raise FileNotFoundError(f"{error}{hint}: persim-gym fit makes one") from None


def population_of(sim: PerSim) -> object:
    """``population=`` of the agents that a simulator was fitted on, as its data set tells it.

    Without the data set the agents are taken for the default population's, and a note says so.

    Raises:
        ValueError: If the data set has changed since, or there is none and the simulator has more
            agents than the default population.
    """
    import minari

    from persim_gym.offline.datasets import load
    from persim_gym.offline.reading import read_transitions
    from persim_gym.offline.recorded import population_of

    suite, fitted_on = suite_of(sim.task), sim.card.get("dataset", {})
    # Agents that were added later are of no known population.
    count = sim.num_agents - len(sim.card.get("adapted", {}))
    if fitted_on.get("population") is not None:
        population: object = fitted_on["population"]
        return population
    dataset_id = fitted_on.get("id") or ""
    if dataset_id not in minari.list_local_datasets():
        if count > DEFAULT_SIZE:
            raise ValueError(
                f"the true covariates of this simulator's {count} agents are not known: its data "
                f"set {dataset_id!r} is not on this machine"
            )
        say(
            "note",
            f"data set {dataset_id!r} is not on this machine: agents are taken for those of the "
            "default population",
        )
        return None
    data = load(dataset_id)
    source = population_of(data, suite)
    transitions = read_transitions(data)
    # A simulator may be of the first agents alone.
    seen = transitions.select(transitions.agent < count)
    if len(suite.population(source)) < count or seen.sha256() != fitted_on.get("sha256"):
        raise ValueError(
            f"the true covariates of this simulator's agents are not known: data set "
            f"{dataset_id!r} has been recorded anew since it was fitted"
        )
    return source


def find_agents(text: str, sim: PerSim | None, suite: Suite | None) -> list[int]:
    """Agents of a list, by index or name, in the order given, each once; checked before any work.

    Args:
        text: Such as ``"0-4"``, ``"0,3,7"``, or names of the simulator's agents. Where names are
            whole numbers, ``name:3`` and ``index:3`` say which is meant.
        sim: The simulator, or ``None`` for the true agents of the suite, which have no names.
        suite: The suite; ``None`` where nothing true is asked for.

    Raises:
        ValueError: If one does not exist, could be one of two, or was added to the simulator after
            its fit, so that nothing says which true agent it is.
    """
    from persim_gym.learned.naming import AgentNames

    agents = choose_agents(text, sim.names if sim else AgentNames((), _size(suite)))
    adapted = sim.card.get("adapted", {}) if sim is not None and suite is not None else {}
    for agent in agents:
        if str(agent) in adapted:
            raise ValueError(
                f"agent {agent} was added to the simulator by adapt: which true agent it is, and "
                "so what is true of it, is not known here"
            )
    return agents


def _size(suite: Suite | None) -> int:
    return 0 if suite is None else len(suite.population())


def find_agent(text: str, sim: PerSim | None, suite: Suite | None) -> int:
    """The one agent of a text; see :func:`find_agents`."""
    agents = find_agents(text, sim, suite)
    if len(agents) != 1:
        raise ValueError(f"--agent is one agent here, got {text!r}")
    return agents[0]


def choose_agents(text: str, names: AgentNames) -> list[int]:
    """Agents of a list as :func:`find_agents` takes it, among those that there are.

    Raises:
        ValueError: If one does not exist or could be one of two.
    """
    from persim_gym.learned.naming import BY_INDEX

    if not names.names:
        return [names.find(agent) for agent in options.parse_agents(text.replace(BY_INDEX, ""))]
    # A name may hold a comma or a hyphen.
    parts = [text] if text in names.names else [part.strip() for part in text.split(",")]
    found: dict[int, None] = {}
    for part in parts:
        span = re.fullmatch(rf"({BY_INDEX})?\d+\s*-\s*\d+", part)
        if span is None or part in names.names:
            found[names.parse(part)] = None
            continue
        for number in options.parse_agents(part.removeprefix(BY_INDEX)):
            found[names.parse(f"{span[1] or ''}{number}")] = None
    return list(found)


def make_policy(name: str, task: Task, sim: PerSim | None, agent: int, seed: int) -> Policy:
    """The policy of a name, ``random`` or ``mpc``, or of a folder that ``train`` has made.

    Raises:
        ValueError: If there is none, or it acts in another task.
    """
    if name == "random":
        from persim_gym.policies.behaviours import RandomPolicy

        return RandomPolicy(task.action_space, seed=seed)
    if name == "mpc":
        from persim_gym.planning import MPC
        from persim_gym.planning.planner_choice import planner_for_data

        if sim is None:
            return MPC(task.name, agent, seed=seed)
        return MPC(sim, agent, planner=planner_for_data(task), seed=seed)
    folder = checks.as_path("--policy", name)
    if not folder.is_dir():
        raise ValueError(
            f"unknown policy {name!r}{checks.meant(name, POLICIES)}: it must be "
            f"{', '.join(POLICIES)} or the folder of a policy that persim-gym train or baseline "
            "has made"
        )
    return saved_policy(folder, task)


def load_policy(folder: Path) -> Any:
    """The policy in a folder that ``train`` or ``baseline`` has made, of whatever task."""
    from persim_gym.baselines.face import FILE, Baseline
    from persim_gym.policies.saved import load_policy

    return Baseline.load(folder) if (folder / FILE).is_file() else load_policy(folder)


def saved_policy(folder: Path, task: Task) -> Policy:
    """The policy in a folder that ``train`` or ``baseline`` has made.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it acts in another task.
    """
    policy = load_policy(folder)
    spaces = policy.observation_space, policy.action_space
    if spaces != (task.observation_space, task.action_space):
        raise ValueError(
            f"the policy in {folder} acts in another task than {task.name}: it sees {spaces[0]} "
            f"and does {spaces[1]}"
        )
    return policy


def counted(
    frames: Iterable[Frame], total: int, report: Callable[[int, int], None]
) -> Iterator[Frame]:
    """Frames as they come, each of which is reported."""
    for done, frame in enumerate(frames, start=1):
        yield frame
        report(done, total)


def draw_without_display() -> None:
    """Let MuJoCo draw where there is no display; it reads this when it is imported."""
    if sys.platform != "linux" or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        return
    if ctypes.util.find_library("EGL"):  # without it MuJoCo could then not even be imported
        os.environ.setdefault("MUJOCO_GL", "egl")
