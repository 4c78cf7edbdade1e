"""A simulator's step as a graph: ONNX, or a program of torch.export."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from persim_gym import files
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.export.rows import check_alike, example_rows

if TYPE_CHECKING:
    from persim_gym.learned.dynamics import LearnedDynamics

INPUTS = ("agents", "states", "actions")
OUTPUTS = ("next_obs", "members")


class _Step(nn.Module):
    """One step, as torch.export wants it."""

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.ensemble = ensemble

    def forward(self, agents: Tensor, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Next observations: the members' mean ``[n, d]``, and each member's ``[m, n, d]``."""
        members = self.ensemble.step(agents, states, actions)
        return members.mean(0), members


def write_torch(sim: LearnedDynamics, path: Path) -> Path:
    """Write a program that ``torch.export.load`` reads; see :func:`~.export`."""
    program, rows, expected = _program(sim)
    buffer = io.BytesIO()
    with _quiet():
        torch.export.save(program, buffer)
        buffer.seek(0)
        found = torch.export.load(buffer).module()(*rows)
    _check(str(path), [part.numpy() for part in found], expected)
    return files.write_bytes(path, buffer.getvalue())


def write_onnx(sim: LearnedDynamics, path: Path) -> Path:
    """Write an ONNX file with a batch of any size; see :func:`~.export`."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  (torch's exporter asks for it late)
    except ImportError as error:
        raise ImportError(
            f"ONNX files need {error.name}: pip install 'persim-gym[export]'", name=error.name
        ) from None
    program, rows, expected = _program(sim)
    with _quiet():
        made = torch.onnx.export(
            program, dynamo=True, input_names=INPUTS, output_names=OUTPUTS, verbose=False
        )
        assert made is not None
        content = made.model_proto.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(content, options)
    given = {name: row.numpy() for name, row in zip(INPUTS, rows, strict=True)}
    _check(str(path), session.run(OUTPUTS, given), expected)
    return files.write_bytes(path, content)


def _program(sim: LearnedDynamics) -> tuple[Any, tuple[Tensor, ...], list[Any]]:
    """The program, rows to try it on, and what the simulator says of them."""
    ensemble = sim.ensemble.to("cpu", torch.float32)
    rows = example_rows(sim)
    step = _Step(ensemble).eval()
    n = torch.export.Dim("n", min=1)
    with torch.no_grad(), _quiet():
        program = torch.export.export(
            step, rows, dynamic_shapes=({0: n}, {0: n}, {0: n}), strict=False
        )
        tried = tuple(row[:-3] for row in rows)  # another number of rows
        expected = [part.numpy() for part in step(*tried)]
    return program, tried, expected


def _check(what: str, found: Any, expected: list[Any]) -> None:
    for one, other in zip(found, expected, strict=True):
        check_alike(what, np.asarray(one), other)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without warnings and notes of torch's exporters, which are about themselves."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
