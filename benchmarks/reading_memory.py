"""By how many bytes reading a data set raises the memory of its process, itself a new one.

python benchmarks/reading_memory.py FOLDER transitions|tensors
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fitting_memory import peak
from minari import MinariDataset
from reading import training_tensors

from persim_gym.offline import read_transitions

STAGES: dict[str, Callable[[Any], Any]] = {
    "transitions": read_transitions,
    "tensors": training_tensors,
}


def growth(folder: Path, stage: str) -> int:
    # What is loaded and set up at the first use is not the data's share.
    STAGES[stage](MinariDataset(folder, episode_indices=[0]))
    before = peak()
    kept = STAGES[stage](MinariDataset(folder))
    after = peak()
    del kept
    return after - before


if __name__ == "__main__":
    print(growth(Path(sys.argv[1]), sys.argv[2]))
