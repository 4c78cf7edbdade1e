"""Pictures of the documentation are what their programs draw."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from persim_gym.experiments.quantities import Quantity
from persim_gym.experiments.report.figure_list import drawings

ROOT = Path(__file__).parent.parent.parent


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_idea_is_drawn_by_its_program() -> None:
    drawn = load("idea_picture").picture()
    assert (ROOT / "docs" / "images" / "idea.svg").read_text() == drawn
    picture = ElementTree.fromstring(drawn)
    assert picture.get("aria-label")
    assert "prefers-color-scheme: dark" in drawn


def test_the_film_is_small() -> None:
    assert (ROOT / "docs" / "images" / "true-and-learned.gif").stat().st_size < 1_500_000


def test_figures_come_from_the_numbers_alone() -> None:
    """All that a report draws but latent factors, from what its table says."""
    table = ROOT / "docs" / "results" / "benchmark.csv"
    with table.open() as file:
        findings = load("benchmark_figures").TableFindings(csv.DictReader(file))
    names = {d.name for d in drawings(findings) if not d.name.startswith("latent-")}
    committed = {path.stem for path in (ROOT / "docs" / "images" / "benchmark").glob("*.png")}
    assert names == committed
    (slot,) = [
        slot
        for slot in findings.main_slots("prediction", "cartpole")
        if (slot.dataset, slot.variant.method) == ("random", "persim")
    ]
    own = findings.summary(slot, Quantity("rmse", "all", "test-policy"))
    assert own is not None
    assert own.mean == pytest.approx(0.000173, rel=0.01)
    assert own.seeds == 5
