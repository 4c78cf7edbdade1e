"""From recorded transitions to what a fit works on: checks, split, units, device."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from numpy.typing import NDArray
from torch import Tensor

from persim_gym import checks
from persim_gym.core import Task
from persim_gym.learned.bounds import cutting_bounds
from persim_gym.learned.closed_form.basis import angles_of
from persim_gym.learned.config import Networks
from persim_gym.learned.experience import Experience
from persim_gym.learned.frames.geometry import Geometry
from persim_gym.learned.frames.history import slots, width_of
from persim_gym.learned.frames.search import find_geometry
from persim_gym.learned.networks.ensemble import Scaling, StateInputs
from persim_gym.learned.networks.network import NetworkShape
from persim_gym.learned.networks.optimise import Scaled, validation_window
from persim_gym.learned.support import action_ranges
from persim_gym.offline.transitions import Transitions

#: Rows whose moments are taken together.
BLOCK = 16_384
#: Recorded pasts that are remembered, of beginning episodes and of others.
PASTS = 2048


class Data:
    """Transitions checked against their task: what every way of fitting begins with.

    Args:
        transitions: The data.
        task: Their task.

    Raises:
        ValueError: If the data are not of the task.
    """

    def __init__(self, transitions: Transitions, task: Task) -> None:
        check_data(transitions, task)
        self.transitions = transitions
        self.task = task

    @cached_property
    def geometry(self) -> Geometry:
        """Which coordinates are angles: declared, or found."""
        return find_geometry(self.transitions, tuple(getattr(self.task, "angles", ())))

    @cached_property
    def clipped(self) -> NDArray[np.bool_]:
        """Transitions that end on a bound of the observation space ``[T]``."""
        return on_bounds(self.transitions, self.task)

    def change(self, rows: Any) -> NDArray[np.float32]:
        """What is predicted: differences of some transitions ``[k, d]``."""
        return self.transitions.change(rows).astype(np.float32)

    @cached_property
    def change_scale(self) -> NDArray[np.float32]:
        """Deviation of the differences ``[d]``."""
        return _moments(self.change, np.ones(len(self.transitions), dtype=np.bool_))[1]

    @cached_property
    def spread(self) -> NDArray[np.float32]:
        """Deviation of the observations ``[d]``."""
        t = self.transitions
        return _moments(lambda rows: t.next_obs[rows], np.ones(len(t), dtype=np.bool_))[1]

    def states(self, lag: int) -> NDArray[np.float32]:
        """States ``[T, l * w]`` with the actions between their observations."""
        return slots(self.transitions, lag, width_of(lag, self.task.action_space))

    def check_left(self, used: NDArray[np.bool_]) -> None:
        """Check that something is left to learn from.

        Raises:
            ValueError: If nothing is.
        """
        if not used.any():
            raise ValueError("no transition is left to fit: every one ends on a bound of its space")

    def experience(self, lag: int = 1, past: int = 0) -> Experience:
        """What a simulator remembers of the data.

        Args:
            lag: Observations of its states.
            past: Numbers of a past action in them.
        """
        t = self.transitions
        starts, pasts = t.starts, None
        if lag > 1:
            whole = np.flatnonzero(t.step >= lag - 1)
            whole = whole if len(whole) else np.arange(len(t))
            early = whole[t.step[whole] == lag - 1]
            others = np.random.default_rng(0).permutation(whole)
            kept = np.concatenate([early[:PASTS], others[:PASTS]])
            pasts = slots(t, lag, past)[kept]
            starts = early if len(early) else starts
        space = self.task.action_space
        choices = int(space.n) if isinstance(space, Discrete) else 0
        own_low, own_high = action_ranges(t.agent, t.action, t.num_agents, choices)
        return Experience(
            low=np.minimum(t.obs.min(0), t.next_obs.min(0)),
            high=np.maximum(t.obs.max(0), t.next_obs.max(0)),
            change_scale=self.change_scale,
            starts=t.obs[starts],
            disagreement_limit=math.inf,
            seen=np.isin(np.arange(t.num_agents), t.agent),
            pasts=pasts,
            action_low=own_low.min(axis=0),
            action_high=own_high.max(axis=0),
            own_low=own_low,
            own_high=own_high,
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """What networks are fitted on.

    Attributes:
        data: The data.
        states: What the state encoder sees ``[T, l * d]``.
        held: Held-out transitions ``[T]``.
        used: Transitions of the loss ``[T]``.
        scaling: Units and bounds.
        shape: Sizes of the network.
    """

    data: Data
    states: NDArray[np.float32]
    held: NDArray[np.bool_]
    used: NDArray[np.bool_]
    scaling: Scaling
    shape: NetworkShape

    @staticmethod
    def generator(seed: int) -> torch.Generator:
        """Randomness of the initial weights."""
        generator = torch.Generator()
        return generator.manual_seed(int(np.random.SeedSequence([seed, 2]).generate_state(1)[0]))

    def training_data(self, device: torch.device) -> Scaled:
        """The transitions of the loss, in the network's units."""
        t, used, s = self.data.transitions, self.used, self.scaling
        scale_inputs = StateInputs(s, self.shape.angles)
        rows, d = int(used.sum()), t.obs.shape[1]
        inputs = torch.empty(rows, self.shape.state_dim, dtype=torch.float32)
        targets = torch.empty(rows, d, dtype=torch.float32)
        # Block by block: beside the data and the tensors there is nothing large in memory.
        filled = 0
        for first in range(0, len(used), BLOCK):
            block = slice(first, first + BLOCK)
            own = used[block]
            end = filled + int(own.sum())
            seen = self.states[block][own][:, self.shape.past :]
            inputs[filled:end] = scale_inputs(torch.as_tensor(seen))
            change = torch.as_tensor(self.data.change(block)[own])
            targets[filled:end] = change.sub_(s.target_mean).div_(s.target_scale)
            filled = end
        return Scaled(
            agents=torch.as_tensor(t.agent[used]).to(device),
            inputs=inputs.to(device),
            actions=torch.as_tensor(t.action[used]).to(device),
            targets=targets.to(device),
        )


def prepare(data: Data, config: Networks, without: NDArray[np.bool_] | None = None) -> Prepared:
    """Split and measure the data of a fit of networks, some transitions ``[T]`` left out.

    Raises:
        ValueError: If nothing is left to fit.
    """
    transitions, task = data.transitions, data.task
    rng = np.random.default_rng([config.seed, 1])
    fraction = config.validation_fraction
    held = validation_window(transitions.starts, transitions.lengths, fraction, rng)
    if without is not None:
        held &= ~without
    used = ~held if without is None else ~held & ~without
    if config.skip_clipped:
        used &= ~data.clipped
    data.check_left(used)
    states = data.states(config.lag)
    space = task.action_space
    past = width_of(config.lag, space)
    seen = states[:, past:]  # but the action before the oldest observation
    discrete = isinstance(space, Discrete)
    joint = config.encoder == "joint" and not discrete
    shape = NetworkShape(
        members=config.ensemble_size + config.spare_members,
        num_agents=transitions.num_agents,
        obs_dim=transitions.obs.shape[1],
        lag=config.lag,
        num_actions=int(space.n) if isinstance(space, Discrete) else 0,
        action_dim=0 if isinstance(space, Discrete) else math.prod(space.shape or ()),
        rank=config.rank,
        state_hidden=config.state_hidden,
        action_hidden=() if discrete or joint else config.action_hidden,
        activation=config.activation,
        joint=joint,
        skip=config.skip,
        angles=angles_of(task, config.lag, past + transitions.obs.shape[1])
        if config.angles
        else (),
        past=past,
    )
    scaling = _scaling(data, seen, used, config)
    if config.hold:
        scaling = _holding(scaling, seen, used, shape.angles)
    return Prepared(data, states, held, used, scaling, shape)


def as_transitions(
    data: Any,
    columns: Mapping[str, Any] | None = None,
    agent_of: Any = None,
    nameless: bool = False,
) -> Transitions:
    """Transitions from whatever ``PerSim.fit`` takes.

    Args:
        data: Transitions, a table or its file or folder, a Minari data set, its id or folder.
        columns: Of a table: the arguments of :func:`~persim_gym.offline.read_table`.
        agent_of: Of a Minari data set: as in :func:`~persim_gym.offline.read_transitions`.
        nameless: Likewise.

    Raises:
        TypeError: If ``columns`` or ``agent_of`` do not belong to such data.
        ValueError: If the data are invalid, or a table comes without ``columns``.
    """
    from persim_gym.offline.sources import FILES, is_table

    table = not isinstance(data, Transitions) and is_table(data)
    if columns is not None and not table:
        raise TypeError(
            f"columns= is for tables, and data is {type(data).__name__}: a table is a {FILES}, "
            "or a DataFrame"
        )
    if agent_of is not None and (table or isinstance(data, Transitions)):
        raise TypeError(
            "agent_of= is for Minari data sets; of a table columns={'agent': ...} names the agent"
        )
    if isinstance(data, Transitions):
        return data
    if table:
        from persim_gym.offline.tables import read_table

        if columns is None:
            raise ValueError(
                "a table needs to be told what its columns are: columns={'agent': ..., 'time': "
                "..., 'state': [...], 'action': [...], 'reward': ...}"
            )
        known = list(inspect.signature(read_table).parameters)[1:]
        if unknown := sorted(set(columns) - set(known)):
            hint = checks.meant(unknown[0], known)
            raise ValueError(f"columns= has no {unknown[0]!r}{hint}: it has {', '.join(known)}")
        if lacking := [key for key in ("agent", "state", "action") if key not in columns]:
            raise ValueError(f"columns= does not name the {lacking[0]} of the table")
        return read_table(data, **columns)
    from persim_gym.offline.reading import read_transitions

    agents = {} if agent_of is None else {"agent_of": agent_of}
    return read_transitions(data, nameless=nameless, **agents)


def task_for(transitions: Transitions, seed: int) -> Task:
    """This package's task that the data name, or else the one that the data imply."""
    from persim_gym.envs.suites import SUITES
    from persim_gym.learned.outcomes.data_task import DataTask

    suite = SUITES.get(transitions.task_name)
    return suite.task() if suite else DataTask.from_transitions(transitions, seed)


def task_of(name: str) -> Task:
    """This package's task of a name.

    Raises:
        ValueError: If there is none.
    """
    from persim_gym.envs.suites import find_suite

    return find_suite(name).task()


def check_device(device: str) -> torch.device:
    """A torch device that is there.

    Raises:
        ValueError: If it is unknown or not available.
    """
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device {device!r} is not available: {str(error).splitlines()[0]}"
        ) from None
    return chosen


def check_data(transitions: Transitions, task: Task) -> None:
    """Check that data are of the task.

    Raises:
        ValueError: If observations or actions do not fit its spaces.
    """
    d = task.observation_space.shape[0]
    if transitions.obs.shape[1] != d:
        raise ValueError(
            f"task {task.name!r} has {d} coordinates, the data have {transitions.obs.shape[1]}: "
            "they are of another task"
        )
    names = getattr(task, "obs_names", None)
    if names and transitions.obs_names and names != transitions.obs_names:
        raise ValueError(
            f"task {task.name!r} observes {', '.join(names)}, the data "
            f"{', '.join(transitions.obs_names)}: they are of another task, or in another order"
        )
    space = task.action_space
    if isinstance(space, Discrete):
        if transitions.action.ndim != 1 or not np.issubdtype(transitions.action.dtype, np.integer):
            raise ValueError(
                f"task {task.name!r} has discrete actions, the data's are "
                f"{transitions.action.dtype} of shape {transitions.action.shape}"
            )
        if transitions.action.min() < 0 or transitions.action.max() >= space.n:
            raise ValueError(
                f"task {task.name!r} has actions 0 to {space.n - 1}, the data "
                f"{transitions.action.min()} to {transitions.action.max()}"
            )
    elif transitions.action.shape[1:] != space.shape:
        raise ValueError(
            f"task {task.name!r} has actions of shape {space.shape}, the data "
            f"{transitions.action.shape[1:]}"
        )


def on_bounds(transitions: Transitions, task: Task) -> NDArray[np.bool_]:
    """Transitions that end on a bound of the observation space that cuts ``[T]``."""
    low, high = cutting_bounds(task)
    at: NDArray[np.bool_] = (transitions.next_obs <= low) | (transitions.next_obs >= high)
    return np.asarray(at.any(axis=1))


def _moments(
    values: Callable[[slice], NDArray[np.float32]], used: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation of the rows used; the deviation is 1 where a column is constant.

    In blocks: a double-precision copy of all rows would be the largest thing in memory.
    """

    def blocks() -> Iterator[NDArray[np.float32]]:
        for first in range(0, len(used), BLOCK):
            block = slice(first, first + BLOCK)
            yield values(block)[used[block]]

    rows = int(used.sum())
    total = sum(block.sum(axis=0, dtype=np.float64) for block in blocks())
    mean = np.asarray(total / rows)
    squares = sum(np.square(block - mean).sum(axis=0) for block in blocks())
    deviation = np.sqrt(np.asarray(squares / rows))
    deviation[deviation < 1e-12] = 1.0
    return mean.astype(np.float32), deviation.astype(np.float32)


def _scaling(
    data: Data, states: NDArray[np.float32], used: NDArray[np.bool_], config: Networks
) -> Scaling:
    def pair(
        values: Callable[[slice], NDArray[np.float32]], width: int, scale: bool, centre: bool
    ) -> tuple[Tensor, Tensor]:
        if not scale:
            return torch.zeros(width, dtype=torch.float32), torch.ones(width, dtype=torch.float32)
        mean, deviation = _moments(values, used)
        return torch.as_tensor(mean * np.float32(centre)), torch.as_tensor(deviation)

    space, d = data.task.observation_space, data.transitions.obs.shape[1]
    inputs = pair(lambda rows: states[rows], states.shape[1], config.normalise_inputs, True)
    return Scaling(
        *inputs,
        *pair(data.change, d, config.normalise_targets, config.centre_targets),
        low=torch.as_tensor(space.low.copy()),
        high=torch.as_tensor(space.high.copy()),
    )


def _holding(
    scaling: Scaling, states: NDArray[np.float32], used: NDArray[np.bool_], angles: tuple[int, ...]
) -> Scaling:
    """The same units with what states are held within: the range of those that are fitted."""
    low = states.min(axis=0, where=used[:, None], initial=np.inf)
    high = states.max(axis=0, where=used[:, None], initial=-np.inf)
    low[list(angles)], high[list(angles)] = -np.inf, np.inf
    return replace(scaling, hold_low=torch.as_tensor(low), hold_high=torch.as_tensor(high))
