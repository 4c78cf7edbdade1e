"""What is written gives what the simulator gives, in a process without this package."""

from __future__ import annotations

from pathlib import Path

import pytest

from persim_gym.learned import PerSim
from tests.contract.worlds import recorded
from tests.learned.export.fits import fit
from tests.learned.features.swings import SEEN, Swing, data_of


@pytest.mark.slow
@pytest.mark.parametrize("name", ["step", "step.pt", "step.h5"])
def test_the_end_of_the_name_decides(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.onnx .*\.pt2 .*\.py .*got 'step"):
        fit("als").export(tmp_path / name)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["mountain-car", "cartpole"])
@pytest.mark.parametrize("end", [".py", ".onnx"])
def test_tasks_with_bounds(task: str, end: str, tmp_path: Path) -> None:
    """Their walls are in the file, too: rows about the recorded range go over them."""
    if end == ".onnx":
        pytest.importorskip("onnxscript", reason="the extra 'export' is not installed")
        pytest.importorskip("onnxruntime", reason="the extra 'export' is not installed")
    sim = PerSim.fit(recorded(task, steps=40), method="als", ensemble_size=2, progress=False)
    assert sim.export(tmp_path / f"step{end}").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "lag", "end"), [("circle", 1, ".py"), ("circle", 2, ".py"), ("circle", 2, ".pt2")]
)
def test_angles_and_a_past(shape: str, lag: int, end: str, tmp_path: Path) -> None:
    seen, task = SEEN[shape]
    options = {"method": "als", "degree": 2, "rank": 3, "ensemble_size": 2, "lag": lag}
    data = data_of(seen, Swing(12), steps=40)
    sim = PerSim.fit(data, task=task, progress=False, **options)
    assert sim.ensemble.turning
    assert sim.ensemble.lag == lag
    assert sim.export(tmp_path / f"step{end}").exists()
