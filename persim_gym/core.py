"""The seams that hold the library together: what a task, a dynamics and a policy are.

A *task* knows spaces, reward, termination, start states and the time limit, and nothing of the
dynamics. A *dynamics* maps a state and an action of a given agent to the next observation, and
nothing else. True physics and learned simulators are both dynamics; the environment shells and
the planners see only these two protocols.

Shape letters used in all docstrings: ``n`` rows, ``m`` members, ``k`` candidates, ``h`` horizon,
``d`` observation coordinates, ``a`` action coordinates, ``r`` rank, ``l`` lag.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from persim_gym import checks

if TYPE_CHECKING:
    import torch
    from gymnasium.spaces import Box, Discrete

#: Arrays and tensors are served by the same code; functions return the kind they were given.
Array: TypeAlias = "NDArray[Any] | torch.Tensor | Any"


@runtime_checkable
class Task(Protocol):
    """Spaces, reward, termination, start states and time limit; no dynamics.

    Methods are batched over any leading axes and written with operators only, so that one
    definition serves NumPy arrays and torch tensors: true environments, learned environments,
    planners and synthetic data all take reward and termination from here.

    A task may also have ``angles``, a tuple of the coordinates that are angles in radians and may
    go round: learners let them enter as sine and cosine. They are predicted as they are, or where
    the data wrap them, wrapped. All rewards of a class that has ``reward_range`` itself lie within:
    if none is above 0, planners do not follow what cannot win any more. A class that has
    ``single_rows = True`` itself is asked about single rows ``[d]``, which is quicker; others get
    batches of one.
    """

    @property
    def name(self) -> str:
        """The task's name on the command line and in files, such as ``"cartpole"``."""

    @property
    def observation_space(self) -> Box:
        """One agent's observations, shape ``[d]``."""

    @property
    def action_space(self) -> Discrete | Box:
        """One agent's actions: ``Discrete`` or a bounded ``Box`` of shape ``[a]``."""

    @property
    def max_episode_steps(self) -> int:
        """Steps after which an episode is truncated."""

    @property
    def render_fps(self) -> int:
        """Frames per second at which the drawing runs in real time."""

    @property
    def root_velocity(self) -> tuple[int, float] | None:
        """Coordinate that holds the root's velocity and the control step in seconds.

        ``None`` where the whole pose is observed. Needed for drawing only: a position that the
        observation leaves out is integrated from it.
        """

    def reward(self, obs: Array, action: Array, next_obs: Array) -> Array:
        """Rewards ``[...]`` of ``[..., d]``, actions ``[...]`` or ``[..., a]``, ``[..., d]``."""

    def terminated(self, next_obs: Array) -> Array:
        """Whether the states ``[..., d]`` end the episode, as booleans ``[...]``."""

    def sample_start(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """Draw ``n`` start states ``[n, d]``.

        One call for ``n`` rows gives the rows that ``n`` calls for one row would give: the vector
        environment relies on it to equal the scalar one.
        """


@runtime_checkable
class Dynamics(Protocol):
    """A batched, stateless transition function of given agents.

    A *state* is what the next observation depends on: the observation itself (``lag`` 1, shape
    ``[n, d]``) or the last ``lag`` observations, oldest first (``[n, l, d]``).

    A dynamics whose states hold more than that makes them itself: ``recall(obs [n, d])`` gives the
    states in which episodes begin, and ``follow(states, actions, obs)`` those after a step. To
    all others they are opaque, but for their last ``d`` numbers, the present observation.
    :func:`begin_states` and :func:`next_states` serve every dynamics.
    """

    @property
    def num_agents(self) -> int:
        """How many agents there are; valid agents are ``0 .. num_agents - 1``."""

    @property
    def lag(self) -> int:
        """How many observations a state holds."""

    def step(self, agents: Array, states: Array, actions: Array) -> Array:
        """Next observations of agents ``[n]`` in states, under actions ``[n(, a)]``.

        Returns:
            A fresh array ``[n, d]``: the shells keep it as their state and write into it.
        """


class Policy(Protocol):
    """Whatever has Stable-Baselines3's ``predict``: scripted behaviours, MPC, SB3 models."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Actions for observations ``[n, d]`` (or one ``[d]``), and the next recurrent state."""


def check_task(task: object) -> None:
    """Check that something can be a task.

    Raises:
        TypeError: If it lacks what every task has.
    """
    needed = ("name", "observation_space", "action_space", "max_episode_steps", "reward")
    checks.with_attributes("task", task, needed, "a task")


def check_dynamics(dynamics: object) -> None:
    """Check that something can be a dynamics.

    Raises:
        TypeError: If it lacks what every dynamics has.
    """
    needed = ("num_agents", "lag", "step")
    checks.with_attributes("dynamics", dynamics, needed, "a dynamics")


def begin_states(dynamics: Dynamics, obs: NDArray[Any]) -> NDArray[Any]:
    """States in which episodes begin, of which but the observations ``[n, d]`` are known."""
    if dynamics.lag == 1:
        return obs
    recall = getattr(dynamics, "recall", None)
    return np.repeat(obs[:, None], dynamics.lag, axis=1) if recall is None else recall(obs)


def next_states(
    dynamics: Dynamics, states: NDArray[Any], actions: NDArray[Any], obs: NDArray[Any]
) -> NDArray[Any]:
    """States after actions ``[n(, a)]`` that have led to observations ``[n, d]``."""
    if dynamics.lag == 1:
        return obs
    follow = getattr(dynamics, "follow", None)
    if follow is None:
        return np.concatenate([states[:, 1:], obs[:, None]], axis=1)
    return np.asarray(follow(states, actions, obs))


def as_agent(agent: object, num_agents: int) -> int:
    """Check one agent's index and return it as a plain ``int``.

    Args:
        agent: Any integer, NumPy's included (an environment's spec must survive JSON).
        num_agents: How many agents there are.

    Raises:
        TypeError: If ``agent`` is no integer.
        ValueError: If there is no such agent.
    """
    try:
        index = operator.index(agent)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(
            f"agent must be an integer, got {agent!r} of type {type(agent).__name__}"
        ) from None
    if isinstance(agent, bool):
        raise TypeError(f"agent must be an integer, got {agent!r}")
    if not 0 <= index < num_agents:
        raise ValueError(
            f"agent {index} does not exist: this population has {num_agents} agents, "
            f"0 to {num_agents - 1}"
        )
    return index


def as_agents(agents: object, n: int, num_agents: int) -> NDArray[np.int64]:
    """Check the agents of ``n`` lanes: one for all, or one for each.

    Args:
        agents: An integer, or a sequence of ``n`` integers.
        n: Number of lanes.
        num_agents: How many agents there are.

    Returns:
        Agents ``[n]``, a fresh array.

    Raises:
        TypeError: If an entry is no integer.
        ValueError: If the length is not ``n`` or an agent does not exist.
    """
    if isinstance(agents, range):
        agents = list(agents)
    array = np.asarray(agents)
    if array.ndim == 0:
        return np.full(n, as_agent(array.item(), num_agents), dtype=np.int64)
    if array.shape != (n,):
        raise ValueError(
            f"agents must be one agent or {n} of them, one a lane, got shape {array.shape}"
        )
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"agents must be integers, got an array of {array.dtype}")
    if isinstance(agents, (list, tuple)) and any(isinstance(one, bool) for one in agents):
        raise TypeError(f"agents must be integers, got {checks.shown(agents)}")
    outside = (array < 0) | (array >= num_agents)
    if outside.any():
        as_agent(int(array[outside][0]), num_agents)
    return array.astype(np.int64)


def agents_of(dynamics: Dynamics, agents: object, n: int) -> NDArray[np.int64]:
    """The agents of ``n`` lanes under a dynamics, which may know them by name.

    A dynamics may have ``agent_indices(agents)``, which turns names into indices, and
    ``check_seen(agents)``, which refuses agents that nothing was recorded of.

    Args:
        dynamics: True or learned.
        agents: One agent for all lanes, or one for each.
        n: Number of lanes.

    Returns:
        Agents ``[n]``, a fresh array.

    Raises:
        TypeError: If an agent is neither an integer nor, where there are names, text.
        ValueError: If the length is not ``n``, an agent does not exist, could be one of two, or
            nothing was recorded of it.
    """
    find = getattr(dynamics, "agent_indices", None)
    rows = as_agents(agents if find is None else find(agents), n, dynamics.num_agents)
    check = getattr(dynamics, "check_seen", None)
    if check is not None:
        check(rows)
    return rows


def several_agents(dynamics: Dynamics, agents: object) -> NDArray[np.int64]:
    """Check one or more different agents of a dynamics, as a sequence or an array.

    Args:
        dynamics: True or learned.
        agents: Indices, or names where the dynamics knows them.

    Returns:
        Agents ``[n]``, a fresh array.

    Raises:
        TypeError: If they are no sequence, or an entry is of the wrong type.
        ValueError: If there is none, one is named twice, or as of :func:`agents_of`.
    """
    if isinstance(agents, str) or not isinstance(agents, (Sequence, np.ndarray)):
        raise TypeError(f"agents must be a sequence of agents, got {checks.shown(agents)}")
    if np.ndim(agents) != 1 or len(agents) == 0:
        raise ValueError(f"agents must be one or more different agents, got {checks.shown(agents)}")
    chosen = agents_of(dynamics, agents, len(agents))
    if len(np.unique(chosen)) < len(chosen):
        raise ValueError(f"agents must be one or more different agents, got {checks.shown(agents)}")
    return chosen


def one_of(agent: Any, agents: Any) -> Any:
    """What ``agent=`` and ``agents=`` say together: both words name the same thing.

    Raises:
        ValueError: If both are given, and not the same.
    """
    if agent is None or agents is None:
        return agents if agent is None else agent
    rows = [np.asarray(given, dtype=object).ravel().tolist() for given in (agent, agents)]
    if rows[0] != rows[1] and any(len(set(own)) > 1 or own[:1] != rows[0][:1] for own in rows):
        raise ValueError(f"agent={agent!r} and agents={agents!r} are not the same: give one")
    return agents


def describe(covariates: Mapping[str, float]) -> str:
    """Covariates as one short line, such as ``"force 10, length 0.5"``."""
    return ", ".join(f"{name} {value:.4g}" for name, value in covariates.items())
