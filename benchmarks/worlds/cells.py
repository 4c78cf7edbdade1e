"""Which worlds there are, and the cells of each preset's table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from hashlib import sha256

from .bodies import Acrobot, Reacher, Slider, Swimmer
from .life import Epidemic, Glucose, Growth, Linear, OneCompartment, Prey, Room, Switch
from .machines import Battery, Delay, House, Thermostat
from .mechanics import (
    Ball,
    CartPole,
    Gusts,
    HiddenCartPole,
    Pendulum,
    TwoLinks,
    WrappedPendulum,
)
from .plants import Chain, Heating, Reactor, Stock, Tanks, Virus, Wear
from .springs import LateSpring, Rider, Ring
from .world import World

#: Worlds that settings were chosen on.
FIRST = (
    Prey, OneCompartment, Switch, Pendulum, CartPole, HiddenCartPole, WrappedPendulum, TwoLinks,
    Ball, Gusts, Epidemic, Glucose, Growth, Room, Linear, House, Thermostat, Delay, Battery,
)  # fmt: skip
#: Worlds that came when these stood.
LATER = (
    Acrobot, Slider, Reacher, Swimmer, Heating, Stock, Wear, Reactor, Virus, Chain, Ring,
    LateSpring, Rider, Tanks,
)  # fmt: skip
WORLDS: dict[str, World] = {world.name: world() for world in (*FIRST, *LATER)}
#: To be raised when a world's numbers, the tests or the score change: older rows are then void.
VERSION = 1


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of the table: a recording of a world.

    Attributes:
        world: Name of the world.
        agents: Agents, with one trajectory each.
        steps: Steps of it; 0 for the world's own number.
        noise: Observation noise in units of each coordinate's standard deviation.
        process: Size of process noise.
        missing: Share of rows that are missing.
        seed: Of everything random.
    """

    world: str
    agents: int
    steps: int = 0
    noise: float = 0.0
    process: float = 0.0
    missing: float = 0.0
    seed: int = 0

    @property
    def name(self) -> str:
        """The cell in words, such as ``"cartpole-100 steps=10 noise=0.01"``."""
        first = f"{self.world}-{self.agents}"
        rest = {k: v for k, v in asdict(self).items() if v and k not in ("world", "agents")}
        return " ".join([first, *(f"{key}={value:g}" for key, value in rest.items())])

    @property
    def key(self) -> str:
        """Name of the cell's files: its name, and a hash of all that decides it."""
        content = json.dumps({**asdict(self), "version": VERSION}, sort_keys=True)
        return f"{self.name.replace(' ', '-')}-{sha256(content.encode()).hexdigest()[:8]}"


def quick() -> list[Cell]:
    """A sample for a first impression: ten minutes of one core."""
    return [
        Cell("prey", 30),
        Cell("prey", 100),
        Cell("pk1", 30),
        Cell("switch", 100),
        Cell("pendulum", 100),
        Cell("cartpole", 100, steps=10, noise=0.01),
        Cell("cartpole-hidden", 100),
        Cell("epidemic", 30),
    ]


def full() -> list[Cell]:
    """Every first world with few, some and many agents, with noise, short records and gaps."""
    names = [world.name for world in FIRST]
    cells = [Cell(world, agents) for world in names for agents in (30, 100, 500)]
    cells += [Cell(world, 100, noise=noise) for world in names for noise in (0.01, 0.05)]
    cells += [Cell(world, 100, process=0.02) for world in names]
    cells += [Cell("gusts", agents, process=0.1) for agents in (30, 100)]
    short = (("cartpole", 10), ("cartpole", 20), ("pk1", 15), ("prey", 20), ("linear", 15))
    cells += [Cell(world, 100, steps=steps) for world, steps in short]
    cells += [Cell("cartpole", 100, steps=10, noise=0.01)]
    cells += [Cell(world, 100, missing=0.1) for world in ("prey", "pk1", "pendulum", "room")]
    return cells


def later() -> list[Cell]:
    """Worlds that no setting was chosen on when they were made, without noise and with some."""
    return [Cell(world.name, 40, noise=noise) for noise in (0.0, 0.02) for world in LATER]


PRESETS = {"quick": quick, "full": full, "later": later}


def chosen(cells: Sequence[Cell], only: Sequence[str]) -> list[Cell]:
    """Cells whose world or name matches one of the patterns, or all.

    Raises:
        ValueError: If a pattern matches none.
    """
    for pattern in only:
        if not any(_matches(cell, pattern) for cell in cells):
            worlds = ", ".join(sorted({cell.world for cell in cells}))
            raise ValueError(
                f"--only {pattern!r} matches no cell: give a world ({worlds}) or a pattern of "
                f"cells, such as {cells[0].name!r} or '*noise*'"
            )
    return [c for c in cells if not only or any(_matches(c, pattern) for pattern in only)]


def _matches(cell: Cell, pattern: str) -> bool:
    return cell.world == pattern or fnmatch(cell.name, pattern)
