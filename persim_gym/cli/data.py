"""Commands around data: agents, record, datasets."""

from __future__ import annotations

import csv
import dataclasses
import io
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persim_gym import checks
from persim_gym.checks import size_of
from persim_gym.cli import complete, imports, options, resolve
from persim_gym.cli.cards import print_card, print_summary
from persim_gym.cli.command import Commands
from persim_gym.cli.group import on_interrupt, say, visible
from persim_gym.cli.next_step import say_next
from persim_gym.cli.output import duration, print_json, print_table
from persim_gym.envs.populations import DEFAULT_SIZE

if TYPE_CHECKING:
    from persim_gym.envs.suites import Suite
    from persim_gym.offline.summaries import Summary

#: The word for all tasks or all behaviours, and the formats of a figure.
ALL = "all"
PICTURES = (".png", ".svg", ".pdf")
POPULATION_SEED = "Seed of the population."

datasets = Commands(help="List, describe and delete recorded data sets.")


def agents(
    task: options.Task,
    size: options.PopulationSize = None,
    seed: Annotated[
        int | None, options.count(POPULATION_SEED, "0", "--population-seed", "--seed", least=0)
    ] = None,
    ranges: options.Ranges = None,
    show: Annotated[int, options.count("Rows of the table.")] = 10,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print all agents as CSV.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show the agents of a population with their hidden covariates.

    Agents 0 to 4 of a population without ranges of its own are the paper's test agents.
    """
    from persim_gym.envs.suites import find_suite

    if as_csv and as_json:
        raise ValueError("--csv and --json are two formats: give one")
    suite = find_suite(task)
    population = suite.population(options.population(size or DEFAULT_SIZE, seed or 0, ranges))
    names, values = population.names, population.values.tolist()
    tests = 0 if ranges else min(len(population), len(suite.covariates.test_agents))
    if as_csv:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["agent", *names])
        writer.writerows([agent, *row] for agent, row in enumerate(values))
        typer.echo(text.getvalue(), nl=False)
        return
    if as_json:
        listed: list[dict[str, Any]] = [
            {"agent": agent, **dict(zip(names, row, strict=True)), "test_agent": agent < tests}
            for agent, row in enumerate(values)
        ]
        print_json({"task": suite.name, "population": population.to_json(), "agents": listed})
        return
    chosen = suite.covariates.ranges(options.parse_ranges(ranges))
    print_table(
        f"Covariates of {suite.name}",
        ["name", "meaning", "unmodified", "low", "high"],
        [[c.name, c.meaning, c.default, *chosen[c.name]] for c in suite.covariates.columns],
        left=2,
    )
    shown = values[:show]
    print_table(
        f"Agents 0 to {len(shown) - 1} of {len(population):,} (seed {seed})",
        ["agent", "", *names],
        [[a, "test agent" if a < tests else "", *row] for a, row in enumerate(shown)],
        left=2,
    )
    say_next("record", suite.name)


def record(
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK",
            help=f"Task: {', '.join(options.TASKS)}; or all.",
            autocompletion=complete.words(*options.TASKS, ALL),
        ),
    ],
    behaviour: Annotated[
        str | None,
        typer.Option(
            "--behaviour",
            "--policy",
            metavar="NAME",
            help="Behaviour: pure, pure-eps-20, pure-eps-40 (or any other percentage), random; "
            "all; or the folder of a policy that train or baseline has made.",
            show_default="random, or all with TASK all",
            autocompletion=complete.behaviours,
        ),
    ] = None,
    epsilon: Annotated[
        float | None,
        options.number("Probability of a random action instead of the policy's.", min=0, max=1),
    ] = None,
    agents: Annotated[
        str | None,
        typer.Option(metavar="N", help="How many agents, from the first on.", show_default="500"),
    ] = None,
    agent: options.RecordedAgents = None,
    episodes: options.Episodes = 1,
    max_steps: options.MaxSteps = None,
    seed: options.Seed = 0,
    dataset_id: options.DatasetId = None,
    namespace: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What ids begin with.", show_default="persim"),
    ] = None,
    data_format: options.Format = "hdf5",
    force: Annotated[bool, options.force("data sets of the same ids")] = False,
    population_size: options.PopulationSize = None,
    population_seed: Annotated[int | None, options.count(POPULATION_SEED, "0", least=0)] = None,
    ranges: options.Ranges = None,
) -> None:
    """Record trajectories of agents as Minari data sets.

    One appears when it is complete, in the folder MINARI_DATASETS_PATH (by default
    ~/.minari/datasets). Of all, those that are there already are left out: after a kill the same
    command goes on with the others.
    """
    if agents is not None and agent is not None:
        raise ValueError("--agents and --agent both say which agents: give one")
    count = "500" if agents is None else agents
    which = count if agent is None else agent
    counted = agent is None and count.strip().isdecimal()
    common: dict[str, Any] = {
        "agents": int(which) if counted else options.parse_agents(which),
        "episodes": episodes,
        "seed": seed,
        "population": options.population(population_size, population_seed, ranges),
        "max_episode_steps": max_steps,
        "data_format": data_format,
    }
    if behaviour is None:
        behaviour = ALL if task == ALL else "random"
    if ALL in (task, behaviour):
        for name, given in (("--dataset-id", dataset_id), ("--epsilon", epsilon)):
            if given is not None:
                raise ValueError(f"{name} is of one data set: name the task and the behaviour")
        _record_all(task, behaviour, namespace, force, common)
    else:
        if dataset_id is not None and namespace is not None:
            raise ValueError("--dataset-id and --namespace both say what the id is: give one")
        _record_one(task, behaviour, epsilon, dataset_id, namespace, force, common)


def _record_one(
    task: str,
    behaviour: str,
    epsilon: float | None,
    dataset_id: str | None,
    namespace: str | None,
    force: bool,
    common: dict[str, Any],
) -> None:
    from persim_gym.envs.suites import find_suite
    from persim_gym.offline import collection, provenance
    from persim_gym.offline import datasets as files
    from persim_gym.offline.recorder import prepare
    from persim_gym.offline.summaries import describe
    from persim_gym.policies.behaviours import behaviour_name

    suite = find_suite(task)
    policy = _behaviour(behaviour, epsilon, suite)
    name = policy if isinstance(policy, str) else behaviour_name(policy)
    if namespace is not None:
        dataset_id = collection.dataset_id(suite.name, name, namespace)
    recording = prepare(suite.env_id, policy, dataset_id=dataset_id, **common)
    if not force and files.find(recording.dataset_id) is not None:
        raise ValueError(
            f"data set {recording.dataset_id!r} exists already: replace it with --force, or give "
            "another id with --dataset-id"
        )
    # A policy from a folder is not known by its name alone.
    command = provenance.command_line(
        recording.recipe,
        behaviour=behaviour,
        epsilon=epsilon,
        dataset_id=dataset_id,
        data_format=common["data_format"],
    )
    with on_interrupt("nothing was recorded, the same command begins anew"):
        data = dataclasses.replace(recording, command=command or recording.command).run(force)
    print_summary(describe(data), data.storage.data_path)
    say_next("fit", recording.dataset_id, "--out", f"runs/{suite.name}")


def _record_all(
    task: str, behaviour: str, namespace: str | None, force: bool, common: dict[str, Any]
) -> None:
    from persim_gym.offline.collection import Recorded, record_all
    from persim_gym.offline.datasets import NAMESPACE
    from persim_gym.offline.summaries import describe

    begun, shares = time.monotonic(), [0.0]
    quiet = sys.stderr.isatty()  # there is a bar then

    def on_progress(done: int, total: int) -> None:
        shares[0] = done / total

    def on_recorded(recorded: Recorded) -> None:
        if quiet or recorded.was_there:
            return
        left = (time.monotonic() - begun) * (1 / max(shares[0], 1e-6) - 1)
        say(
            "recorded",
            f"{recorded.dataset_id} in {duration(recorded.seconds)}, about {duration(left)} left",
        )

    with on_interrupt("the same command goes on with the data sets that are missing"):
        results = record_all(
            None if task == ALL else [task],
            None if behaviour == ALL else [behaviour],
            namespace=NAMESPACE if namespace is None else namespace,
            overwrite=force,
            on_progress=on_progress,
            on_recorded=on_recorded,
            **common,
        )
    rows = []
    for result in results:
        s = describe(result.dataset_id)
        took = "was there" if result.was_there else duration(result.seconds)
        rows.append([s.id, s.transitions, s.mean_return, size_of(s.size), took])
    print_table("Data sets", ["id", "transitions", "return", "size", "took"], rows)
    say_next("datasets", "list")


def _behaviour(behaviour: str, epsilon: float | None, suite: Suite) -> Any:
    """The policy of a name or folder."""
    from persim_gym.policies.behaviours import EpsilonMixture, as_policy

    if behaviour == "random" and epsilon is not None:
        raise ValueError("--epsilon mixes random actions into a policy's: random has no others")
    policy: Any = behaviour
    if (folder := checks.as_path("--behaviour", behaviour)).is_dir():
        policy = resolve.saved_policy(folder, suite.task())
    else:
        named = as_policy(behaviour, suite.task())  # an unknown name is refused here
        if epsilon is not None:
            policy = named
    return policy if epsilon is None else EpsilonMixture(policy, epsilon)


# -- datasets --------------------------------------------------------------------------------------


@datasets.callback(invoke_without_command=True)
def _datasets(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


datasets.command(
    "import", epilog=options.examples("datasets import cartPole_random_0.0_0.pkl --task cartpole")
)(imports.import_dataset)


@datasets.command("list", epilog=options.examples("datasets list"))
def list_datasets(as_json: options.Json = False) -> None:
    """List the data sets on this machine."""
    from persim_gym.offline.summaries import summaries

    found = summaries()
    if as_json:
        print_json([_plain(summary) for summary in found])
        return
    if not found:
        typer.echo("There are none yet: persim-gym record makes one.")
        say_next("record", options.TASKS[0])
        return
    print_table(
        "Data sets",
        ["id", "agents", "episodes", "transitions", "return", "size"],
        [
            [s.id, s.agents, s.episodes, s.transitions, s.mean_return, size_of(s.size)]
            if not s.damage
            else [s.id, None, None, None, "damaged", size_of(s.size)]
            for s in found
        ],
    )
    for s in found:
        if s.damage:
            say("damaged", s.damage)
    if sound := [s.id for s in found if not s.damage]:
        say_next("datasets", "show", sound[0])


@datasets.command(
    "show",
    epilog=options.examples(
        "datasets show persim/cartpole/random-v0",
        "datasets show persim/cartpole/random-v0 --out card.png",
    ),
)
def show_dataset(
    dataset: options.Dataset,
    as_json: options.Json = False,
    plot: Annotated[
        Path | None,
        options.file_to_write("the card as a .png, .svg or .pdf, too", PICTURES, "--plot"),
    ] = None,
) -> None:
    """Show the card of a data set: what it holds, and how it is made again."""
    from persim_gym.offline.card_making import data_card
    from persim_gym.offline.datasets import load

    data = load(dataset)
    card = data_card(data)
    if plot is not None:
        from persim_gym.plots.data_card import card_figure
        from persim_gym.plots.style import save

        save(card_figure(card), plot)
    if as_json:
        print_json({**card.to_json(), "path": str(data.storage.data_path)})
    else:
        print_card(card, data.storage.data_path)
    if plot is not None and not as_json:
        typer.echo(f"drawn in {plot}")
    if not as_json:
        say_next("fit", dataset, "--out", f"runs/{card.summary.task}")


@datasets.command(
    "delete", epilog=options.examples("datasets delete persim/cartpole/random-v0 --yes")
)
def delete_dataset(
    dataset: options.Dataset,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a data set for good, damaged or not."""
    from persim_gym.offline.datasets import delete, load, place_of
    from persim_gym.offline.summaries import describe

    try:
        about = f"{describe(load(dataset)).transitions:,} transitions"
    except (ValueError, OSError):
        if not (place_of(dataset) / "data").is_dir():
            raise
        about = "damaged"
    if not yes:
        typer.confirm(visible(f"Delete {dataset} ({about})?"), abort=True, err=True)
    delete(dataset)
    say("deleted", dataset)
    say_next("datasets", "list")


def _plain(summary: Summary) -> dict[str, Any]:
    return dataclasses.asdict(summary)
