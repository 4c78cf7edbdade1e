"""What a simulator consists of, as one value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from persim_gym.core import Task
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.posterior.knowledge import Known
from persim_gym.learned.support import Experience
from persim_gym.learned.uncertainty.learn import Uncertainty


@dataclass(frozen=True, slots=True)
class Parts:
    """What a simulator consists of: never changed, so that simulators may share it.

    Attributes:
        ensemble: The fitted members.
        task: Its task.
        experience: What is remembered of the data.
        card: How it came about: configuration, data set, metrics; plain types.
        knowledge: The population as a prior, and what is known of each agent; ``None`` where the
            model itself holds what new agents need, and in files of older versions.
        uncertainty: Noise, and what predictive intervals are made of; ``None`` in files of older
            versions.
    """

    ensemble: Ensemble
    task: Task
    experience: Experience
    card: dict[str, Any]
    knowledge: Known = None
    uncertainty: Uncertainty | None = None

    @property
    def agent_names(self) -> tuple[str, ...] | None:
        """What the agents are called in the data ``[N]``; ``None`` where they are numbers."""
        names = self.card.get("agent_names")
        return tuple(names) if names else None

    def named(self, names: Sequence[str] | None) -> Parts:
        """The same with names of all agents ``[N]``, or as it was."""
        return replace(self, card={**self.card, "agent_names": list(names)}) if names else self

    def without_folders(self) -> Parts:
        """The same with a card that names files, but no folder of this machine."""
        card = dict(self.card)
        if "path" in card.get("source", {}):
            card["source"] = {**card["source"], "path": Path(card["source"]["path"]).name}
        if "adapted" in card:
            card["adapted"] = {
                key: {**own, "path": Path(own["path"]).name} if "path" in own else own
                for key, own in card["adapted"].items()
            }
        return replace(self, card=card)

    def to(self, device: torch.device) -> Parts:
        """The same on a device."""
        known = None if self.knowledge is None else self.knowledge.to(device)
        return replace(self, ensemble=self.ensemble.to(device), knowledge=known)
