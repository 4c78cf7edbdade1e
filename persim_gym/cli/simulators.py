"""Commands around simulators: fit, evaluate, render."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persim_gym.cli import baselines, complete, options, own_data, resolve, tables
from persim_gym.cli.group import interrupted, say
from persim_gym.cli.next_step import say_next, say_next_of
from persim_gym.cli.output import duration, print_facts, print_json, print_table, progress_bar
from persim_gym.cli.trust import evaluate_own, print_heldout
from persim_gym.envs.suites import SUITES, suite_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from persim_gym.evaluation.open_loop import OpenLoopError
    from persim_gym.learned.fitting.plan import FitPlan
    from persim_gym.learned.simulator import PerSim
    from persim_gym.offline.transitions import Transitions

PRESET = "the preset's"
CHOSEN = "chosen from the data, or the preset's"


@tables.takes_table
def fit(
    dataset: options.DatasetOrTable,
    out: Annotated[Path, options.folder_to_write("the simulator")],
    method: options.Method = "auto",
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Preset: for networks, default or paper (the settings of its code).",
            autocompletion=complete.words("default", "paper"),
        ),
    ] = "default",
    effort: options.Effort = None,
    degree: Annotated[int | None, options.count("Closed form: degree.", CHOSEN)] = None,
    rank: Annotated[int | None, options.count("Latent factors.", CHOSEN)] = None,
    ensemble_size: options.EnsembleSize = None,
    epochs: Annotated[int | None, options.count("Networks: passes over the data.", PRESET)] = None,
    batch_size: Annotated[
        int | None, options.count("Networks: transitions in a batch.", PRESET)
    ] = None,
    learning_rate: Annotated[
        float | None, options.number("Networks: Adam's step size.", PRESET)
    ] = None,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    log: options.Log = None,
    force: Annotated[bool, options.force("a simulator or a half-done fit in FOLDER")] = False,
    as_json: options.Json = False,
    *,
    columns: tables.Columns,
) -> None:
    """Fit the simulators of a data set's agents, or of a table's.

    A closed form that finds the law takes seconds; networks take minutes.

    A fit that was stopped goes on from its last checkpoint when the same command is given again.
    """
    import torch

    from persim_gym import store
    from persim_gym.envs.suites import SUITES
    from persim_gym.learned.fitting.callbacks import LogMetrics
    from persim_gym.learned.fitting.plan import plan_fit
    from persim_gym.learned.saving.checkpoint import checkpoints_beside
    from persim_gym.learned.simulator import PerSim
    from persim_gym.metrics import open_metrics

    given = {
        "effort": effort,
        "degree": degree,
        "rank": rank,
        "ensemble_size": ensemble_size,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    transitions = tables.read(dataset, columns)
    known = transitions.task_name in SUITES
    plan = plan_fit(
        transitions.task_name, method=method, preset=preset, options=changes, known=known
    )
    if threads is not None:
        torch.set_num_threads(threads)
    if not force and (done := _finished(out, transitions, plan)) is not None:
        say("done", f"{out} holds the simulator of this very fit already")
        _print_simulator(done, out, as_json)
        return
    _announce_checkpoint(out, transitions, plan, force)
    began = time.monotonic()
    callbacks = [] if log is None else [LogMetrics(open_metrics(log, out / options.LOGS))]
    try:
        sim = PerSim.fit(
            transitions, method=method, preset=preset, device=device, out=out, save_every=10.0,
            callbacks=callbacks, **changes,
        )  # fmt: skip
    except KeyboardInterrupt:
        if checkpoints_beside(out / store.CHECKPOINT):
            interrupted(f"the same command goes on from the checkpoint in {out}")
        interrupted("there was no checkpoint yet, the same command begins anew")
    _print_simulator(sim, out, as_json, time.monotonic() - began)


def _finished(out: Path, transitions: Transitions, plan: FitPlan) -> PerSim | None:
    """The simulator in a folder, if it is of these data and this configuration.

    Raises:
        ValueError: If it is another one.
    """
    from persim_gym import store
    from persim_gym.learned.simulator import PerSim

    if not (out / store.SIMULATOR).exists():
        return None
    sim = PerSim.load(out)
    _check_same(f"{out} holds a simulator", sim.card, transitions, plan)
    return sim


def _announce_checkpoint(out: Path, transitions: Transitions, plan: FitPlan, force: bool) -> None:
    """Say that a fit goes on, or with ``force`` remove what it would go on from.

    Raises:
        ValueError: If it is a checkpoint of another fit.
    """
    from persim_gym import store
    from persim_gym.learned.saving.checkpoint import KIND, checkpoints_beside

    found = checkpoints_beside(out / store.CHECKPOINT)
    for file in found:
        if force:
            file.unlink()
            continue
        _, card = store.read(file, KIND)
        _check_same(f"{out} holds a checkpoint", card["recipe"], transitions, plan)
        networks = plan.configs.get("sgd")
        if networks is not None and len(found) == 1:
            done = f"{file} holds {card['facts']['epoch']} of {networks.epochs} epochs"
        else:
            done = f"{file} holds a part of the fit"
        say("resuming", done)


def _check_same(
    what: str, recipe: Mapping[str, Any], transitions: Transitions, plan: FitPlan
) -> None:
    """Check that a recipe is of these data and this configuration.

    Raises:
        ValueError: If it is not.
    """
    of = recipe.get("dataset", {})
    same_data = of.get("sha256") == transitions.sha256()
    if same_data and of.get("outcomes_sha256"):
        from persim_gym.learned.outcomes.data_task import outcomes_sha256

        same_data = of["outcomes_sha256"] == outcomes_sha256(transitions)
    # Through JSON, as the recipe has been.
    if same_data and recipe.get("config") == json.loads(json.dumps(plan.to_json())):
        return
    differs = "other options" if same_data else "other data"
    raise ValueError(
        f"{what} of another fit ({differs}): choose another folder, or replace it with --force"
    )


_METHODS = {
    "als": "closed form (als)",
    "sgd": "networks (sgd)",
    "hierarchical": "hierarchical regression",
    "latent": "latent networks",
    "mixture": "mixture of families",
}


def _chosen(trial: Mapping[str, Any] | None) -> list[tuple[str, object]]:
    """What a closed-form fit has chosen."""
    if trial is None:
        return []
    return [("degree", trial["degree"]), ("terms of a member", trial["terms"])]


def _compared(errors: Mapping[str, float] | None) -> list[tuple[str, object]]:
    """Held-out open-loop errors of the families that were compared."""
    return [
        (f"error of {name}, in standard deviations", error)
        for name, error in (errors or {}).items()
    ]


def _print_simulator(sim: PerSim, out: Path, as_json: bool, seconds: float | None = None) -> None:
    if as_json:
        print_json({"folder": str(out), **sim.card})
        return
    metrics: dict[str, Any] = sim.card.get("metrics", {})
    print_facts(
        f"Simulator of {sim.task.name}",
        [
            ("data set", sim.card.get("dataset", {}).get("id") or "-"),
            ("agents", sim.num_agents),
            ("fitted by", _METHODS[sim.card.get("fitted_by", "sgd")]),
            *_chosen(metrics.get("chosen")),
            *_compared(metrics.get("compared")),
            ("rank", sim.ensemble.rank),
            ("members", sim.members),
            *_learned_outcomes(sim.card.get("data_task")),
            ("took", None if seconds is None else duration(seconds)),
            ("folder", out),
        ],
    )
    print_heldout(sim.card)
    say_next_of(sim, out, fitted=True)


def _learned_outcomes(task: Mapping[str, Any] | None) -> list[tuple[str, object]]:
    """How reward and termination were learned from the data."""
    if task is None:
        return []
    low, high = task["reward_range"]
    same = f"{low:g} everywhere" if low else "the data have none"
    learned = ("reward learned as", task["reward"]["kind"])
    facts: list[tuple[str, object]] = [("reward", same) if low == high else learned]
    end = task["termination"]
    if "heldout_accuracy" in end:
        facts.append((f"end ({end['kind']}), held-out accuracy", end["heldout_accuracy"]))
    if within := _limits(task):
        facts.append(("predictions stay within", within))
    return facts


def _limits(task: Mapping[str, Any]) -> str:
    """Physical limits of coordinates, declared or taken from the sign of all data."""
    lows, highs = task.get("limits") or ((), ())
    names = task.get("obs_names") or [f"coordinate {k}" for k in range(len(lows))]
    units = task.get("obs_units") or [""] * len(names)
    found = []
    for name, low, high, unit in zip(names, lows, highs, units, strict=False):
        if low is not None and high is not None:
            found.append(f"{low:g} <= {name} <= {high:g} {unit}".rstrip())
        elif low is not None or high is not None:
            sign = ">=" if high is None else "<="
            found.append(f"{name} {sign} {low if high is None else high:g} {unit}".rstrip())
    return ", ".join(found)


@tables.takes_table
def evaluate(
    simulator: options.Simulator,
    agents: options.Agents = "0-4",
    episodes: options.Episodes = 200,
    horizon: options.Horizon = 50,
    warmup: Annotated[int, options.count("Real steps before the prediction.", least=0)] = 10,
    data: options.Data = None,
    seed: options.Seed = 0,
    as_json: options.Json = False,
    *,
    columns: tables.Columns,
) -> None:
    """Measure a simulator's open-loop error against the truth.

    In the true environment of each agent a scripted policy acts, which made no data. After a few
    real steps the simulator goes on by its own predictions under the same actions. RMSE is of each
    coordinate in its own unit; R2 is the median over episodes.

    Own data have no true environment: then the end of every record is kept, the rest fitted again,
    and the error is that of its prediction, coordinate by coordinate. See validate for more.

    Of a baseline's folder it measures returns in the true environments instead.
    """
    if baselines.holds_baseline(simulator):
        if data is not None or columns.given() or (horizon, warmup) != (50, 10):
            raise ValueError(
                f"{simulator} holds a baseline: of it there are --agent, --episodes, "
                "--seed and --json alone"
            )
        baselines.evaluate_baseline(simulator, agents, episodes, seed, as_json)
        return
    sim = resolve.open_simulator(simulator)
    if sim.task.name not in SUITES:
        if (agents, episodes, warmup) != ("0-4", 200, 10):
            raise ValueError(
                "--agent, --episodes and --warmup are of true environments, and own data have "
                "none: all agents are judged, persim-gym validate writes each one's error"
            )
        found = tables.record(sim, data, columns)
        evaluate_own(sim, found, horizon, seed, as_json)
        if not as_json:
            say_next("validate", simulator, "--out", f"{simulator}-trust")
        return
    own_data.check_no_own_options(columns, data=data)
    suite = suite_of(sim.task)
    chosen = resolve.find_agents(agents, sim, suite)
    population = suite.population(resolve.population_of(sim))
    from persim_gym.evaluation import open_loop as evaluation

    with progress_bar("evaluate") as report:
        error = evaluation.evaluate(
            sim, chosen, episodes=episodes, seed=seed, population=population, warmup=warmup,
            horizon=horizon, on_progress=report,
        )  # fmt: skip
    if as_json:
        settings = {"episodes": episodes, "horizon": horizon, "warmup": warmup, "seed": seed}
        print_json({"simulator": str(simulator), **settings, **error.to_json()})
        return
    title = f"Open-loop error of {simulator}: {horizon} steps after {warmup} real ones"
    _print_errors(error, title)
    if (error.episodes == 0).any():
        say("note", "an agent whose episodes all ended during the real steps has no error")
    say_next_of(sim, simulator)


def _print_errors(error: OpenLoopError, title: str) -> None:
    """Errors by coordinate, each in its unit; then the paper's number, by steps as well."""
    from persim_gym.evaluation.coordinates import PAPER_COLUMN, PAPER_RMSE, RMSE, grouped_rmse
    from persim_gym.evaluation.open_loop import HORIZONS

    def show(title: str, columns: dict[str, NDArray[Any]]) -> None:
        rows = [
            [str(agent), *(own[i].item() for own in columns.values())]
            for i, agent in enumerate(error.agents.tolist())
        ]
        print_table(title, ["agent", *columns], rows)

    columns = grouped_rmse(error.coordinate_rmse, error.coordinates)
    show(f"{title}, RMSE of", {"episodes": error.episodes, **columns, "R2": error.r2})
    say("note", RMSE)
    steps = {f"step {h}": error.horizon_rmse(h) for h in HORIZONS if h <= error.step_rmse.shape[1]}
    show(PAPER_RMSE, {PAPER_COLUMN: error.rmse, **steps})
