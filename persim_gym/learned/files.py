"""Ensembles on disk: tensors by name and plain types, whatever they were fitted by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from persim_gym.learned.bounds import BoundEffects
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.network import LowRankNetwork, NetworkShape
from persim_gym.learned.network_ensemble import NetworkEnsemble, Scaling
from persim_gym.learned.polynomial_ensemble import PolynomialEnsemble

#: Parts of a file that an ensemble's tensors are in, by the beginning of their names.
PARTS = ("network", "scaling", "polynomial", "inputs", "effects")


def ensemble_tensors(ensemble: Ensemble) -> dict[str, Tensor]:
    """All that is kept of an ensemble, beside :meth:`Ensemble.to_json`."""
    found = ensemble.tensors()
    if ensemble.effects is not None:
        found |= {f"effects.{name}": t for name, t in ensemble.effects.tensors().items()}
    return found


def ensemble_from_file(
    shape: Mapping[str, Any], parts: Mapping[str, Mapping[str, Tensor]]
) -> Ensemble:
    """The ensemble that :func:`ensemble_tensors` has taken apart.

    Args:
        shape: What :meth:`Ensemble.to_json` has given.
        parts: Tensors by part and name.

    Raises:
        KeyError: If something is missing.
        TypeError: If something is unknown.
        ValueError: If sizes do not fit together, or the kind is unknown.
    """
    sizes = dict(shape)
    kind = sizes.pop("kind", "network")
    ensemble: Ensemble
    if kind == "network":
        network = NetworkShape.from_json(sizes)
        tensors = {name: parts["network"][name] for name in network.tensors()}
        ensemble = NetworkEnsemble(LowRankNetwork(network, tensors), Scaling(**parts["scaling"]))
    elif kind == "polynomial":
        ensemble = PolynomialEnsemble.from_file(sizes, parts["polynomial"], parts["inputs"])
    else:
        raise ValueError(f"this version knows no model of kind {kind!r}")
    return ensemble.with_effects(BoundEffects(**parts["effects"]) if parts["effects"] else None)
