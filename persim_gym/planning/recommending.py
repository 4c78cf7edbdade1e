"""Plans for agents from their records: MPC inside the simulator, and what is predicted of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.core import Policy, several_agents
from persim_gym.envs.lanes import check_actions
from persim_gym.learned.naming import AgentIndex
from persim_gym.learned.outcomes.given_reward import (
    Reward,
    RewardedTask,
    check_has_reward,
    columns_of,
)
from persim_gym.learned.record import read_record
from persim_gym.learned.simulator import PerSim
from persim_gym.offline.transitions import Transitions
from persim_gym.planning.mpc import MPC
from persim_gym.planning.planner import Planner
from persim_gym.planning.planner_choice import PlannerChoice, planner_for_data
from persim_gym.planning.recommendation import Course, Recommendation
from persim_gym.progress import OnProgress

#: Steps that are predicted by default, and at most.
FORESEEN, MOST = 100, 10_000


def recommend(sim: PerSim, agent: int | str, **options: Any) -> Recommendation:
    """Plan for one agent, by index or name; see :func:`recommend_all`, also for the options."""
    return recommend_all(sim, [agent], **options)[0]


def recommend_all(
    sim: PerSim,
    agents: Sequence[int | str] | NDArray[np.integer[Any]],
    *,
    data: Any = None,
    start: int | None = None,
    steps: int | None = None,
    reward: Reward | None = None,
    planner: Planner | PlannerChoice | str = "default",
    penalty: float | None = None,
    level: float = 0.95,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> list[Recommendation]:
    """Plan for agents from their records, and predict what comes of it and of what was done.

    MPC acts inside the simulator: in every step it plans, takes the first action and goes on from
    the state that the members predict on average. No true environment is needed, and none is
    touched: how good the plan is, is what the simulator says.

    Args:
        sim: The simulator.
        agents: By index or name; all are planned for side by side.
        data: The record; by default it is read where the fit has read it. See
            :func:`~persim_gym.learned.record.read_record`.
        start: The step of each agent's record to plan from: 0 is the first, -1 the last from which
            an action was taken; by default the state after it, in which the record ends.
        steps: Steps of the plan; by default the planner's horizon, and the time limit at most.
        reward: Another reward than the task's; see :meth:`PerSim.with_reward`.
        planner: As of :class:`~persim_gym.planning.MPC`; the default of own data is iCEM, or
            categorical CEM for discrete actions, over 12 steps.
        penalty: As of :class:`~persim_gym.planning.MPC`.
        level: Share of what comes that is to be inside the intervals.
        seed: Seed of the search.
        on_progress: Called with how many steps are planned, and of how many.

    Returns:
        One of each agent.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is invalid, there is no such agent, or nothing is recorded of it.
    """
    checks.with_attributes("sim", sim, ("task", "rollout", "with_reward"), "a simulator")
    level = checks.number("level", level, 0, 1, above=True, below=True, says="between 0 and 1")
    if reward is not None:
        sim = sim.with_reward(reward)
    check_has_reward(sim.task)
    chosen = several_agents(sim, agents)
    if isinstance(planner, str) and planner == "default":
        planner = planner_for_data(sim.task)
    mpc = MPC(sim, chosen, planner=planner, penalty=penalty, seed=seed)
    if steps is None:
        steps = min(mpc.planner.horizon, sim.task.max_episode_steps)
    steps = checks.integer("steps", steps, 1, MOST)
    begins = [_Begin.of(sim, AgentIndex(one), data, start, steps) for one in chosen]
    memory = None

    def act(obs: NDArray[np.float32], states: NDArray[np.float32]) -> NDArray[Any]:
        nonlocal memory
        action, memory = mpc.plan(chosen, obs, memory, known=states)
        return action

    actions, unsure = _acted(sim, act, chosen, begins, steps, on_progress)
    return [
        begin.recommendation(sim, actions[k], int(unsure[k]), level)
        for k, begin in enumerate(begins)
    ]


def foresee(
    sim: PerSim,
    agent: int | str,
    policy: Policy | None = None,
    *,
    data: Any = None,
    start: int | None = None,
    steps: int | None = None,
    level: float = 0.95,
) -> Recommendation:
    """Predict an agent's course from its record on: under recorded actions, or under a policy.

    Args:
        sim: The simulator.
        agent: The agent, by index or name.
        policy: Who acts inside the simulator; by default the recorded actions are taken.
        data: As of :func:`recommend`.
        start: As of :func:`recommend`; by default so many steps before the end of the record, or
            the beginning of its last episode.
        steps: Steps; by default 100, and the time limit at most.
        level: As of :func:`recommend`.

    Returns:
        The same as :func:`recommend`, with the policy's course as the plan, or the recorded
        actions'.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is invalid, there is no such agent, or nothing is recorded of it.
    """
    checks.with_attributes("sim", sim, ("task", "rollout", "with_reward"), "a simulator")
    level = checks.number("level", level, 0, 1, above=True, below=True, says="between 0 and 1")
    limit = min(FORESEEN, sim.task.max_episode_steps)
    steps = limit if steps is None else checks.integer("steps", steps, 1, MOST)
    agents = several_agents(sim, [agent])
    begin = _Begin.of(sim, AgentIndex(agents[0]), data, start, steps)
    if start is None:
        begin = begin.back(steps)
    if policy is None:
        actions = begin.recorded(steps)
        return begin.recommendation(sim, actions, 0, level)
    checks.with_attributes("policy", policy, ("predict",), "an object with predict()")
    memory, first = None, np.ones(1, dtype=np.bool_)

    def act(obs: NDArray[np.float32], states: NDArray[np.float32]) -> NDArray[Any]:
        nonlocal memory
        action, memory = policy.predict(obs, memory, first.copy(), True)
        first[:] = False
        return check_actions(sim.task, action, 1)

    acted, unsure = _acted(sim, act, agents, [begin], steps, None)
    return begin.recommendation(sim, acted[0], int(unsure[0]), level)


#: Acts on observations ``[n, d]`` in states ``[n, ...]``.
_Act: TypeAlias = Callable[["NDArray[np.float32]", "NDArray[np.float32]"], "NDArray[Any]"]


def _acted(
    sim: PerSim,
    act: _Act,
    agents: NDArray[np.int64],
    begins: list[_Begin],
    steps: int,
    on_progress: OnProgress | None,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """What is done inside the simulator ``[n, h(, a)]``, and the unsure steps of it ``[n]``."""
    states = np.stack([begin.state for begin in begins])
    d = sim.task.observation_space.shape[0]
    taken: list[NDArray[Any]] = []
    unsure = np.zeros(len(agents), dtype=np.int64)
    for step in range(steps):
        obs = states.reshape(len(states), -1)[:, -d:].astype(np.float32)
        action = act(obs, states)
        members = sim.predict_members(agents, states, action)
        unsure += sim.disagreement(agents, states, action) > sim.experience.disagreement_limit
        states = np.asarray(sim.follow(states, action, members.mean(0)))
        taken.append(action)
        if on_progress is not None:
            on_progress(step + 1, steps)
    return np.stack(taken, axis=1), unsure


@dataclass(frozen=True, slots=True)
class _Begin:
    """Where in an agent's record a plan begins.

    Attributes:
        data: The agent's own transitions, in the order of time.
        states: Their states ``[T, ...]``.
        index: The agent.
        row: The step; ``len(data)`` after the last.
        state: The state there.
        steps: Steps of the plan.
    """

    data: Transitions
    states: NDArray[np.float32]
    index: AgentIndex
    row: int
    state: NDArray[np.float32]
    steps: int

    @classmethod
    def of(cls, sim: PerSim, agent: AgentIndex, data: Any, start: int | None, steps: int) -> _Begin:
        """The beginning of a plan for one agent.

        Raises:
            ValueError: If nothing is recorded of the agent, or it has no such step.
        """
        record = read_record(sim, data, agent=agent)
        rows = np.flatnonzero(record.agent == agent)
        if not len(rows):
            raise ValueError(
                f"nothing is recorded of agent {_called(sim, agent)!r} in these data: give data "
                "that it is in (data=, --data)"
            )
        own = record.select(rows)
        states, n = sim.states_of(own), len(own)
        if start is None:
            row = n - int(own.terminated[-1])  # from an episode's end nothing can be done
        else:
            start = checks.integer("start", start, -n, n)
            row = start + n if start < 0 else start
        if row < n:
            state = states[row]
        else:
            state = np.asarray(sim.follow(states[-1:], own.action[-1:], own.next_obs[-1:]))[0]
        return cls(own, states, agent, row, state, steps)

    def back(self, steps: int) -> _Begin:
        """So many steps earlier, in the same episode."""
        inside = self._same_episode(max(0, self.row - steps), self.row, len(self.data) - 1)
        return replace(self, row=inside.start, state=self.states[inside.start])

    def recorded(self, steps: int) -> NDArray[Any]:
        """Actions that were taken from here on.

        Raises:
            ValueError: If there are none.
        """
        if self.row == len(self.data):
            raise ValueError(
                f"nothing was done after step {self.row}, the end of the record: give an earlier "
                "start, or a policy"
            )
        return np.asarray(self.data.action[self._same_episode(self.row, self.row + steps)])

    def recommendation(
        self, sim: PerSim, actions: NDArray[Any], unsure: int, level: float
    ) -> Recommendation:
        """The courses from here."""
        own, row, d = self.data, self.row, sim.task.observation_space.shape[0]
        after = self._same_episode(row, row + self.steps) if row < len(own) else slice(row, row)
        last = len(own) - 1 if row == len(own) else row - 1
        past = self._same_episode(max(0, row - self.steps), row, last) if row else slice(0, 0)
        if row < len(own) and row and own.episode[row - 1] != own.episode[row]:
            past = slice(row, row)  # what came before belongs to another episode
        repeated = after.start == after.stop
        again = own.action[past if repeated else after]
        before = own.action[past]
        pasts = [own.obs[past], self.state.reshape(-1)[-d:][None]]
        course = _Predictor(sim, self.index, level)
        return Recommendation(
            agent=_called(sim, self.index),
            columns=columns_of(sim.task),
            reward=reward_text(sim),
            level=level,
            start=row,
            state=pasts[1][0].astype(np.float32),
            plan=course(self.state, actions),
            done=course(self.state, again) if len(again) else None,
            repeated=repeated,
            before=course(self.states[past.start], before) if len(before) else None,
            recorded_before=np.concatenate(pasts).astype(np.float32),
            recorded_after=own.next_obs[after],
            rewards_before=_rewards(sim, own.obs[past], own.action[past], own.next_obs[past]),
            rewards_after=_rewards(sim, own.obs[after], own.action[after], own.next_obs[after]),
            unsure=unsure,
        )

    def _same_episode(self, first: int, stop: int, of: int | None = None) -> slice:
        """Steps of a range that are of the episode of one of them, by default of the first."""
        episode = self.data.episode
        inside = np.flatnonzero(episode == episode[first if of is None else of])
        return slice(max(first, int(inside[0])), min(stop, int(inside[-1]) + 1))


@dataclass(frozen=True, slots=True)
class _Predictor:
    """Courses of one agent."""

    sim: PerSim
    agent: AgentIndex
    level: float

    def __call__(self, state: NDArray[np.float32], actions: NDArray[Any]) -> Course:
        sim, where = self.sim, (self.agent, state[None], actions[None])
        obs = sim.rollout(*where).mean(0)[0]
        try:
            low, high = sim.rollout_interval(*where, level=self.level)
        except ValueError:  # of older files, and of models without any held-out data
            low = np.full_like(obs[None], -np.inf)
            high = -low
        now = state.reshape(-1)[-obs.shape[1] :][None]
        before = np.concatenate([now, obs[:-1]])
        rewards = _rewards(sim, before, actions, obs)
        over = np.flatnonzero(np.asarray(sim.task.terminated(obs)))
        ends = int(over[0]) + 1 if len(over) else None
        if ends is not None:
            rewards[ends:] = 0.0
        return Course(actions, obs, np.asarray(low)[0], np.asarray(high)[0], rewards, ends)


def _rewards(
    sim: PerSim, obs: NDArray[Any], actions: NDArray[Any], next_obs: NDArray[Any]
) -> NDArray[np.float64]:
    if not len(actions):
        return np.zeros(0)
    parts = obs.astype(np.float64), actions, next_obs.astype(np.float64)
    return np.broadcast_to(sim.task.reward(*parts), len(actions)).astype(np.float64)


def reward_text(sim: PerSim) -> str:
    """What a simulator's environments reward, in words or as an expression."""
    task = sim.task
    if isinstance(task, RewardedTask):
        return task.given if isinstance(task.given, str) else "a Python function"
    about = getattr(task, "card", {}).get("reward")
    if about is None:
        return "the task's"
    return f"learned from the data (held-out R2 {about['heldout_r2']:.3g})"


def _called(sim: PerSim, agent: int) -> str:
    return sim.agent_names[agent] if sim.agent_names else str(agent)
