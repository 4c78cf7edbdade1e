"""Arithmetic on arrays and tensors alike: what the parts of an expression compute."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from persim_gym.core import Array

#: Values by column: whether it is the next one, and its name.
Values: TypeAlias = "Mapping[tuple[bool, str], Array]"

Part: TypeAlias = "float | Callable[[Values], Any]"


def as_number(value: Any) -> Any:
    """True and false as 1 and 0."""
    if isinstance(value, Tensor):
        return value.to(torch.get_default_dtype()) if value.dtype == torch.bool else value
    return np.asarray(value, np.float64) if getattr(value, "dtype", None) == np.bool_ else value


def as_truth(value: Any) -> Any:
    """A number is true where it is not 0."""
    if isinstance(value, Tensor):
        return value if value.dtype == torch.bool else value != 0
    return value if getattr(value, "dtype", None) == np.bool_ else value != 0


def _by_name(name: str) -> Callable[[Any], Any]:
    """A function of one argument that NumPy and torch call the same."""
    of_tensor, of_array = getattr(torch, name), getattr(np, name)

    def apply(value: Any) -> Any:
        return of_tensor(value) if isinstance(value, Tensor) else of_array(value)

    return apply


def where(condition: Any, yes: Any, no: Any) -> Any:
    """One of two values by a condition, row by row."""
    parts = (as_truth(condition), yes, no)
    tensors = [part for part in parts if isinstance(part, Tensor)]
    if not tensors:
        return np.where(*parts)
    if not isinstance(parts[0], Tensor):
        return yes if parts[0] else no
    return torch.where(*parts)


def _extreme(of_tensor: Any, of_array: Any) -> Callable[..., Any]:
    """The least or the largest of several; what is no number stays none."""

    def two(a: Any, b: Any) -> Any:
        if isinstance(a, Tensor) or isinstance(b, Tensor):
            like = a if isinstance(a, Tensor) else b
            return of_tensor(torch.as_tensor(a).to(like), torch.as_tensor(b).to(like))
        return of_array(a, b)

    def apply(first: Any, *others: Any) -> Any:
        for other in others:
            first = two(first, other)
        return first

    return apply


_min = _extreme(torch.minimum, np.minimum)

_max = _extreme(torch.maximum, np.maximum)


def all_true(*parts: Any) -> Any:
    """Whether all parts are true."""
    found = as_truth(parts[0])
    for part in parts[1:]:
        found = found & as_truth(part)
    return found


def any_true(*parts: Any) -> Any:
    """Whether one part is true."""
    found = as_truth(parts[0])
    for part in parts[1:]:
        found = found | as_truth(part)
    return found


def _power(base: Any, exponent: Any) -> Any:
    if not isinstance(base, Tensor) and not isinstance(exponent, Tensor):
        return np.float_power(base, exponent)  # an integer's power would not end
    return base**exponent


#: Functions by name: the fewest and the most arguments, and what they do.
FUNCTIONS: dict[str, tuple[int, int, Callable[..., Any]]] = {
    **{name: (1, 1, _by_name(name)) for name in ("abs", "exp", "log", "sqrt", "sin", "cos")},
    "min": (2, 20, _min),
    "max": (2, 20, _max),
    "clip": (3, 3, lambda value, low, high: _min(_max(value, low), high)),
    "where": (3, 3, where),
}

ARITHMETIC: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}

COMPARISONS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}

SIGNS: dict[type[ast.AST], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: lambda value: ~as_truth(value),
}


def joined(function: Callable[..., Any], parts: Sequence[Part], numbers: bool = True) -> Part:
    """A function of parts; of constants alone it is computed now."""

    def apply(values: Values) -> Any:
        found = [part(values) if callable(part) else part for part in parts]
        return function(*map(as_number, found)) if numbers else function(*found)

    if any(callable(part) for part in parts):
        return apply
    with np.errstate(all="ignore"):
        constant = np.float64(function(*[np.float64(part) for part in parts]))  # type: ignore[arg-type]
    if not np.isfinite(constant):
        raise ValueError("a part of it without columns is no finite number")
    return float(constant)
