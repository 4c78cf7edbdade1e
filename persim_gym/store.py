"""Tensors on disk: one safetensors file with JSON in its header; nothing in it can run."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from persim_gym import files

FORMAT = "persim_gym"
VERSION = 1
SIMULATOR = "simulator.safetensors"
CHECKPOINT = "checkpoint.safetensors"
POLICY = "policy.safetensors"


def write(
    path: Path,
    kind: str,
    tensors: Mapping[str, Tensor],
    card: Mapping[str, Any],
    *,
    beside: bool = False,
) -> None:
    """Write a file atomically: a reader sees the old one or the new one, whole.

    Args:
        path: The file.
        kind: What it is, such as ``"simulator"`` or ``"policy"``.
        tensors: Its tensors.
        card: Everything else, of plain types.
        beside: Repeat the card in a ``.json`` beside it, to be read without this package.

    Raises:
        OSError: If it cannot be written, the disk being full among other reasons.
    """
    plain, sealed = _sealed(kind, tensors, card)
    # Not by its save_file, which puts a file of its own into the place of one that is locked.
    content = save(plain, metadata={FORMAT: json.dumps(sealed, sort_keys=True)})
    files.write_bytes(path, content)
    if beside:
        _repeat_beside(path, sealed)


def checksum(kind: str, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> str:
    """The hash that a file of this content has in its header, without one being written."""
    return str(_sealed(kind, tensors, card)[1]["sha256"])


def _sealed(
    kind: str, tensors: Mapping[str, Tensor], card: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors as they are written, and the card with its hash."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    sealed = {**card, "format": FORMAT, "version": VERSION, "kind": kind}
    sealed["sha256"] = _digest(plain, sealed)
    return plain, sealed


def _repeat_beside(path: Path, card: Mapping[str, Any]) -> None:
    text = json.dumps(card, indent=2, sort_keys=True) + "\n"
    files.write_text(path.with_suffix(".json"), text)


def _mend_beside(path: Path, card: Mapping[str, Any]) -> None:
    """Repeat a card again if that of this very file is not there: a kill came before it."""
    beside = path.with_suffix(".json")
    # The folder may be for reading only.
    with contextlib.suppress(OSError):
        if not beside.is_file() or card["sha256"].encode() not in beside.read_bytes():
            _repeat_beside(path, card)


def read(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file and check that it is whole, unaltered and what it should be.

    The ``.json`` beside a simulator or a policy is written again if a kill has left it
    missing or that of an older file.

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
    if path.name in (SIMULATOR, POLICY):
        _mend_beside(path, {**card, "sha256": expected})
    return tensors, card


def _digest(tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(card, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
