"""By how many bytes a fit raises the memory of its process: a process of its own measures it.

python benchmarks/fitting_memory.py TRANSITIONS.npz
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from persim_gym.learned import PerSim
from persim_gym.offline.transitions import Transitions


def peak() -> int:
    """The most bytes of memory that this process has held so far.

    On Linux ``ru_maxrss`` of a new process begins at what its parent once held; the kernel's own
    high-water mark does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource  # not on Windows

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def growth(file: str) -> int:
    stored = np.load(file)
    data = Transitions(
        **{key: stored[key] if stored[key].ndim else stored[key].item() for key in stored.files}
    )
    # What is loaded and set up at the first use of torch is not the data's share.
    rows = np.flatnonzero(data.episode == data.episode[0])
    _fit(data.select(rows))
    data.episode.max()
    before = peak()
    _fit(data)
    return peak() - before


def _fit(data: Transitions) -> None:
    PerSim.fit(data, preset="paper", ensemble_size=5, epochs=1, progress=False)


if __name__ == "__main__":
    print(growth(sys.argv[1]))
