"""`Scene`: a simulator, its record and where there is one its truth; courses of a view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.envs.suites import coordinate_names
from persim_gym.explorer.record import Record
from persim_gym.explorer.support import SupportEnd, disagreement_along, support_end
from persim_gym.explorer.truth import Truth
from persim_gym.explorer.view import MOST_STEPS, Plan, View
from persim_gym.learned.simulator import PerSim

#: Share of observations that intervals are to hold.
LEVEL = 0.95
#: Coordinates and steps that are shown at first.
FIRST, STEPS = 4, 50


@dataclass(frozen=True, slots=True)
class Course:
    """What is predicted for one agent and plan.

    Attributes:
        agent: Index of the agent.
        name: What it is called.
        actions: ``[h(, a)]``.
        mean: Predicted observations, the members' mean ``[h + 1, d]``, the start first.
        low: Lower ends of 95 percent intervals ``[h + 1, d]``; ``None`` where the simulator knows
            no noise.
        high: Upper ends.
        disagreement: Of the members in each step ``[h]``.
        support: Where support ends, if it does.
        ends: The step whose predicted state ends the episode, if there is one.
        total: Sum of predicted rewards up to there.
    """

    agent: int
    name: str
    actions: NDArray[Any]
    mean: NDArray[np.float32]
    low: NDArray[np.float32] | None
    high: NDArray[np.float32] | None
    disagreement: NDArray[np.float32]
    support: SupportEnd | None
    ends: int | None
    total: float


@dataclass(frozen=True, slots=True)
class Courses:
    """All that a view shows.

    Attributes:
        a: Of plan A.
        b: Of plan B, if there is one.
        recorded: Observations that were recorded of agent A from the start on ``[k + 1, d]``.
    """

    a: Course
    b: Course | None
    recorded: NDArray[np.float32]

    @property
    def sides(self) -> tuple[Course, ...]:
        """A, and B where there is one."""
        return (self.a,) if self.b is None else (self.a, self.b)


class Scene:
    """What the explorer computes with; nothing in it knows of a browser.

    Args:
        sim: The simulator.
        record: What was recorded of its agents.
        truth: True physics, where there are any.
        notes: Sentences that the page shows, such as that the record is not there.
        path: Folder of the simulator, for the code that reproduces a view.
    """

    def __init__(
        self,
        sim: PerSim,
        record: Record,
        truth: Truth | None = None,
        notes: Sequence[str] = (),
        path: str = "",
    ) -> None:
        self.sim = sim
        self.record = record
        self.truth = truth
        self.notes = tuple(notes)
        self.path = path

    # -- names and ranges ----------------------------------------------------------------------

    @cached_property
    def agents(self) -> tuple[str, ...]:
        """What the agents are called ``[N]``."""
        return self.sim.agent_names or tuple(map(str, range(self.sim.num_agents)))

    @cached_property
    def coordinates(self) -> tuple[str, ...]:
        """Names of the observation's coordinates ``[d]``."""
        named = self.sim.card.get("obs_names")
        return tuple(named or coordinate_names(self.sim.task.name, self.sim.ensemble.obs_dim))

    @cached_property
    def choices(self) -> tuple[str, ...]:
        """What discrete actions are called; none where actions are numbers."""
        space = self.sim.task.action_space
        if not isinstance(space, Discrete):
            return ()
        return getattr(self.sim.task, "action_labels", None) or tuple(map(str, range(int(space.n))))

    @cached_property
    def action_names(self) -> tuple[str, ...]:
        """Names of the actions ``[a]``; one of a discrete action."""
        width = 1 if self.choices else int(np.prod(self.sim.task.action_space.shape or ()))
        named = self.sim.card.get("action_names")
        if named and len(named) == width:
            return tuple(named)
        return ("action",) if width == 1 else tuple(f"action {i}" for i in range(width))

    @cached_property
    def action_bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Least and largest actions that can be chosen ``[a]``."""
        space, recorded = self.sim.task.action_space, self.record.action_range()
        if isinstance(space, Discrete):
            return np.zeros(1), np.array([float(space.n - 1)])
        low, high = (
            np.asarray(bound, dtype=np.float64).ravel() for bound in (space.low, space.high)
        )
        if recorded is not None:  # a space may be unbounded
            low = np.where(np.isfinite(low), low, recorded[0])
            high = np.where(np.isfinite(high), high, recorded[1])
        return np.nan_to_num(low, neginf=-1.0), np.nan_to_num(high, posinf=1.0)

    @cached_property
    def most_steps(self) -> int:
        """Most steps that can be shown."""
        return max(1, min(MOST_STEPS, self.sim.task.max_episode_steps))

    def index(self, agent: str) -> int:
        """The index of an agent by name.

        Raises:
            ValueError: If there is none, or nothing was recorded of it.
        """
        names = self.sim.names  # what the page shows are names, also those that are numbers
        found = int(names.find(agent) if agent in names.names else names.parse(agent))
        self.sim.check_seen(np.array([found]))
        return found

    # -- views ---------------------------------------------------------------------------------

    def default_view(self) -> View:
        """The view that is shown first."""
        seen = self.sim.experience.seen
        agent = 0 if seen is None else int(np.argmax(seen))
        plan = Plan() if self.record.data is not None else self.constant()
        shown = self.coordinates[:FIRST]
        start = self.record.usual_start(agent)
        return View(self.agents[agent], start, min(STEPS, self.most_steps), plan, shown=shown)

    def constant(self) -> Plan:
        """A plan of one action: none at all where that can be chosen."""
        low, high = self.action_bounds
        return Plan.of([np.clip(0.0, low, high).tolist()])

    def checked(self, view: View) -> View:
        """The view with what can be mended mended: steps and starts that are too large.

        Raises:
            ValueError: If it names what does not exist, or actions that cannot be taken.
        """
        agents = [self.index(agent) for agent, _ in view.sides]
        if unknown := [name for name in view.shown if name not in self.coordinates]:
            hint = checks.meant(unknown[0], self.coordinates)
            raise ValueError(
                f"there is no coordinate {unknown[0]!r}{hint}: there are "
                f"{', '.join(self.coordinates)}"
            )
        horizon = min(max(view.horizon, 1), self.most_steps)
        start = min(view.start, self.record.starts(agents[0]) - 1)
        view = replace(view, horizon=horizon, start=start, step=min(view.step, horizon))
        for agent, plan in view.sides:
            self.actions(view, agent, plan)
        return view

    def actions(self, view: View, agent: str, plan: Plan) -> NDArray[Any]:
        """The actions of a plan ``[h(, a)]``, in the task's type.

        Raises:
            ValueError: If the plan has actions that cannot be taken, or needs a record that is
                not there.
        """
        h, low, high = view.horizon, *self.action_bounds
        recorded = self.index(view.agent)  # whoever follows it: both sides start in this record
        if plan.kind == "recorded":
            return self.record.actions(recorded, view.start, h)
        if plan.kind == "hold":
            return np.repeat(self.record.before(recorded, view.start)[None], h, axis=0)
        if plan.kind == "random":
            rng = np.random.default_rng(plan.seed)
            if self.choices:
                return rng.integers(0, len(self.choices), size=h)
            drawn = rng.uniform(low, high, size=(h, len(low)))
            return self._shaped(drawn)
        rows = np.array(plan.rows, dtype=np.float64)
        if rows.shape[1] != len(low):
            raise ValueError(
                f"a row of actions has {len(low)} numbers ({', '.join(self.action_names)}), got "
                f"{rows.shape[1]}"
            )
        slack = 1e-5 * np.maximum(np.abs(low), np.abs(high))  # of six digits in an address
        wrong = (rows < low - slack) | (rows > high + slack)
        if self.choices:
            wrong |= rows != np.round(rows)
        if wrong.any():
            at = tuple(np.argwhere(wrong)[0])
            kind = "a whole number" if self.choices else "a number"
            raise ValueError(
                f"{self.action_names[at[1]]} must be {kind} from {low[at[1]]:.4g} to "
                f"{high[at[1]]:.4g}, got {rows[at]:.6g}"
            )
        block = np.arange(h) * min(len(rows), h) // h
        return self._shaped(np.clip(rows[block], low, high))

    def _shaped(self, rows: NDArray[np.float64]) -> NDArray[Any]:
        """Rows ``[h, a]`` as actions ``[h(, a)]`` of the task."""
        if self.choices:
            return rows[:, 0].astype(np.int64)
        shape = self.sim.task.action_space.shape or ()
        return rows.astype(np.float32).reshape(len(rows), *shape)

    def state(self, view: View) -> NDArray[np.float32]:
        """The state in which the courses of a view start: ``[d]``, or with a lag ``[l, w]``."""
        return self.record.state(self.index(view.agent), view.start)

    # -- courses -------------------------------------------------------------------------------

    def courses(self, view: View) -> Courses:
        """The courses of a view that :meth:`checked` has returned.

        Raises:
            ValueError: If the view does not fit.
        """
        sim = self.sim
        agents = np.array([self.index(agent) for agent, _ in view.sides])
        acted = np.stack([self.actions(view, *side) for side in view.sides])
        states = np.repeat(self.state(view)[None], len(agents), axis=0)
        members = sim.rollout(agents, states, acted)
        mean = members.mean(axis=0)
        unsure = disagreement_along(sim, agents, states, acted, mean)
        start = states.reshape(len(agents), -1)[:, None, -mean.shape[2] :]
        whole = np.concatenate([start, mean], axis=1)
        ends: tuple[Any, ...] = ([None] * len(agents),) * 2
        if self._knows_noise:  # one rollout serves both: it takes most of the time
            interval = sim.rollout_interval(agents, states, acted, level=LEVEL, rollout=members)
            ends = tuple(np.concatenate([start, end], axis=1) for end in interval)
        rewards = np.asarray(sim.task.reward(whole[:, :-1], acted, whole[:, 1:]))
        over = np.asarray(sim.task.terminated(mean))
        found = []
        for i, (name, _) in enumerate(view.sides):
            last = int(over[i].argmax()) + 1 if over[i].any() else None
            found.append(
                Course(
                    int(agents[i]), name, acted[i], whole[i], ends[0][i], ends[1][i], unsure[i],
                    self._support(acted[i], mean[i], unsure[i]), last,
                    float(rewards[i, :last].sum()),
                )
            )  # fmt: skip
        recorded = self.record.course(int(agents[0]), view.start, view.horizon)
        return Courses(found[0], found[1] if len(found) > 1 else None, recorded)

    @cached_property
    def _knows_noise(self) -> bool:
        """Whether there are intervals: simulators of older versions have none."""
        try:
            return self.sim.uncertainty is not None
        except ValueError:
            return False

    def _support(
        self, actions: NDArray[Any], mean: NDArray[np.float32], unsure: NDArray[np.float32]
    ) -> SupportEnd | None:
        names = self.coordinates, self.action_names
        ends = None if self.choices else self.record.action_range()
        return support_end(self.sim, actions, mean, unsure, *names, ends)

    def true_course(self, view: View, course: Course) -> NDArray[np.float64] | None:
        """The true observations of a course ``[h + 1, d]``, where the truth is known."""
        if self.truth is None or str(course.agent) in self.sim.card.get("adapted", {}):
            return None
        start = self.state(view).reshape(-1)[-self.sim.ensemble.obs_dim :]
        return self.truth.course(course.agent, start, course.actions)
