"""``docs/architecture.md`` is true: what it names is there, and what is there is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import persim_gym
from tests.contract.sources import ROOMS

PACKAGE = Path(persim_gym.__file__).parent
TEXT = (PACKAGE.parent / "docs" / "architecture.md").read_text()
THERE = [path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*")]


def test_every_module_that_is_named_is_there() -> None:
    named = set(re.findall(r"[\w/]+\.(?:py|js|css)\b", TEXT))
    assert "simulator.py" in named
    there = [f"/{path}" for path in THERE]
    assert {name for name in named if not any(path.endswith(f"/{name}") for path in there)} == set()


def test_the_rooms_are_all_there_in_their_order() -> None:
    rooms = re.findall(r"^\| `(\w+)(?:\.py|/)` \|", TEXT, flags=re.MULTILINE)
    assert rooms == [room for room in ROOMS if not room.startswith("__")]


@pytest.mark.parametrize("room", ["learned", "experiments", "explorer"])
def test_every_module_of_a_room_that_is_described_is_named(room: str) -> None:
    modules = {path.name for path in (PACKAGE / room).glob("*.py")} - {"__init__.py"}
    named = set(re.findall(r"\w+\.py\b", TEXT))
    assert modules - named == set()
    folders = {path.parent.name for path in (PACKAGE / room).glob("*/__init__.py")}
    assert folders - set(re.findall(r"(\w+)/", TEXT)) == set()
