"""Text files of tables: what separates their columns, their decimal sign, what is missing."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NEEDS = "tables need pandas, and Parquet needs pyarrow: pip install 'persim-gym[tables]'"

#: What a column of numbers may hold instead of a number that is missing (pandas' own list).
MISSING = frozenset(
    (
        *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND"),
        *("1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    )
)
#: What may separate columns.
SEPARATORS = (",", ";", "\t", "|")
#: A number with a decimal comma, and one without decimals.
_COMMA = r"\s*[+-]?\d*,\d+(?:[eE][+-]?\d+)?\s*"
_WHOLE = r"\s*[+-]?\d+\s*"


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say which file it is that can not be read; each engine has exceptions of its own."""
    try:
        yield
    except ImportError as error:
        raise ImportError(NEEDS) from error
    except MemoryError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if type(error).__name__ == "EmptyDataError":
            reason = "the file is empty"
        raise ValueError(f"{path} can not be read: {reason}") from error


@dataclass(frozen=True, slots=True)
class TextFile:
    """A text file of a table.

    Attributes:
        path: Where it is.
        separator: What separates its columns.
        header: Its columns, those without a name called as pandas does.
        decimal: Decimal sign of its numbers; ``None`` for what they say themselves: commas are read
            as such where semicolons separate columns.
    """

    path: Path
    separator: str
    header: list[str]
    decimal: str | None = None

    @classmethod
    def of(
        cls, path: Path, usual: str, used: Collection[str] = (), decimal: str | None = None
    ) -> TextFile:
        """The file with what separates its columns, by its header.

        Args:
            path: Where it is.
            usual: The separator that its name promises.
            used: Columns that are in use: a separator that finds them all is right.
            decimal: As given.

        Raises:
            ValueError: If it can not be read.
        """
        headers = {sign: _header(path, sign) for sign in dict.fromkeys((usual, *SEPARATORS))}
        fitting = (sign for sign, own in headers.items() if used and set(used) <= set(own))
        found = next(fitting, None) or max(headers, key=lambda sign: len(headers[sign]))
        return cls(path, found, headers[found], decimal)

    def read(
        self, columns: Sequence[str], text: Collection[str], labels: Collection[str]
    ) -> tuple[Any, set[str]]:
        """A DataFrame, and which of its columns are text because the file knows no types.

        Args:
            columns: Those in use.
            text: Of them, those that stay text.
            labels: Those that may hold labels, or numbers.
        """
        numbers = [own for own in columns if own not in text]
        with reading(self.path):
            frame = self._frame(columns, text, self.decimal or ".")
            if self.decimal is None and self.separator == ";":
                commas = [own for own in numbers if _matching(frame[own], _COMMA)[1].any()]
                if commas:
                    frame = self._frame(columns, text, ",")
                    for own in set(commas) - set(labels):
                        _check_alike(frame[own])
            words = {
                own
                for own in labels
                if frame[own].dtype.kind not in "iuf" or frame[own].isna().all()
            }
            if words:  # what pandas takes for missing may be a label
                own = _read(self.path, self.separator, dtype=dict.fromkeys(words, str))
                frame = frame.assign(**{word: own[word] for word in words})
        return frame, set(text) | words

    def _frame(self, columns: Sequence[str], text: Collection[str], decimal: str) -> Any:
        missing = {own: sorted(MISSING) for own in columns if own not in text}
        # All columns are read: only so does pandas see that rows may begin with a number of their
        # own.
        return _read(
            self.path, self.separator, dtype=dict.fromkeys(text, str), na_values=missing,
            decimal=decimal,
        )  # fmt: skip


def _matching(column: Any, pattern: str) -> Any:
    """The known values of a column of text, and which of them are as a pattern says."""
    known = column.dropna().astype(str)[: None if column.dtype.kind not in "iufb" else 0]
    return known, known.str.fullmatch(pattern).astype(bool)


def _check_alike(column: Any) -> None:
    """Refuse other numbers, or words, beside numbers with a decimal comma."""
    known, alike = _matching(column, f"{_COMMA}|{_WHOLE}")
    if not alike.all():
        raise ValueError(
            f"column {column.name!r}: {known[~alike].iloc[0]!r} is no number with a decimal comma, "
            "as others are there"
        )


def _read(path: Path, separator: str, **options: Any) -> Any:
    import pandas as pd

    return pd.read_csv(path, sep=separator, keep_default_na=False, low_memory=False, **options)


def _header(path: Path, separator: str) -> list[str]:
    with reading(path):
        first = _read(path, separator, header=None, nrows=1, dtype=str).iloc[0]
    return [label or f"Unnamed: {k}" for k, label in enumerate(first.fillna(""))]
