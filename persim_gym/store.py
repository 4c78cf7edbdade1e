"""Tensors on disk: one safetensors file with JSON in its header; nothing in it can run."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

FORMAT = "persim_gym"
VERSION = 1
SIMULATOR = "simulator.safetensors"
CHECKPOINT = "checkpoint.safetensors"


def write(path: Path, kind: str, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Write a file atomically: a reader sees the old one or the new one, whole.

    Args:
        path: The file.
        kind: What it is, such as ``"simulator"`` or ``"policy"``.
        tensors: Its tensors.
        card: Everything else, of plain types.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    card = {**card, "format": FORMAT, "version": VERSION, "kind": kind}
    card["sha256"] = _digest(plain, card)
    metadata = {FORMAT: json.dumps(card, sort_keys=True)}
    _replace(path, lambda name: save_file(plain, name, metadata=metadata))


def write_text(path: Path, text: str) -> None:
    """Write a text atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, lambda name: Path(name).write_text(text, encoding="utf-8"))


def _replace(path: Path, write_to: Callable[[str], object]) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        write_to(name)
        with open(name, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file and check that it is whole, unaltered and what it should be.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is truncated, altered, foreign, of another kind or of a newer format.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no {kind} at {path}")
    try:
        with safe_open(str(path), framework="pt") as file:
            header = (file.metadata() or {}).get(FORMAT)
            # Copied: the file stays free, and results do not depend on where it was mapped to.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(
            f"{path} is no whole safetensors file ({error}): it may be truncated or something "
            "else; save the simulator again"
        ) from None
    try:
        card = json.loads(header) if header else {}
    except json.JSONDecodeError:
        card = {}
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise ValueError(f"{path} is a safetensors file, but not one that persim_gym has written")
    version = card.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise ValueError(
            f"{path} has format version {version!r}, this persim_gym reads up to {VERSION}: "
            "upgrade persim_gym"
        )
    if card.get("kind") != kind:
        raise ValueError(f"{path} holds a {card.get('kind')}, not a {kind}")
    expected = card.pop("sha256", None)
    if expected != _digest(tensors, card):
        raise ValueError(
            f"{path} was altered after it was written (its checksum does not fit): fit or copy it "
            "again"
        )
    return tensors, card


def _digest(tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(card, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
