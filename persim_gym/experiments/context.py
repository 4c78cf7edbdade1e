"""What a method is given, and what it makes of that."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from persim_gym.core import Dynamics
from persim_gym.evaluation.references import Predictor
from persim_gym.experiments.cell import Cell
from persim_gym.experiments.recordings import transitions_of
from persim_gym.offline.transitions import Transitions
from persim_gym.planning import Proposal
from persim_gym.progress import OnProgress


@dataclass(frozen=True, slots=True)
class Model:
    """What a method has made of the data. What it cannot do is ``None``.

    Attributes:
        predictor: Predicts open loop.
        dynamics: Can be planned in.
        policy: Acts by itself: whatever :func:`persim_gym.evaluation.episode_returns` takes.
        facts: What a reader of the results may want to know of the fit, as plain types.
        proposal: Draws the candidates of whoever plans in the dynamics: see
            :class:`~persim_gym.planning.MPC`.
        training: What training a policy in a simulator took, as plain types.
    """

    predictor: Predictor | None = None
    dynamics: Dynamics | None = None
    policy: Any = None
    facts: dict[str, Any] | None = None
    proposal: Proposal | None = None
    training: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What a method is given.

    Attributes:
        cell: The cell.
        data: Reads, and if need be records, the cell's data.
        models: Folder for what is fitted, so that other cells need not fit it again.
        device: Where to compute.
        on_progress: Called with how much of the fit is done, and of how much.
    """

    cell: Cell
    data: Callable[[], Transitions]
    models: Path
    device: str = "cpu"
    on_progress: OnProgress | None = None

    @property
    def folder(self) -> Path:
        """Where what the cell learns is kept."""
        assert self.cell.fit_key is not None
        return self.models / self.cell.fit_key


def context_of(
    cell: Cell, models: Path, device: str = "cpu", on_progress: OnProgress | None = None
) -> Context:
    """The context of a cell, with its recording as data, which is read once."""
    data = functools.cache(lambda: transitions_of(cell))
    return Context(cell, data, models, device, on_progress)
