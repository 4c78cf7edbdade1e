"""The way a simulator was fitted, read back from its card: to fit other data alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from persim_gym.learned.config import CHOICE, FAMILIES, ClosedForm
from persim_gym.learned.data import Data
from persim_gym.learned.fitting.plan import FitPlan, plan_fit
from persim_gym.learned.geometry.geometry import Geometry


def plan_from(
    card: Mapping[str, Any], task_name: str, *, known: bool, chosen: bool = False
) -> FitPlan:
    """The plan that a card tells of.

    Args:
        card: A simulator's.
        task_name: The task's name.
        known: Whether the task is known to observe its whole state.
        chosen: Only the family that was chosen, of a mixture the one that counts most: without
            comparing families again.

    Raises:
        ValueError: If the simulator was made by hand: nothing says how to fit it.
    """
    method, config = card.get("method"), card.get("config")
    if not config or method not in (*FAMILIES, "auto"):
        raise ValueError(
            "this simulator was made by hand, and nothing says how to fit it again: make it with "
            "PerSim.fit"
        )
    preset = card.get("preset", "default")
    own = config if method == "auto" else {method: config}
    if method == "auto" and chosen:
        weights = card.get("metrics", {}).get("weights") or {card.get("fitted_by"): 1.0}
        # A family with a past is called "latent, lag 2"; linear models are of a family.
        method = str(max(weights, key=weights.__getitem__)).partition(",")[0]
        method = "hierarchical" if method == "linear" else method
        method = method if method in own else next(iter(own))
        own = {method: own[method]}
    past = card.get("metrics", {}).get("past", {}) if method != card.get("method") else {}
    configs = {name: FAMILIES[name].from_json({**own[name], **past}) for name in own}
    lag: int | None = max(one.lag for one in configs.values())
    if method == "auto" and lag == 1 and not known and tuple(configs) == CHOICE:
        lag = None  # the data decided
    plan = plan_fit(task_name, method=method, preset=preset, options={}, known=known)
    return dataclasses.replace(plan, method=method, configs=configs, lag=lag)


def with_past_of(plan: FitPlan, card: Mapping[str, Any], data: Data) -> FitPlan:
    """The plan, which sees all of the past where the columns of other data are others.

    Args:
        plan: By :func:`plan_from`.
        card: The card that it is from.
        data: What is to be fitted.
    """
    if all(getattr(own, "seen", None) is None for own in plan.configs.values()):
        return plan
    metrics = card.get("metrics", {})
    known = [
        p["geometry"] for p in (metrics, *metrics.get("parts", {}).values()) if "geometry" in p
    ]
    then = Geometry.from_json(known[0]) if known else Geometry(data.geometry.obs_dim)
    if (then.plain, then.periodic) == (data.geometry.plain, data.geometry.periodic):
        return plan
    configs = {name: dataclasses.replace(own, seen=None) for name, own in plan.configs.items()}
    return dataclasses.replace(plan, configs=configs)


def with_rank_of(plan: FitPlan, agents: int) -> FitPlan:
    """The plan with a rank of the closed form that so many agents can have."""
    configs = {
        name: dataclasses.replace(own, rank=min(own.rank, agents))
        if isinstance(own, ClosedForm) and own.rank is not None
        else own
        for name, own in plan.configs.items()
    }
    return dataclasses.replace(plan, configs=configs)
