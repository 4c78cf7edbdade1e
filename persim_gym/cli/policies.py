"""Commands around the policies that ship with the package: train, list, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persim_gym.cli import complete, options
from persim_gym.cli.command import Commands
from persim_gym.cli.group import on_interrupt, say
from persim_gym.cli.next_step import say_next
from persim_gym.cli.output import cell, duration, print_json, print_table, progress_bar
from persim_gym.core import describe

if TYPE_CHECKING:
    from persim_gym.policies.recipes import Recipe

policies = Commands(help="List, evaluate and train the behaviour policies.")

ALL = "all"
OUT = Path("runs/policies")

Name = Annotated[
    str | None,
    typer.Option(
        "--policy",
        metavar="NAME",
        help="Policy: one alone, such as gravity-0.0003 or test.",
        show_default="all of the task",
    ),
]


def _recipes(task: str, name: str | None) -> list[Recipe]:
    from persim_gym.policies import recipes

    if task == ALL:
        if name is not None:
            raise ValueError(f"--policy {name} is of one task: name the task instead of {ALL}")
        return list(recipes.all_recipes())
    return list(recipes.recipes(task)) if name is None else [recipes.find_recipe(task, name)]


@policies.callback(invoke_without_command=True)
def _policies(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


@policies.command("list", epilog=options.examples("policies list", "policies list cartpole --json"))
def list_policies(
    task: Annotated[
        str,
        typer.Argument(
            metavar="[TASK]",
            help=options.ONE_TASK,
            show_default="all tasks",
            autocompletion=complete.words(*options.TASKS),
        ),
    ] = ALL,
    as_json: options.Json = False,
) -> None:
    """List the policies that ship with the package: how each was made, and what it earns."""
    from persim_gym.policies.recipes import TEST
    from persim_gym.policies.shipped import load_shipped

    cards = [load_shipped(recipe.task, recipe.name).card for recipe in _recipes(task, None)]
    if as_json:
        print_json(cards)
        return
    for name in dict.fromkeys(card["task"] for card in cards):
        own = next(c for c in cards if c["task"] == name and c["name"] == TEST)
        print_table(
            f"Policies of {name}, named by their covariates; test: {describe(own['covariates'])}",
            ["policy", "by", "steps", "seed", "target", "return", "sd"],
            [
                [
                    card["name"],
                    card["algorithm"],
                    card["steps"],
                    card["seed"],
                    cell(card["target"]),
                    card["mean_return"],
                    card["sd_return"],
                ]
                for card in cards
                if card["task"] == name
            ],
            left=2,
        )
    say_next("policies", "evaluate", cards[0]["task"])


@policies.command(
    "evaluate",
    epilog=options.examples("policies evaluate cartpole", "policies evaluate cartpole --json"),
)
def evaluate(
    task: options.Task,
    policy: Name = None,
    episodes: Annotated[
        int, options.count("Episodes of each agent; here, on the policy's own covariates.")
    ] = 100,
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Returns of the policies, on their own covariates and over the agents that they act for.

    Each agent of the default population is acted for one episode by the policy of the nearest
    training covariates; the test policy acts for all of them.
    """
    import numpy as np

    from persim_gym.envs.populations import Population
    from persim_gym.envs.suites import find_suite
    from persim_gym.policies.recipes import TEST
    from persim_gym.policies.shipped import behaviour_recipes, load_shipped, nearest
    from persim_gym.rollout import play_returns

    chosen = _recipes(find_suite(task).name, policy)
    suite = find_suite(task)
    population, task_ = suite.population(), suite.task()
    true, groups = suite.dynamics(population), nearest(suite.name, population.values)
    names = [recipe.name for recipe in behaviour_recipes(suite.name)]
    rows: list[dict[str, Any]] = []
    with on_interrupt("nothing was kept"), progress_bar("evaluate") as report:
        for done, recipe in enumerate(chosen):
            report(done, len(chosen))
            acting = load_shipped(suite.name, recipe.name)
            single = suite.dynamics(Population.single(suite.covariates, recipe.covariates))
            own = play_returns(task_, single, acting, np.zeros(episodes, dtype=np.int64), seed)
            agents = np.arange(len(population))
            if recipe.name != TEST:
                agents = agents[groups == names.index(recipe.name)]
            group = play_returns(task_, true, acting, agents, seed)
            rows.append(
                {
                    "policy": recipe.name,
                    "target": recipe.target,
                    "episodes": episodes,
                    "mean": float(own.mean()),
                    "sd": float(own.std(ddof=1)) if episodes > 1 else None,
                    "agents": len(agents),
                    "group_mean": float(group.mean()),
                    "group_sd": float(group.std(ddof=1)),
                }
            )
    if as_json:
        print_json({"task": suite.name, "seed": seed, "policies": rows})
        return
    print_table(
        f"Returns of the policies of {suite.name}: {episodes} episodes on their own covariates, "
        "then one of each agent",
        ["policy", "target", "return", "sd", "agents", "their return", "their sd"],
        [
            [
                row["policy"],
                cell(row["target"]),
                *(row[k] for k in ("mean", "sd", "agents", "group_mean", "group_sd")),
            ]
            for row in rows
        ],
    )
    say_next("record", suite.name, "--behaviour", "pure")


@policies.command(
    "train",
    epilog=options.examples(
        "policies train cartpole --policy force-6-length-0.5",
        "policies train all --out runs/policies",
    ),
)
def train(
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK",
            help=f"Task: {', '.join(options.TASKS)}; or {ALL}.",
            autocompletion=complete.words(*options.TASKS, ALL),
        ),
    ],
    policy: Name = None,
    out: Annotated[Path, options.folder_to_write("the policies, a folder a task")] = OUT,
    seed: Annotated[
        int | None, options.count("Seed of everything random.", "the shipped one's", least=0)
    ] = None,
    steps: Annotated[
        int | None, options.count("Steps of training; it is given up after them.", "by task")
    ] = None,
) -> None:
    """Train the policies anew until they earn their targets; goes on after an interruption.

    Minutes for MountainCar and CartPole, a quarter of an hour or more for HalfCheetah. The policies
    of the package itself are not touched.
    """
    from persim_gym.policies.training import TrainingProgress, check_out, train_policy

    chosen = _recipes(task, policy)
    for recipe in chosen:
        check_out(recipe, out, seed, steps)
    rows = []
    for recipe in chosen:
        with (
            on_interrupt("the same command goes on from the last checkpoint"),
            progress_bar(f"{recipe.task} {recipe.name}") as report,
        ):

            def show(progress: TrainingProgress, report: Any = report) -> None:
                report(progress.steps, progress.max_steps)

            card = train_policy(recipe, out, seed=seed, max_steps=steps, on_progress=show).card
        if not card["reached"]:
            say(
                "note",
                f"{recipe.task} {recipe.name}: no evaluation was within {recipe.tolerance:.0%} of "
                f"{recipe.target:g}; the nearest policy was kept",
            )
        rows.append(
            [
                recipe.task,
                recipe.name,
                card["steps"],
                duration(card["seconds"]),
                cell(card["target"]),
                card["mean_return"],
                card["sd_return"],
            ]
        )
    print_table(
        f"Policies in {out}",
        ["task", "policy", "steps", "took", "target", "return", "sd"],
        rows,
        left=2,
    )
    say_next("record", chosen[0].task, "--behaviour", out / chosen[0].task / chosen[0].name)
