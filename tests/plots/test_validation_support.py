"""Figures of what data cover and of what a policy would earn."""

from __future__ import annotations

import numpy as np
import pytest

from persim_gym.evaluation.validation import Validation
from persim_gym.plots import validation_support
from persim_gym.plots.validation_support import (
    SHOWN,
    VALUES,
    against_panel,
    dose_panel,
    off_policy_context,
    support_context,
    value_legend,
    value_panel,
)


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


def test_of_many_agents_some_are_drawn_from_the_lowest_dose_to_the_highest() -> None:
    shares = np.zeros((SHOWN + 20, 10))
    shares[np.arange(SHOWN + 20), np.arange(SHOWN + 20) % 10] = 1.0
    doses = {
        "action": "dose",
        "edges": np.linspace(0, 5, 11).tolist(),
        "labels": None,
        "shares": shares,
    }
    axes = dose_panel(doses).axes[0]
    (image,) = axes.get_images()
    drawn = np.asarray(image.get_array())
    assert drawn.shape == (SHOWN, 10)
    assert (np.diff(drawn.argmax(1)) >= 0).all()
    assert set(drawn.argmax(1)) == set(range(10))
    assert tuple(image.get_extent()) == (0.0, 5.0, 0, SHOWN)


def test_choices_are_named_where_there_are_few() -> None:
    for count in (3, 8):
        names = [f"the drug called {k}" for k in range(count)]
        shares = np.full((4, count), 1 / count)
        doses = {"action": "drug", "edges": None, "labels": names, "shares": shares}
        said = [text.get_text() for text in dose_panel(doses).axes[0].get_xticklabels()]
        assert said[0] == ("rug called 0" if count == 3 else "0")


def value(simulated: float) -> dict[str, float]:
    return {"simulated": simulated, "low": simulated - 1, "high": simulated + 1,
            "fitted_q": simulated + 0.5, "recorded": 0.0}  # fmt: skip


def test_of_many_values_some_are_drawn_in_their_order() -> None:
    rng = np.random.default_rng(0)
    agents = [value(float(x)) for x in rng.normal(size=VALUES + 30)]
    axes = value_panel({"agents": agents}).axes[0]
    simulated = np.asarray(axes.get_lines()[0].get_ydata())
    assert len(simulated) == VALUES
    assert (np.diff(simulated) >= 0).all()
    every = sorted(own["simulated"] for own in agents)
    assert (simulated[0], simulated[-1]) == (every[0], every[-1])
    names = [text.get_text() for text in value_legend().legends[0].get_texts()]
    assert names == ["simulated", "fitted-Q evaluation", "recorded", "95% of episodes"]


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures stay what draws them."""
    monkeypatch.setattr(validation_support, "pngs", lambda draw: draw)


@pytest.mark.usefixtures("undrawn")
def test_the_page_has_tables_and_figures_of_support(found: Validation) -> None:
    assert found.support is not None
    first, *others = found.support["sentences"]
    shown = support_context({**found.support, "warnings": [first]})
    (row,) = shown["actions"]["rows"]
    assert row[0] == "dose"
    assert row[2] == "4 of 4 agents"
    assert [own[0] for own in shown["agents"]["rows"]] == list(found.support["agents"])
    assert all(cell.endswith("%") for own in shown["agents"]["rows"] for cell in own[1:3])
    assert (shown["warnings"], shown["rest"]) == ([first], others)
    assert [doses["title"] for doses in shown["doses"]] == ["dose"]
    assert len(shown["regions"]["rows"]) == len(found.support["regions"])


@pytest.mark.usefixtures("undrawn")
def test_the_page_has_a_row_for_each_agents_value(found: Validation) -> None:
    assert found.off_policy is not None
    shown = off_policy_context(found.off_policy)
    assert len(shown["agents"]["rows"]) == 4
    assert all(len(row) == len(shown["agents"]["head"]) for row in shown["agents"]["rows"])
    assert {row[5] for row in shown["agents"]["rows"]} <= {"yes", "no"}
    assert off_policy_context({"failed": "why", "sentences": []}) == {
        "failed": "why",
        "sentences": [],
    }
