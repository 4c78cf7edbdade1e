"""What a fit compares by default: the families without a past, and with what is needed of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from persim_gym.learned.comparison.holdout import SHORT
from persim_gym.learned.config import Hierarchical
from persim_gym.learned.data import Data
from persim_gym.learned.features.frame import Frame
from persim_gym.learned.features.lags import judge_lags
from persim_gym.learned.features.past import Past, actions_alone, needed_past
from persim_gym.learned.hierarchical.search import WORK, work_of

#: Lags of linear models that short records are compared by, and least transitions of the median
#: agent for each observation of the past.
LAGS, STEPS = (1, 2, 3), 4
#: What follows the name of latent networks with a past that are fitted to single steps whatever
#: noise there is. A hidden switch is no smooth function of a past, and where it turns a step late
#: windows say little.
SINGLE = ", single steps"


def candidates_of(
    data: Data, configs: Mapping[str, Any], lag: int | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Configurations to compare, by name, and what is kept in the card of how they were found.

    Args:
        data: The data.
        configs: Of families, by name.
        lag: Observations of a state, where it was given.
    """
    if lag is not None:
        return {**configs, **linear(data, configs, [lag])}, {}
    lags = judge_lags(data)
    pasts = {lag: needed_past(data, lag) for lag in lags.compared}
    found = dict(configs)
    alone = actions_alone(data, lags.chosen)
    if alone is not None and alone not in pasts.values():
        own = with_pasts(configs, {lags.chosen: alone}, lags.chosen)
        found |= {
            name.removesuffix(SINGLE) + ", actions alone" + SINGLE * name.endswith(SINGLE): config
            for name, config in own.items()
        }
    found |= with_pasts(configs, pasts, lags.chosen)
    wide = [name for name, own in found.items() if own.lag > 1 and not _affordable(data, own)]
    found = {name: own for name, own in found.items() if name not in wide}
    found |= linear(data, configs, LAGS)
    needed = [asdict(past) for past in pasts.values()]
    notes = [f"{name} not tried: it would take minutes, of so many columns" for name in wide]
    return found, {"lags": lags.to_json() | {"needed": needed}, "notes": notes}


def _affordable(data: Data, config: Any) -> bool:
    """Whether a hierarchical regression with a past does not take minutes even at degree 1."""
    if not isinstance(config, Hierarchical):
        return True
    frame = Frame.of(data, config.lag, geometry=data.geometry, seen=config.seen)
    agents = len(np.unique(data.transitions.agent))
    return work_of(frame.size, frame.targets, agents, 1) <= WORK[config.effort]


def linear(data: Data, configs: Mapping[str, Any], lags: Sequence[int]) -> dict[str, Any]:
    """Linear models of short records, which are often too noisy for more.

    Args:
        data: The data.
        configs: Configurations of families.
        lags: Lags, of which those are taken that records are long enough for.
    """
    of_agents = np.unique(data.transitions.agent, return_counts=True)[1]
    long = float(np.median(data.transitions.lengths))
    if np.median(of_agents) >= SHORT or "hierarchical" not in configs:
        return {}
    return {
        "linear" if lag == 1 else f"linear, lag {lag}": replace(
            configs["hierarchical"], lag=lag, degree=1
        )
        for lag in lags
        if lag == 1 or lag * STEPS <= long
    }


def with_pasts(
    configs: Mapping[str, Any], pasts: Mapping[int, Past], chosen: int
) -> dict[str, Any]:
    """Configurations with the pasts that seem worth their while: compared with none.

    Args:
        configs: Of families without a past.
        pasts: What is needed of the past of each lag.
        chosen: The lag that latent networks are fitted with as well: they take their time.
    """
    found: dict[str, Any] = {}
    for lag, past in pasts.items():
        for name in ("hierarchical", "latent") if lag == chosen else ("hierarchical",):
            own = replace(configs[name], lag=past.lag, seen=past.seen)
            called = f"{name}, lag {past.lag}"
            if found.get(called, own) != own:  # another part of a past that is as long
                called += f" of {lag}"
            found[called] = own
            if name == "latent" and own.window_steps:
                found[called + SINGLE] = replace(own, window_steps=0)
    return found
