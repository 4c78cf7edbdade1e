"""`Identity`: what a simulator consists of, and which agents it knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from persim_gym.core import Task
from persim_gym.learned.ensemble import Ensemble
from persim_gym.learned.naming import AgentIndex, AgentNames
from persim_gym.learned.parts import Parts
from persim_gym.learned.saving.files import simulator_sha256
from persim_gym.learned.support import ActionRecord, Experience


class Identity:
    """What a simulator consists of, with its agents by name or index."""

    def __init__(self, parts: Parts) -> None:
        self._hold(parts)

    def _hold(self, parts: Parts) -> None:
        """Be what ``parts`` say: the only place where anything of it is set."""
        self._parts = parts
        self._names = AgentNames(parts.agent_names or (), parts.ensemble.num_agents)
        seen = parts.experience.seen
        self._all_seen = seen is None or bool(seen.all())
        scale = parts.experience.change_scale
        self._change_scale = torch.as_tensor(scale, device=parts.ensemble.device)
        self._record = ActionRecord.of(parts.experience, parts.task, self.num_agents)

    @property
    def ensemble(self) -> Ensemble:
        """The fitted members."""
        return self._parts.ensemble

    @property
    def task(self) -> Task:
        """Reward, termination, spaces and start states."""
        return self._parts.task

    @property
    def experience(self) -> Experience:
        """What is remembered of the data."""
        return self._parts.experience

    @property
    def card(self) -> dict[str, Any]:
        """How it came about: configuration, data set, metrics; plain types."""
        return self._parts.card

    @property
    def sha256(self) -> str:
        """The hash that its file has, or would have: equal simulators have equal ones."""
        return simulator_sha256(self._parts)

    @property
    def num_agents(self) -> int:
        """Number of agents."""
        return self.ensemble.num_agents

    @property
    def agent_names(self) -> tuple[str, ...] | None:
        """What the agents are called in the data ``[N]``; ``None`` where they are numbers."""
        return self._parts.agent_names

    @property
    def names(self) -> AgentNames:
        """Who is called what: finds agents by name and by index, on the command line as well."""
        return self._names

    def agent_index(self, agent: object) -> AgentIndex:
        """The index of an agent: text is its name in the data, an integer its index.

        Where names are whole numbers, ``"name:3"`` and ``"index:3"`` say which is meant. What is
        returned is an integer that every face takes for an index.

        Raises:
            TypeError: If it is neither text nor an integer.
            ValueError: If there is no such agent, or an integer could be one of two.
        """
        return self._names.find(agent)

    def agent_indices(self, agents: Any) -> Any:
        """Agents as indices: of one, a sequence, or ``None`` as it came.

        Arrays of integers are indices, as they are in transitions.
        """
        return self._names.find_all(agents)

    def check_seen(self, agents: NDArray[np.int64]) -> None:
        """Refuse agents of whom there were no transitions: nothing personal is known of them.

        Raises:
            ValueError: If there is one among ``agents`` ``[n]``.
        """
        if self._all_seen:
            return
        seen = self.experience.seen
        assert seen is not None
        unseen = agents[~seen[agents]]
        if len(unseen):
            raise ValueError(
                f"there were no transitions of agent {unseen[0]}: this simulator knows "
                f"{int(seen.sum())} of {len(seen)} agents; record a trajectory of it and fit again"
            )

    @property
    def lag(self) -> int:
        """Observations that a state holds."""
        return self.ensemble.lag

    @property
    def members(self) -> int:
        """Number of ensemble members ``m``."""
        return self.ensemble.members

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.ensemble.device

    @property
    def latent_factors(self) -> NDArray[np.float32]:
        """The agents' latent factors ``[m, N, r]``.

        Members agree on them only up to an invertible map of the rank, which the other encoders
        undo.
        """
        return self.ensemble.agent_factors().cpu().numpy()

    @property
    def action_record(self) -> ActionRecord | None:
        """Which actions were recorded; ``None`` where that is not remembered."""
        return self._record

    def check_actions(self, agents: NDArray[np.int64], actions: NDArray[Any]) -> None:
        """Refuse actions outside of what was recorded: ``[n, ...]`` of agents ``[n]``.

        Raises:
            ValueError: If there is one, or it is not remembered what was recorded.
        """
        if self._record is None:
            raise ValueError(
                "strict=True needs to know which actions were recorded, and this simulator was "
                "made by an older version or by hand: fit it again with PerSim.fit"
            )
        self._record.check(agents, actions, self.agent_names)
