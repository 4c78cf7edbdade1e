"""A closed form as plain NumPy code."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from persim_gym.learned import ClosedForm, PerSim
from persim_gym.learned.export.numpy_code import _literal, code_of
from persim_gym.learned.export.rows import example_rows
from tests.learned.closed_form.polynomials import some
from tests.learned.export.fits import expected_of, fit
from tests.learned.worlds import PlainTask, random_simulator, random_walks


@pytest.mark.slow
def test_numpy_code_runs_without_this_package(tmp_path: Path) -> None:
    sim = fit("als")
    path = sim.export(tmp_path / "walks.py")
    rows, expected = expected_of(sim, 5)
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
    sim = fit("hierarchical")
    with pytest.raises(ValueError, match=r"another model: write an \.onnx or \.pt2 file"):
        sim.export(tmp_path / "walks.py")
    assert not list(tmp_path.iterdir())


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


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([[1.0, 2.0]], "np.array([[1,2]], dtype=float)"),
        ([0.5, np.inf, -np.inf], "np.array([0.5,np.inf,-np.inf], dtype=float)"),
        ([1e7, 2.0], "np.array([10000000,2], dtype=float)"),
        ([1 / 3], "np.array([0.333333333], dtype=float)"),
    ],
)
def test_numbers_are_written_to_the_last_digit_of_single_precision(values: Any, text: str) -> None:
    found = _literal(np.array(values))
    assert found == text
    np.testing.assert_allclose(eval(found, {"np": np, "float": float}), values, rtol=1e-8)


def test_the_code_is_the_closed_form_and_nothing_runs_before_it_is_asked() -> None:
    """Without a fit, and without a file."""
    ensemble = some()
    sim = random_simulator(PlainTask.of(2, actions=3))
    known: Any = PerSim(ensemble, sim.task, sim.experience, {"task": "plain"})
    space: dict[str, Any] = {}
    exec(compile(code_of(known, "walks"), "walks.py", "exec"), space)
    rows = example_rows(known, 7)
    found = space["members"](*(row.numpy() for row in rows))
    np.testing.assert_allclose(found, ensemble.step(*rows).numpy(), atol=1e-5)
