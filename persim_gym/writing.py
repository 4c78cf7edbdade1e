"""JSON and arrays in files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.files import write_bytes

#: Key of the hash in a file of JSON.
SEAL = "sha256"


def write_json(path: Path, value: Any) -> Path:
    """Write plain types as JSON; what is not a finite number becomes ``null``."""
    text = json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False)
    return write_bytes(path, (text + "\n").encode())


def write_sealed(path: Path, value: Mapping[str, Any]) -> Path:
    """Write plain types as JSON with a hash of them, which :func:`read_sealed` checks."""
    plain = finite(value)
    return write_json(path, {**plain, SEAL: _digest(plain)})


def read_sealed(path: Path, names: Collection[str]) -> dict[str, Any]:
    """Read what :func:`write_sealed` has written.

    Args:
        path: The file.
        names: The keys that it holds beside the hash.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is damaged, altered or something else.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    written = plain.pop(SEAL, None) if isinstance(plain, dict) else None
    if not isinstance(plain, dict) or set(plain) != set(names):
        raise ValueError(f"it must be an object of {', '.join(sorted(names))}")
    if written != _digest(plain):
        raise ValueError("it was altered after it was written: its content does not fit its hash")
    return plain


def _digest(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> Path:
    """Write arrays of numbers as ``.npz``."""
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **dict(arrays))
    return write_bytes(path, stream.getvalue())


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read what :func:`write_arrays` has written; a file with anything but numbers is refused."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def finite(value: Any) -> Any:
    """Plain types for JSON: NumPy's numbers and arrays made plain, what is not finite ``None``."""
    if isinstance(value, np.ndarray):
        return finite(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


__all__ = [
    "finite",
    "read_arrays",
    "read_sealed",
    "write_arrays",
    "write_bytes",
    "write_json",
    "write_sealed",
]
