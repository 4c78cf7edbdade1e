"""What a cell's run gives: the same again, its judge, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from persim_gym.experiments.methods import METHODS
from persim_gym.experiments.stages import JUDGES, run_cell
from tests.experiments.paper_cells import TINY_FIT, quick, tiny

pytestmark = pytest.mark.usefixtures("recorded")


@pytest.mark.slow
def test_the_same_cell_gives_the_same_results(folder: Path, tmp_path: Path) -> None:
    first = run_cell(tiny(), folder, threads=1)  # from the model of another cell, or not
    fresh = run_cell(tiny(), tmp_path, threads=1)
    assert first.results["families"] == fresh.results["families"]
    other = run_cell(tiny(fit=(*TINY_FIT, ("ridge", 1e-3))), tmp_path, threads=1)
    assert other.results["families"] != first.results["families"]


def test_every_experiment_has_a_function() -> None:
    named = {name for method in METHODS.values() for name in method.experiments}
    assert named == set(JUDGES)


def test_a_method_takes_part_in_what_it_can(folder: Path) -> None:
    with pytest.raises(ValueError, match="persistence takes part in prediction, not in latent"):
        run_cell(quick(experiment="latent"), folder)
    with pytest.raises(ValueError, match="unknown method 'guess': there are persim"):
        run_cell(quick(method="guess"), folder)
