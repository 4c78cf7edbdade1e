"""What is registered, what an import costs, and who may import whom."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import gymnasium as gym
import pytest

import persim_gym
from persim_gym.envs import SUITES
from tests.contract.sources import FILES, ROOMS, Source, read, source_of
from tests.contract.worlds import LEARNED_ID, TRUE_IDS

#: Methods that import a later room when they are called, and why.
LATE = {
    ("learned/simulator.py", "persim_gym.evaluation.validation"): "sim.validate(): whoever holds a "
    "simulator finds there how far to trust it; judging one needs all that evaluation has",
    ("evaluation/validation/result.py", "persim_gym.plots.validation_page"): "validation.save(): "
    "its page is drawn",
}

#: What a module names for the type checker alone, although that imports the module, and why.
TYPED = {
    (
        "learned/fitting/callbacks.py",
        "persim_gym.learned.simulator",
    ): "a callback is given what was fitted",
}


def test_every_registered_environment_is_covered() -> None:
    registered = {env_id for env_id in gym.registry if env_id.lower().startswith("persim")}
    assert registered == {*TRUE_IDS, LEARNED_ID}
    assert {suite.env_id for suite in SUITES.values()} == set(TRUE_IDS)


@pytest.mark.parametrize("suite", SUITES.values(), ids=list(SUITES))
def test_registration_agrees_with_the_task(suite: persim_gym.envs.Suite) -> None:
    spec, task = gym.spec(suite.env_id), suite.task()
    assert task.name == suite.name
    assert spec.max_episode_steps == task.max_episode_steps
    assert gym.make(suite.env_id).spec.max_episode_steps == task.max_episode_steps


def test_registered_with_strings() -> None:
    for env_id in (*TRUE_IDS, LEARNED_ID):
        assert isinstance(gym.spec(env_id).entry_point, str)
        assert isinstance(gym.spec(env_id).vector_entry_point, str)
        gym.spec(env_id).to_json()


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_import_is_light() -> None:
    heavy = {"torch", "mujoco", "pygame", "matplotlib", "stable_baselines3", "minari", "h5py"}
    # Processor time, so that a busy machine fails no test.
    seconds = run_python(f"""
import sys, time
before = time.process_time()
import persim_gym
print(time.process_time() - before)
assert not {heavy!r} & set(sys.modules), {heavy!r} & set(sys.modules)
""")
    assert float(seconds) < 1


def test_classic_environments_run_without_the_heavy_libraries() -> None:
    run_python("""
import sys
import gymnasium as gym, persim_gym
for env_id in ("PerSim-CartPole-v0", "PerSim-MountainCar-v0"):
    env = gym.make(env_id, agent=3)
    env.reset(seed=0)
    env.step(0)
    envs = gym.make_vec(env_id, num_envs=2)
    envs.reset(seed=0)
    envs.step(envs.action_space.sample())
assert not {"torch", "mujoco", "pygame", "matplotlib"} & set(sys.modules)
""")


def imports(source: Source, path: Path, *, late: bool = False) -> Iterator[tuple[str, ...]]:
    """All that a file imports, as parts of their full names.

    Args:
        source: Of the file.
        path: Of the file, inside the package.
        late: Whether the named exceptions count, which are inside functions or for a type checker.
    """
    for parts, in_function, for_types in source.imports:
        named = (path.as_posix(), ".".join(parts[:-1]))
        allowed = (named in LATE and (in_function or for_types)) or (named in TYPED and for_types)
        if late or not allowed:
            yield parts


def wrong_imports(source: Source, path: Path) -> list[str]:
    """Rooms that the file at ``path`` inside the package imports, but must not."""
    own = ROOMS.index(path.with_suffix("").parts[0])
    wrong = []
    for module in imports(source, path):
        if module[0] != "persim_gym" or len(module) == 1:
            continue
        if module[1] in ROOMS:
            if ROOMS.index(module[1]) > own:
                wrong.append(module[1])
        elif module[1] not in persim_gym.__all__:
            wrong.append(module[1])
    return wrong


def test_rooms_import_only_from_those_before_them() -> None:
    inside = [path for path in FILES if path != Path("__init__.py")]
    assert {path.with_suffix("").parts[0] for path in inside} == set(ROOMS)
    found = {str(path): wrong_imports(source_of(path), path) for path in inside}
    assert {path: wrong for path, wrong in found.items() if wrong} == {}


def module_name(path: Path) -> str:
    return ".".join(("persim_gym", *path.with_suffix("").parts)).removesuffix(".__init__")


def circles(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import themselves by way of others: those of the first circle found."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return sorted(set(error.args[1]))
    return []


@functools.cache
def module_graph() -> dict[str, set[str]]:
    """What each module imports of the package."""
    names = {module_name(path): path for path in FILES}
    graph: dict[str, set[str]] = {}
    for name, path in names.items():
        found = {".".join(module) for module in imports(source_of(path), path)}
        # `from a.b import c` is of module a.b.c where there is one, else of a.b.
        targets = {m if m in names else m.rpartition(".")[0] for m in found}
        graph[name] = (targets & names.keys()) - {name, "persim_gym"}
    # A package's own file gathers what its modules offer.
    graph = {name: own for name, own in graph.items() if names[name].name != "__init__.py"}
    return {name: own & graph.keys() for name, own in graph.items()}


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circles(module_graph()) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c"]


def inner_room(module: str) -> str:
    """The folder of a room that a module stands in, or the module where it stands in none."""
    return ".".join(module.split(".")[:3])


def test_no_folder_of_a_room_imports_itself_by_way_of_others() -> None:
    graph: dict[str, set[str]] = {}
    for name, own in module_graph().items():
        graph.setdefault(inner_room(name), set()).update(inner_room(target) for target in own)
    assert "persim_gym.learned.comparison" in graph
    assert circles({name: own - {name} for name, own in graph.items()}) == []


def test_late_imports_are_late_and_there() -> None:
    for file, module in (*LATE, *TYPED):
        path, parts = Path(file), tuple(module.split("."))
        assert wrong_imports(source_of(path), path) == []
        later = bool(wrong_imports(read(f"from {module} import x", path), path))
        assert later == ((file, module) in LATE)
        all_imports = {found[:-1] for found in imports(source_of(path), path, late=True)}
        assert parts in all_imports - {found[:-1] for found in imports(source_of(path), path)}


@pytest.mark.parametrize(
    "source",
    [
        "import persim_gym.learned",
        "from persim_gym.learned import PerSim",
        "from persim_gym import learned",
        "from ..learned.simulator import PerSim",
        "from .. import learned",
        "def late():\n    from persim_gym.learned.env import make_env",
        "from persim_gym.unknown import thing",
    ],
)
def test_wrong_imports_are_seen(source: str) -> None:
    def wrong(text: str, path: Path) -> list[str]:
        return wrong_imports(read(text, path), path)

    suites = Path("envs/suites.py")
    assert wrong(source, suites) != []
    assert wrong("from .populations import Population", suites) == []
    assert wrong("import persim_gym.envs.populations", Path("cli.py")) == []
