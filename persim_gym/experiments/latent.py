"""Latent factors: whether hidden covariates can be read off them."""

from __future__ import annotations

from typing import Any

import numpy as np

from persim_gym.evaluation.latent_factors import probe_covariates
from persim_gym.experiments.context import Context, Model
from persim_gym.experiments.recordings import population_of
from persim_gym.progress import OnProgress


def judge(context: Context, model: Model, on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Whether the hidden covariates can be read off the latent factors."""
    cell = context.cell
    sim: Any = model.dynamics
    population = population_of(cell)
    covariates = population.values[: cell.train_agents]
    probe = probe_covariates(sim.latent_factors, covariates, population.names, seed=cell.seed)
    return {
        **probe.to_json(),
        "names": list(probe.names),
        "covariates": np.round(probe.true, 6),
        "predicted": np.round(probe.predicted, 6),
        "components": np.round(probe.components, 4),
    }
