"""Numbers as text: few digits, true minus signs, units of time."""

from __future__ import annotations

import math
from typing import Any


def number(value: float | None) -> str:
    """Three significant digits; powers of ten for what is very small or large."""
    if value is None or not math.isfinite(value):
        return "∞" if value == math.inf else "–"
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 1e5:
        places = max(0, 2 - math.floor(math.log10(abs(value))))
        return f"{value:.{places}f}"
    digits, exponent = f"{value:.1e}".split("e")  # rounded first: 9.98e-5 is 1.0e-4
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{digits}·10{raised}"


def plus_minus(value: float | None, sd: float | None) -> str:
    """A number and its standard deviation, if that is known."""
    if value is None:
        return "–"
    return number(value) if sd is None else f"{number(value)} ± {number(sd)}"


def return_sd(value: float, sd: float | None, episodes: int) -> str:
    """Mean, standard deviation and number of episodes."""
    return f"{return_text(value)}{'' if sd is None else f' ± {sd:.1f}'} ({episodes})"


def return_text(value: float | None) -> str:
    """A return, to a tenth."""
    return (
        "–" if value is None else f"{value:.1f}".removesuffix(".0").replace("-", "\N{MINUS SIGN}")
    )


def r2_text(value: float | None) -> str:
    """Explained variance, which has no lower bound."""
    if value is None:
        return "–"
    if value < -99:
        return "< \N{MINUS SIGN}99"
    return share(value).replace("-", "\N{MINUS SIGN}")


def share(value: float | None) -> str:
    """A share, with so many digits that 0.99998 is not called 1."""
    if value is None:
        return "–"
    if value < 0:
        return f"{value:.2f}"
    if value == 1:
        return "1"
    return next((f"{value:.{k}f}" for k in (3, 4, 5) if value < 1 - 0.5 * 10**-k), "> 0.99999")


def mean_of(values: Any) -> float | None:
    """Mean of what is known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def geometric(values: Any) -> float | None:
    """Geometric mean of what is known and not zero."""
    known = [value for value in values if value]
    return math.exp(sum(map(math.log, known)) / len(known)) if known else None


def duration(seconds: float) -> str:
    """Seconds, or minutes and seconds."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
