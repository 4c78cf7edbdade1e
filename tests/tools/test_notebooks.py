"""The tutorials run from their first cell to their last, and say what they claim."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.site.sources import NOTEBOOKS
from tests.tools.programs import tool

pytestmark = pytest.mark.slow

#: What a reader finds in the outputs.
SAYS = {
    "five_minute_tour": "return in the true environment:",
    "own_data": "true clearance:",
    "train_in_a_simulator": "PPO after 4,096 steps:",
    "new_agent": "planned action:",
    "own_dynamics": "its own simulator",
}


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda source: source.name.split(".")[0])
def test_notebook_runs(source: Path) -> None:
    for module in ("jupytext", "nbclient", "ipykernel"):
        pytest.importorskip(module, reason="needs `pip install 'persim-gym[docs]'`")
    notebooks = tool("notebooks")
    done = notebooks.run(source)
    outputs = [output for cell in done.cells for output in cell.get("outputs", [])]
    said = {"stdout": "", "stderr": ""}
    for output in outputs:
        if output.output_type == "stream":
            said[output.name] += output.text
    assert SAYS[notebooks.name_of(source)] in said["stdout"]
    assert not said["stderr"], "warnings are no part of a tutorial"


def test_all_are_known() -> None:
    assert {source.name.split(".")[0] for source in NOTEBOOKS} == set(SAYS)
