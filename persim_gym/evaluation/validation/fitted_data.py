"""The data of a simulator's fit, found again, and how others are fitted in its way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from persim_gym.envs.suites import SUITES
from persim_gym.evaluation.validation.models import (
    Refit,
)
from persim_gym.learned.fitting.assembly import fit_parts
from persim_gym.learned.fitting.plan import plan_fit
from persim_gym.learned.preparation import as_transitions, check_device, task_for
from persim_gym.learned.record import columns_for, read_with, with_declared_of, with_labels_of
from persim_gym.learned.simulator import PerSim
from persim_gym.offline.transitions import Transitions


def data_of(sim: PerSim, place: str | Transitions | None = None) -> Transitions:
    """The data that a simulator was fitted on, read again.

    Args:
        sim: The simulator.
        place: A table with the columns of the fit, a Minari data set, or what was read of one; by
            default what the card names.

    Raises:
        ValueError: If they are not at hand, or have changed since.
    """
    about, source = sim.card.get("dataset", {}), sim.card.get("source", {})
    found: Transitions | None
    if isinstance(place, Transitions):
        name = place.dataset_id
        found = place
    else:
        name = place or source.get("path") or about.get("id") or ""
        found = _read_again(name, source)
    if found is None:
        what = f"{name!r} is not on this machine" if name else "they have no name"
        raise ValueError(
            f"the data that this simulator was fitted on are not at hand ({what}): give them, "
            "--data DATA on the command line, sim.validate(data) in Python"
        )
    found = as_fitted(sim, found)
    if not is_of(sim, found):  # a simulator may be of the first agents alone
        found = found.select(found.agent < int(about.get("agents") or found.num_agents))
    if not is_of(sim, found):
        raise ValueError(
            f"the data {name!r} have changed since the simulator was fitted: give those that it "
            "was fitted on, or fit again"
        )
    return found


def as_fitted(sim: PerSim, data: Transitions) -> Transitions:
    """Data as a fit has seen them: a file knows no bounds and units, and may lack a category."""
    data = with_labels_of(sim.task, data)
    if data.obs.shape[1:] != sim.task.observation_space.shape:
        return data  # refused later, with both sizes
    return with_declared_of(sim.card, data)


def is_of(sim: PerSim, data: Transitions) -> bool:
    """Whether these are the data that a simulator was fitted on."""
    return bool(sim.card.get("dataset", {}).get("sha256") == data.sha256())


def _read_again(name: str, source: Mapping[str, Any]) -> Transitions | None:
    """A table by the columns of a fit, or a Minari data set; ``None`` where there is none."""
    from persim_gym.offline.tables.sources import is_table

    if name and is_table(name) and Path(name).exists():
        if not source.get("columns"):
            raise ValueError(
                f"this simulator does not know the columns of the table {name}: persim-gym "
                f"validate takes them with --data {name}, and sim.validate takes transitions"
            )
        return read_with(name, columns_for({"source": source}))
    import minari

    return as_transitions(name) if name in minari.list_local_datasets() else None


def fitting(data: Transitions, options: Mapping[str, Any]) -> Refit:
    """What fits data that are no simulator's yet, with options of :meth:`PerSim.fit`.

    Raises:
        TypeError: If an option has the wrong type.
        ValueError: If an option is invalid.
    """
    own = dict(options)
    task, device = own.pop("task", None), own.pop("device", "cpu")
    decided = {key: own.pop(key) for key in ("config", "method", "preset") if key in own}
    name = data.task_name if task is None else task.name
    known = name in SUITES or task is not None
    plan = plan_fit(name, options=own, known=known, **decided)
    to = str(check_device(device))
    # Spaces of all data: an action of which the fitted part knows nothing is one all the same.
    return lambda part: PerSim.of(fit_parts(plan, part, task or task_for(data, plan.seed), to))
