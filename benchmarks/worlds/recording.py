"""What a cell's user has, a table, and what only the benchmark has: fresh episodes of the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from persim_gym.offline import read_table
from persim_gym.offline.transitions import Transitions

from .cells import WORLDS, Cell
from .world import Episodes, Floats, Parameters, World

#: Agents that are tested, episodes of each, steps ahead, steps before, and known past steps.
TESTED, EPISODES, HORIZON, WARM, PAST = 25, 8, 50, 10, 8


@dataclass(frozen=True, slots=True)
class Tests:
    """Fresh episodes of the truth, without noise.

    Attributes:
        agents: Index of the agent of each row ``[n]``.
        past: Observations up to the present one ``[n, PAST + 1, d]``.
        past_actions: Actions between them ``[n, PAST(, a)]``.
        actions: Actions from now on ``[n, h(, a)]``.
        truth: Observations after these ``[n, h, d]``.
        valid: Whether the episode had not ended before ``[n, h]``.
    """

    agents: NDArray[np.int64]
    past: Floats
    past_actions: NDArray[Any]
    actions: NDArray[Any]
    truth: Floats
    valid: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Recording:
    """A cell's data.

    Attributes:
        world: Its world.
        table: What its user has.
        columns: Meaning of the table's columns, as ``PerSim.fit`` takes it.
        transitions: The table as read.
        deviation: Standard deviation of each coordinate without observation noise ``[d]``.
        tests: Episodes of the recorded behaviour (``"same"``), and of another (``"other"``).
        own: Parameters of the table's agents.
        seed: Of the cell.
        noise: Observation noise in units of the deviation.
        process: Size of process noise.
    """

    world: World
    table: pd.DataFrame
    columns: dict[str, Any]
    transitions: Transitions
    deviation: Floats
    tests: dict[str, Tests]
    own: Parameters
    seed: int
    noise: float
    process: float


def record(cell: Cell) -> Recording:
    """Record a cell's data."""
    world = WORLDS[cell.world]
    rng = np.random.default_rng([cell.seed, 1])
    own = world.parameters(rng, cell.agents)
    steps = cell.steps or world.steps
    played = world.play(own, steps, rng, process=cell.process)
    kept = np.arange(steps + 1) <= played.length[:, None]
    deviation = played.obs[kept].std(axis=0)
    table = _table(world, played, kept, cell, deviation, rng)
    columns: dict[str, Any] = {
        "agent": "agent",
        "time": "time",
        "state": list(world.obs_names),
        "action": list(world.action_names),
        "short": "drop",
    }
    if world.ends:
        columns["terminated"] = "ended"
    transitions = read_table(table, **columns)
    # Agents of whom nothing is left are no agents of the table.
    left = np.array([int(name[1:]) for name in transitions.agent_names or ()])
    own = {name: values[left] for name, values in own.items()}
    drawn = np.random.default_rng([cell.seed, 2]).permutation(len(left))
    tests = {
        label: _tests(world, own, np.sort(drawn[:TESTED]), cell.seed, other)
        for label, other in (("same", False), ("other", True))
    }
    noises = (cell.seed, cell.noise, cell.process)
    return Recording(world, table, columns, transitions, deviation, tests, own, *noises)


def fresh(recording: Recording, other: bool, agents: int, episodes: int) -> Tests:
    """Episodes with the cell's process noise, as they are without observation noise.

    Args:
        recording: The cell's data.
        other: Of the behaviour that made no data.
        agents: Agents, or all if there are fewer.
        episodes: Episodes of each.
    """
    total = len(next(iter(recording.own.values())))
    drawn = np.random.default_rng([recording.seed, 4]).permutation(total)
    who = np.repeat(np.sort(drawn[:agents]), episodes)
    rng = np.random.default_rng([recording.seed, 6, int(other)])
    return _played(recording.world, recording.own, who, rng, other, recording.process)


def _table(
    world: World,
    played: Episodes,
    kept: NDArray[np.bool_],
    cell: Cell,
    deviation: Floats,
    rng: np.random.Generator,
) -> pd.DataFrame:
    agents, times = kept.shape
    seen = played.obs + cell.noise * deviation * rng.standard_normal(played.obs.shape)
    if world.angles:
        turned = seen[..., list(world.angles)]
        seen[..., list(world.angles)] = np.pi - (np.pi - turned) % (2 * np.pi)
    actions = np.concatenate([played.actions, played.actions[:, -1:]], axis=1)
    actions = actions.reshape(agents, times, -1)
    columns: dict[str, Any] = {
        "agent": np.repeat([f"a{number}" for number in range(agents)], times),
        "time": np.tile(np.arange(times), agents),
    }
    for names, values in ((world.obs_names, seen), (world.action_names, actions)):
        columns |= {name: values[..., k].ravel() for k, name in enumerate(names)}
    if world.ends:
        last = np.arange(times) == played.length[:, None]
        columns["ended"] = (last & (played.length < times - 1)[:, None]).ravel()
    present = kept & (rng.random(kept.shape) >= cell.missing)
    return pd.DataFrame(columns)[present.ravel()].reset_index(drop=True)


def _tests(
    world: World, own: Parameters, agents: NDArray[np.int64], seed: int, other: bool
) -> Tests:
    rng = np.random.default_rng([seed, 3, int(other)])
    return _played(world, own, np.repeat(agents, EPISODES), rng, other, 0.0)


def _played(
    world: World,
    own: Parameters,
    who: NDArray[np.int64],
    rng: np.random.Generator,
    other: bool,
    process: float,
) -> Tests:
    n = len(who)
    # Episodes that end are tested near their beginning, the others wherever they come to.
    total = WARM + HORIZON + (0 if world.ends else 2 * HORIZON)
    parameters = {name: values[who] for name, values in own.items()}
    played = world.play(parameters, total, rng, other=other, process=process)
    begin = rng.integers(WARM, total - HORIZON + 1, n)
    rows = np.arange(n)[:, None]
    before = begin[:, None] + np.arange(-PAST, 1)
    ahead = begin[:, None] + np.arange(HORIZON)
    return Tests(
        agents=who,
        past=played.obs[rows, before],
        past_actions=played.actions[rows, before[:, :-1]],
        actions=played.actions[rows, ahead],
        truth=played.obs[rows, ahead + 1],
        valid=ahead < played.length[:, None],
    )
