"""Command that says how far a simulator, or data before they are fitted, can be trusted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persim_gym import checks
from persim_gym.cli import complete, options, resolve, tables
from persim_gym.cli.group import FAILED, on_interrupt, say
from persim_gym.cli.messages import as_typed
from persim_gym.cli.next_step import say_next, say_next_of
from persim_gym.cli.output import print_json, progress_bar
from persim_gym.cli.trust import print_validation

if TYPE_CHECKING:
    from persim_gym.evaluation.validation import Rule, Validation
    from persim_gym.learned.simulator import PerSim
    from persim_gym.offline.transitions import Transitions


@tables.takes_table
def validate(
    target: Annotated[
        str,
        typer.Argument(
            metavar="SIM_OR_DATA",
            help="Folder of a fitted simulator, or a data set's id or a table.",
            autocompletion=complete.runs_or_data,
        ),
    ],
    out: Annotated[Path, options.folder_to_write("the page and validation.json")],
    split: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="ends, agents, behaviour, time or new (a simulator as it is, on data that it has "
            "not seen); repeatable.",
            autocompletion=complete.words("ends", "agents", "behaviour", "time", "new"),
            show_default="ends, or new for other data than the fit's",
        ),
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE",
            help='Such as "rmse(glucose,10)<persistence"; exit code 1 if it does not hold; '
            "repeatable.",
            show_default=False,
        ),
    ] = None,
    horizons: Annotated[
        str,
        typer.Option(
            "--horizon", "--horizons", metavar="LIST", help="Steps that are predicted ahead."
        ),
    ] = "1,10,50",
    data: options.Data = None,
    behaviour_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Table: column of who or what chose the actions, for --split behaviour.",
            show_default=False,
        ),
    ] = None,
    fitted_on: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="With --split new: the data set or table that the simulator was fitted on, for "
            "references.",
            show_default=False,
            autocompletion=complete.datasets_or_tables,
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Policy: hold (each agent keeps to its usual action), random or the folder of one "
            "that train or baseline has made. What it would earn is said.",
            show_default=False,
        ),
    ] = None,
    policy_steps: Annotated[
        int | None, options.count("With --policy: over how many steps.")
    ] = None,
    reward: options.Reward = None,
    method: options.OwnMethod = None,
    effort: options.Effort = None,
    ensemble_size: options.EnsembleSize = None,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    as_json: options.Json = False,
    *,
    columns: tables.Columns,
) -> None:
    """Say how far a simulator can be trusted, on one page.

    A part of the data is kept, the rest is fitted in the simulator's way, and what was kept is
    predicted beside persistence, a pooled model and each agent's own linear model. The page says in
    words what may be read off and what not. Data can be validated before they are fitted.

    Exit code 1 if a rule of --require does not hold.
    """
    from persim_gym.evaluation.validation import Grade, Rule
    from persim_gym.evaluation.validation.fitted_data import data_of
    from persim_gym.evaluation.validation.splits import SPLITS
    from persim_gym.learned.config import METHODS

    checks.integer("--seed", seed, most=checks.LARGEST_SEED)
    for name in split or ():
        checks.one_of("--split", name, SPLITS)
    if method is not None:
        checks.one_of("--method", method, METHODS)
    rules = [Rule.parse(text) for text in require or ()]
    asked = _policy(policy, reward, policy_steps)
    steps = _horizons(horizons, rules)
    sim = _simulator(target)
    fit = {"method": method, "effort": effort, "ensemble_size": ensemble_size}
    given = {name: value for name, value in fit.items() if value is not None}
    if sim is not None and given:
        raise ValueError(
            f"--{next(iter(given)).replace('_', '-')} is of data: {target} is a simulator, which "
            "is fitted again in its own way"
        )
    if sim is None and data is not None:
        raise ValueError(f"--data is of a simulator, and {target} is none: give one of both")
    if behaviour_column is not None:
        split = list(dict.fromkeys([*(split or ()), "behaviour"]))
    if fitted_on is not None and sim is None:
        raise ValueError(f"--fitted-on is of a simulator, and {target} is none")
    named = target if sim is None else data
    found, labels = _data(sim, named, columns, out, behaviour_column)
    if labels is not None:
        asked["behaviour"] = labels
    if fitted_on is not None:
        assert sim is not None
        asked["fitted_on"] = data_of(sim, fitted_on)
    _check_columns(rules, found)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    with on_interrupt("nothing was written"), progress_bar("validate") as report:
        validation = _validated(sim, found, split, steps, seed, given | asked, report)
    page = validation.save(out)
    failing = [why for rule in rules if (why := validation.failing(rule.text))]
    if as_json:
        plain = validation.to_json()
        print_json({"page": str(page), "failing": failing, **plain})
    else:
        print_validation(validation)
        typer.echo(page)
        if not failing and validation.grade not in (Grade.BAD, Grade.UNKNOWN):
            _say_next(sim, target, columns, given)
    for why in failing:
        say("failed", why)
    if failing:
        raise typer.Exit(FAILED)


def _say_next(
    sim: PerSim | None, target: str, columns: tables.Columns, given: Mapping[str, Any]
) -> None:
    """What is judged well enough is used: a simulator is planned in, data are fitted alike."""
    if sim is not None:
        say_next_of(sim, target)
    else:
        path = Path(target)
        name = path.stem if tables.is_table(target) else path.parent.name or path.name
        fit = [word for key, v in given.items() for word in (f"--{key.replace('_', '-')}", v)]
        say_next("fit", target, "--out", f"runs/{name}", *columns.words(), *fit)


def _policy(name: str | None, reward: str | None, steps: int | None) -> dict[str, Any]:
    """What is asked of a policy, as arguments of a validation."""
    if name is None:
        if steps is not None:
            raise ValueError("--policy-steps is of a policy's value: give --policy, too")
        if reward is not None:
            raise ValueError("--reward is of a policy's value: give --policy, too")
        return {}
    from persim_gym.learned.outcomes.given_reward import read_reward

    found: Any = name
    if name not in ("hold", "random"):
        folder = checks.as_path("--policy", name)
        if not folder.is_dir():
            raise ValueError(
                f"--policy must be hold, random or the folder of a policy that persim-gym train "
                f"or baseline has made, got {name!r}"
            )
        found = resolve.load_policy(folder)
    return {"policy": found, "reward": read_reward(reward), "steps": steps}


def _simulator(target: str) -> PerSim | None:
    """The simulator that is named, if it is one."""
    from persim_gym import store

    path = checks.as_path("SIM_OR_DATA", target)
    is_run = (path / store.SIMULATOR).exists() or path.name == store.SIMULATOR
    return resolve.open_simulator(path) if is_run else None


def _data(
    sim: PerSim | None,
    name: str | None,
    columns: tables.Columns,
    out: Path,
    behaviour: str | None,
) -> tuple[Transitions, Any]:
    """The data that are judged, and the behaviour of each transition where a column says it.

    A table that holds nothing to judge gets a page that says why, before the error.
    """
    from persim_gym.evaluation.validation.fitted_data import data_of
    from persim_gym.evaluation.validation.result import Validation

    if name is None:
        assert sim is not None
        if option := next(iter(columns.given()), None):
            raise ValueError(f"{option} is of a table: name it by --data")
        if behaviour is None:
            return data_of(sim), None
        name = str(sim.card.get("source", {}).get("path", ""))
        if not Path(name).is_file():
            raise ValueError("--behaviour-column is of a table: name it by --data")
    try:
        return tables.read_labelled(name, columns, sim, behaviour)
    except ValueError as error:
        whole = columns.agent_column and columns.state and columns.action
        if tables.is_table(name) and whole and Path(name).exists():
            Validation.unreadable(name, as_typed(str(error))).save(out)
        raise


def _check_columns(rules: Sequence[Rule], data: Transitions) -> None:
    from persim_gym.evaluation.validation.validate import column_names

    for rule in rules:
        rule.check_column(column_names(data))


def _validated(
    sim: PerSim | None,
    data: Transitions,
    split: Sequence[str] | None,
    steps: Sequence[int],
    seed: int,
    given: dict[str, Any],
    report: Any,
) -> Validation:
    from persim_gym.evaluation.validation import validate as judge

    common: dict[str, Any] = {
        "splits": split or None, "horizons": steps, "seed": seed, "on_progress": report,
    }  # fmt: skip
    if sim is None:
        return judge(data, **common, **given)
    return judge(sim, data, **common, **given)


def _horizons(text: str, rules: Sequence[Rule]) -> list[int]:
    """Steps of a list such as ``1,10,50``, and those that rules ask for."""
    from persim_gym.evaluation.validation.validate import MOST

    found = set()
    for part in text.split(","):
        if not re.fullmatch(r"\s*\d{1,9}\s*", part):
            raise ValueError(f"--horizon must be like 1,10,50, got {text!r}")
        found.add(checks.integer("--horizon", int(part), 1, MOST))
    return sorted(found | {rule.steps for rule in rules if rule.steps is not None})
