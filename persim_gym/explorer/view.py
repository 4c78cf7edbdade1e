"""`View`: what the explorer shows, as a value that a URL holds."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args
from urllib.parse import urlencode

Kind = Literal["recorded", "hold", "random", "values"]
KINDS: tuple[str, ...] = get_args(Kind)

#: Rows of actions, one a block of steps.
Rows = tuple[tuple[float, ...], ...]

#: Most rows that a plan may have: as many as steps that are ever shown.
MOST_STEPS = 500
#: Largest seed, start or step that a URL may hold.
LARGEST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Plan:
    """Which actions are taken.

    Attributes:
        kind: ``"recorded"``: what was done; ``"hold"``: the action before the start goes on;
            ``"random"``: uniform in the action space; ``"values"``: :attr:`rows`.
        rows: Actions ``[k, a]``. They share the steps evenly: one row is a constant, as many rows
            as steps are a schedule. Numbers have six significant digits, as in the URL.
        seed: Of random actions.
    """

    kind: Kind = "recorded"
    rows: Rows = ()
    seed: int = 0

    @classmethod
    def of(cls, rows: Sequence[Sequence[float]]) -> Plan:
        """The plan of given actions ``[k, a]``."""
        return cls("values", tuple(tuple(_rounded(float(x)) for x in row) for row in rows))

    @property
    def text(self) -> str:
        """The plan as it stands in a URL, such as ``"random:3"`` or ``"values:10*4;0*8"``."""
        if self.kind == "random":
            return f"random:{self.seed}"
        if self.kind != "values":
            return self.kind
        runs = ((row, len(list(same))) for row, same in itertools.groupby(self.rows))
        return "values:" + ";".join(
            ",".join(f"{x:.6g}" for x in row) + (f"*{count}" if count > 1 else "")
            for row, count in runs
        )

    @classmethod
    def parse(cls, text: str) -> Plan:
        """The plan of a text.

        Raises:
            ValueError: If it is none.
        """
        kind, _, rest = text.partition(":")
        if kind in ("recorded", "hold") and not rest:
            return cls("recorded" if kind == "recorded" else "hold")
        if kind == "random":
            return cls("random", seed=whole("the seed of a random plan", rest or "0"))
        if kind == "values" and rest:
            return cls.of(_rows(rest))
        raise ValueError(
            f"a plan is recorded, hold, random:SEED or values:A,B;A,B (one row a block of steps), "
            f"got {text[:40]!r}"
        )


@dataclass(frozen=True, slots=True)
class View:
    """What the explorer shows.

    Attributes:
        agent: Name of the agent, or its index as text.
        start: Transition of the agent's record at whose observation courses start.
        horizon: Steps that are predicted.
        plan: Plan A.
        other: Plan B, or ``None``: nothing is compared.
        other_agent: Whose plan B is; ``None`` for the same agent.
        step: Step that is shown.
        shown: Names of the coordinates that are drawn; empty for the first ones.
    """

    agent: str
    start: int = 0
    horizon: int = 50
    plan: Plan = field(default_factory=Plan)
    other: Plan | None = None
    other_agent: str | None = None
    step: int = 0
    shown: tuple[str, ...] = ()

    @property
    def sides(self) -> tuple[tuple[str, Plan], ...]:
        """Agent and plan of A, and of B where there is one."""
        a = (self.agent, self.plan)
        return (a,) if self.other is None else (a, (self.other_agent or self.agent, self.other))

    def side(self, b: bool) -> tuple[str, Plan]:
        """Agent and plan of A or B; of A where there is no B."""
        return self.sides[-1 if b else 0]

    def with_plan(self, plan: Plan, b: bool = False) -> View:
        """The same with another plan A or B."""
        return replace(self, other=plan) if b else replace(self, plan=plan)

    @property
    def query(self) -> str:
        """The view as the query of a URL."""
        pairs: list[tuple[str, Any]] = [
            ("agent", self.agent), ("start", self.start), ("horizon", self.horizon),
            ("a", self.plan.text),
        ]  # fmt: skip
        if self.other is not None:
            pairs.append(("b", self.other.text))
            if self.other_agent is not None:
                pairs.append(("b_agent", self.other_agent))
        if self.step:
            pairs.append(("step", self.step))
        pairs += [("show", name) for name in self.shown]
        return urlencode(pairs, safe=",:;*")

    @classmethod
    def from_query(cls, query: Sequence[tuple[str, str]], default: View) -> View:
        """The view of a URL's query; what it does not say is as in ``default``.

        Args:
            query: Names and values, in order.
            default: The rest.

        Raises:
            ValueError: If a name is not known or a value does not fit.
        """
        given: Mapping[str, str] = dict(query)
        if unknown := sorted(set(given) - _NAMES):
            raise ValueError(
                f"the address has {unknown[0]!r}, which is nothing of the explorer's: it knows "
                f"{', '.join(sorted(_NAMES))}"
            )
        changes: dict[str, Any] = {}
        for name in ("start", "horizon", "step"):
            if name in given:
                changes[name] = whole(name, given[name])
        if "agent" in given:
            changes["agent"] = given["agent"]
        if "a" in given:
            changes["plan"] = Plan.parse(given["a"])
        if "b" in given:
            changes["other"] = Plan.parse(given["b"])
        if "b_agent" in given:
            changes["other_agent"] = given["b_agent"]
        if shown := tuple(dict.fromkeys(value for name, value in query if name == "show")):
            changes["shown"] = shown
        return replace(default, **changes)


_NAMES = frozenset(("agent", "start", "horizon", "a", "b", "b_agent", "step", "show"))


def whole(name: str, text: str) -> int:
    """A whole number of a text.

    Raises:
        ValueError: If it is none, or too large.
    """
    if not re.fullmatch(r"\d{1,10}", text, re.ASCII) or int(text) > LARGEST:
        raise ValueError(f"{name} must be a whole number from 0 to {LARGEST}, got {text[:40]!r}")
    return int(text)


def _rows(text: str) -> list[list[float]]:
    rows: list[list[float]] = []
    for part in text.split(";"):
        values, _, times = part.partition("*")
        count = whole("how often a row is repeated", times) if times else 1
        if not count or len(rows) + count > MOST_STEPS:
            raise ValueError(f"a plan has 1 to {MOST_STEPS} rows of actions, got more or none")
        try:
            row = [float(value) for value in values.split(",")]
        except ValueError:
            raise ValueError(f"actions are numbers with commas between, got {part!r}") from None
        if not all(map(math.isfinite, row)):
            raise ValueError(f"actions are finite numbers, got {part!r}")
        rows += [row] * count
    if len({len(row) for row in rows}) > 1:
        raise ValueError("all rows of a plan have as many actions, got rows of different lengths")
    return rows


def _rounded(value: float) -> float:
    return float(f"{value:.6g}") + 0.0  # no negative zero
