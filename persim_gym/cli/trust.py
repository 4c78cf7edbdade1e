"""What commands say of how far a simulator can be trusted: tables by coordinate, and warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from persim_gym.cli.group import say
from persim_gym.cli.messages import as_typed
from persim_gym.cli.output import print_json, print_line, print_table, progress_bar

if TYPE_CHECKING:
    from persim_gym.evaluation.validation import SplitResult, Validation
    from persim_gym.learned.simulator import PerSim

#: Coordinates that a line names.
NAMED = 8


def print_heldout(card: Mapping[str, Any]) -> None:
    """The errors of a fit by coordinate, beside persistence and a pooled model, with a warning."""
    found = card.get("metrics", {}).get("heldout")
    if not found:
        return
    names = _labels(card, len(found["deviation"]))
    own, still, one = (found["rmse"][name] for name in ("simulator", "persistence", "pooled"))
    lost = _lost(names, own, still, one)
    steps = found["steps"]
    ahead = f"{steps} step{'s' * (steps > 1)} ahead"
    seen = "on steps that the fit has seen" if found["seen"] else "on steps kept from the fit"
    print_line("")
    print_table(
        f"Error (RMSE) {ahead}, {seen}",
        ["coordinate", "simulator", "persistence", "pooled", "worse than"],
        [
            [name, own[k], still[k], one[k], " and ".join(lost.get(name, ())) or "-"]
            for k, name in enumerate(names)
        ],
    )
    if found["seen"]:
        say(
            "note",
            "nothing was kept from this fit, which takes long: errors on new steps are larger; "
            "persim-gym validate keeps some",
        )
    if lost:
        shown = [f"{name} (than {' and '.join(whom)})" for name, whom in lost.items()]
        more = f" and {len(shown) - NAMED} more" if len(shown) > NAMED else ""
        say(
            "warning",
            f"{ahead} the simulator predicts worse: {', '.join(shown[:NAMED])}{more}; do not rely "
            "on it there, persim-gym validate says how far it can be used",
        )
    if faded := _faded(card, names):
        say(
            "warning",
            f"predictions do not depend on the actions: {', '.join(faded[:NAMED])}; they fade to "
            "the last value and the mean of all agents, which predicted better. Planners and "
            "environments follow a course that does not fade, and this table says nothing of it",
        )


def _faded(card: Mapping[str, Any], names: list[str]) -> list[str]:
    """Coordinates of which nothing of the simulator's own is left, and from which step on."""
    if len((card.get("data_task") or {}).get("action_labels") or ("", "")) == 1:
        return []
    weights = card["metrics"].get("fading", {}).get("weight", {})
    first: dict[str, int] = {}
    for steps in sorted(map(int, weights)):
        for name, weight in zip(names, weights[str(steps)], strict=True):
            if weight == 0:
                first.setdefault(name, steps)
    return [f"{name} (from step {steps} on)" for name, steps in first.items()]


def _labels(card: Mapping[str, Any], count: int) -> list[str]:
    """Coordinates with their units, of own data or of a task of this package."""
    from persim_gym.envs.suites import SUITES

    names, units = card.get("obs_names"), card.get("obs_units")
    if names:
        return [f"{n} ({u})" if u else n for n, u in zip(names, units or [""] * count, strict=True)]
    suite = SUITES.get(card.get("task", ""))
    labels = () if suite is None else suite.coordinates
    return list(labels) if len(labels) == count else [f"obs {k}" for k in range(count)]


def _lost(
    names: Sequence[str], own: Sequence[float], still: Sequence[float], one: Sequence[float]
) -> dict[str, list[str]]:
    """Which references are better, for the coordinates of which one is."""
    from persim_gym.evaluation.validation.verdict import WORSE

    found: dict[str, list[str]] = {}
    for k, name in enumerate(names):
        better = [
            what
            for what, error in (("persistence", still[k]), ("the pooled model", one[k]))
            if own[k] > WORSE * error and error > 0
        ]
        if better:
            found[name] = better
    return found


def evaluate_own(sim: PerSim, data: Any, horizon: int, seed: int, as_json: bool) -> None:
    """Held-out errors of a simulator whose data are the user's own."""
    from persim_gym.evaluation.validation import HORIZONS
    from persim_gym.evaluation.validation.fitted_data import data_of

    steps = sorted({*(h for h in HORIZONS if h < horizon), horizon})
    with progress_bar("fit again and evaluate"):
        found = sim.validate(data_of(sim, data), splits="ends", horizons=steps, seed=seed)
    if as_json:
        print_json(found.to_json())
        return
    print_validation(found)


def print_validation(validation: Validation) -> None:
    """A table of each split, and the verdict."""
    for note in validation.notes:
        say("note", as_typed(note))
    for split in validation.splits:
        _print_split(validation, split)
    for line in validation.verdict.split("\n"):
        print_line(as_typed(line))


def _print_split(validation: Validation, split: SplitResult) -> None:
    for note in split.notes:
        say("note", as_typed(note))
    if split.scores is None:
        return
    rows = [row for row in validation.table() if row["split"] == split.name]
    models = [name for name in ("persistence", "pooled", "linear") if name in rows[0]]
    last = ["coverage of 95%"] if "coverage of 95%" in rows[0] else []
    cells = [
        [
            f"{row['coordinate']} ({row['unit']})" if row["unit"] else row["coordinate"],
            row["steps"],
            row["rmse"],
            *(row[name] for name in models),
            row["r2"],
            *(row[name] for name in last),
        ]
        for row in rows
    ]
    head = ["coordinate", "steps", "RMSE", *models, "R2", *("in 95%" for _ in last)]
    print_table(f"Split {split.name}: {len(split.agents)} agents", head, cells)
