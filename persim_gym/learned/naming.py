"""Agents by the names that they have in the data, and by their index: one meaning everywhere.

Text is a name and an integer is an index. Where that could be taken in two ways, because names are
whole numbers, both readings are named in an error, and ``"name:3"`` and ``"index:3"`` say which is
meant. Arrays of integers are what the data hold (``Transitions.agent``): they are always indices.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from persim_gym import checks
from persim_gym.core import as_agent

#: What stands before a name or an index in text to say which of the two it is.
BY_NAME, BY_INDEX = "name:", "index:"


class AgentIndex(int):
    """The index of an agent that has been found: it is taken for nothing else again."""


class AgentNames:
    """Who is called what.

    Args:
        names: Names of all agents ``[N]``; none where agents are numbers.
        num_agents: How many agents there are.
    """

    def __init__(self, names: Sequence[str], num_agents: int) -> None:
        self.names = tuple(names)
        self.num_agents = num_agents
        self._index_of = {name: index for index, name in enumerate(names)}

    def find(self, agent: object) -> AgentIndex:
        """The index of an agent that is given by its name or its index.

        Raises:
            TypeError: If it is neither text nor an integer.
            ValueError: If there is no such agent, or it could be one of two.
        """
        if isinstance(agent, AgentIndex):
            return AgentIndex(as_agent(agent, self.num_agents))
        if isinstance(agent, str):
            return AgentIndex(self._named(agent))
        self._refuse_two_readings(agent)
        return AgentIndex(as_agent(agent, self.num_agents))

    def find_all(self, agents: Any) -> Any:
        """Agents as indices: of one, a sequence, or ``None`` as it came."""
        if agents is None:
            return None
        if hasattr(agents, "dtype"):
            agents = np.asarray(agents)
            if agents.ndim and agents.dtype.kind not in "OUT":
                return agents
            agents = agents.tolist()
        if isinstance(agents, str) or np.ndim(agents) == 0:
            return self.find(agents)
        return [self.find(agent) for agent in agents]

    def label(self, agent: Any) -> Any:
        """What names an agent, or several, so that nothing else is meant.

        For an environment's spec: names where there are any, and otherwise what came.
        """
        if not self.names or agent is None:
            return agent
        found = self.find_all(agent)
        if np.ndim(found) == 0:
            return self.names[found]
        return [self.names[index] for index in found]

    def parse(self, text: str) -> AgentIndex:
        """The index of an agent on a command line, where numbers are text as well.

        Raises:
            ValueError: If there is no such agent, or it could be one of two.
        """
        if text.strip().isdecimal() and not text.startswith((BY_NAME, BY_INDEX)):
            number = int(text)
            if text not in self._index_of:
                return self.find(number)
            if number < self.num_agents and self._index_of[text] != number:
                raise ValueError(self._both(number))
        return self.find(text)

    def _named(self, text: str) -> int:
        if text in self._index_of:
            return self._index_of[text]
        if text.startswith(BY_INDEX) and text.removeprefix(BY_INDEX).strip().isdecimal():
            return as_agent(int(text.removeprefix(BY_INDEX)), self.num_agents)
        name = text.removeprefix(BY_NAME)
        if name in self._index_of:
            return self._index_of[name]
        if not self.names:
            raise ValueError(
                f"agent {text!r} is not known by name: agents are numbers, 0 to "
                f"{self.num_agents - 1}"
            )
        near = checks.closest(name, self.names)
        hint = f"there is {self._some()}" if near is None else f"did you mean {near!r}?"
        raise ValueError(f"there is no agent {name!r} among the {self.num_agents}; {hint}")

    def _some(self) -> str:
        """The first names, and how many more there are."""
        shown = ", ".join(map(repr, self.names[:3]))
        return f"{shown} and {len(self.names) - 3} more" if len(self.names) > 3 else shown

    def _refuse_two_readings(self, agent: object) -> None:
        try:
            number = operator.index(agent)  # type: ignore[arg-type]
        except TypeError:
            return
        named = self._index_of.get(str(number))
        if isinstance(agent, bool) or named is None or named == number:
            return
        if 0 <= number < self.num_agents:
            raise ValueError(self._both(number))
        raise ValueError(
            f"there is no agent of index {number}, only 0 to {self.num_agents - 1}; the agent that "
            f"is called {str(number)!r} is given as text: {str(number)!r}"
        )

    def _both(self, number: int) -> str:
        return (
            f"agent {number} could be the one that is called {str(number)!r} (index "
            f"{self._index_of[str(number)]}) or the one of index {number} (called "
            f"{self.names[number]!r}): give '{BY_NAME}{number}' or '{BY_INDEX}{number}'"
        )
