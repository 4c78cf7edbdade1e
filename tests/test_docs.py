"""The documentation is true: its code runs, its commands exist, its tables are the code's.

Python blocks of a page share a namespace and run in their order. A page that goes on from others
says so in a comment at its top, ``<!-- needs: data, simulator, examples -->``: then
``persim/cartpole/random-v0``, ``runs/cartpole`` and ``examples`` are there. A block that cannot run
in a test has ``<!-- no-run: reason -->`` in the line above, and is compiled only.

Pages show the sizes that a user would take. What takes long is capped while they run, and nothing
else is changed: see :func:`small`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from persim_gym.baselines import BCQ, CQL
from persim_gym.envs import SUITES
from persim_gym.learned import PRESETS, LearnedSimEnv, Networks, PerSim
from persim_gym.learned.config import ClosedForm
from tests.cli.commands import COMMAND

ROOT = Path(__file__).parent.parent
DOCS = sorted(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts)
PAGES = [ROOT / "README.md", *DOCS]
EXAMPLES = ROOT / "examples"
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

DATASET = "persim/cartpole/random-v0"
AGENTS, EPOCHS, STEPS = 30, 2, 300

BLOCK = re.compile(
    r"(?:<!-- no-run: ([^\n]+) -->\n)?```([\w{}-]*)\n(.*?)^```", re.MULTILINE | re.DOTALL
)


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: its language, text and first line, and why it is not run, if it is not."""

    language: str
    text: str
    line: int
    no_run: str | None


def blocks(page: str, language: str) -> list[Block]:
    found = []
    for match in BLOCK.finditer(page):
        if match[2] == language:
            line = page.count("\n", 0, match.start(3))
            found.append(Block(language, match[3], line, match[1]))
    return found


def run_page(page: Path) -> dict[str, Any]:
    """Run a page's Python blocks, one after the other; a traceback names the page's own lines."""
    namespace: dict[str, Any] = {"__name__": "__docs__"}
    for block in blocks(page.read_text(), "python"):
        code = compile("\n" * block.line + block.text, str(page), "exec")
        if block.no_run is None:
            exec(code, namespace)
    return namespace


# -- what stands ready, and what is capped ---------------------------------------------------------


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set in ``minari/``, a hardly fitted simulator in ``runs/cartpole/``."""
    from persim_gym.offline import record

    folder = tmp_path_factory.mktemp("ready")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(folder / "minari"))
        data = record("PerSim-CartPole-v0", agents=AGENTS)
        PerSim.fit(data, epochs=EPOCHS, out=folder / "runs" / "cartpole", progress=False)
    return folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a place for data sets that is empty."""
    (tmp_path / "minari").mkdir()
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Cap sizes: agents of a recording, epochs of a fit, steps of a training, sizes of a search.

    What was capped comes back by name: a test may ask for it.
    """
    import stable_baselines3

    import persim_gym.offline
    from persim_gym.planning import CEM, RandomShooting

    capped: list[str] = []

    def cap(owner: Any, name: str, wrap: Callable[..., Any]) -> None:
        original = getattr(owner, name)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            capped.append(name)
            return wrap(original, *args, **kwargs)

        monkeypatch.setattr(owner, name, wrapper)

    def record(original: Any, *args: Any, agents: int = 500, **rest: Any) -> Any:
        return original(*args, agents=min(agents, AGENTS), **rest)

    def fit(original: Any, data: Any, *config: Any, **options: Any) -> PerSim:
        if config or options.get("method") == "als":  # seconds as it is, and without epochs
            return original(data, *config, **options)
        return original(data, **options | {"epochs": min(options.get("epochs", EPOCHS), EPOCHS)})

    def fit_baseline(original: Any, data: Any, *config: Any, **options: Any) -> Any:
        most = {"updates": min(options.get("updates", 20), 20)}
        return original(data, *config, **options | most)

    def learn(original: Any, model: Any, total_timesteps: int, **rest: Any) -> Any:
        return original(model, min(total_timesteps, STEPS), **rest)

    def plan(original: Any, planner: Any, *args: Any) -> Any:
        most = {"candidates": 16, "horizon": 5, "elites": 4, "rounds": 2}
        sizes = {k: min(v, getattr(planner, k)) for k, v in most.items() if hasattr(planner, k)}
        return original(dataclasses.replace(planner, **sizes), *args)

    cap(persim_gym.offline, "record", record)
    cap(PerSim, "fit", fit)
    for baseline in (BCQ, CQL):
        cap(baseline, "fit", fit_baseline)
    for algorithm in ("DQN", "PPO", "SAC", "TD3"):
        cap(getattr(stable_baselines3, algorithm), "learn", learn)
    for planner in (RandomShooting, CEM):
        cap(planner, "plan", plan)
    return capped


# -- code ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_code_runs(name: str, ready: Path, place: Path, small: list[str]) -> None:
    page = ROOT / name
    needs = re.match(r"<!-- needs: ([\w, ]+) -->\n", page.read_text())
    for need in needs[1].split(", ") if needs else []:
        parts = {"data": ready / "minari", "simulator": ready / "runs", "examples": EXAMPLES}
        part = parts[need]
        shutil.copytree(part, place / part.name, dirs_exist_ok=True)
    run_page(page)


def test_pages_are_found() -> None:
    counts = {name: len(blocks((ROOT / name).read_text(), "python")) for name in NAMES}
    written = {"README.md"} | {
        f"docs/{name}.md"
        for name in ("data", "environments", "learned-environments", "planning", "simulators")
    }
    assert all(counts.get(name, 0) > 0 for name in written), counts
    assert "docs/index.md" in counts
    for name in NAMES:  # a block in another notation would silently not run
        fences = re.findall(r"^\s*```", (ROOT / name).read_text(), re.MULTILINE)
        assert len(fences) == 2 * sum(1 for _ in BLOCK.finditer((ROOT / name).read_text())), name


def test_blocks_share_a_namespace_and_failures_name_the_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page\n\n```python\na = 1\n```\n\n<!-- no-run: never ends -->\n```python\n1 / 0\n```\n"
        "\n```text\nnothing\n```\n\n```python\nb = a + 1\n```\n"
    )
    assert run_page(page)["b"] == 2
    page.write_text(page.read_text() + "\n```python\na\nb / 0\n```\n")
    with pytest.raises(ZeroDivisionError) as error:
        run_page(page)
    assert error.traceback[-1].lineno + 1 == 22
    page.write_text("<!-- no-run: reason -->\n```python\nthis is no Python\n```\n")
    with pytest.raises(SyntaxError):
        run_page(page)


@pytest.mark.slow
def test_sizes_are_capped(place: Path, small: list[str]) -> None:
    from persim_gym.offline import record
    from persim_gym.planning import MPC

    data = record("PerSim-CartPole-v0", agents=500, dataset_id="persim/capped-v0")
    assert data.total_episodes == AGENTS
    sim = PerSim.fit(data, epochs=300, progress=False)
    assert sim.card["config"]["epochs"] == EPOCHS
    mpc = MPC(sim)
    _, (plans, *_) = mpc.predict([0.0, 0.0, 0.0, 0.0])
    assert plans.shape == (1, 5)
    assert small == ["record", "fit", "plan"]


# -- commands --------------------------------------------------------------------------------------


@functools.cache
def programs() -> dict[str, Any]:
    """The command lines that pages may use, as parsers."""
    import minari.cli
    import typer

    return {"persim-gym": COMMAND, "minari": typer.main.get_command(minari.cli.app)}


def check_command(line: str, known: dict[str, Any]) -> bool:
    """Parse a command line without running it; False if it is none of the known programs'.

    Raises:
        ValueError: If command, option or value does not exist.
    """
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"\w+=.*", words[0]):  # MUJOCO_GL=egl persim-gym ...
        words = words[1:]
    if not words or words[0] not in known:
        return False
    if ">" in words:
        words = words[: words.index(">")]
    path, command, rest = words[0], known[words[0]], words[1:]
    while hasattr(command, "commands"):
        options = [name for p in command.params for name in p.opts]
        if rest and rest[0] in (*options, "--help"):
            rest = rest[1:]
        elif rest and rest[0] in command.commands:
            path, command, rest = f"{path} {rest[0]}", command.commands[rest[0]], rest[1:]
        elif not rest:
            return True
        else:
            raise ValueError(f"{line!r}: {path} has no {rest[0]!r}")
    if rest == ["--help"]:
        return True
    try:
        command.make_context(path, list(rest))
    except Exception as error:  # Click's own, or that of the Click which Typer brings
        said = error.format_message() if hasattr(error, "format_message") else repr(error)
        raise ValueError(f"{line!r}: {said}") from error
    return True


@pytest.mark.parametrize("name", NAMES)
def test_commands_exist(name: str) -> None:
    known = programs()
    checked = 0
    for block in blocks((ROOT / name).read_text(), "bash"):
        for line in block.text.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\|\||;", line):
                checked += check_command(part, known)
    if name in ("docs/data.md", "docs/simulators.md", "docs/planning.md"):
        assert checked >= 3


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("persim-gym nonsense", "has no 'nonsense'"),
        ("persim-gym datasets nonsense", "has no 'nonsense'"),
        ("persim-gym fit persim/a-v0 --out x --nonsense 3", "nonsense"),
        ("persim-gym fit persim/a-v0", "--out"),
        ("X=1 persim-gym fit persim/a-v0 --out x --epochs many > log", "many"),
        ("minari nonsense", "has no 'nonsense'"),
    ],
)
def test_wrong_commands_are_noticed(line: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_command(line, programs())


def test_right_commands_pass() -> None:
    known = programs()
    assert check_command("MUJOCO_GL=egl persim-gym fit persim/a-v0 --out x  # why", known)
    assert check_command("persim-gym --help", known)
    assert check_command("persim-gym fit --help", known)
    assert not check_command("make demo", known)


# -- tables ----------------------------------------------------------------------------------------


def table(page: str, first: str) -> list[list[str]]:
    """The rows of the table whose heading's first cell is ``first``, the heading among them."""
    lines = (ROOT / page).read_text().splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith(f"| {first} |"))
    end = next((i for i in range(begin, len(lines)) if not lines[i].startswith("|")), len(lines))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[begin:end]]
    return [rows[0], *rows[2:]]


def test_covariates_are_the_codes() -> None:
    written: dict[str, list[tuple[str, list[float]]]] = {}
    task = ""
    for name, env_id, covariate, ends, default in table("docs/environments.md", "task")[1:]:
        task = name.strip("`") or task
        if name:
            assert env_id.strip("`") == SUITES[task].env_id
        low, high = ends.split(" to ")
        column = (covariate.split("`")[1], [float(low), float(high), float(default)])
        written.setdefault(task, []).append(column)
    coded = {
        name: [(c.name, [c.low, c.high, c.default]) for c in suite.covariates.columns]
        for name, suite in SUITES.items()
    }
    assert written == coded


def test_test_agents_are_the_codes() -> None:
    rows = table("docs/environments.md", "agent")[1:]
    assert [row[0] for row in rows] == list("01234")
    for column, suite in enumerate(SUITES.values(), start=1):
        values = [[float(value) for value in row[column].split(",")] for row in rows]
        assert values == suite.population().values[:5].tolist()


def test_spaces_and_limits_are_the_codes() -> None:
    text = (ROOT / "docs/environments.md").read_text()
    for title, name in (
        ("MountainCar", "mountain-car"),
        ("CartPole", "cartpole"),
        ("HalfCheetah", "half-cheetah"),
    ):
        section = text.split(f"\n## {title}\n")[1].split("\n---\n")[0]
        headings = re.findall(r"^### (.*)$", section, re.MULTILINE)
        assert headings == [
            "Description", "Action space", "Observation space", "Rewards", "Starting state",
            "Episode end", "Arguments", "Version history",
        ]  # fmt: skip
        task = SUITES[name].task()
        assert f"Truncated after {task.max_episode_steps} steps" in section
        assert f"`Box({task.observation_space.shape[0]})`, float32" in section


def test_presets_are_the_codes() -> None:
    heading, *rows = table("docs/simulators.md", "option")
    tasks = heading[2:]
    assert tasks == list(SUITES)
    assert [row[0].strip("`") for row in rows] == [f.name for f in dataclasses.fields(Networks)]

    def shown(value: Any) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, tuple):
            return ", ".join(map(str, value))
        return f"{value:g}" if isinstance(value, float) else str(value)

    for name, _, *cells in rows:
        option = name.strip("`")
        for task, cell in zip(tasks, cells, strict=True):
            if option == "action_hidden" and not cell:
                assert hasattr(SUITES[task].task().action_space, "n")
                continue
            own, papers = (
                shown(getattr(PRESETS[preset][task], option)) for preset in ("default", "paper")
            )
            assert cell == (own if own == papers else f"{own} ({papers})"), f"{option}, {task}"


def test_options_of_the_closed_form_are_the_codes() -> None:
    rows = table("docs/simulators.md", "option of the closed form")[1:]
    defaults = {field.name: field.default for field in dataclasses.fields(ClosedForm)}
    shown = {None: "chosen", True: "yes", False: "no"}
    written = {name.strip("`"): default for name, _, default in rows}
    coded = {
        name: shown[value]
        if value is None or isinstance(value, bool)
        else value
        if isinstance(value, str)
        else f"{value:g}"
        for name, value in defaults.items()
    }
    assert written == coded


def test_options_of_learned_environments_are_documented() -> None:
    named = {row[0].strip("`") for row in table("docs/learned-environments.md", "option")[1:]}
    options = set(inspect.signature(LearnedSimEnv).parameters) - {"simulator", "agent"}
    assert named - {""} == options
