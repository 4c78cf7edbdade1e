"""The demo: record, fit, evaluate, plan, train, report; killed anywhere, it goes on from there."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from persim_gym import checks
from persim_gym.demo.report import PAGE, write_demo
from persim_gym.demo.settings import DemoSettings, demo_settings
from persim_gym.demo.stages import MPC_LEARNED, PERSIM, TRAINED, WORK, Demo, OnStageProgress
from persim_gym.envs.suites import Suite, find_suite
from persim_gym.threads import one_thread
from persim_gym.writing import read_sealed, write_json, write_sealed

STAGES = (*WORK, "report")
#: Raised when stages find other things than before: what older versions have kept is made anew.
FORMAT = 2


@dataclass(frozen=True, slots=True)
class StageEvent:
    """The beginning or the end of a stage.

    Attributes:
        stage: One of :data:`STAGES`.
        index: Which, from 1 on.
        status: ``"started"``, ``"finished"``, or ``"kept"`` from an earlier run.
        seconds: Time that it took; 0 when it starts.
        note: What came of it, in one line.
    """

    stage: str
    index: int
    status: Literal["started", "finished", "kept"]
    seconds: float = 0.0
    note: str = ""


OnStage = Callable[[StageEvent], None]


def run_demo(
    task: str = "cartpole",
    out: str | Path | None = None,
    quick: bool = False,
    seed: int = 0,
    on_stage: OnStage | None = None,
    on_progress: OnStageProgress | None = None,
    *,
    settings: DemoSettings | None = None,
) -> Path:
    """Record agents, fit their simulators, judge and use them, and write a page about it.

    What each stage has found is kept in ``out``: a demo that was killed goes on when it is called
    again, a fit even from its last checkpoint. The data set is
    ``persim/<task>/random-v0``; it is recorded if it is not there. If one is there that was made
    otherwise, this demo's own gets an id that says how it was made.

    Args:
        task: Task name or environment id.
        out: Folder; by default ``runs/demo-<task>``, with ``-quick`` at its end for a quick one.
        quick: Less of everything: to see it run, not to judge by.
        seed: Seed of everything random.
        on_stage: Called at each stage's beginning and end.
        on_progress: Called with a stage, how much of it is done, and of how much.
        settings: Other settings than :func:`demo_settings`.

    Returns:
        The page, ``out/index.html``. All its numbers are in ``results.json`` beside it.

    Raises:
        ValueError: If there is no such task, or ``out`` holds a demo of other settings.
    """
    suite = find_suite(task)
    seed = checks.integer("seed", seed, most=checks.LARGEST_SEED)
    settings = settings or demo_settings(suite.name, quick)
    if out is None:
        out = Path("runs") / f"demo-{suite.name}{'-quick' if quick else ''}"
    folder = checks.output_folder("out", out)
    with one_thread():
        return _run(Demo(suite, folder, quick, seed, settings, on_progress), on_stage)


def rebuild_page(out: str | Path) -> Path:
    """Write a demo's page anew from what its stages have found.

    Raises:
        FileNotFoundError: If there is no demo in the folder, or it has not come to its end.
    """
    folder = checks.as_path("out", out)
    recipe = folder / "demo.json"
    if not recipe.is_file():
        raise FileNotFoundError(f"there is no demo in {folder}: persim_gym.demo.run_demo")
    plain = _read_recipe(recipe)
    settings = DemoSettings(**plain["settings"])
    demo = Demo(find_suite(plain["task"]), folder, plain["quick"], plain["seed"], settings)
    for stage in WORK:
        if not demo.file(stage).is_file():
            raise FileNotFoundError(
                f"the demo in {folder} has not come to its end: stage {stage!r} is missing"
            )
    with one_thread():
        return _run(demo, None)


def _read_recipe(file: Path) -> dict[str, Any]:
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{file} is damaged ({error}): delete it or its folder") from error
    names = {"task", "quick", "seed", "settings"}
    if not isinstance(plain, dict) or set(plain) != names:
        raise ValueError(f"{file} holds no settings of a demo: delete it or its folder")
    return plain


def _run(demo: Demo, on_stage: OnStage | None) -> Path:
    """Run the stages that are not kept, and write the page."""
    keeper = _Keeper(demo)
    # A finished fit needs no data any more; one that is not needs them as they were.
    if keeper.read("record") is None or keeper.read("fit") is None:
        keeper.forget("record")
    report = on_stage or (lambda event: None)
    found: dict[str, dict[str, Any]] = {}
    seconds: dict[str, float] = {}
    for index, stage in enumerate(WORK, start=1):
        kept = keeper.read(stage)
        if kept is None:
            keeper.forget(stage)
            report(StageEvent(stage, index, "started"))
            began = time.perf_counter()
            result = WORK[stage](demo)
            kept = keeper.write(stage, result, time.perf_counter() - began)
            status: Literal["finished", "kept"] = "finished"
        else:
            status = "kept"
        found[stage], seconds[stage] = kept["result"], kept["seconds"]
        note = _note(demo.suite, stage, found[stage])
        report(StageEvent(stage, index, status, seconds[stage], note))
    report(StageEvent("report", len(STAGES), "started"))
    began = time.perf_counter()
    page = write_demo(demo, found, seconds)
    spent = time.perf_counter() - began
    report(StageEvent("report", len(STAGES), "finished", spent, str(demo.out / PAGE)))
    return page


class _Keeper:
    """What the stages of a demo have found, on disk: a sealed file each, for these settings alone.

    Raises:
        ValueError: If the folder holds a demo of other settings.
    """

    def __init__(self, demo: Demo) -> None:
        self._demo = demo
        recipe = {
            "task": demo.suite.name,
            "quick": demo.quick,
            "seed": demo.seed,
            "settings": dataclasses.asdict(demo.settings),
        }
        # As it is read back: tuples are lists there.
        recipe = json.loads(json.dumps(recipe))
        file = demo.out / "demo.json"
        if file.is_file() and _read_recipe(file) != recipe:
            raise ValueError(
                f"{demo.out} holds a demo of other settings: choose another folder, or delete it"
            )
        write_json(file, recipe)
        text = json.dumps([FORMAT, recipe], sort_keys=True)
        self._key = hashlib.sha256(text.encode()).hexdigest()

    def read(self, stage: str) -> dict[str, Any] | None:
        """What is kept of a stage of this very demo; nothing if the file is damaged or altered."""
        try:
            kept = read_sealed(self._demo.file(stage), ("key", "seconds", "result"))
        except (OSError, ValueError):
            return None
        return kept if kept["key"] == self._key else None

    def write(self, stage: str, result: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Keep what a stage has found, and read it back: plain types."""
        plain = {"key": self._key, "seconds": seconds, "result": result}
        return read_sealed(write_sealed(self._demo.file(stage), plain), plain)

    def forget(self, first: str) -> None:
        """Drop what a stage and all after it have found."""
        for stage in STAGES[STAGES.index(first) :]:
            self._demo.file(stage).unlink(missing_ok=True)


def _note(suite: Suite, stage: str, found: dict[str, Any]) -> str:
    """What came of a stage, in one line."""
    match stage:
        case "record":
            return f"{found['agents']} agents, {found['transitions']:,} transitions"
        case "fit":
            return f"held-out one-step RMSE {_short(found['heldout_rmse'])}"
        case "evaluate":
            agents, i = found["errors"][PERSIM]["agents"], suite.headline
            errors = (_short(row["rmse_of_coordinates"][i]) for row in agents)
            return f"open-loop RMSE of {suite.coordinates[i]}: {', '.join(errors)}"
        case "plan":
            means = [row["mean"] for row in found["returns"][MPC_LEARNED].values()]
            return f"mean returns {', '.join(map(_short, means))}"
        case _:
            (row,) = found["returns"][TRAINED].values()
            return f"mean return {_short(row['mean'])} in the true environment"


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
