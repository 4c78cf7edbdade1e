"""Rules such as ``rmse(glucose,10)<persistence``, which a validation meets or fails.

The grammar is small and nothing of it is executed::

    rule     = quantity "(" column ["," steps] ")" relation value
    quantity = "rmse" | "skill" | "r2" | "coverage" | "width"
    column   = a column's name, in double quotes where it holds a comma, bracket or quote, or *
    relation = "<" | "<=" | ">" | ">="
    value    = a number, or of rmse "persistence" | "pooled" | "linear"

Without steps the longest number of them that was predicted counts; ``*`` asks every column.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

QUANTITIES = ("rmse", "skill", "r2", "coverage", "width")
NAMES = ("persistence", "pooled", "linear")
RELATIONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
EXPECTED = (
    "expected QUANTITY(COLUMN) or QUANTITY(COLUMN,STEPS), then <, <=, > or >=, then a number or "
    "(of rmse) persistence, pooled or linear; the quantities are rmse, skill, r2, coverage and "
    "width. Such as rmse(glucose,10)<persistence"
)
_RULE = re.compile(
    r"""\s*(?P<quantity>[a-z0-9]+)\s*\(\s*
        (?:"(?P<quoted>(?:[^"]|"")+)"|(?P<plain>[^",()]+?))\s*
        (?:,\s*(?P<steps>\d{1,9})\s*)?\)\s*
        (?P<relation><=|>=|<|>)\s*(?P<value>\S+)\s*""",
    re.VERBOSE,
)
#: Column that stands for all.
EVERY = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule.

    Attributes:
        text: As it was given.
        quantity: One of :data:`QUANTITIES`.
        column: A column's name, or :data:`EVERY`.
        steps: Number of steps; ``None`` for the longest.
        relation: One of :data:`RELATIONS`.
        value: A number, or one of :data:`NAMES`.
    """

    text: str
    quantity: str
    column: str
    steps: int | None
    relation: str
    value: float | str

    @classmethod
    def parse(cls, text: str) -> Rule:
        """A rule from its text.

        Raises:
            TypeError: If it is no text.
            ValueError: If it is no rule; the message says what is expected.
        """
        if not isinstance(text, str):
            raise TypeError(f"a rule is text such as 'rmse(glucose)<persistence', got {text!r}")
        match = _RULE.fullmatch(text)
        if match is None or match["quantity"] not in QUANTITIES:
            raise ValueError(f"{text!r} is no rule: {EXPECTED}")
        quoted = match["quoted"]
        column = match["plain"] if quoted is None else quoted.replace('""', '"')
        steps = None if match["steps"] is None else int(match["steps"])
        if steps == 0:
            raise ValueError(f"{text!r} asks for 0 steps: expected 1 or more")
        value: float | str = match["value"]
        if value not in NAMES:
            value = _number(text, str(value))
        elif match["quantity"] != "rmse":
            raise ValueError(f"{text!r} compares {match['quantity']} with a model's: {EXPECTED}")
        return cls(text.strip(), match["quantity"], column, steps, match["relation"], value)

    def check_column(self, columns: Sequence[str]) -> None:
        """Refuse a column that does not exist.

        Raises:
            ValueError: If it does not.
        """
        if self.column != EVERY and self.column not in columns:
            raise ValueError(
                f"rule {self.text!r} names column {self.column!r}: the data have "
                f"{', '.join(columns)}, and * stands for all of them"
            )

    def holds(self, found: float, value: float) -> bool:
        """Whether a quantity that was found stands in the relation; never of what is not known."""
        known = not (math.isnan(found) or math.isnan(value))
        return known and RELATIONS[self.relation](found, value)


def _number(text: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"{text!r} is no rule: {value!r} is no number. {EXPECTED}") from None
    if not math.isfinite(number):
        raise ValueError(f"{text!r} compares with {value}: expected a finite number")
    return number
