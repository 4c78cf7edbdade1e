"""Run the notebooks of `docs/tutorials` and keep them, with their outputs, for the site.

```bash
python tools/notebooks.py            run those that are new, or older than the package
python tools/notebooks.py own_data   run one
```

A notebook is a Python file in the percent format of Jupytext. Each runs in a kernel and an empty
folder of its own, with a place for data sets of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "docs" / "tutorials").glob("*.nb.py"))
KEPT = ROOT / "docs" / "_build" / "notebooks"
LONGEST = 600  # seconds that a cell may take on a busy machine


def name_of(source: Path) -> str:
    """``own_data`` of ``own_data.nb.py``."""
    return source.name.removesuffix(".nb.py")


def digest(source: Path) -> str:
    """A hash of the notebook and of the package."""
    files = [source, *sorted((ROOT / "persim_gym").rglob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def run(source: Path) -> nbformat.NotebookNode:
    """Run a notebook; an error in a cell is raised."""
    notebook = jupytext.read(source)
    notebook.metadata["kernelspec"] = {
        "name": "python3", "display_name": "Python 3", "language": "python",
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        env = os.environ | {
            "MINARI_DATASETS_PATH": f"{folder}/minari",
            "PYTHONPATH": os.pathsep.join(paths),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        }
        client = NotebookClient(
            notebook,
            timeout=LONGEST,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
        )
        client.execute(env=env)
    return notebook


def keep(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write a notebook, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    nbformat.write(notebook, beside)
    beside.replace(path)


def main(wanted: list[str]) -> None:
    """Run what is wanted, by default all that is not up to date."""
    unknown = set(wanted) - {name_of(source) for source in SOURCES}
    if unknown:
        names = ", ".join(name_of(source) for source in SOURCES)
        raise SystemExit(f"there is no notebook {', '.join(sorted(unknown))}: there are {names}")
    for source in SOURCES:
        name, now = name_of(source), digest(source)
        kept = KEPT / f"{name}.ipynb"
        fresh = kept.exists() and nbformat.read(kept, as_version=4).metadata.get("digest") == now
        if name in wanted or (not wanted and not fresh):
            began = time.perf_counter()
            notebook = run(source)
            notebook.metadata["digest"] = now
            keep(notebook, kept)
            print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("names", nargs="*", help="notebooks, by default all that are not fresh")
    main(options.parse_args().names)
