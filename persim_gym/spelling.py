"""Which name was probably meant by one that does not exist."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

Kind = TypeVar("Kind")

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


def renamed(**names: str) -> Callable[[type[Kind]], type[Kind]]:
    """A class that refuses former names of its arguments and attributes, and says the present ones.

    Args:
        **names: Present names by former ones.
    """

    def of(kind: type[Kind]) -> type[Kind]:
        made: Any = kind
        init = made.__init__
        said = {old: f"{kind.__name__}: {old} is called {now}" for old, now in names.items()}

        @functools.wraps(init)
        def checked(self: Kind, *args: Any, **kwargs: Any) -> None:
            for old in said.keys() & kwargs.keys():
                raise TypeError(said[old])
            init(self, *args, **kwargs)

        made.__init__ = checked
        for old in names:
            setattr(kind, old, _Former(said[old]))
        return kind

    return of


class _Former:
    """An attribute that is called otherwise now."""

    def __init__(self, said: str) -> None:
        self.said = said

    def __get__(self, instance: object, owner: object) -> None:
        raise AttributeError(self.said)


def _plain(word: str) -> str:
    return re.sub(r"[\W_]+", "", word).casefold()
