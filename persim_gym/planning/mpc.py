"""`MPC`: plan, take the first action, plan again; as a policy like any other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persim_gym import checks
from persim_gym.core import Dynamics, Task, agents_of, begin_states, next_states
from persim_gym.learned.outcomes.given_reward import Reward, rewarded
from persim_gym.planning.objective import (
    ComparingDynamics,
    Objective,
    Propagation,
    Shaping,
    Upright,
)
from persim_gym.planning.planner import Planner
from persim_gym.planning.planner_choice import PlannerChoice, choose_planner, settings_for
from persim_gym.planning.proposal import (
    Proposal,
    Proposed,
    check_proposal,
    plan_among,
    proposing,
)
from persim_gym.planning.shooting import RandomShooting
from persim_gym.rollout import Chooser, EpisodeBatch

#: What is kept from step to step: the planner's own, the last states and the last actions.
Memory = tuple[Tensor, NDArray[Any], NDArray[Any]]


class MPC:
    """Model-predictive control, batched over agents and episodes.

    It has Stable-Baselines3's ``predict``: it can be evaluated and recorded like any policy. Plans
    are carried over from step to step; an episode's first step (``episode_start``, or
    :meth:`reset`) starts from nothing.

    Args:
        model: A simulator, or any dynamics together with ``task``, or the id or task name of a true
            environment: then it plans in the true dynamics.
        agent: The agent, or one for each row of the observations; by index or, where the model's
            agents have names, by name.
        task: The task of a dynamics that does not bring one.
        reward: Another reward than the task's: an expression over columns, or a function; see
            :meth:`PerSim.with_reward <persim_gym.learned.PerSim.with_reward>`.
        planner: The search: the name of one
            (:data:`~persim_gym.planning.planner_choice.PLANNER_NAMES`), by default the task's; what
            :func:`~persim_gym.planning.planner_choice.choose_planner` gives; or a planner.
        propagation: How members are followed; by default what was chosen with the planner, and for
            a mere planner as in the paper: all on their mean with CEM, each on its own states with
            any other.
        shaping: A bonus or a cost for planning's sake; by default what was chosen with the planner,
            and for a mere planner the authors' one for MountainCar. ``None`` for none.
        penalty: Factor on the members' disagreement; by default what was chosen with the planner
            where the model has members to compare, and none for a mere planner. Where it is not 0,
            all members are followed if ``propagation`` says nothing else.
        population: Population of a true environment.
        seed: Seed of the search.
        proposal: A model of the behaviour that the model was learned from, such as
            :class:`~persim_gym.baselines.SfBC`: all candidates are then what it would do, state by
            state along the rollout, and the planner is random shooting, by default with as many
            and as long sequences as the task's planner. ``None``: the planner draws them.

    Raises:
        TypeError: If ``model`` is nothing to plan in, an agent is no integer, or the proposal
            cannot be drawn from.
        ValueError: If an agent or environment does not exist, or the planner does not suit the
            task's actions or the proposal.
    """

    def __init__(
        self,
        model: Any,
        agent: int | str | Sequence[int | str] | NDArray[np.integer[Any]] = 0,
        *,
        task: Task | None = None,
        reward: Reward | None = None,
        planner: Planner | PlannerChoice | str = "default",
        propagation: Propagation | None = None,
        shaping: Shaping | Upright | str | None = "default",
        penalty: float | None = None,
        population: object = None,
        seed: int = 0,
        proposal: Proposal | None = None,
    ) -> None:
        task, dynamics = _model(model, task, population)
        self.task = rewarded(task, reward)
        self.dynamics = dynamics
        if isinstance(planner, str):
            choice = choose_planner(self.task, planner)
        elif isinstance(planner, PlannerChoice):
            choice = planner
        elif not callable(getattr(planner, "plan", None)):
            raise TypeError(f"planner must be a planner, its name or a choice, got {planner!r}")
        else:
            needed = ("horizon", "plan")
            checks.with_attributes("planner", planner, needed, "the name of one or a planner")
            choice = settings_for(planner, self.task)
        self._proposed: Proposed | None = None
        if proposal is not None:
            check_proposal(proposal)
            choice = proposing(choice, named=planner not in ("default", "paper"))
            space, d = self.task.action_space, self.task.observation_space.shape[0]
            self._proposed = Proposed(proposal, dynamics, space, d)
        self.planner: Planner = choice.planner
        if shaping == "default":
            shaping = choice.shaping
        if isinstance(shaping, str):
            raise TypeError(f"shaping must be a Shaping, an Upright or None, got {shaping!r}")
        checks.integer("seed", seed)
        if penalty is None:  # where there are no members to compare, a choice's penalty is void
            compared = isinstance(dynamics, ComparingDynamics) and dynamics.members > 1
            penalty = choice.penalty if compared and propagation != "sampled" else 0.0
        if propagation is None:
            propagation = choice.propagation
            if penalty and propagation == "sampled":  # which compares no members
                propagation = "members"
        self.objective = Objective(self.task, dynamics, propagation, shaping, penalty)
        scalar = np.ndim(agent) == 0
        self.agents = agents_of(dynamics, agent, 1 if scalar else np.size(agent))
        self._device = getattr(dynamics, "device", torch.device("cpu"))
        self._generator = torch.Generator(device=self._device)
        self._generator.manual_seed(int(seed))
        self._rng = np.random.default_rng(int(seed) % 2**64)
        self._memory: Memory | None = None

    def reset(self) -> None:
        """Forget all plans: the next observation begins an episode."""
        self._memory = None

    def predict(
        self,
        observation: NDArray[Any],
        state: Any = None,
        episode_start: NDArray[np.bool_] | bool | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[Any], Any]:
        """Choose actions.

        Args:
            observation: ``[d]``, or ``[n, d]`` for ``n`` rows at once.
            state: What an earlier call returned: plans and past observations of the rows. Rows may
                be dropped from it as episodes end. Without it the last call's is used.
            episode_start: Rows whose episode begins ``[n]``.
            deterministic: Ignored: the search is random, by its own seed.

        Returns:
            Actions ``[n(, a)]`` (or one, for a single observation), and the state for the next
            call.

        Raises:
            ValueError: If the observation has the wrong shape, is not finite, or has not one row
                for each agent.
        """
        obs = np.asarray(observation, dtype=np.float32)
        single = obs.ndim == 1
        rows = obs[None] if single else obs
        d = self.task.observation_space.shape[0]
        if rows.ndim != 2 or rows.shape[1] != d:
            raise ValueError(f"an observation must have shape ({d},) or (n, {d}), got {obs.shape}")
        if not np.isfinite(rows).all():
            raise ValueError(f"observations must be finite, got {obs.tolist()}")
        n = len(rows)
        agents = np.repeat(self.agents, n) if len(self.agents) == 1 else self.agents
        if len(agents) != n:
            raise ValueError(f"this MPC plans for {len(agents)} agents, got {n} observations")
        state = self._memory if state is None else state
        actions, state = self.plan(agents, rows, state, episode_start)
        self._memory = state
        return (actions[0] if single else actions), state

    def begin_episodes(self, batch: EpisodeBatch) -> Chooser:
        """Plan for the agent of each episode, whichever this was made for.

        Raises:
            ValueError: If the model has no such agent.
        """
        agents = agents_of(self.dynamics, batch.agents, len(batch))
        known: NDArray[np.int64] = np.arange(len(batch))
        state: Memory | None = None

        def choose(step: int, rows: NDArray[np.int64], obs: NDArray[np.float32]) -> NDArray[Any]:
            nonlocal known, state
            if state is not None and len(rows) < len(known):  # plans of ended episodes are dropped
                kept = np.searchsorted(known, rows)
                plans, states, taken = state
                state = (plans[kept], states[kept], taken[kept])
            known = rows
            actions, state = self.plan(agents[rows], obs, state)
            return actions

        return choose

    def plan(
        self,
        agents: NDArray[np.int64],
        obs: NDArray[np.float32],
        state: Memory | None = None,
        episode_start: NDArray[np.bool_] | bool | None = None,
        known: NDArray[Any] | None = None,
    ) -> tuple[NDArray[Any], Memory]:
        """Actions of any agents in any states, without a memory of its own.

        Args:
            agents: ``[n]``.
            obs: ``[n, d]``.
            state: What the planner carries over ``[n, ...]``, the last states and the last actions
                of the rows, or ``None``.
            episode_start: Rows whose episode begins ``[n]``.
            known: States of the rows, of a model with a lag, where more is known of them than can
                be found from ``obs`` and ``state``.

        Returns:
            Actions ``[n(, a)]`` and the new state.
        """
        n = len(obs)
        start = np.zeros(n, dtype=np.bool_)
        if episode_start is not None:
            start[:] = episode_start
        if state is not None and len(state[0]) != n:
            state = None  # another number of rows: nothing carries over
        if state is None:
            plans = None
            if known is None:
                known = np.asarray(begin_states(self.dynamics, obs))
            start = np.ones(n, dtype=np.bool_)
        else:
            plans, before, taken = state
            found = known is not None
            if known is None:
                known = np.array(next_states(self.dynamics, before, taken, obs))
            if start.any() and not found:
                known[start] = begin_states(self.dynamics, obs[start])
        states = torch.as_tensor(known, device=self._device)
        rows = torch.as_tensor(agents, device=self._device)
        objective, leading = self.objective, getattr(self.planner, "leading", None)
        if objective.propagation == "sample":  # other noise in each decision
            drawn = torch.randint(2**31, (), generator=self._generator, device=self._device)
            objective = replace(objective, seed=int(drawn))

        def score(actions: Tensor) -> Tensor:
            return objective(rows, states, actions, leading)

        if self._proposed is not None:
            assert isinstance(self.planner, RandomShooting)
            plan = plan_among(
                self._proposed, self.planner, score, agents, known, plans, start, self._rng
            )
        else:
            fresh = torch.as_tensor(start, device=self._device)
            plan = self.planner.plan(
                score, self.task.action_space, n, plans, fresh, self._generator
            )
        action = plan.action.cpu().numpy()
        return action, (plan.carried, known, action)


def _model(model: Any, task: Task | None, population: object) -> tuple[Task, Dynamics]:
    if isinstance(model, str):
        from persim_gym.envs.suites import find_suite

        suite = find_suite(model)
        return task or suite.task(), suite.dynamics(suite.population(population))
    if population is not None:
        raise TypeError(
            "population= is for true environments, named by their id; a model has its own agents"
        )
    if not isinstance(model, Dynamics):
        raise TypeError(
            "MPC plans in a simulator, a dynamics or a true environment's id, got "
            f"{type(model).__name__}"
        )
    task = getattr(model, "task", None) if task is None else task
    if task is None:
        raise TypeError("a dynamics without a task of its own needs task=")
    if not isinstance(task, Task):
        raise TypeError(f"task must be a task, got {task!r}")
    return task, model
