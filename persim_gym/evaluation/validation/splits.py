"""What of a record is kept from a fit, and what each way of keeping it asks.

* ``"ends"``: the end of every trajectory. Will the simulators of these agents go on as they do?
* ``"agents"``: whole agents; the first half of each adapts the simulator, the second is predicted.
  Can the simulators of agents that were not in the data be trusted?
* ``"behaviour"``: all episodes of one behaviour. Can other behaviours be asked about?
* ``"time"``: all that came after one time. Does the past still say what happens today?
* ``"new"``: nothing is kept and nothing fitted: data that a simulator has never seen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.comparison.holdout import HELD, STARTS, Part, Record, held_out, starts_in
from persim_gym.offline.transitions import Transitions

#: Share of the agents that are held out whole, and the fewest that there must be.
SHARE, FEWEST = 0.2, 4
#: Predictions that there are at least, where stretches are long enough: of few agents more of each.
FEW = 60
#: The splits, and the question that each of them answers.
SPLITS = {
    "ends": "The end of every trajectory is kept from the fit. Will these agents go on so?",
    "agents": "Whole agents are kept from the fit, and adapted from the first half of their "
    "record. Can simulators of new agents be trusted?",
    "behaviour": "One behaviour is kept from the fit. Can other ways of acting be asked about?",
    "time": "All that came after one time is kept from the fit. Does the past tell what comes?",
    "new": "The simulator as it is, on data that it has not seen. Nothing is fitted.",
}


class NotPossible(ValueError):
    """Data do not allow a split; the text says why."""


@dataclass(frozen=True, slots=True)
class Split:
    """Which transitions are fitted, and which are predicted.

    Attributes:
        name: One of :data:`SPLITS`.
        fitted: Rows of the data that the simulator is fitted on ``[k]``; none for ``"new"``.
        known: Rows that adapt the simulator to new agents ``[q]``; none but for ``"agents"``.
        start: Rows that predictions begin at ``[n]``.
        length: Steps that each may be predicted for ``[n]``.
        longest: Length of each stretch that is predicted ``[s]``.
        notes: What a reader should know of the split.
    """

    name: str
    fitted: NDArray[np.int64]
    known: NDArray[np.int64]
    start: NDArray[np.int64]
    length: NDArray[np.int64]
    longest: NDArray[np.int64]
    notes: tuple[str, ...] = ()

    @property
    def part(self) -> Part:
        """The part that is predicted, as a comparison of families has it."""
        return Part(self.fitted, self.start, self.length, self.longest)


def make_split(
    name: str,
    data: Transitions,
    *,
    seed: int = 0,
    behaviour: NDArray[Any] | None = None,
    time: NDArray[np.float64] | None = None,
) -> Split:
    """Split data by name.

    Args:
        name: One of :data:`SPLITS`.
        data: The data.
        seed: Chooses agents.
        behaviour: Which behaviour each transition is of ``[T]``.
        time: When each transition was ``[T]``; by default its place in its agent's record.

    Raises:
        NotPossible: If the data do not allow it.
    """
    makers: dict[str, Callable[[], Split]] = {
        "ends": lambda: _ends(data, seed),
        "agents": lambda: _agents(data, seed),
        "behaviour": lambda: _behaviour(data, behaviour),
        "time": lambda: _time(data, time),
        "new": lambda: _held("new", data, np.ones(len(data), dtype=np.bool_)),
    }
    return makers[name]()


def compact(data: Transitions, rows: NDArray[np.int64]) -> Transitions:
    """Some transitions as data of the agents that they are of, and no others.

    Where rows were left out in the middle of an episode, another one begins.
    """
    found = data.select(rows)
    new = np.append(True, (np.diff(rows) != 1) | (np.diff(found.episode) != 0))
    agents, places = np.unique(found.agent, return_inverse=True)
    names = data.agent_names
    return dataclasses.replace(
        found,
        agent=places.reshape(-1).astype(np.int64),
        episode=np.cumsum(new),
        num_agents=len(agents),
        agent_names=None if names is None else tuple(names[k] for k in agents.tolist()),
        population=None,
    )


def place_in_record(agent: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many transitions of its agent came before each ``[T]``."""
    order = np.argsort(agent, kind="stable")
    own = agent[order]
    begins = np.flatnonzero(np.append(True, own[1:] != own[:-1]))
    count = np.diff(np.append(begins, len(agent)))
    place = np.empty(len(agent), dtype=np.int64)
    place[order] = np.arange(len(agent)) - np.repeat(begins, count)
    return place


def _record(data: Transitions) -> Record:
    unit = np.ones(data.obs.shape[1])
    return Record(data.agent, data.episode, data.obs, data.action, data.next_obs, unit)


def _held(
    name: str,
    data: Transitions,
    held: NDArray[np.bool_],
    *,
    fitted: NDArray[np.bool_] | None = None,
    known: NDArray[np.bool_] | None = None,
    notes: tuple[str, ...] = (),
) -> Split:
    """The split that predicts some rows and by default fits all others."""
    fitted = ~held if fitted is None else fitted
    own = len(np.unique(data.agent[held]))
    start, length, longest = starts_in(_record(data), held, max(STARTS, -(-FEW // max(own, 1))))
    nothing = np.zeros(0, dtype=np.int64)
    return Split(
        name,
        np.flatnonzero(fitted),
        nothing if known is None else np.flatnonzero(known),
        start,
        length,
        longest,
        notes,
    )


def _ends(data: Transitions, seed: int) -> Split:
    parts = held_out(_record(data), np.random.default_rng([seed, 7]))
    if not parts:
        raise NotPossible(
            "no agent has two transitions, so that no end can be kept from the fit: record more "
            "steps of each agent"
        )
    part = parts[0]
    kept = np.ones(len(data), dtype=np.bool_)
    kept[part.rows] = False
    # Of very many agents some are compared.
    chosen = np.isin(data.agent, data.agent[part.start])
    return _held("ends", data, kept & chosen, fitted=~kept)


def _agents(data: Transitions, seed: int) -> Split:
    count = np.bincount(data.agent, minlength=data.num_agents)
    able = np.flatnonzero(count >= 4)
    if len(able) < FEWEST:
        raise NotPossible(
            f"{len(able)} agents have four transitions or more, and to keep whole agents from the "
            f"fit takes {FEWEST}: record more agents"
        )
    chosen = np.random.default_rng([seed, 9]).permutation(able)[: max(1, round(SHARE * len(able)))]
    whole = np.isin(data.agent, chosen)
    late = place_in_record(data.agent) >= (count // 2)[data.agent]
    return _held("agents", data, whole & late, fitted=~whole, known=whole & ~late)


def _behaviour(data: Transitions, behaviour: NDArray[Any] | None) -> Split:
    if behaviour is None:
        raise NotPossible(
            "nothing says which behaviour the transitions are of: name the column of a table that "
            "does (--behaviour-column, or behaviour= in Python), or validate the simulator on data "
            "of another behaviour"
        )
    labels, code, count = np.unique(behaviour, return_inverse=True, return_counts=True)
    if len(labels) < 2:
        raise NotPossible("all transitions are of one behaviour: record another one, too")
    rare = int(np.argmin(count))
    held = code.reshape(-1) == rare
    lost = np.setdiff1d(data.agent[held], data.agent[~held])
    held_known = held & ~np.isin(data.agent, lost)
    if not held_known.any():
        raise NotPossible(
            f"no agent acted by behaviour {labels[rare]!s} and by another one: there is nothing of "
            "these agents to fit"
        )
    notes = [f"Kept from the fit: behaviour {labels[rare]!s}, the one with the fewest transitions."]
    if len(lost):
        notes.append(f"{len(lost)} agents have no other behaviour and are left out.")
    return _held("behaviour", data, held_known, fitted=~held, notes=tuple(notes))


def _time(data: Transitions, time: NDArray[np.float64] | None) -> Split:
    when = place_in_record(data.agent).astype(np.float64) if time is None else time
    cut = float(np.quantile(when, 1 - HELD, method="lower"))
    held = when > cut
    lost = np.setdiff1d(data.agent[held], data.agent[~held])
    held_known = held & ~np.isin(data.agent, lost)
    if not held_known.any():
        raise NotPossible("no agent has transitions before and after one time")
    unit = "step" if time is None else "time"
    after = np.isin(data.agent, data.agent[held_known])
    without = len(np.unique(data.agent[~after]))
    notes = [f"Kept from the fit: all after {unit} {cut:g}, of every agent."]
    if without:
        have = "1 agent has" if without == 1 else f"{without} agents have"
        notes.append(f"{have} nothing after it: not judged.")
    return _held("time", data, held_known, fitted=~held, notes=tuple(notes))
