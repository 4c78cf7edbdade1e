"""What is written gives what the simulator gives, in a process without this package."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from persim_gym.learned import ClosedForm, PerSim
from persim_gym.learned.export.rows import check_alike, example_rows
from tests.contract.test_learned import recorded
from tests.learned.features.test_charted import SEEN, Swing, data_of
from tests.learned.worlds import PlainTask, random_walks

LATENT = {"first_steps": 20, "steps": 20, "window_steps": 0, "hidden": (8,), "latent": 2}
FAMILIES: dict[str, dict[str, Any]] = {
    "als": {},
    "sgd": {"epochs": 1},
    "hierarchical": {},
    "latent": LATENT,
}


def _fit(name: str, **options: Any) -> PerSim:
    task = PlainTask.of(2, actions=3)
    return PerSim.fit(
        random_walks(task), task=task, method=name, ensemble_size=2, progress=False, **options
    )


def _expected(sim: PerSim, n: int) -> tuple[list[Any], Any]:
    rows = example_rows(sim, n)
    return [row.numpy() for row in rows], sim.ensemble.step(*rows).numpy()


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_program_of_torch_gives_the_same(name: str, tmp_path: Path) -> None:
    sim = _fit(name, **FAMILIES[name])
    path = sim.export(tmp_path / "step.pt2")
    for n in (1, 5):
        rows, expected = _expected(sim, n)
        mean, members = torch.export.load(path).module()(*map(torch.as_tensor, rows))
        np.testing.assert_allclose(members.numpy(), expected, atol=1e-5)
        np.testing.assert_allclose(mean.numpy(), expected.mean(0), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [name if name == "als" else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES],
)
def test_an_onnx_file_gives_the_same(name: str, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="the extra 'export' is not installed")
    pytest.importorskip("onnxscript", reason="the extra 'export' is not installed")
    sim = _fit(name, **FAMILIES[name])
    session = runtime.InferenceSession(sim.export(tmp_path / "step.onnx"))
    for n in (1, 5):
        rows, expected = _expected(sim, n)
        found = session.run(
            ["next_obs", "members"], dict(zip(("agents", "states", "actions"), rows, strict=True))
        )
        np.testing.assert_allclose(found[1], expected, atol=1e-5)
        np.testing.assert_allclose(found[0], expected.mean(0), atol=1e-5)


@pytest.mark.slow
def test_numpy_code_runs_without_this_package(tmp_path: Path) -> None:
    sim = _fit("als")
    path = sim.export(tmp_path / "walks.py")
    rows, expected = _expected(sim, 5)
    (tmp_path / "rows.json").write_text(json.dumps([row.tolist() for row in rows]))
    script = (
        "import json, sys; import numpy as np; sys.modules['persim_gym'] = None; "
        "sys.modules['torch'] = None; from walks import members, step; "
        "rows = [np.array(r) for r in json.load(open('rows.json'))]; "
        "json.dump([members(*rows).tolist(), step(*rows).tolist()], open('out.json', 'w'))"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    members, mean = json.loads((tmp_path / "out.json").read_text())
    np.testing.assert_allclose(members, expected, atol=1e-5)
    np.testing.assert_allclose(mean, expected.mean(0), atol=1e-5)
    assert "persim_gym" not in path.read_text().split('"""', 2)[2]


def test_numpy_code_is_of_a_closed_form(tmp_path: Path) -> None:
    sim = _fit("hierarchical")
    with pytest.raises(ValueError, match=r"another model: write an \.onnx or \.pt2 file"):
        sim.export(tmp_path / "walks.py")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["step", "step.pt", "step.h5"])
def test_the_end_of_the_name_decides(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.onnx .*\.pt2 .*\.py .*got 'step"):
        _fit("als").export(tmp_path / name)


def test_a_file_that_says_something_else_is_refused() -> None:
    rows = np.arange(6.0).reshape(2, 3)
    check_alike("it", rows + 1e-6, rows)
    for wrong in (rows + 0.1, rows[:1], np.where(rows == 2, np.nan, rows)):
        with pytest.raises(ValueError, match="nothing was written"):
            check_alike("it", wrong, rows)


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


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ['"""\nraise RuntimeError("ran")\n"""', "\\N{x", "{{constants}}", "\udce4", "'\"'"]
)
def test_no_name_runs_in_numpy_code(name: str, tmp_path: Path) -> None:
    """A simulator may come from elsewhere, and its task is called as somebody else liked."""
    task = dataclasses.replace(PlainTask.of(2, actions=3), name=name)
    data = dataclasses.replace(
        random_walks(task), task_name=name, agent_names=tuple(f"{k}{name}" for k in range(4))
    )
    sim = PerSim.fit(data, ClosedForm(degree=1, rank=1, ensemble_size=1), task=task, progress=False)
    assert sim.export(tmp_path / "a'''\"\"\"\\N.py").exists()
