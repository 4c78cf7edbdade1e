"""What the examples share: CartPole's recorded data and its simulators, made when first needed.

They stay for the next example (the data set ``persim/cartpole/random-v0``, the folder
``runs/cartpole``). With ``--quick`` they are smaller, live in a temporary folder and vanish.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import minari
import torch

from persim_gym.learned import PerSim
from persim_gym.offline import record

DATASET = "persim/cartpole/random-v0"


def parser(description: str | None) -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--quick", action="store_true", help="small sizes, nothing is kept")
    return options


@contextlib.contextmanager
def workplace(quick: bool) -> Iterator[Path]:
    """The folder for what an example makes; with ``quick`` a temporary one, for data sets too."""
    torch.set_num_threads(1)  # networks this small are slower with more, on a busy machine by far
    if not quick:
        yield Path("runs")
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MINARI_DATASETS_PATH"] = str(Path(folder) / "minari")
        yield Path(folder)


def cartpole_data(quick: bool) -> minari.MinariDataset:
    """One random trajectory of each of 500 agents (100 with ``quick``)."""
    if DATASET in minari.list_local_datasets():
        return minari.load_dataset(DATASET)
    return record("PerSim-CartPole-v0", policy="random", agents=100 if quick else 500, seed=0)


def cartpole_simulator(folder: Path, quick: bool) -> PerSim:
    """The simulators of all agents of that data set."""
    if (folder / "cartpole" / "simulator.safetensors").exists():
        return PerSim.load(folder / "cartpole")
    options = {"epochs": 120, "spare_members": 0} if quick else {}
    return PerSim.fit(cartpole_data(quick), out=folder / "cartpole", **options)
