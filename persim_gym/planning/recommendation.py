"""What is recommended for an agent: a plan, its predicted course, and what was done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.outcomes.expression import Columns


@dataclass(frozen=True, slots=True)
class Course:
    """Actions, and what is predicted to come of them.

    Attributes:
        actions: ``[h(, a)]``.
        obs: Predicted observations after each of them ``[h, d]``, the members' mean.
        low: Lower ends of their predictive intervals ``[h, d]``, not finite where nothing is known.
        high: Upper ends ``[h, d]``.
        rewards: Predicted rewards ``[h]``; nothing after the predicted end of the episode.
        ends: After how many steps the episode is predicted to end; ``None`` if it goes on.
    """

    actions: NDArray[Any]
    obs: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    rewards: NDArray[np.float64]
    ends: int | None

    def __len__(self) -> int:
        """Number of steps."""
        return len(self.actions)

    @property
    def total(self) -> float:
        """Sum of the predicted rewards."""
        return float(self.rewards.sum())


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A plan for an agent, beside what was done.

    Attributes:
        agent: What the agent is called.
        columns: What coordinates and actions are called.
        reward: What is maximised, in words or as an expression.
        level: Share of what comes that is to be inside the intervals.
        start: The step of the agent's record from which on is planned, 0 the first.
        state: The recorded observation there ``[d]``.
        plan: What MPC does from there, inside the simulator.
        done: From the same state, under the actions that were recorded after it; of a plan from the
            end of the record, under its last actions once more. ``None`` without any.
        repeated: Whether ``done`` has the last recorded actions once more.
        before: Actions of the steps before the start, and what the simulator predicts under them
            from the recorded state before the first; ``None`` at the beginning of a record.
        recorded_before: What was recorded of them: observations ``[b + 1, d]``, the last of which
            is ``state``.
        recorded_after: What was recorded after the start ``[k, d]``, ``k`` up to the steps of the
            plan; none at the end of the record.
        rewards_before: Rewards of the recorded steps before the start ``[b]``, by the same reward.
        rewards_after: Those of the recorded steps after it ``[k]``.
        unsure: In how many steps of the plan the members disagree by more than held-out
            transitions did.
    """

    agent: str
    columns: Columns
    reward: str
    level: float
    start: int
    state: NDArray[np.float32]
    plan: Course
    done: Course | None
    repeated: bool
    before: Course | None
    recorded_before: NDArray[np.float32]
    recorded_after: NDArray[np.float32]
    rewards_before: NDArray[np.float64]
    rewards_after: NDArray[np.float64]
    unsure: int

    def summary(self) -> list[tuple[str, int, float | None, float | None]]:
        """What the courses are worth: name, steps, predicted and recorded sum of rewards."""
        lines: list[tuple[str, int, float | None, float | None]] = [
            ("the plan", len(self.plan), self.plan.total, None)
        ]
        if self.done is not None and self.repeated:
            name = f"the last {len(self.done)} recorded actions once more"
            lines.append((name, len(self.done), self.done.total, None))
        elif self.done is not None:
            recorded = _total(self.rewards_after)
            lines.append(("the recorded actions", len(self.done), self.done.total, recorded))
        if self.before is not None:
            recorded = _total(self.rewards_before)
            lines.append(("before the start", len(self.before), self.before.total, recorded))
        return lines

    def action_text(self, action: Any) -> str:
        """One action as text: its numbers, or the name of a discrete one."""
        return ", ".join(self._action_cells(action))

    def _action_cells(self, action: Any) -> list[str]:
        if self.columns.discrete:
            labels = self.columns.labels
            return [labels[int(action)] if labels else str(int(action))]
        return [f"{float(value):.6g}" for value in action]

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """The courses as a table: names of its columns, and a row a step.

        ``course`` is ``plan``, ``done`` or ``before``; ``step`` counts from the start of the plan,
        and a row holds the action of a step and the state that it leads to.
        """
        state = self.columns.state
        parts = ("", " low", " high", " recorded")
        head = ["agent", "course", "step", *self.columns.action]
        head += [f"next {name}{part}" for name in state for part in parts] + ["reward"]
        lines = []
        for name, course, first, real in self._courses():
            for t in range(len(course)):
                cells = [self.agent, name, str(first + t), *self._action_cells(course.actions[t])]
                for d in range(len(state)):
                    values = [course.obs[t, d], course.low[t, d], course.high[t, d]]
                    values.append(real[t, d] if t < len(real) else np.nan)
                    cells += [f"{v:.6g}" if np.isfinite(v) else "" for v in values]
                lines.append([*cells, f"{course.rewards[t]:.6g}"])
        return head, lines

    def _courses(self) -> list[tuple[str, Course, int, NDArray[np.float32]]]:
        """Courses by name, their first step, and what was recorded under the same actions."""
        nothing = self.recorded_after[:0]
        found = [("plan", self.plan, 0, nothing)]
        if self.done is not None:
            found.append(("done", self.done, 0, nothing if self.repeated else self.recorded_after))
        if self.before is not None:
            past = self.recorded_before[1:]
            found.append(("before", self.before, -len(self.before), past))
        return found

    def to_json(self) -> dict[str, Any]:
        """Everything as plain types."""
        courses = {
            name: {
                "first_step": first,
                "actions": course.actions.tolist(),
                "predicted": course.obs.tolist(),
                "low": course.low.tolist(),
                "high": course.high.tolist(),
                "recorded": real.tolist(),
                "rewards": course.rewards.tolist(),
                "total": course.total,
                "ends": course.ends,
            }
            for name, course, first, real in self._courses()
        }
        return {
            "agent": self.agent,
            "start": self.start,
            "reward": self.reward,
            "level": self.level,
            "state": dict(zip(self.columns.state, self.state.tolist(), strict=True)),
            "columns": {"state": list(self.columns.state), "action": list(self.columns.action)},
            "repeated": self.repeated,
            "recorded_total": _total(self.rewards_after),
            "recorded_total_before": _total(self.rewards_before),
            "unsure": self.unsure,
            **courses,
        }


def _total(rewards: NDArray[np.float64]) -> float | None:
    return float(rewards.sum()) if len(rewards) else None
