"""What the data cover, and which questions they identify: an agent, an action, a state.

Nothing here needs a simulator. A simulator answers whatever it is asked; whether the data hold
an answer is a matter of what was done in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.evaluation.validation.confounding import (
    DETERMINED,
    PARTLY,
    Acted,
    Explained,
    explained,
    explained_by_agent,
)
from persim_gym.evaluation.validation.coverage import (
    coverage_by_agent,
    dose_shares,
    varied_by_region,
)
from persim_gym.offline.transitions import Transitions

#: Agents and regions that a sentence names.
NAMED, REGIONS = 5, 3
#: Part of an agent's record that others must cover, for it not to be named as alone.
ALONE = 0.5
#: Points of an action against what explains it best, for a figure.
POINTS = 400

#: The rules as a reader has them; the documentation lists the same.
SUPPORT_RULES = (
    "An action was varied by an agent if its standard deviation in the agent's own record is more "
    "than 1% of that in all records; a choice, if it was taken and was not always taken.",
    f"An action is determined if a regression predicts it with R² of {DETERMINED} or more in the "
    "last third of every record, from the state, or from the state and the other actions. Each "
    "agent's own regression is linear; that of all agents together is quadratic, or takes the "
    f"nearest recorded states. From {PARTLY} on it is mostly determined.",
    "A question about an agent and an action is answered by its own record if the agent varied the "
    "action and nothing determines it there; through others if another agent did; else by nothing.",
    "A state and action count as covered if a recorded one differs from them by at most half a "
    "standard deviation, root mean square over the coordinates.",
)  # fmt: skip


def support_of(data: Transitions) -> dict[str, Any]:
    """What data cover and identify, in plain types.

    Returns:
        ``sentences`` for a reader, in which ``warnings`` are repeated; ``actions``, each with its
        range, who varied it, what explains it and its ``status``; ``agents`` by name with the
        share of all that was recorded that their own record covers (``own``), the share of their
        own that others cover (``others``), and for each action what answers about it rest on
        (``"own"``, ``"others"`` or ``"nothing"``); ``regions`` in which an action was varied; and
        ``doses``, how often each was given.
    """
    acted = Acted.of(data)
    names = data.obs_names or tuple(f"obs {k}" for k in range(data.obs.shape[1]))
    there = np.unique(data.agent)
    labels = [str(k) if data.agent_names is None else data.agent_names[k] for k in there.tolist()]
    varied = acted.varied_by(data.agent, data.num_agents)[there]
    whole = [explained(data, acted, k, names) for k in range(acted.width)]
    own = explained_by_agent(data, acted)[there]
    rests = np.stack([_rests(varied[:, k], own[:, k], whole[k]) for k in range(acted.width)], 1)
    region = coverage_by_agent(data, acted, there)
    actions, warnings, sentences = [], [], []
    regions = varied_by_region(data, acted, names)
    for k, name in enumerate(acted.names):
        status = _status(acted, k, varied[:, k], whole[k], rests[:, k])
        actions.append(_action(acted, k, data, whole[k], varied[:, k], status))
        found, bad = _said(name, status, whole[k], rests[:, k], varied[:, k], labels)
        if acted.discrete and acted.width == 2 and k == 0:
            continue  # of two choices one says it all
        if not data.acts:
            found, bad = ["The data have no action: all answers are about how agents go on."], False
        sentences += found
        warnings += found if bad else []
        if status in ("varied", "mostly determined"):
            empty = [r["text"] for r in regions if r["action"] == name and not r["own"]]
            own_regions = [f"{name}: never varied where {text}." for text in empty[:REGIONS]]
            sentences, warnings = [*sentences, *own_regions], [*warnings, *own_regions]
    sentences += _covered(region, labels)
    return {
        "sentences": sentences,
        "warnings": warnings,
        "rules": list(SUPPORT_RULES),
        "actions": actions,
        "agents": {
            label: {
                "own": float(region[i, 0]),
                "others": float(region[i, 1]),
                "rests_on": dict(zip(acted.names, rests[i].tolist(), strict=True)),
            }
            for i, label in enumerate(labels)
        },
        "regions": regions,
        "doses": dose_shares(data, acted, there),
    }


def _rests(varied: NDArray[np.bool_], own: NDArray[np.float64], whole: Explained) -> NDArray[Any]:
    """What an answer about each agent and one action rests on ``[A]``."""
    alone = varied & ~(own >= DETERMINED)
    if whole.r2 >= DETERMINED:
        alone = np.zeros_like(alone)
    elsewhere = alone.sum() - alone > 0
    return np.where(alone, "own", np.where(elsewhere, "others", "nothing"))


def _status(
    acted: Acted, k: int, varied: NDArray[np.bool_], whole: Explained, rests: NDArray[Any]
) -> str:
    if acted.values[:, k].min() == acted.values[:, k].max():
        return "never varied"
    if not varied.any():
        return "constant for each agent"
    if (rests == "nothing").all():
        return "determined"
    return "mostly determined" if whole.r2 >= PARTLY else "varied"


def _action(
    acted: Acted, k: int, data: Transitions, whole: Explained, varied: NDArray[Any], status: str
) -> dict[str, Any]:
    """One action's facts."""
    rows = np.linspace(0, len(data) - 1, min(POINTS, len(data))).astype(np.int64)
    against = None
    if whole.driver is not None:
        against = {
            "column": whole.driver,
            "x": whole.driver_values[rows].tolist(),
            "y": acted.values[rows, k].tolist(),
        }
    return {
        "name": acted.names[k],
        "low": float(acted.values[:, k].min()),
        "high": float(acted.values[:, k].max()),
        "varied_by": int(varied.sum()),
        "status": status,
        "r2": {"state": whole.of_state, "state and other actions": whole.r2},
        "against": against,
    }


def _said(
    name: str,
    status: str,
    whole: Explained,
    rests: NDArray[Any],
    varied: NDArray[np.bool_],
    labels: Sequence[str],
) -> tuple[list[str], bool]:
    """Sentences about an action, and whether they warn."""
    if status == "never varied":
        return [f"{name}: never varied. The data say nothing of what another value does."], True
    if status == "constant for each agent":
        return [
            f"{name}: constant in every agent's own record. What it does cannot be separated from "
            "what the agents themselves are."
        ], True
    if status == "determined":
        return [f"{name}: {_determined(whole)}"], True
    found, warns = [], False
    if status == "mostly determined":
        found.append(
            f"{name}: mostly follows from {whole.by} (R² {whole.r2:.2f}). Its effect is known from "
            "the rest of its variation alone, and large departures are a guess."
        )
        warns = True
    for text, these in (
        ("never varied in the record of", (rests != "own") & ~varied),
        ("follows from the state or the other actions in the record of", (rests != "own") & varied),
    ):
        if these.any():
            who = _named([label for label, bad in zip(labels, these, strict=True) if bad])
            found.append(f"{name}: {text} {who}. Answers about them rest on the other agents.")
            warns = True
    if np.isnan(whole.r2):
        found.append(
            f"{name}: varied, and too few transitions to say whether something decides it."
        )
    elif not found:
        found.append(
            f"{name}: varied in every agent's own record, and nothing recorded determines it."
        )
    return found, warns


def _determined(whole: Explained) -> str:
    if whole.r2 < DETERMINED:
        return (
            "follows from the state or the other actions in every agent's own record, each in its "
            "own way. What it does cannot be separated from what they do."
        )
    how = f"follows from {whole.by} (R² {whole.r2:.2f})."
    return f"{how} What it does alone cannot be separated from what {whole.by} does."


def _named(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - NAMED} more" if len(labels) > NAMED else ""
    return ", ".join(labels[:NAMED]) + more


def _covered(region: NDArray[np.float64], labels: Sequence[str]) -> list[str]:
    """Sentences about where agents have been."""
    if len(labels) < 2:
        return []
    own, others = np.median(region, axis=0)
    found = [
        f"The median agent has itself been in {own:.0%} of all recorded states and actions, and "
        f"others have been in {others:.0%} of its own."
    ]
    alone = [label for label, share in zip(labels, region[:, 1], strict=True) if share < ALONE]
    if alone:
        found.append(
            f"Mostly where no other agent has been: {_named(alone)}. Their answers rest on their "
            "own record."
        )
    return found
