"""From what a fit has found to the parts of a simulator: support and posterior with the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from persim_gym.core import Task
from persim_gym.learned.data import Data
from persim_gym.learned.dynamics import LearnedDynamics
from persim_gym.learned.fitting.card import card_of, recipe_of
from persim_gym.learned.fitting.families import Fitted, Setting
from persim_gym.learned.fitting.fit import fit_by, record_of
from persim_gym.learned.fitting.fit_memory import check_sizes
from persim_gym.learned.fitting.heldout_errors import heldout_errors
from persim_gym.learned.fitting.plan import FitPlan
from persim_gym.learned.fitting.progress import reporter
from persim_gym.learned.fitting.refit import with_rank_of
from persim_gym.learned.history import slots
from persim_gym.learned.parts import Parts
from persim_gym.learned.posterior.calibration import learn_knowledge
from persim_gym.learned.preparation import check_device
from persim_gym.learned.uncertainty.learn import learn_uncertainty
from persim_gym.offline.transitions import Transitions

#: Disagreement that is never taken for a sign of ignorance: a fifth of the standard
#: deviation of the recorded changes.
HARMLESS = 0.2


def parts_of(
    fitted: Fitted, data: Data, seed: int, recipe: dict[str, Any], device: torch.device
) -> Parts:
    """What a fit has found as the parts of a simulator: support and posterior with the rest."""
    with data.few_threads():
        return _parts_of(fitted, data, seed, recipe, device)


def _parts_of(
    fitted: Fitted, data: Data, seed: int, recipe: dict[str, Any], device: torch.device
) -> Parts:
    ensemble = fitted.ensemble.to(device)
    card = recipe | card_of(fitted, data.task, data.transitions)
    known = learn_knowledge(ensemble, data, fitted.noise, seed)
    experience = data.experience(ensemble.lag, ensemble.past)
    record = record_of(data, ensemble.lag)
    near, far = fitted.again or fitted.unseen, fitted.unseen
    learned = learn_uncertainty(ensemble, data, record, near, seed, far)
    if learned is not None:
        card["metrics"]["estimated_noise"] = learned.noise.to_json()
        card["metrics"]["intervals_calibrated_to"] = learned.intervals.calibrated_steps
        if learned.fading is not None:
            card["metrics"]["fading"] = learned.fading.to_json()
    card["metrics"]["heldout"] = heldout_errors(
        fitted, data, record, seed, None if learned is None else learned.fading
    )
    parts = Parts(ensemble, data.task, experience, card, known, learned)
    if ensemble.members > 1:
        limit = _disagreement_limit(LearnedDynamics(parts), data.transitions)
        parts = replace(parts, experience=replace(experience, disagreement_limit=limit))
    return parts


def _disagreement_limit(dynamics: LearnedDynamics, transitions: Transitions) -> float:
    """The disagreement that recorded transitions almost never reach.

    Three times their 99.9th percentile: an open-loop rollout on the data's own ground must not be
    cut short by an ordinary outlier. Never less than :data:`HARMLESS`: where a fit is excellent,
    members that differ by a thousandth are no reason to stop.
    """
    states = slots(transitions, dynamics.lag, dynamics.ensemble.past)
    chosen = np.arange(len(transitions))
    if len(chosen) > 20_000:
        chosen = np.random.default_rng(0).choice(chosen, 20_000, replace=False)
    found = dynamics.disagreement(
        transitions.agent[chosen], states[chosen], transitions.action[chosen]
    )
    return max(HARMLESS, 3.0 * float(np.quantile(found, 0.999)))


def fit_parts(plan: FitPlan, data: Transitions, task: Task, device: str = "cpu") -> Parts:
    """Fit data by a plan, without files and silently: the parts of a simulator.

    Raises:
        ValueError: If the data are of another task or too few.
        FloatingPointError: If the loss diverges.
    """
    to, checked = check_device(device), Data(data, task)
    plan = with_rank_of(plan, data.num_agents)
    check_sizes(plan, data, task)
    recipe = recipe_of(plan, plan.preset, task, data)
    with reporter(False, None) as report:
        fitted = fit_by(checked, plan, Setting(to, report))
    return parts_of(fitted, checked, plan.seed, recipe, to)
