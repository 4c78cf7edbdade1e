"""Files that appear whole or not at all, so that a killed run leaves no half of one."""

from __future__ import annotations

import io
import json
import math
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file under another name in its folder and put it in its place when complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile, whose files are readable by their owner only, and would stay so.
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def write_json(path: Path, value: Any) -> Path:
    """Write plain types as JSON; what is not a finite number becomes ``null``."""
    text = json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False)
    return write_bytes(path, (text + "\n").encode())


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
