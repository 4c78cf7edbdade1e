"""Configurations of networks for the three tasks: the paper's and the default ones."""

from __future__ import annotations

from persim_gym import checks
from persim_gym.learned.config import Networks

# Paper: the settings of the authors' code (its last commit), to the letter.
_PAPER = {
    "mountain-car": Networks(
        rank=3, state_hidden=(256,), batch_size=512, epochs=300, schedule="halving",
        validation_fraction=0.0,
    ),
    "cartpole": Networks(
        rank=5, state_hidden=(256,), batch_size=64, epochs=300, schedule="halving",
        validation_fraction=0.0,
    ),
    "half-cheetah": Networks(
        rank=15, state_hidden=(512,) * 4, action_hidden=(512, 512), batch_size=1024, epochs=300,
        schedule="halving", normalise_inputs=True, normalise_targets=True, centre_targets=True,
        validation_fraction=0.0,
    ),
}  # fmt: skip

_DEFAULT = {
    "mountain-car": Networks(
        rank=3, state_hidden=(64, 64), activation="silu", normalise_inputs=True,
        normalise_targets=True, skip_clipped=True, batch_size=512, epochs=30, learning_rate=1e-2,
        spare_members=1,
    ),
    "cartpole": Networks(
        rank=5, state_hidden=(32, 32), activation="silu", batch_size=64, epochs=300,
        learning_rate=5e-3, spare_members=2,
    ),
    "half-cheetah": Networks(
        rank=8, encoder="joint", state_hidden=(256, 256, 256), activation="silu", angles=True,
        skip=True, hold=True, normalise_inputs=True, normalise_targets=True, batch_size=512,
        epochs=30, learning_rate=1e-2, precision="mixed",
    ),
}  # fmt: skip

# For a task of the user's own, of whose scales nothing is known.
_GENERIC = Networks(
    state_hidden=(64, 64), activation="silu", normalise_inputs=True, normalise_targets=True,
    hold=True, learning_rate=1e-2, spare_members=1,
)  # fmt: skip

PRESETS: dict[str, dict[str, Networks]] = {"default": _DEFAULT, "paper": _PAPER}


def preset_config(preset: str, task_name: str) -> Networks:
    """The configuration of a preset for a task; a generic one for tasks that have none.

    Raises:
        ValueError: If the preset is unknown, or ``"paper"`` is asked for a task not in the paper.
    """
    if preset not in PRESETS:
        raise ValueError(checks.unknown("preset", preset, PRESETS))
    if preset == "paper" and task_name not in _PAPER:
        raise ValueError(f"the paper has no task {task_name!r}: it has {', '.join(_PAPER)}")
    return PRESETS[preset].get(task_name, _GENERIC)
