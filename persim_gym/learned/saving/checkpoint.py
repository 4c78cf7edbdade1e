"""Files by which a fit that was killed goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from persim_gym import files, store

KIND = "checkpoint"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The file by which a fit that was killed goes on.

    A fit that compares families has several parts, each with a file of its own beside.

    Attributes:
        path: Where it is.
        recipe: Data and options of the fit, of plain types.
    """

    path: Path
    recipe: dict[str, Any]

    @classmethod
    def of(cls, out: str | Path | None, recipe: dict[str, Any]) -> Checkpoint | None:
        """That of a fit into a folder; none of one that is written nowhere."""
        return None if out is None else cls(Path(out) / store.CHECKPOINT, recipe)

    def part(self, name: str) -> Checkpoint:
        """The checkpoint of a part of the fit, a file beside."""
        return Checkpoint(
            self.path.with_name(f"{self.path.stem}-{name}{self.path.suffix}"), self.recipe
        )

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Write where the fit is, in place of what was written last."""
        store.write(self.path, KIND, dict(tensors), {"recipe": self.recipe, "facts": dict(facts)})

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What was written last, if there is any.

        Raises:
            ValueError: If it is damaged, or of other data or options.
        """
        files.sweep(self.path)
        if not self.path.exists():
            return None
        tensors, card = store.read(self.path, KIND)
        if card["recipe"] != self.recipe:
            raise ValueError(
                f"{self.path} is a checkpoint of another fit (other data or other options): "
                "delete it, or choose another folder"
            )
        return tensors, card["facts"]

    def discard(self) -> None:
        """Remove the files of all parts, and what killed fits have left of them."""
        for path in checkpoints_beside(self.path):
            path.unlink(missing_ok=True)
            files.sweep(path)
        files.sweep(self.path)


@contextmanager
def discarded_where_it_diverges(checkpoint: Checkpoint | None) -> Iterator[None]:
    """A fit whose checkpoint goes with it where it diverges: to go on would be to diverge again."""
    try:
        yield
    except FloatingPointError:
        if checkpoint is not None:
            checkpoint.discard()
        raise


def checkpoints_beside(path: Path) -> list[Path]:
    """The checkpoints of all parts of a fit that are there, by the place of the first."""
    return sorted(path.parent.glob(f"{path.stem}*{path.suffix}"))
