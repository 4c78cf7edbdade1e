"""What PerSim is compared with, and offline baselines for any data: one face for all of them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persim_gym.baselines.bcq import BCQ as BCQ
    from persim_gym.baselines.cadm import CaDM as CaDM
    from persim_gym.baselines.cloning import Cloning as Cloning
    from persim_gym.baselines.cql import CQL as CQL
    from persim_gym.baselines.face import Baseline as Baseline
    from persim_gym.baselines.morel import MOReL as MOReL
    from persim_gym.baselines.sfbc import SfBC as SfBC

#: Modules of the baselines, imported when they are asked for: each needs libraries of its own.
MODULES = {
    "BCQ": "persim_gym.baselines.bcq",
    "CQL": "persim_gym.baselines.cql",
    "MOReL": "persim_gym.baselines.morel",
    "CaDM": "persim_gym.baselines.cadm",
    "SfBC": "persim_gym.baselines.sfbc",
    "Cloning": "persim_gym.baselines.cloning",
}


def __getattr__(name: str) -> Any:
    if name == "Baseline":
        return importlib.import_module("persim_gym.baselines.face").Baseline
    if name in MODULES:
        return getattr(importlib.import_module(MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["BCQ", "CQL", "MODULES", "Baseline", "CaDM", "Cloning", "MOReL", "SfBC"]
