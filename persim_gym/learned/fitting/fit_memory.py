"""How much memory a fit needs at the least, from arithmetic alone: before any work."""

from __future__ import annotations

import math
from itertools import pairwise

from gymnasium.spaces import Discrete

from persim_gym import checks
from persim_gym.core import Task
from persim_gym.learned.closed_form.agent_sums import memory
from persim_gym.learned.closed_form.basis import Monomials, angles_of
from persim_gym.learned.config import ClosedForm, Hierarchical, Latent, Networks
from persim_gym.learned.fitting.plan import FitPlan
from persim_gym.offline.transitions import Transitions

_REMEDY = "choose smaller ones"


def check_sizes(plan: FitPlan, data: Transitions, task: Task) -> None:
    """Refuse a fit that no memory can hold.

    Raises:
        ValueError: If a lag, a degree, a width or an ensemble needs more memory than there is.
    """
    for config in plan.configs.values():
        lagged = 4 * len(data) * config.lag * data.obs.shape[1]
        what = f"lag={config.lag} of {len(data)} transitions"
        checks.enough_memory(what, 3 * lagged, "choose a smaller one")
        if isinstance(config, ClosedForm):
            _check_als(config, data, task)
        elif isinstance(config, Networks):
            _check_sgd(config, data)
        elif isinstance(config, Hierarchical):
            _check_hierarchical(config, data, task)
        else:
            _check_latent(config, data)


def _check_als(config: ClosedForm, data: Transitions, task: Task) -> None:
    d, space = data.obs.shape[1], task.action_space
    choices, further = (int(space.n), 0) if isinstance(space, Discrete) else (1, space.shape[0])
    angles = len(angles_of(task, config.lag, d))
    degree, rank = config.degree or 1, config.rank or 1
    features = Monomials.count(degree, config.lag * d + further + angles, angles)
    what = f"degree={degree} with lag={config.lag}, {features} monomials"
    checks.enough_memory(what, memory(data.num_agents, choices, features), _REMEDY)
    # Each member weighs the agents anew.
    weights = data.num_agents + min(rank, data.num_agents) * choices * features * d
    what = f"ensemble_size={config.ensemble_size} with {weights} weights each"
    checks.enough_memory(what, 8.0 * config.ensemble_size * weights, _REMEDY)


def _check_sgd(config: Networks, data: Transitions) -> None:
    d = data.obs.shape[1]
    states = (config.lag * d, *config.state_hidden, config.rank * d)
    actions = (*config.action_hidden, config.rank)
    weights = data.num_agents * config.rank
    weights += sum(math.prod(pair) for layers in (states, actions) for pair in pairwise(layers))
    members = config.ensemble_size + config.spare_members
    what = f"ensemble_size={config.ensemble_size} with rank={config.rank}, {weights} weights each"
    # Adam keeps four numbers of every weight: itself, its gradient and two means.
    checks.enough_memory(what, 16.0 * members * weights, _REMEDY)


def _check_hierarchical(config: Hierarchical, data: Transitions, task: Task) -> None:
    d, space = data.obs.shape[1], task.action_space
    choices, further = (int(space.n), 0) if isinstance(space, Discrete) else (1, space.shape[0])
    features = choices * Monomials.count(1, config.lag * d + further, 0)
    weights = data.num_agents * features * d
    what = f"ensemble_size={config.ensemble_size} with {weights} weights each"
    checks.enough_memory(what, 8.0 * config.ensemble_size * weights, _REMEDY)


def _check_latent(config: Latent, data: Transitions) -> None:
    d = data.obs.shape[1]
    widths = (config.lag * d + config.latent, *config.hidden, d)
    agents = min(data.num_agents, config.max_agents)
    weights = agents * config.latent + sum(math.prod(pair) for pair in pairwise(widths))
    what = f"ensemble_size={config.ensemble_size} with {weights} weights each"
    checks.enough_memory(what, 16.0 * config.ensemble_size * weights, _REMEDY)
