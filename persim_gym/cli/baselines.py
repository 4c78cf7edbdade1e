"""Commands around baselines and synthetic data: baseline, generate, and what evaluate says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persim_gym.baselines import MODULES
from persim_gym.cli import complete, options, resolve, tables
from persim_gym.cli.group import interrupted, on_interrupt, say
from persim_gym.cli.next_step import say_next
from persim_gym.cli.output import print_facts, print_json, print_table, progress_bar, statistics
from persim_gym.envs.suites import SUITES, suite_of

if TYPE_CHECKING:
    from persim_gym.baselines.face import Baseline
    from persim_gym.learned.simulator import PerSim

NAMES = tuple(name.lower() for name in MODULES)


@tables.takes_table
def baseline(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help=f"Baseline: {', '.join(NAMES)}.",
            autocompletion=complete.words(*NAMES),
        ),
    ],
    dataset: options.DatasetOrTable,
    out: Annotated[Path, options.folder_to_write("the baseline")],
    agent: options.AgentOrAll = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="An option of the fit, such as updates=5000; repeatable.",
            show_default=False,
        ),
    ] = None,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    force: Annotated[bool, options.force("a baseline or a half-done fit in FOLDER")] = False,
    as_json: options.Json = False,
    *,
    columns: tables.Columns,
) -> None:
    """Fit a baseline: a policy that is learned offline.

    A fit that was stopped goes on from its last checkpoint when the same command is given again.
    """
    import torch

    from persim_gym import store
    from persim_gym.baselines.face import FILE, method_class
    from persim_gym.baselines.recipe import as_config
    from persim_gym.learned.naming import AgentNames

    kind = method_class(name)
    changes = parse_options(option or ())
    as_config(kind.Config, None, changes)  # before data are read
    kind.require()
    if (out / FILE).exists() and not force:
        raise ValueError(
            f"{out} holds a baseline: choose another folder, or replace it with --force"
        )
    transitions = tables.read(dataset, columns, nameless=True)
    chosen = None
    if agent is not None:
        chosen = AgentNames(transitions.agent_names or (), transitions.num_agents).parse(agent)
    if threads is not None:
        torch.set_num_threads(threads)
    if force:
        (out / store.CHECKPOINT).unlink(missing_ok=True)
    elif (out / store.CHECKPOINT).exists():
        say("resuming", f"{out / store.CHECKPOINT} holds a part of the fit")
    try:
        fitted = kind.fit(
            transitions, agent=chosen, seed=seed, device=device, checkpoint=out, save_every=10.0,
            **changes,
        )  # fmt: skip
    except KeyboardInterrupt:
        there = (out / store.CHECKPOINT).exists()
        interrupted(
            f"the same command goes on from the checkpoint in {out}"
            if there
            else "there was no checkpoint yet, the same command begins anew"
        )
    _print_baseline(fitted, out, as_json)
    if not as_json:
        _say_next(fitted, out, dataset, columns)


def _say_next(fitted: Baseline, out: Path, dataset: str, columns: tables.Columns) -> None:
    """A policy for a task with a true environment is tried there, others on the record."""
    if fitted.task.name in SUITES:
        say_next("evaluate", out)
        return
    judged = ("--policy", out, "--out", f"{out}-trust")
    say_next("validate", dataset, *judged, *columns.words())


def _print_baseline(fitted: Baseline, out: Path, as_json: bool) -> None:
    if as_json:
        print_json({"folder": str(out), **fitted.card})
        return
    data, agents = fitted.card["dataset"], fitted.agents
    print_facts(
        f"{fitted.name} for {fitted.task.name or 'data without a name'}",
        [
            ("data set", data["id"] or "-"),
            ("agents", len(agents) if len(agents) > 1 else f"agent {agents[0]} alone"),
            ("transitions", data["transitions"]),
            ("model", "yes" if fitted.dynamics is not None else "no"),
            ("folder", out),
        ],
    )


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """Options of texts such as ``"updates=5000"``; a value is JSON, or else a word.

    Raises:
        ValueError: If a text is none, or an option is named twice.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"--set takes NAME=VALUE, such as updates=5000, got {text!r}")
        if name.strip() in found:
            raise ValueError(f"--set names {name.strip()!r} twice: give one")
        try:
            found[name.strip()] = json.loads(value)
        except json.JSONDecodeError:
            found[name.strip()] = value
    return found


def holds_baseline(folder: Path) -> bool:
    """Whether a folder is that of a baseline."""
    from persim_gym.baselines.face import FILE

    return (folder / FILE).is_file()


def evaluate_baseline(folder: Path, agents: str, episodes: int, seed: int, as_json: bool) -> None:
    """Returns of a saved baseline in the true environments, beside those of random actions."""
    from persim_gym.baselines import Baseline
    from persim_gym.evaluation.returns import episode_returns
    from persim_gym.learned.naming import AgentNames

    policy = Baseline.load(folder)
    if policy.task.name not in SUITES:
        raise ValueError(
            f"the baseline in {folder} is of own data, which have no true environment: persim-gym "
            "validate DATA --policy FOLDER says what it would earn by the record"
        )
    suite = suite_of(policy.task)
    population = suite.population(policy.card["dataset"].get("population"))
    chosen = resolve.choose_agents(agents, AgentNames((), len(population)))
    task, true = suite.task(), suite.dynamics(population)
    with progress_bar("evaluate"):
        found = episode_returns(task, true, chosen, policy, episodes, seed)
        chance = episode_returns(task, true, chosen, "random", episodes, seed)
    if as_json:
        rows = [
            {"agent": agent, "returns": own.tolist(), "random": float(other.mean())}
            for agent, own, other in zip(chosen, found, chance, strict=True)
        ]
        print_json({"baseline": str(folder), "method": policy.name, "seed": seed, "agents": rows})
        return
    print_table(
        f"Returns of {policy.name} in the true {suite.name}",
        ["agent", "episodes", "mean", "sd", "least", "most", "random policy"],
        [
            [str(agent), *statistics(own), float(other.mean())]
            for agent, own, other in zip(chosen, found, chance, strict=True)
        ],
    )
    acting = ("--policy", folder, "--out", f"{folder}.mp4")
    say_next("render", suite.name, "--agent", chosen[0], *acting)


def generate(
    simulator: options.Simulator,
    agents: options.AgentsOrAll = None,
    policy: Annotated[
        str,
        typer.Option(
            "--policy",
            "--behaviour",
            metavar="NAME",
            help="Policy: random, mpc, another behaviour, or the folder of one that train or "
            "baseline has made.",
            autocompletion=complete.policies,
        ),
    ] = "random",
    episodes: options.Episodes = 1,
    seed: options.Seed = 0,
    dataset_id: options.DatasetId = None,
    propagation: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Propagation: mean, random_member (TS1), fixed_member (TSinf) or sample.",
        ),
    ] = "mean",
    guard: Annotated[
        bool, typer.Option("--guard/--no-guard", help="Stop where the simulator is not trusted.")
    ] = True,
    max_steps: options.MaxSteps = None,
    force: Annotated[bool, options.force("a data set of this id")] = False,
    as_json: options.Json = False,
) -> None:
    """Generate a synthetic Minari data set in a simulator.

    The data set says that it is synthetic, and of which simulator.
    """
    from persim_gym.learned.outcomes.given_reward import has_reward

    sim = resolve.open_simulator(simulator)
    chosen = None if agents is None else resolve.choose_agents(agents, sim.names)
    acting = _policy(policy, sim, seed)
    with on_interrupt("no data set was written"), progress_bar("generate") as report:
        data = sim.generate(
            chosen, acting, episodes, seed, dataset_id=dataset_id, propagation=propagation,
            guard=guard, max_episode_steps=max_steps, overwrite=force, on_progress=report,
            progress=False,
        )  # fmt: skip
    card = data.storage.metadata["persim_gym"]
    if as_json:
        print_json({"id": data.id, **card})
        return
    found = card["summary"]
    reasons = ", ".join(f"{name} {count}" for name, count in found.get("guard", {}).items())
    print_facts(
        f"Synthetic data of {sim.task.name}",
        [
            ("id", data.id),
            ("agents", found["agents"]),
            ("episodes", found["episodes"]),
            ("transitions", int(data.total_steps)),
            ("mean return", found["mean_return"]),
            ("stopped by the guard", reasons or "none"),
            ("simulator", card["synthetic"]["simulator_sha256"][:16]),
        ],
    )
    # Without a reward no action is better than another: they can be imitated.
    method = "bcq" if has_reward(sim.task) else "cloning"
    say_next("baseline", method, data.id, "--out", f"runs/{method}")


def _policy(name: str, sim: PerSim, seed: int) -> Any:
    """A policy by name or folder, to act in a simulator.

    Raises:
        ValueError: If there is none, or it acts in another task.
    """
    if name == "mpc":
        from persim_gym.planning import MPC
        from persim_gym.planning.planner_choice import planner_for_data

        return MPC(sim, planner=planner_for_data(sim.task), seed=seed)
    from persim_gym.checks import as_path
    from persim_gym.policies.behaviours import as_policy

    folder = as_path("--policy", name)
    if folder.is_dir():
        return resolve.saved_policy(folder, sim.task)
    as_policy(name, sim.task)  # an unknown name is refused here
    return name
