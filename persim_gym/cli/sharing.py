"""Commands that share simulators and data sets on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from persim_gym.cli import complete, options
from persim_gym.cli.command import Commands
from persim_gym.cli.group import say
from persim_gym.cli.next_step import say_next, say_next_of

hub = Commands(help="Share simulators and data sets on the Hugging Face hub.")


@hub.command(
    epilog=options.examples(
        "hub push runs/cartpole me/persim-cartpole", "hub push persim/cartpole/random-v0 me"
    )
)
def push(
    what: Annotated[
        str,
        typer.Argument(
            metavar="SIM_OR_DATASET",
            help="Folder of a fitted simulator, or a data set's id.",
            autocompletion=complete.runs_or_datasets,
        ),
    ],
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Of a simulator NAME/REPOSITORY, of a data set its owner's name."
        ),
    ],
    private: Annotated[
        bool, typer.Option("--private", help="A new repository is its owner's alone.")
    ] = False,
) -> None:
    """Put a simulator or a data set on the hub.

    The hub's token is that of `hf auth login`.
    """
    from persim_gym import hub as sharing
    from persim_gym import store

    if (Path(what) / store.SIMULATOR).exists():
        from persim_gym.cli.resolve import open_simulator

        sim = open_simulator(Path(what))
        say("shared", sharing.push_simulator(sim, name, private=private))
        say_next("hub", "pull", name, "--out", f"{what}-again")
    else:
        address = sharing.push_dataset(what, name)
        say("shared", address)
        say_next("hub", "pull", address)


@hub.command(
    epilog=options.examples(
        "hub pull me/persim-cartpole --out runs/theirs",
        "hub pull hf://me/persim/cartpole/random-v0",
    )
)
def pull(
    address: Annotated[
        str, typer.Argument(metavar="NAME", help="NAME/REPOSITORY, or hf://OWNER/DATASET.")
    ],
    out: Annotated[
        Path | None,
        options.folder_to_write("the simulator", show_default=False),
    ] = None,
) -> None:
    """Take a simulator or a data set from the hub."""
    from persim_gym import hub as sharing

    if address.startswith("hf://"):
        dataset = sharing.pull_dataset(address)
        say("taken", dataset)
        say_next("datasets", "show", dataset)
        return
    if out is None:
        raise ValueError("a simulator needs a place: give --out FOLDER")
    sim = sharing.pull_simulator(address, out)
    say("taken", f"{sim} into {out}")
    say_next_of(sim, out, fitted=True)
