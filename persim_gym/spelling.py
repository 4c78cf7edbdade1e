"""Which name was probably meant by one that does not exist."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

#: How like two names are of which one may be meant, and where they begin with the same letter, as
#: abbreviations do.
LIKE, LIKE_FROM_THE_START = 0.76, 0.6


def closest(value: object, known: Iterable[str]) -> str | None:
    """The known word that a word is most like, if it is like one.

    Case, hyphens, underscores and spaces make no difference.
    """
    if not isinstance(value, str) or len(value) > 200:
        return None
    came, plain = _plain(value), {_plain(word): word for word in reversed(tuple(known))}
    strict = difflib.get_close_matches(came, plain, n=1, cutoff=LIKE)
    rest = [word for word in plain if word[:1] == came[:1]]
    near = strict or difflib.get_close_matches(came, rest, n=1, cutoff=LIKE_FROM_THE_START)
    return plain[near[0]] if near else None


def meant(value: object, known: Iterable[str]) -> str:
    """``" (did you mean 'cem'?)"``, or nothing where no known word is like what came."""
    near = closest(value, known)
    return "" if near is None else f" (did you mean {near!r}?)"


def _plain(word: str) -> str:
    return re.sub(r"[\W_]+", "", word).casefold()
