"""The command line `persim-gym`: thin, over the calls that the library has anyway.

What is heavy (torch, Minari, MuJoCo) is imported inside the commands, so that help is quick.
"""

from __future__ import annotations

from typing import Annotated

import typer

import persim_gym
from persim_gym.cli import (
    adapt,
    baselines,
    benchmark,
    control,
    data,
    demo,
    explore,
    export,
    policies,
    render,
    report,
    sharing,
    simulators,
    validate,
)
from persim_gym.cli.command import Commands
from persim_gym.cli.group import OneLineGroup
from persim_gym.cli.options import examples

app = Commands(
    name="persim-gym",
    cls=OneLineGroup,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"persim-gym {persim_gym.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True, epilog=examples("demo", "agents cartpole"))
def main(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """A personalised simulator for every agent from one recorded trajectory each.

    Record agents, fit their simulators, then plan, train and draw in them.
    """
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


app.command(epilog=examples("demo", "demo --task half-cheetah --quick"))(demo.demo)
app.command(
    epilog=examples("agents cartpole", "agents cartpole --ranges force=5:15 --csv > agents.csv")
)(data.agents)
app.command(
    epilog=examples(
        "record cartpole --behaviour random --agents 500 --seed 0",
        "record cartpole --behaviour runs/policy --epsilon 0.2",
    )
)(data.record)
app.add_typer(data.datasets, name="datasets")
app.add_typer(policies.policies, name="policies")
app.command(
    epilog=examples(
        "fit persim/cartpole/random-v0 --out runs/cartpole",
        "fit persim/cartpole/random-v0 --out runs/quick --epochs 20",
        "fit patients.csv --out runs/patients --agent-column patient \\\n"
        "    --time-column minute --state glucose,iob --action insulin \\\n"
        "    --reward-column reward",
    )
)(simulators.fit)
app.command(
    epilog=examples(
        "adapt runs/cartpole persim/cartpole/b-v0 --out runs/more",
        "adapt runs/cartpole persim/cartpole/b-v0 --agent 3 --out runs/3",
        "adapt runs/patients new.csv --transitions 5 --out runs/more",
    )
)(adapt.adapt)
app.command(
    epilog=examples(
        "evaluate runs/cartpole",
        "evaluate runs/cartpole --agent 0,7 --json",
        "evaluate runs/cql --agent 3 --episodes 20",
    )
)(simulators.evaluate)
app.command(
    epilog=examples(
        "export runs/cartpole --out cartpole.onnx", "export runs/cartpole --out cartpole.py"
    )
)(export.export)
app.add_typer(sharing.hub, name="hub")
app.command(
    epilog=examples(
        "validate runs/cartpole --out runs/cartpole-trust",
        "validate runs/cartpole --out runs/trust --split agents",
        "validate patients.csv --out runs/trust --agent-column patient \\\n"
        "    --time-column minute --state glucose,iob --action insulin \\\n"
        '    --require "rmse(glucose,10)<persistence"',
    )
)(validate.validate)
app.command(epilog=examples("equations runs/cartpole", "equations runs/cartpole --agent 3"))(
    export.equations
)
app.command(
    epilog=examples(
        "plan runs/cartpole --agent 3",
        "plan half-cheetah --agent 0-4 --episodes 1 --max-steps 100",
        "plan runs/patients --agent alice --max-steps 12 --out runs/plan \\\n"
        '    --reward "-abs(next.glucose - 110)"',
    )
)(control.plan)
app.command(
    epilog=examples(
        "train runs/cartpole --agent 3 --out runs/policy",
        "train runs/patients --agent alice --out runs/alice \\\n"
        '    --reward "-abs(next.glucose - 110)"',
    )
)(control.train)
app.command(
    epilog=examples(
        "baseline cql persim/cartpole/pure-v0 --agent 3 --out runs/cql",
        "baseline bcq persim/cartpole/random-v0 --out runs/bcq \\\n    --set updates=5000",
    )
)(baselines.baseline)
app.command(
    epilog=examples(
        "generate runs/cartpole --agent 0-4 --policy mpc --episodes 5",
        "generate runs/cartpole --policy runs/policy \\\n    --dataset-id persim/synthetic/a-v0",
    )
)(baselines.generate)
app.command(
    epilog=examples(
        "render runs/cartpole --agent 3 --out cartpole.mp4",
        "render runs/cartpole --agent 3 --policy mpc --out mpc.gif",
        "render half-cheetah --agent 0 --out cheetah.mp4",
        "render runs/patients --agent alice --out alice.png",
    )
)(render.render)
app.command(
    epilog=examples(
        "explore runs/cartpole",
        "explore runs/cartpole --port 8080 --no-browser",
        "explore runs/patients --data patients.csv \\\n"
        "    --agent-column patient --time-column week --state ferritin,hb \\\n"
        "    --action dose",
    )
)(explore.explore)
app.command(
    epilog=examples(
        "benchmark --preset quick --jobs 2",
        "benchmark --preset laptop --out runs/laptop --jobs 4",
        "benchmark --preset laptop --out runs/laptop --list",
        "benchmark --preset paper --experiment prediction,latent \\\n"
        "    --task half-cheetah --seeds 1",
        "benchmark --preset paper --engine ray --jobs 16",
    )
)(benchmark.benchmark)
app.command(
    epilog=examples(
        "report runs/benchmark-quick",
        "report runs/paper --out runs/report",
        "report runs/paper --small",
    )
)(report.report)

__all__ = ["app"]
