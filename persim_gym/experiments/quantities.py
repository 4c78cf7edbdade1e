"""What rows of one experiment say, as numbers for each seed: the input of statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from persim_gym.evaluation.coordinates import grouped_rmse
from persim_gym.experiments.row_files import Row
from persim_gym.experiments.statistics import geometric_mean

#: Instead of an agent: all judged agents together.
ALL = "all"

#: Episodes that broken physics has cut off.
STOPPED = "episodes stopped"

Values = NDArray[np.float64]


class Quantity(NamedTuple):
    """A number that every seed has.

    Attributes:
        measure: What it is, such as ``"rmse"`` or ``"rmse after 25 steps"``.
        agent: Of which agent; ``"all"`` for all together: the geometric mean of errors, the mean
            of returns.
        policy: Under whose actions predictions are judged.
        known: What is known of unseen agents.
    """

    measure: str
    agent: int | str = ALL
    policy: str | None = None
    known: str | None = None


def quantities(rows: Sequence[Row]) -> dict[Quantity, Values]:
    """All quantities of the rows of one experiment that differ in their seeds alone.

    Args:
        rows: One for each seed.

    Returns:
        For each quantity ``[s]``, or ``[s, e]`` of returns of ``e`` episodes. ``nan`` is not known,
        infinity an error of predictions that are not finite.

    Raises:
        ValueError: If a row's results are not those of its experiment, with what to do.
    """
    reader = _READERS[rows[0].cell.experiment]
    read: list[dict[Quantity, Any]] = []
    for row in rows:
        try:
            read.append(reader(row.results))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"the results in {row.cell.key}.json are damaged ({type(error).__name__}: "
                f"{error}): delete the file and run the benchmark again, which makes what is "
                "missing"
            ) from error
    # Not every seed needs to know everything: long episodes are rare for some agents.
    names = dict.fromkeys(name for of in read for name in of)
    found = {}
    for name in names:
        shape = next(np.shape(of[name]) for of in read if name in of)
        values = [of.get(name, np.full(shape, math.nan)) for of in read]
        if len({np.shape(value) for value in values}) > 1:
            raise ValueError(
                f"{rows[0].cell.describe()} has other numbers of episodes in other seeds: delete "
                "these rows and run the benchmark again"
            )
        found[name] = np.array(values, dtype=np.float64)
    return found


# -- experiments -----------------------------------------------------------------------------------


def _prediction(results: Mapping[str, Any]) -> dict[Quantity, Any]:
    found: dict[Quantity, Any] = {}
    for policy, agents in results["families"].items():
        by_measure: dict[str, list[float]] = {}
        for own in agents:
            measures = _errors(own, results["coordinates"])
            for name, value in measures.items():
                found[Quantity(name, int(own["agent"]), policy)] = value
                by_measure.setdefault(name, []).append(value)
        for name, values in by_measure.items():
            if name != "r2":
                # Whether an agent's episodes last depends on the true dynamics, not on the method.
                known = [value for value in values if not math.isnan(value)]
                mean = float(geometric_mean(known)) if known else math.nan
                found[Quantity(name, ALL, policy)] = mean
    return found


def _errors(own: Mapping[str, Any], coordinates: Sequence[str]) -> dict[str, float]:
    """An agent's errors. Rows have nothing for what is infinite, and for what there is not."""
    infinite = own["rmse"] is None and own["episodes"] > 0
    worst = math.inf if infinite else math.nan
    found = {"rmse": _known(own["rmse"], worst), "r2": _known(own["r2"], -worst)}
    for steps, value in own["rmse_after_steps"].items():
        found[f"rmse after {steps} steps"] = _known(value, worst)
    alone = np.array([_known(value, worst) for value in own["rmse_of_coordinates"]])
    for name, value in [
        *zip(coordinates, alone, strict=True),
        *grouped_rmse(alone, coordinates).items(),  # the same again, where they are few
    ]:
        found[f"rmse of {name}"] = float(value)
    return found


def _known(value: Any, otherwise: float) -> float:
    return otherwise if value is None else float(value)


def _reward(results: Mapping[str, Any]) -> dict[Quantity, Any]:
    found: dict[Quantity, Any] = {}
    returns = []
    for own in results["agents"]:
        values = np.array(own["returns"], dtype=np.float64)
        if values.ndim != 1 or len(values) == 0:
            raise ValueError(f"agent {own['agent']} has no returns")
        found[Quantity("return", int(own["agent"]))] = values
        if "stopped" in own:
            found[Quantity(STOPPED, int(own["agent"]))] = float(own["stopped"])
        returns.append(values)
    found[Quantity("return")] = np.mean(returns, axis=0)
    planning = results.get("planning")
    if planning:
        seconds = float(planning["seconds"])
        rate = planning["decisions"] / seconds if seconds > 0 else math.nan
        found[Quantity("decisions per second")] = rate
        found[Quantity("decisions in a batch")] = planning["decisions"] / planning["batches"]
        found[Quantity("planning seconds")] = seconds / sum(len(values) for values in returns)
    if training := results.get("training"):
        found[Quantity("training seconds")] = training["seconds"] / training["agents"]
    return found


def _latent(results: Mapping[str, Any]) -> dict[Quantity, Any]:
    found: dict[Quantity, Any] = {}
    for measure, key in (("r2", "r2"), ("rank correlation", "rank_correlation")):
        for name, value in results[key].items():
            found[Quantity(f"{measure} of {name}")] = _known(value, math.nan)
    return found


def _unseen(results: Mapping[str, Any]) -> dict[Quantity, Any]:
    found: dict[Quantity, Any] = {}
    for own in results["known"]:
        errors = [_known(value, math.inf) for value in own["rmse"]]
        # Without interpolation, which knows nothing between infinite values.
        low, high = (
            float(np.quantile(errors, share, method="inverted_cdf")) for share in (0.5, 0.9)
        )
        for measure, value in (
            ("rmse", float(geometric_mean(errors))),
            ("median rmse", low),
            ("90th percentile of rmse", high),
        ):
            found[Quantity(measure, ALL, None, str(own["known"]))] = value
    return found


_READERS: dict[str, Callable[[Mapping[str, Any]], dict[Quantity, Any]]] = {
    "prediction": _prediction,
    "reward": _reward,
    "latent": _latent,
    "unseen": _unseen,
}
