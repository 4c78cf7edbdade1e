"""A step as a graph: what is loaded gives what the simulator gives."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from persim_gym.learned.export.graph import _quiet, _Step, write_onnx
from tests.learned.export.fits import FAMILIES, expected_of, fit
from tests.learned.worlds import PlainTask, random_simulator


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_program_of_torch_gives_the_same(name: str, tmp_path: Path) -> None:
    sim = fit(name, **FAMILIES[name])
    path = sim.export(tmp_path / "step.pt2")
    for n in (1, 5):
        rows, expected = expected_of(sim, n)
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
    sim = fit(name, **FAMILIES[name])
    session = runtime.InferenceSession(sim.export(tmp_path / "step.onnx"))
    for n in (1, 5):
        rows, expected = expected_of(sim, n)
        found = session.run(
            ["next_obs", "members"], dict(zip(("agents", "states", "actions"), rows, strict=True))
        )
        np.testing.assert_allclose(found[1], expected, atol=1e-5)
        np.testing.assert_allclose(found[0], expected.mean(0), atol=1e-5)


def test_warnings_of_exporters_are_not_the_users() -> None:
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with _quiet():
        warnings.warn("about itself", UserWarning, stacklevel=1)
        assert logger.level == logging.ERROR
    assert logger.level == level


def test_without_the_extra_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"onnxruntime: pip install 'persim-gym\[export\]'"):
        write_onnx(random_simulator(PlainTask.of(2, actions=3)), Path("never.onnx"))


def test_a_step_gives_the_mean_and_every_member() -> None:
    ensemble = random_simulator(PlainTask.of(2, actions=3)).ensemble
    rows = torch.tensor([0, 1]), torch.zeros(2, 2), torch.tensor([1, 2])
    mean, members = _Step(ensemble)(*rows)
    torch.testing.assert_close(members, ensemble.step(*rows))
    torch.testing.assert_close(mean, members.mean(0))
