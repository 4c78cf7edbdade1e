"""The command that brings in data from elsewhere: datasets import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from persim_gym.cli import options
from persim_gym.cli.cards import print_summary
from persim_gym.cli.group import on_interrupt
from persim_gym.cli.next_step import say_next


def import_dataset(
    file: Annotated[
        Path, options.path_to_read("FILE", "A data file of the paper's authors, a .pkl.")
    ],
    task: Annotated[
        str,
        typer.Option(
            metavar="TASK",
            help=f"Whose data it holds: {', '.join(options.TASKS)}.",
            autocompletion=options.complete_task,
        ),
    ],
    dataset_id: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Id of the data set.",
            show_default="persim/imported/<task>-<behaviour>-v0",
        ),
    ] = None,
    data_format: Annotated[
        str, typer.Option("--format", metavar="NAME", help="hdf5, arrow or parquet.")
    ] = "hdf5",
    force: Annotated[bool, typer.Option("--force", help="Replace a data set of this id.")] = False,
    max_bytes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Most bytes that the file may become, in memory and on disk each.",
            show_default="100 times its size, 32 MB to 4 GB",
        ),
    ] = None,
    max_seconds: Annotated[
        float, typer.Option(metavar="X", help="Most seconds that it may take.")
    ] = 600.0,
) -> None:
    """Import a data file of the paper's authors; nothing in it is run."""
    from persim_gym.offline.authors import import_authors_file
    from persim_gym.offline.summaries import describe

    with on_interrupt("nothing was imported"):
        data = import_authors_file(
            file, task, dataset_id=dataset_id, overwrite=force, data_format=data_format,
            max_bytes=max_bytes, max_seconds=max_seconds,
        )  # fmt: skip
    s = describe(data)
    print_summary(s, data.storage.data_path)
    say_next("fit", s.id, "--out", f"runs/{s.task}")


__all__ = ["import_dataset"]
