"""What a shell offers when Tab is pressed; nothing heavy is imported for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

TASKS = ("cartpole", "mountain-car", "half-cheetah")
PLANNERS = ("default", "paper", "shooting", "categorical-cem", "cem", "icem", "mppi")
BEHAVIOURS = ("random", "pure", "pure-eps-20", "pure-eps-40", "test")
TABLES = (".csv", ".tsv", ".parquet")

#: Words that begin as what was typed.
Completion = Callable[[str], list[str]]

#: What is in a folder that was made by ``fit``, and by ``train`` or ``baseline``.
SIMULATOR = "simulator.safetensors"
_POLICIES = "policy.safetensors", "baseline.safetensors"
#: Levels of folders in which runs are searched for.
_DEPTH = 2


def words(*known: str) -> Completion:
    """A completion of words that are always the same."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in known if word.startswith(incomplete)]

    return complete


def data_sets_folder() -> Path:
    """Where Minari keeps the data sets of this machine."""
    default = Path.home() / ".minari" / "datasets"
    return Path(os.environ.get("MINARI_DATASETS_PATH") or default).expanduser()


def datasets(incomplete: str) -> list[str]:
    """Ids of the data sets on this machine."""
    root = data_sets_folder()
    found = (path.parent.relative_to(root).as_posix() for path in sorted(root.glob("**/data")))
    return [name for name in found if name.startswith(incomplete)]


def runs(incomplete: str) -> list[str]:
    """Folders of simulators, and those in which there may be some."""
    return _folders(incomplete, SIMULATOR)


def policies(incomplete: str) -> list[str]:
    """Names of policies, and folders of those that were trained."""
    return [*words("random", "mpc")(incomplete), *_folders(incomplete, *_POLICIES)]


def behaviours(incomplete: str) -> list[str]:
    """Names of behaviours, and folders of policies that were trained."""
    return [*words(*BEHAVIOURS, "all")(incomplete), *_folders(incomplete, *_POLICIES)]


def runs_or_tasks(incomplete: str) -> list[str]:
    """Folders of simulators, and tasks."""
    return [*words(*TASKS)(incomplete), *runs(incomplete)]


def runs_or_datasets(incomplete: str) -> list[str]:
    """Folders of simulators, and data sets."""
    return [*runs(incomplete), *datasets(incomplete)]


def datasets_or_tables(incomplete: str) -> list[str]:
    """Data sets, files of tables, and folders in which there may be some."""
    paths = (path for path in _below(incomplete) if path.is_dir() or path.suffix in TABLES)
    return [*datasets(incomplete), *map(_word, paths)]


def runs_or_data(incomplete: str) -> list[str]:
    """Folders of simulators, data sets and tables."""
    return list(dict.fromkeys([*runs(incomplete), *datasets_or_tables(incomplete)]))


def _folders(incomplete: str, *files: str) -> list[str]:
    """Folders that hold one of the files; where nothing but a part was typed, those below, too."""
    own = [path for path in _below(incomplete) if path.is_dir()]
    places = ["*/" * depth + file for depth in range(_DEPTH) for file in files]
    inside = (path.glob(place) for path in own for place in places)
    holding = {path.parent for path in chain.from_iterable(inside)}
    return sorted(map(str, holding)) or [_word(path) for path in own]


def _below(incomplete: str) -> Iterator[Path]:
    """What there is whose path begins as what was typed; hidden files only where asked for."""
    head, _, start = incomplete.rpartition("/")
    folder = Path(f"{head}/" if head or incomplete.startswith("/") else ".")
    try:
        names = sorted(os.listdir(folder.expanduser()))
    except OSError:
        return
    for name in names:
        if name.startswith(start or "") and (start or not name.startswith(".")):
            yield folder / name


def _word(path: Path) -> str:
    return f"{path}/" if path.is_dir() else str(path)
