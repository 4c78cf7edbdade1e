"""What was recorded of each agent, or where nothing of it is there, the recorded start states."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.learned.dynamics import LearnedDynamics
from persim_gym.learned.outcomes.data_task import outcomes_sha256
from persim_gym.learned.record import with_declared_of
from persim_gym.offline.transitions import Transitions

#: Agents whose states are kept ready.
KEPT = 32


class Record:
    """Recorded starts, courses and actions of a simulator's agents.

    Args:
        sim: The simulator.
        data: What it was fitted on, or other transitions of the same agents; ``None`` where they
            are not there: then starts are the recorded trajectories' first observations, and
            nothing else is known.

    Raises:
        ValueError: If data are of other coordinates, actions or agents.
    """

    def __init__(self, sim: LearnedDynamics, data: Transitions | None = None) -> None:
        self._sim = sim
        self.data = data
        if data is not None:
            _check_alike(sim, data)
        self._own = lru_cache(maxsize=KEPT)(self._read)

    @property
    def same(self) -> bool:
        """Whether the data are those of the fit, or none are there."""
        data, of = self.data, self._sim.card.get("dataset", {})
        if data is None or of.get("sha256") is None:
            return True
        if of["sha256"] != with_declared_of(self._sim.card, data).sha256():
            return False
        return of.get("outcomes_sha256") in (None, outcomes_sha256(data))

    def starts(self, agent: int) -> int:
        """Number of starts that there are."""
        if self.data is None:
            return len(self._sim.experience.starts)
        return len(self._own(agent)[1])

    def usual_start(self, agent: int) -> int:
        """The start that is shown first: the beginning of the agent's record."""
        starts = self._sim.experience.starts
        return agent if self.data is None and len(starts) == self._sim.num_agents else 0

    def state(self, agent: int, start: int) -> NDArray[np.float32]:
        """The state of a start: ``[d]``, or with a lag ``[l, w]``."""
        if self.data is None:
            rows = self._sim.recall(self._sim.experience.starts[start : start + 1])
            return np.asarray(rows[0], dtype=np.float32)
        return np.asarray(self._own(agent)[1][start])

    def course(self, agent: int, start: int, steps: int) -> NDArray[np.float32]:
        """Recorded observations ``[k + 1, d]`` from a start on, to its episode's end at most."""
        if self.data is None:
            return self._sim.experience.starts[start : start + 1]
        own = self._own(agent)[0]
        after = own.next_obs[start : start + self.left(agent, start, steps)]
        return np.concatenate([own.obs[start : start + 1], after])

    def left(self, agent: int, start: int, steps: int) -> int:
        """Recorded transitions from a start on, at most ``steps``; 0 without a record."""
        if self.data is None:
            return 0
        own = self._own(agent)[0]
        return int((own.episode[start : start + steps] == own.episode[start]).sum())

    def actions(self, agent: int, start: int, steps: int) -> NDArray[Any]:
        """Recorded actions ``[steps(, a)]``; after the end of the episode the last one goes on.

        Raises:
            ValueError: If there is no record.
        """
        own = self._of(agent)
        rows = start + np.minimum(np.arange(steps), self.left(agent, start, steps) - 1)
        return np.asarray(own.action[rows])

    def before(self, agent: int, start: int) -> NDArray[Any]:
        """The recorded action ``[(a)]`` before a start; at an episode's beginning its first.

        Raises:
            ValueError: If there is no record.
        """
        own = self._of(agent)
        goes_on = start > 0 and own.episode[start - 1] == own.episode[start]
        return np.asarray(own.action[start - 1 if goes_on else start])

    def action_range(self) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """Least and largest recorded actions ``[a]``, of all agents; ``None`` without a record."""
        if self.data is None:
            return None
        acted = self.data.action.reshape(len(self.data), -1)
        return acted.min(0), acted.max(0)

    def range(self, agent: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Least and largest recorded observations ``[d]``: of the agent, or else of all."""
        if self.data is None:
            return self._sim.experience.low, self._sim.experience.high
        own = self._own(agent)[0]
        ends = np.stack([own.obs.min(0), own.next_obs.min(0), own.obs.max(0), own.next_obs.max(0)])
        return ends[:2].min(0), ends[2:].max(0)

    def _of(self, agent: int) -> Transitions:
        if self.data is None:
            raise ValueError(
                "the record is not there, so that what was done is not known: choose other actions"
            )
        return self._own(agent)[0]

    def _read(self, agent: int) -> tuple[Transitions, NDArray[np.float32]]:
        assert self.data is not None
        rows = np.flatnonzero(self.data.agent == agent)
        if not len(rows):
            raise ValueError(f"the record holds no transition of agent {agent}: choose another one")
        own = self.data.select(rows)
        return own, self._sim.states_of(own)


def _check_alike(sim: LearnedDynamics, data: Transitions) -> None:
    d, names = sim.ensemble.obs_dim, sim.agent_names
    if data.obs.shape[1] != d:
        raise ValueError(
            f"the data have {data.obs.shape[1]} coordinates, this simulator has {d}: they are of "
            "another task"
        )
    tail = sim.task.action_space.shape or ()
    if data.action.shape[1:] != tail:
        raise ValueError(
            f"the data have actions of shape {data.action.shape[1:]}, this simulator takes {tail}: "
            "they are of another task"
        )
    if data.agent_names and names and data.agent_names[: len(names)] != names[: data.num_agents]:
        raise ValueError(
            f"the data are of other agents ({data.agent_names[0]}, ...) than the simulator "
            f"({names[0]}, ...)"
        )
    if data.agent.max() >= sim.num_agents:
        raise ValueError(
            f"the data are of agent {data.agent.max()}, this simulator knows 0 to "
            f"{sim.num_agents - 1}"
        )
