"""The page of a validation."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from persim_gym.evaluation.off_policy.value import OFF_POLICY_RULES
from persim_gym.evaluation.validation import RULES, Validation
from persim_gym.evaluation.validation.support import SUPPORT_RULES
from persim_gym.plots import style, validation_page
from tests.pages.parsed import Page


@pytest.fixture(scope="module")
def path(found: Validation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "DENSITY", 0.5)
        patch.setattr(validation_page, "AGENTS", 1)
        return found.save(tmp_path_factory.mktemp("page") / "trust")


@pytest.mark.slow
def test_the_page_needs_nothing_beside_it_and_shows_everything(
    found: Validation, path: Path
) -> None:
    assert sorted(p.name for p in path.parent.iterdir()) == ["index.html", "validation.json"]
    text = path.read_text()
    page = Page(text)
    assert page.loads
    assert all(one.startswith("data:") for one in page.loads)
    assert "<b>bold" not in text
    shown = " ".join(" ".join(page.text).split())
    for wanted in (
        found.headline,
        "glu & cose",
        "mg/dL",
        "<b>bold</b>",
        "The end of every trajectory is kept",
        "Not judged.",
        "nothing says which behaviour",
        *RULES,
        "What do the data cover?",
        "dose: varied in every agent's own record",
        *SUPPORT_RULES,
        "What would the policy earn?",
        *found.off_policy["sentences"],
        *OFF_POLICY_RULES,
    ):
        assert wanted in shown
    plain = json.loads((path.parent / "validation.json").read_text())
    assert plain == found.to_json()
    assert set(plain["support"]["agents"]) == {"<b>bold</b>", "o'neill", "c", "d"}
    assert plain["off_policy"]["policy"] == "hold"
    assert plain["off_policy"]["agents"][0]["agent"] == "<b>bold</b>"
    assert list(plain["splits"][0]["coordinates"]) == ["glu & cose", "weight"]
    assert plain["splits"][0]["coordinates"]["weight"]["at"][0]["steps"] == 1
    assert set(plain["splits"][0]["coordinates"]["weight"]["rmse_by_agent"]) == {
        "<b>bold</b>", "o'neill", "c", "d",
    }  # fmt: skip


@pytest.mark.slow
def test_numbers_of_the_page_are_those_of_the_table(found: Validation, path: Path) -> None:
    rows = found.table()
    assert [(row["coordinate"], row["steps"]) for row in rows] == [
        ("glu & cose", 1), ("glu & cose", 5), ("weight", 1), ("weight", 5),
    ]  # fmt: skip
    text = " ".join(Page(path.read_text()).text)
    for row in rows:
        assert f"{row['rmse']:.3g}"[:4] in text


def test_data_that_could_not_be_read_have_a_page(tmp_path: Path) -> None:
    path = Validation.unreadable("weeks.csv", "column 'dose' is empty").save(tmp_path)
    shown = " ".join(Page(path.read_text()).text)
    assert "column 'dose' is empty" in shown
    assert "do not allow a judgement" in shown


def test_a_policy_without_a_value_is_said(found: Validation, tmp_path: Path) -> None:
    failed = {"failed": "there is no <stretch>", "sentences": ["The policy has no value."]}
    bare = dataclasses.replace(found, splits=(), support=None, off_policy=failed)
    path = bare.save(tmp_path)
    assert "there is no <stretch>" in " ".join(Page(path.read_text()).text)
