"""A closed form as a file of plain NumPy code."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import persim_gym
from persim_gym import files
from persim_gym.learned.closed_form.ensemble import PolynomialEnsemble
from persim_gym.learned.export.rows import check_alike, example_rows
from persim_gym.learned.features.charted import ChartedEnsemble

if TYPE_CHECKING:
    from persim_gym.learned.dynamics import LearnedDynamics

TEMPLATE = Path(__file__).with_name("numpy_code.py.txt")


def write(sim: LearnedDynamics, path: Path) -> Path:
    """Write a closed form; see :func:`~.export`."""
    text = code_of(sim, path.stem)
    space: dict[str, Any] = {}
    exec(compile(text, str(path), "exec"), space)
    rows = example_rows(sim)
    with torch.no_grad():
        expected = sim.ensemble.to("cpu", torch.float32).step(*rows).numpy()
    found = space["members"](*(row.numpy() for row in rows))
    check_alike(str(path), found, expected)
    return files.write_text(path, text)


def code_of(sim: LearnedDynamics, name: str) -> str:
    """The code.

    Raises:
        ValueError: If the simulator is no closed form.
    """
    inner, circles, angles = sim.ensemble, [], []
    columns = list(range(inner.obs_dim))
    if isinstance(inner, ChartedEnsemble):
        geometry, inner = inner.geometry, inner.inner
        columns = list(geometry.columns)
        circles = [(o.cosine, o.sine, o.radius) for o in geometry.circles]
        angles = [dataclasses.astuple(a) for a in geometry.ordered]
    if not isinstance(inner, PolynomialEnsemble):
        raise ValueError(
            "NumPy code is written of a closed form, and this simulator is another model: write "
            "an .onnx or .pt2 file, or fit with method='als'"
        )
    numbers = {
        "AGENTS": list(sim.agent_names) if sim.agent_names else None,
        "OBS_SIZE": sim.ensemble.obs_dim,
        "LAG": inner.lag,
        "PAST": inner.past,
        "DISCRETE": inner.discrete,
        "COLUMNS": columns,
        "CIRCLES": circles,
        "TURNS": angles,
        "ANGLES": list(inner.inputs.angles),
    }
    arrays = {
        "LOW": inner.low,
        "HIGH": inner.high,
        "CENTRE": inner.inputs.centre,
        "SCALE": inner.inputs.scale,
        "LEAST": inner.inputs.low,
        "MOST": inner.inputs.high,
        "EXPONENTS": torch.as_tensor(inner.monomials.exponents),
        "WEIGHTS": inner.weights * inner.scale,
        "FACTORS": inner.factors,
    }
    effects = []
    if inner.effects is not None:
        values = inner.effects.effect.double().tolist()
        effects = [(*edge, *own) for edge, own in zip(inner.effects.edges(), values, strict=True)]
    lines = [f"{name} = {value!r}" for name, value in numbers.items()]
    plain = {name: value.double().cpu().numpy() for name, value in arrays.items()}
    lines += [f"{name} = {_literal(value)}" for name, value in plain.items()]
    lines.append(f"EFFECTS = {effects!r}".replace("inf", "np.inf"))
    plain_names = {
        "version": persim_gym.__version__,
        "name": name,
        "task": sim.task.name,
        "members": str(inner.members),
    }
    # Names come from files and from other machines: none may end the docstring that it is in.
    said = {key: re.sub(r"[^\w .,:()-]", "_", value) for key, value in plain_names.items()}
    said["constants"] = "\n".join(lines)
    text = TEMPLATE.read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: said[match[1]], text)


def _literal(values: np.ndarray[Any, Any]) -> str:
    """An array as code, to the last digit of single precision."""
    if np.array_equal(values, np.round(values)) and np.abs(values).max(initial=0) < 1e6:
        plain = repr(values.astype(int).tolist()).replace(" ", "")
    else:
        plain = _text(values)
    return f"np.array({plain}, dtype=float)"


def _text(values: Any) -> str:
    if np.ndim(values):
        return "[" + ",".join(_text(own) for own in values) + "]"
    if not np.isfinite(values):
        return "np.inf" if values > 0 else "-np.inf"
    return f"{values:.9g}"
