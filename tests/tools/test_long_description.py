"""The long description of the package: no link of it is broken away from the repository."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("hatchling", reason="needs `pip install hatchling`")
ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "long_description", ROOT / "tools" / "long_description.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_links_become_those_of_the_version(tool: ModuleType) -> None:
    text = tool.long_description(README, "https://forge.example/me/it", "1.2.3")
    targets = re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text)
    targets = [one or other for one, other in targets]
    assert targets
    assert all(target.startswith("https://") for target in targets)
    assert "](https://forge.example/me/it/blob/v1.2.3/LICENSE)" in text
    assert 'src="https://forge.example/me/it/raw/v1.2.3/docs/images/idea.svg" width=' in text
    text = tool.long_description("![An idea](a.svg)", "https://forge.example/me/it", "1.2.3")
    assert text == "![An idea](https://forge.example/me/it/raw/v1.2.3/a.svg)"


def test_without_an_address_no_link_is_left_broken(tool: ModuleType) -> None:
    text = tool.long_description(README, None, "1.2.3")
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert all(target.startswith("https://") for target in targets)
    assert "docs/images" not in text
    assert "<img" not in text
    assert "[MIT]" not in text
    assert "License: MIT." in text


@pytest.mark.parametrize(
    ("urls", "environment", "known"),
    [
        ({}, {}, None),
        ({"Paper": "https://x.example"}, {"GITHUB_REPOSITORY": "me/it"}, None),
        (
            {},
            {"GITHUB_SERVER_URL": "https://forge.example", "GITHUB_REPOSITORY": "me/it"},
            "https://forge.example/me/it",
        ),
        ({"Source": "https://own.example/it"}, {}, "https://own.example/it"),
    ],
)
def test_the_address_is_the_projects_or_the_builders(
    tool: ModuleType, urls: dict[str, str], environment: dict[str, str], known: str | None
) -> None:
    assert tool.address(urls, environment) == known
