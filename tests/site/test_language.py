"""The pages are in plain English: short sentences, the words that the project has agreed on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import persim_gym
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
#: In the package's own sources, as comment, message or name: what the field has a word for.
IN_SOURCES = AVOIDED | {r"spread": "standard deviation", r"nobody": "say of what"}
#: Keys of files that are written already.
IN_FILES = re.compile(r'"(?:leg|look)_\w+"|"looks"')
PACKAGE = Path(persim_gym.__file__).parent
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


def odd_words(source: str) -> list[str]:
    """Words of a source, in names and over the ends of lines too, that the field has others for."""
    # A line of a comment or a docstring goes on in the next one.
    text = re.sub(r"\s+(?:#:? )?", " ", IN_FILES.sub("", source).replace("_", " "))
    return [
        f"{match[0]!r} ({instead})"
        for avoided, instead in IN_SOURCES.items()
        for match in re.finditer(rf"\b{avoided}\b", text, re.IGNORECASE)
    ]


@pytest.mark.parametrize("suffix", [".py", ".js", ".jinja"])
def test_sources_use_the_words_of_the_field(suffix: str) -> None:
    sources = sorted(PACKAGE.rglob(f"*{suffix}"))
    found = {str(path.relative_to(PACKAGE)): odd_words(path.read_text()) for path in sources}
    assert {path: words for path, words in found.items() if words} == {}


def test_odd_words_are_found() -> None:
    assert len(odd_words("def look_up(spread): ...")) == 2
    assert len(odd_words("#: What is good in\n#: truth.")) == 1
    assert odd_words('"leg_steps": 3  # an overlook of legends') == []


def test_faults_are_found() -> None:
    long = " ".join(["word"] * 41)
    assert len(faults(f"Short. {long}. Also short.")) == 1
    assert not faults(f"{' '.join(['word'] * 40)}.\n\n{' '.join(['word'] * 40)}.")
    assert len(faults("Some people look twice.")) == 2
    assert not faults(
        "Read `people.csv`, $look$ and [this](look.md). The legend overlooks nothing."
    )
    assert not faults("* one\n* two\n\n| a | b |\n| --- | --- |\n| " + "c " * 30 + "| " + "d " * 30)
