"""The pages are in plain English: short sentences, the words that the project has agreed on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.site.sources import FRONT, NOTEBOOKS, PAGES, markdown, name, sentences

#: Words that a sentence may have: beyond, nobody knows at its end how it began.
LONGEST = 40
#: Words that say less than others, and what to say instead.
AVOIDED = {
    r"people": "name them: users, patients, readers",
    r"told": "said, separated, given",
    r"in truth": "in the true environment",
    r"contenders?": "method",
    r"legs?": "part",
    r"look(?:s|ed|ing)?": "see, read, search, measure",
}
CHECKED = [*FRONT, *PAGES, *NOTEBOOKS]
WORD = re.compile(r"[^\W_][\w'’.,%-]*")


def faults(text: str) -> list[str]:
    """What is wrong with the sentences of a text."""
    found = []
    for sentence in sentences(text):
        words = len(WORD.findall(sentence))
        if words > LONGEST:
            found.append(f"{words} words: {sentence}")
        for avoided, instead in AVOIDED.items():
            if match := re.search(rf"\b{avoided}\b", sentence, re.IGNORECASE):
                found.append(f"{match[0]!r} ({instead}): {sentence}")
    return found


@pytest.mark.parametrize("page", CHECKED, ids=name)
def test_plain_english(page: Path) -> None:
    assert not faults(markdown(page)), "\n".join(faults(markdown(page)))


def test_faults_are_found() -> None:
    long = " ".join(["word"] * 41)
    assert len(faults(f"Short. {long}. Also short.")) == 1
    assert not faults(f"{' '.join(['word'] * 40)}.\n\n{' '.join(['word'] * 40)}.")
    assert len(faults("Some people look twice.")) == 2
    assert not faults(
        "Read `people.csv`, $look$ and [this](look.md). The legend overlooks nothing."
    )
    assert not faults("* one\n* two\n\n| a | b |\n| --- | --- |\n| " + "c " * 30 + "| " + "d " * 30)
