"""The page of a validation."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persim_gym.evaluation.off_policy.value import OFF_POLICY_RULES
from persim_gym.evaluation.validation import RULES, Validation, validate
from persim_gym.evaluation.validation.support import SUPPORT_RULES
from persim_gym.plots import style, validation_page
from persim_gym.plots.validation import calibration_panel, course_panel, error_panel
from persim_gym.plots.validation_support import against_panel, dose_panel, value_panel
from tests.evaluation.validation.worlds import patients
from tests.pages.parsed import Page

FIT: dict[str, Any] = {"method": "hierarchical", "degree": 1, "ensemble_size": 1}


@pytest.fixture(scope="module")
def found() -> Validation:
    data = patients(4, 24)
    names = ("<b>bold</b>", "o'neill", "c", "d")
    reward = -np.abs(data.next_obs[:, 0] - 100).astype(np.float64)
    data = dataclasses.replace(
        data, agent_names=names, obs_names=("glu & cose", "weight"), reward=reward
    )
    asked = {"splits": ("ends", "behaviour"), "horizons": (1, 5), "policy": "hold", "steps": 4}
    found = validate(data, **asked, **FIT)
    return dataclasses.replace(found, units=("mg/dL", ""))


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


def test_figures_draw_what_was_found(found: Validation) -> None:
    split = found.splits[0]
    scores, shown = split.scores, split.worst[0]
    assert scores is not None
    lines = error_panel(scores, 0, "mg/dL").axes[0].get_lines()
    np.testing.assert_allclose(np.array(lines[0].get_ydata()), scores.curve["simulator"][:, 0])
    assert len(lines) == 4
    calibration = calibration_panel(scores, 0, found.columns).axes[0].get_lines()
    share = [float(scores.coverage[level][0, 1]) for level in (0.5, 0.8, 0.9, 0.95)]
    np.testing.assert_allclose(np.array(calibration[2].get_ydata()), share)
    course = course_panel(shown, 1).axes[0]
    np.testing.assert_allclose(np.array(course.get_lines()[0].get_ydata()), shown.true[:, 1])
    assert len(course.collections) == 1


def test_figures_of_support_and_values_draw_what_was_found(found: Validation) -> None:
    assert found.support is not None
    assert found.off_policy is not None
    (doses,) = found.support["doses"]
    (image,) = dose_panel(doses).axes[0].get_images()
    drawn = np.square(np.asarray(image.get_array()))
    np.testing.assert_allclose(np.sort(drawn, 0), np.sort(np.array(doses["shares"]), 0))
    (action,) = found.support["actions"]
    (points,) = against_panel(action).axes[0].get_lines()
    np.testing.assert_allclose(np.array(points.get_xdata()), action["against"]["x"])
    lines = value_panel(found.off_policy).axes[0].get_lines()
    simulated = sorted(own["simulated"] for own in found.off_policy["agents"])
    np.testing.assert_allclose(np.array(lines[0].get_ydata()), simulated)


def test_a_policy_without_a_value_is_said(found: Validation, tmp_path: Path) -> None:
    failed = {"failed": "there is no <stretch>", "sentences": ["The policy has no value."]}
    bare = dataclasses.replace(found, splits=(), support=None, off_policy=failed)
    path = bare.save(tmp_path)
    assert "there is no <stretch>" in " ".join(Page(path.read_text()).text)


def test_what_is_infinite_can_be_drawn(found: Validation) -> None:
    shown = found.splits[0].worst[0]
    lost = dataclasses.replace(
        shown, predicted=np.full_like(shown.predicted, np.inf), low=None, high=None
    )
    assert np.isnan(course_panel(lost, 0).axes[0].get_lines()[1].get_ydata()).all()
