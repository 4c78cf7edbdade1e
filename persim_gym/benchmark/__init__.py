"""Judging and showing: the paper's protocol, training in simulators, figures, films, the demo."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persim_gym.benchmark.demo import rebuild_page, run_demo
    from persim_gym.benchmark.evaluation import (
        OneForAll,
        OpenLoopError,
        Persistence,
        evaluate,
        follow,
        open_loop_error,
        pooled,
    )
    from persim_gym.benchmark.latent import LatentProbe, probe_covariates
    from persim_gym.benchmark.paper.cell import Cell
    from persim_gym.benchmark.paper.presets import preset_cells, select_cells
    from persim_gym.benchmark.paper.rows import Rows
    from persim_gym.benchmark.paper.runner import run_cells
    from persim_gym.benchmark.playing import episode_returns
    from persim_gym.benchmark.scripted import scripted_policy
    from persim_gym.benchmark.training import load_policy, save_policy, train_in_simulator

_WHERE = {
    "demo": ("rebuild_page", "run_demo"),
    "evaluation": (
        "OneForAll", "OpenLoopError", "Persistence", "evaluate", "follow", "open_loop_error",
        "pooled",
    ),
    "paper.cell": ("Cell",),
    "paper.presets": ("preset_cells", "select_cells"),
    "paper.rows": ("Rows",),
    "paper.runner": ("run_cells",),
    "playing": ("episode_returns",),
    "latent": ("LatentProbe", "probe_covariates"),
    "scripted": ("scripted_policy",),
    "training": ("load_policy", "save_policy", "train_in_simulator"),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    # Matplotlib and Stable-Baselines3 take long to import: only who uses them waits for them.
    for module, names in _WHERE.items():
        if name in names:
            return getattr(import_module(f"persim_gym.benchmark.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Cell",
    "LatentProbe",
    "OneForAll",
    "OpenLoopError",
    "Persistence",
    "Rows",
    "episode_returns",
    "evaluate",
    "follow",
    "load_policy",
    "open_loop_error",
    "pooled",
    "preset_cells",
    "probe_covariates",
    "rebuild_page",
    "run_cells",
    "run_demo",
    "save_policy",
    "scripted_policy",
    "select_cells",
    "train_in_simulator",
]
