"""What a data set's environment was: the bare task, or something else of the same spaces."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from minari import MinariDataset

from persim_gym.envs.suites import Suite
from persim_gym.offline.datasets import damage_of, episode_metadata, suite_of
from persim_gym.offline.storages import stored_infos

#: Wrappers that leave observations, actions, rewards, ends and dynamics as they are, by the
#: libraries that have them. Any other may change something: what it does is not known here.
_HARMLESS = {
    "gymnasium": frozenset(
        (
            "Autoreset",
            "AddWhiteNoise",
            "HumanRendering",
            "ObstructView",
            "OrderEnforcing",
            "PassiveEnvChecker",
            "RecordEpisodeStatistics",
            "RecordVideo",
            "RenderCollection",
            "TimeLimit",
        )
    ),
    "minari": frozenset(("DataCollector", "DataCollectorV0")),
    "stable_baselines3": frozenset(("Monitor",)),
}


def task_name_of(dataset: MinariDataset) -> str:
    """The name of the task that a data set holds.

    Of a bare environment of this package that is its task's. Recorded through wrappers that may
    change what is seen, done or gained, or in other spaces, the name says so, and is no task's:
    spaces, reward and end are then learned from the data. Of any other environment it is the id,
    and nothing without one.
    """
    suite, spec = suite_of(dataset), dataset.env_spec
    if suite is None:
        return spec.id if spec else ""
    changed = _changed_by(dataset, suite)
    return f"{suite.name} through {', '.join(changed)}" if changed else suite.name


def population_of(dataset: MinariDataset, suite: Suite) -> Any:
    """``population=`` of the recorded environment, ``None`` for the default one."""
    kwargs = dataset.env_spec.kwargs
    if kwargs.get("covariates") is None:
        return kwargs.get("population")
    own = suite.covariates.complete(kwargs["covariates"])
    return {"covariates": {name: [value] for name, value in own.items()}}


def agents_named(dataset: MinariDataset) -> set[str]:
    """Agents that episodes name in their reset options or else in their infos."""
    options = [entry.get("options") or {} for entry in episode_metadata(dataset)]
    named = {str(entry["agent"]) for entry in options if "agent" in entry}
    indices = np.asarray(dataset.episode_indices).tolist()
    silent = [i for i, entry in zip(indices, options, strict=True) if "agent" not in entry]
    with damage_of(dataset):
        infos = stored_infos(dataset, "agent", silent) if silent else []
    return named | {str(np.ravel(own)[0]) for own in infos if own is not None and np.size(own)}


def _changed_by(dataset: MinariDataset, suite: Suite) -> list[str]:
    """Names of the wrappers that may have changed the task, and of spaces that are another's."""
    changed = [
        wrapper.name
        for wrapper in dataset.env_spec.additional_wrappers
        if wrapper.name not in _HARMLESS.get(wrapper.entry_point.partition(".")[0], ())
    ]
    if not changed:
        task = suite.task()
        for kind in ("observation", "action"):
            own = getattr(task, f"{kind}_space")
            if not _alike(getattr(dataset, f"{kind}_space"), own):
                changed.append(f"another {kind} space")
    return changed


def _alike(space: Any, own: Any) -> bool:
    """Whether two spaces have the same elements, of whatever precision."""
    if isinstance(own, Discrete):
        return isinstance(space, Discrete) and (space.n, space.start) == (own.n, own.start)
    return (
        isinstance(space, Box)
        and space.shape == own.shape
        and np.allclose(space.low, own.low)
        and np.allclose(space.high, own.high)
    )
