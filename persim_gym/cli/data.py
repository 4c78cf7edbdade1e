"""Commands around data: agents, record, datasets."""

from __future__ import annotations

import contextlib
import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persim_gym.cli import models, options
from persim_gym.cli.group import on_interrupt, say
from persim_gym.cli.output import print_facts, print_json, print_table, size_of

if TYPE_CHECKING:
    from persim_gym.envs.suites import Suite
    from persim_gym.offline.datasets import Summary

datasets = typer.Typer(help="List, describe and delete recorded data sets.")


def agents(
    task: options.Task,
    size: Annotated[int, typer.Option(metavar="N", min=1, help="Size of the population.")] = 500,
    seed: options.Seed = 0,
    ranges: options.Ranges = None,
    show: Annotated[int, typer.Option(metavar="N", min=1, help="Rows of the table.")] = 10,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print all agents as CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all agents as JSON.")] = False,
) -> None:
    """Show the agents of a population with their hidden covariates.

    Agents 0 to 4 of a population without ranges of its own are the paper's test agents.
    """
    from persim_gym.envs.suites import find_suite

    if as_csv and as_json:
        raise ValueError("--csv and --json are two formats: give one")
    suite = find_suite(task)
    people = suite.population(options.population(size, seed, ranges))
    names, values = people.names, people.values.tolist()
    tests = 0 if ranges else min(len(people), len(suite.covariates.test_agents))
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
        print_json({"task": suite.name, "population": people.to_json(), "agents": listed})
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
        f"Agents 0 to {len(shown) - 1} of {len(people):,} (seed {seed})",
        ["agent", "", *names],
        [[a, "test agent" if a < tests else "", *row] for a, row in enumerate(shown)],
        left=2,
    )


def record(
    task: options.Task,
    behaviour: Annotated[
        str,
        typer.Option(metavar="NAME", help="random, or the folder of a policy that train has made."),
    ] = "random",
    epsilon: Annotated[
        float | None,
        typer.Option(
            metavar="E",
            min=0,
            max=1,
            help="Probability of a random action instead of the policy's.",
        ),
    ] = None,
    agents: Annotated[
        str,
        typer.Option(metavar="N", help="How many agents, from the first on; or a list: 0-4, 7."),
    ] = "500",
    episodes: Annotated[int, typer.Option(metavar="N", min=1, help="Episodes of each agent.")] = 1,
    max_steps: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Time limit.", show_default="the task's"),
    ] = None,
    seed: options.Seed = 0,
    dataset_id: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="Id of the data set.", show_default="persim/TASK/BEHAVIOUR-v0"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a data set of this id.")] = False,
    population_size: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Size of the population.", show_default="500"),
    ] = None,
    population_seed: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Seed of the population.", show_default="0"),
    ] = None,
    ranges: options.Ranges = None,
) -> None:
    """Record trajectories of agents as a Minari data set.

    It appears when it is complete, in the folder MINARI_DATASETS_PATH (by default
    ~/.minari/datasets).
    """
    import minari

    from persim_gym.envs.suites import find_suite
    from persim_gym.offline.behaviours import behaviour_name
    from persim_gym.offline.datasets import describe
    from persim_gym.offline.recorder import record as record_data

    suite = find_suite(task)
    policy = _behaviour(behaviour, epsilon, suite)
    chosen: int | list[int] = (
        int(agents) if agents.strip().isdecimal() else options.parse_agents(agents)
    )
    name = behaviour if isinstance(policy, str) else behaviour_name(policy)
    dataset_id = dataset_id or f"persim/{suite.name}/{name}-v0"
    if not force and dataset_id in minari.list_local_datasets():
        raise ValueError(
            f"data set {dataset_id!r} exists already: replace it with --force, or give another id "
            "with --dataset-id"
        )
    with on_interrupt("nothing was recorded, the same command begins anew"):
        data = record_data(
            suite.env_id,
            policy,
            chosen,
            episodes,
            seed,
            population=options.population(population_size, population_seed, ranges),
            max_episode_steps=max_steps,
            dataset_id=dataset_id,
            overwrite=force,
        )
    _print_summary(describe(data), data.storage.data_path)


def _behaviour(behaviour: str, epsilon: float | None, suite: Suite) -> Any:
    """The policy of a name or folder."""
    if behaviour == "random":
        if epsilon is not None:
            raise ValueError("--epsilon mixes random actions into a policy's: random has no others")
        return behaviour
    if not Path(behaviour).is_dir():
        raise ValueError(
            f"unknown behaviour {behaviour!r}: it must be random or the folder of a policy"
        )
    from persim_gym.offline.behaviours import EpsilonMixture

    policy = models.saved_policy(behaviour, suite)
    return policy if epsilon is None else EpsilonMixture(policy, epsilon)


# -- datasets --------------------------------------------------------------------------------------


@datasets.callback(invoke_without_command=True)
def _datasets(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@datasets.command("list", epilog=options.examples("datasets list"))
def list_datasets(as_json: options.Json = False) -> None:
    """List the data sets on this machine."""
    from persim_gym.offline.datasets import summaries

    found = summaries()
    if as_json:
        print_json([_plain(summary) for summary in found])
        return
    if not found:
        typer.echo("There are none yet: persim-gym record makes one.")
        return
    print_table(
        "Data sets",
        ["id", "agents", "episodes", "transitions", "return", "size"],
        [
            [s.id, s.agents, s.episodes, s.transitions, s.mean_return, size_of(s.size)]
            for s in found
        ],
    )


@datasets.command("show", epilog=options.examples("datasets show persim/cartpole/random-v0"))
def show_dataset(dataset: options.Dataset, as_json: options.Json = False) -> None:
    """Describe a data set."""
    from persim_gym.offline.datasets import describe, load

    data = load(dataset)
    summary = describe(data)
    if as_json:
        print_json({**_plain(summary), "path": str(data.storage.data_path)})
    else:
        _print_summary(summary, data.storage.data_path)


@datasets.command(
    "delete", epilog=options.examples("datasets delete persim/cartpole/random-v0 --yes")
)
def delete_dataset(
    dataset: options.Dataset,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a data set for good."""
    import minari

    from persim_gym.offline.datasets import describe, load

    summary = describe(load(dataset))
    if not yes:
        typer.confirm(
            f"Delete {summary.id} ({summary.transitions:,} transitions)?", abort=True, err=True
        )
    with contextlib.redirect_stdout(io.StringIO()):  # Minari prints what it has done
        minari.delete_dataset(dataset)
    say("deleted", dataset)


def _plain(summary: Summary) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(summary)


def _print_summary(summary: Summary, path: object) -> None:
    print_facts(
        summary.id,
        [
            ("task", summary.task),
            ("behaviour", summary.behaviour),
            ("agents", summary.agents),
            ("episodes", summary.episodes),
            ("transitions", summary.transitions),
            ("mean return", summary.mean_return),
            ("size", size_of(summary.size)),
            ("folder", path),
        ],
    )
