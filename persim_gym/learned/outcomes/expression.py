"""Rewards as text over columns, such as ``-abs(glucose - 110) - 0.1 * dose``; nothing else runs.

A text is parsed, and its tree is walked once: what is not on the list of allowed nodes is refused,
whatever it is. What is left is a tree of the functions below, over NumPy arrays or torch tensors.
"""

from __future__ import annotations

import ast
import keyword
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from persim_gym import checks
from persim_gym.core import Array
from persim_gym.learned.outcomes.arithmetic import (
    ARITHMETIC,
    COMPARISONS,
    FUNCTIONS,
    SIGNS,
    Part,
    all_true,
    any_true,
    as_number,
    joined,
    where,
)

#: Longest text, and how deep its parts may be nested: far more than a reward needs.
LONGEST, DEEPEST = 2000, 50

#: What stands before a column for its value after the step: ``next.glucose``.
NEXT = "next"


@dataclass(frozen=True, slots=True)
class Columns:
    """What an expression may speak of.

    Attributes:
        state: Names of the observation's coordinates ``[d]``.
        action: Names of the action's coordinates ``[a]``; of a discrete action one name.
        discrete: Whether actions are discrete.
        labels: What the discrete actions are called; none for others, or where they have no names.
    """

    state: tuple[str, ...]
    action: tuple[str, ...]
    discrete: bool = False
    labels: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The names, as errors list them."""
        return ", ".join((*self.state, *self.action))


class Expression:
    """A reward as a function of the columns of a step.

    A column's name is its value in the state in which the action is taken; ``next.name`` is the
    value to which the step leads. A name that is no identifier stands in backticks. There are
    ``+ - * / // % **``, comparisons, ``and``, ``or``, ``not``, ``a if b else c``, and the functions
    ``min, max, abs, exp, log, sqrt, sin, cos, clip(x, low, high), where(condition, a, b)``. A
    discrete action is its index, or is compared with a name: ``drug == "A"``.

    Raises:
        TypeError: If ``text`` is no text.
        ValueError: If it is no such expression.
    """

    def __init__(self, text: str, columns: Columns) -> None:
        self.text = checks.text("reward", text).strip()
        self.columns = columns
        self._value = _Reader(self.text, columns).read()

    @property
    def varies(self) -> bool:
        """Whether there is a column in it."""
        return callable(self._value)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its text: functions inside functions are not pickled."""
        return Expression, (self.text, self.columns)

    def __call__(self, obs: Array, action: Array, next_obs: Array) -> Array:
        """Rewards ``[...]`` of ``[..., d]``, actions ``[...]`` or ``[..., a]``, ``[..., d]``.

        Arrays or tensors, and the same is returned. What has no value, such as a root of a negative
        number, is not finite.
        """
        values = _Values(self.columns, obs, action, next_obs)
        with np.errstate(all="ignore"):
            found = self._value(values) if callable(self._value) else self._value
        if not isinstance(found, (Tensor, np.ndarray, np.generic)):
            return next_obs[..., 0] * 0 + found
        return as_number(found)

    def __repr__(self) -> str:
        """As it is made."""
        return f"Expression({self.text!r})"


class _Values(dict[tuple[bool, str], Any]):
    """Values of the columns of some steps, taken when they are asked for."""

    def __init__(self, columns: Columns, obs: Any, action: Any, next_obs: Any) -> None:
        super().__init__()
        self._columns, self._states, self._action = columns, (obs, next_obs), action

    def __missing__(self, key: tuple[bool, str]) -> Any:
        after, name = key
        if name in self._columns.state:
            value = self._states[after][..., self._columns.state.index(name)]
        elif self._columns.discrete:
            like = self._states[True]
            tensor = isinstance(like, Tensor)
            value = self._action.to(like.dtype) if tensor else np.asarray(self._action, np.float64)
        else:
            value = self._action[..., self._columns.action.index(name)]
        self[key] = value
        return value


# -- from text to functions ------------------------------------------------------------------------


class _Reader:
    """Reads one text."""

    def __init__(self, text: str, columns: Columns) -> None:
        self._text, self._columns = text, columns
        self._quoted: dict[str, str] = {}
        names = (*columns.state, *columns.action)
        # Python's parser writes names in a normal form of Unicode.
        self._names = {unicodedata.normalize("NFKC", name): name for name in reversed(names)}

    def read(self) -> Part:
        """What the text computes.

        Raises:
            ValueError: If it is not allowed.
        """
        if len(self._text) > LONGEST:
            raise ValueError(
                f"a reward has at most {LONGEST:,} characters, got {len(self._text):,}: give a "
                "Python function"
            )
        try:
            tree = ast.parse(self._without_backticks(), mode="eval")
            self._check_depth(tree)
            return self._part(tree.body)
        except (SyntaxError, MemoryError, RecursionError) as error:
            reason = getattr(error, "msg", None) or "it is nested too deep"
            raise ValueError(
                f"reward {self._shown!r} can not be read: {reason}; a column whose name is no "
                f"identifier stands in backticks. Columns: {self._columns}"
            ) from None
        except ValueError as error:
            raise ValueError(f"reward {self._shown!r}: {error}") from None

    @property
    def _shown(self) -> str:
        return self._text if len(self._text) <= 80 else f"{self._text[:79]}…"

    def _without_backticks(self) -> str:
        """The text with a plain identifier for each name in backticks."""
        head = "_column"
        while head in self._text:
            head += "_"

        def plain(match: re.Match[str]) -> str:
            if match[1] is None:  # a string, in which a backtick is a backtick
                return match[0]
            key = f"{head}{len(self._quoted)}"
            self._quoted[key] = match[1]
            return key

        text = re.sub(r"`([^`]*)`|'[^'\n]*'|\"[^\"\n]*\"", plain, self._text)
        if "`" in re.sub(r"'[^'\n]*'|\"[^\"\n]*\"", "", text):
            raise ValueError("a backtick has no other: a name stands between two of them")
        return " ".join(text.split("\n"))

    @staticmethod
    def _check_depth(tree: ast.AST) -> None:
        level: list[ast.AST] = [tree]
        for _ in range(DEEPEST):
            level = [child for node in level for child in ast.iter_child_nodes(node)]
            if not level:
                return
        raise ValueError(f"it is nested more than {DEEPEST} deep")

    def _part(self, node: ast.AST) -> Part:
        match node:
            case ast.Constant(value=bool() | int() | float() as value):
                return self._constant(value)
            case ast.Name():
                return self._column(node.id, False)
            case ast.Attribute(value=ast.Name(id="next"), attr=name):
                return self._column(name, True)
            case ast.BinOp(op=op) if type(op) in ARITHMETIC:
                sides = [self._part(node.left), self._part(node.right)]
                return joined(ARITHMETIC[type(op)], sides)
            case ast.UnaryOp(op=op) if type(op) in SIGNS:
                numbers = not isinstance(op, ast.Not)
                if not numbers:
                    return joined(SIGNS[ast.Not], [self._part(node.operand)], False)
                return joined(SIGNS[type(op)], [self._part(node.operand)])
            case ast.BoolOp(op=op):
                both = all_true if isinstance(op, ast.And) else any_true
                return joined(both, [self._part(value) for value in node.values], False)
            case ast.Compare():
                return self._compared(node)
            case ast.IfExp():
                parts = [self._part(part) for part in (node.test, node.body, node.orelse)]
                return joined(where, parts)
            case ast.Call():
                return self._called(node)
        raise ValueError(f"{_described(node)} not allowed; {_allowed()}")

    @staticmethod
    def _constant(value: float) -> float:
        try:
            number = float(value)
        except OverflowError:
            number = np.inf
        if not np.isfinite(number):
            raise ValueError("a number is too large")
        return number

    def _column(self, name: str, after: bool) -> Part:
        quoted = self._quoted.get(name)
        named = quoted if quoted is not None else self._names.get(name, name)
        columns = self._columns
        if named in columns.state and (after or named not in columns.action):
            return lambda values: values[after, named]
        if named in columns.state:
            raise ValueError(f"{named!r} is a column of the state and of the action: rename one")
        if named in columns.action:
            if after:
                raise ValueError(f"{NEXT}.{named} is the next action, which is not known yet")
            return lambda values: values[False, named]
        if quoted is None and name in FUNCTIONS:
            raise ValueError(f"{name} is a function: {name}(...)")
        if quoted is None and name == NEXT:
            raise ValueError(f"{NEXT} is followed by a column: {NEXT}.{columns.state[0]}")
        hint = checks.meant(named, (*columns.state, *columns.action))
        raise ValueError(f"there is no column {named!r}{hint}; columns: {columns}")

    def _compared(self, node: ast.Compare) -> Part:
        terms = [node.left, *node.comparators]
        found: list[Part] = []
        for place, op in enumerate(node.ops):
            if type(op) not in COMPARISONS:
                raise ValueError(f"{_described(op)} not allowed; {_allowed()}")
            sides = self._labels(terms[place], terms[place + 1])
            found.append(joined(COMPARISONS[type(op)], sides))
        return found[0] if len(found) == 1 else joined(all_true, found, False)

    def _labels(self, *terms: ast.expr) -> list[Part]:
        """Two sides of a comparison, of which one may be the name of a discrete action."""
        texts = [isinstance(term, ast.Constant) and isinstance(term.value, str) for term in terms]
        if not any(texts):
            return [self._part(term) for term in terms]
        label, other = terms if texts[0] else terms[::-1]
        labels, column = self._columns.labels, self._columns.action[0]
        is_action = isinstance(other, ast.Name) and (
            self._quoted.get(other.id) or self._names.get(other.id, other.id)
        )
        if is_action != column or not labels:
            raise ValueError("text is compared with a column of discrete actions alone")
        assert isinstance(label, ast.Constant)
        if label.value not in labels:
            raise ValueError(
                f"there is no action {label.value!r}{checks.meant(label.value, labels)}; actions: "
                f"{', '.join(labels)}"
            )
        return [self._part(other), float(labels.index(label.value))]

    def _called(self, node: ast.Call) -> Part:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in FUNCTIONS:
            hint = checks.meant(name, FUNCTIONS)
            columns = (*self._columns.state, *self._columns.action)
            if name and (column := next((c for c in columns if c.startswith(f"{name} ")), None)):
                raise ValueError(f"the column {column!r} stands in backticks: {quoted(column)}")
            said = f"there is no function {name}{hint}" if name else "such a call is not allowed"
            raise ValueError(f"{said}; functions: {', '.join(FUNCTIONS)}")
        least, most, function = FUNCTIONS[name]
        if node.keywords or not least <= len(node.args) <= most:
            count = f"{least}" if least == most else f"{least} or more"
            raise ValueError(f"{name} takes {count} argument{'s' * (most > 1)}, without names")
        return joined(function, [self._part(argument) for argument in node.args])


def _described(node: ast.AST) -> str:
    words = {
        ast.Attribute: "an attribute is",
        ast.Lambda: "a lambda is",
        ast.Subscript: "an index in brackets is",
        ast.NamedExpr: "an assignment is",
        ast.Constant: "this constant is",
        ast.In: "'in' is",
        ast.NotIn: "'not in' is",
        ast.Is: "'is' is",
        ast.IsNot: "'is not' is",
    }
    return words.get(type(node), f"{type(node).__name__} is")


def _allowed() -> str:
    return (
        "allowed are numbers, columns, next.COLUMN, arithmetic, comparisons, and, or, not, "
        f"a if b else c, {', '.join(FUNCTIONS)}"
    )


def quoted(name: str) -> str:
    """A column's name as an expression has it: in backticks if it is no identifier."""
    return name if name.isidentifier() and not keyword.iskeyword(name) else f"`{name}`"


__all__ = ["FUNCTIONS", "Columns", "Expression", "quoted"]
