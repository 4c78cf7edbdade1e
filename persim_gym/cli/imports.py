"""The command that brings in data from elsewhere: datasets import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from persim_gym.cli import options
from persim_gym.cli.cards import print_summary
from persim_gym.cli.group import on_interrupt
from persim_gym.cli.next_step import say_next


def import_dataset(
    file: Annotated[
        Path, options.path_to_read("FILE", "A data file of the paper's authors, a .pkl.")
    ],
    task: options.TaskOption,
    dataset_id: options.DatasetId = None,
    data_format: options.Format = "hdf5",
    force: Annotated[bool, options.force("a data set of this id")] = False,
    max_bytes: Annotated[
        int | None,
        options.count(
            "Most bytes that the file may become, in memory and on disk each.",
            "100 times its size, 32 MB to 4 GB",
        ),
    ] = None,
    max_seconds: Annotated[float, options.number("Most seconds that it may take.")] = 600.0,
) -> None:
    """Import a data file of the paper's authors; nothing in it is run."""
    from persim_gym.offline.authors.reading import import_authors_file
    from persim_gym.offline.summaries import describe

    with on_interrupt("nothing was imported"):
        data = import_authors_file(
            file, task, dataset_id=dataset_id, overwrite=force, data_format=data_format,
            max_bytes=max_bytes, max_seconds=max_seconds,
        )  # fmt: skip
    s = describe(data)
    print_summary(s, data.storage.data_path)
    say_next("fit", s.id, "--out", f"runs/{s.task}")
