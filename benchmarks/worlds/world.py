"""What a world is: hidden states that step, observations of them, and two behaviours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: An agent's parameters by name, each ``[n]``.
Parameters = dict[str, Floats]
#: Actions ``[n(, a)]`` at a time, in hidden states ``[n, s]``.
Policy = Callable[[int, Floats], NDArray[Any]]

#: Share of steps that repeat the last action in the behaviour that made no data.
OTHER_HOLD = 0.8


@dataclass(frozen=True, slots=True)
class Episodes:
    """Episodes of ``n`` rows over ``T`` steps.

    Attributes:
        obs: ``[n, T + 1, d]``; after the end of an episode its last observation is repeated.
        actions: ``[n, T]`` integers or ``[n, T, a]``.
        length: Steps until the end ``[n]``.
    """

    obs: Floats
    actions: NDArray[Any]
    length: NDArray[np.int64]


class World:
    """A population of agents in one kind of dynamics, each with parameters of its own.

    Attributes:
        name: Its name.
        obs_names: Names of the observed coordinates ``[d]``.
        action_names: Names of the coordinates of an action ``[a]``.
        choices: Number of discrete actions; 0 where actions are continuous.
        low: Least continuous actions ``[a]``.
        high: Largest ones.
        hold: Share of steps of the recorded behaviour that repeat the last action.
        steps: Steps of a recorded trajectory.
        lag: Observations, with the actions between them, that tell the hidden state.
        angles: Observed coordinates in radians that are wrapped into (-pi, pi].
        shaken: Standard deviation of process noise of size 1, for each hidden coordinate.
        ends: Whether episodes end.
    """

    name: str
    obs_names: tuple[str, ...]
    action_names: tuple[str, ...] = ("action",)
    choices = 0
    low: tuple[float, ...] = (-1.0,)
    high: tuple[float, ...] = (1.0,)
    hold = 0.5
    steps = 100
    lag = 1
    angles: tuple[int, ...] = ()
    shaken: tuple[float, ...] = (1.0,)
    ends = False

    def parameters(self, rng: np.random.Generator, n: int) -> Parameters:
        """Parameters of ``n`` agents."""
        raise NotImplementedError

    def start(self, rng: np.random.Generator, n: int) -> Floats:
        """Hidden states ``[n, s]`` in which episodes begin."""
        raise NotImplementedError

    def step(self, states: Floats, actions: NDArray[Any], own: Parameters) -> Floats:
        """The next hidden states ``[n, s]``, without noise."""
        raise NotImplementedError

    def observe(self, states: Floats) -> Floats:
        """Observations ``[n, d]`` of hidden states ``[n, s]``: by default the states."""
        return states

    def ended(self, states: Floats) -> NDArray[np.bool_]:
        """Whether states ``[n, s]`` end an episode."""
        return np.zeros(len(states), dtype=np.bool_)

    def disturb(self, states: Floats, size: float, rng: np.random.Generator) -> Floats:
        """States with process noise."""
        return states + size * np.array(self.shaken) * rng.standard_normal(states.shape)

    def policy(self, rng: np.random.Generator, n: int, steps: int, other: bool) -> Policy:
        """The recorded behaviour, or another one that takes extremes and holds them longer."""
        hold = OTHER_HOLD if other else self.hold
        planned: NDArray[Any]
        if self.choices:
            planned = rng.integers(0, self.choices, (n, steps))
        else:
            low, high = np.array(self.low), np.array(self.high)
            planned = rng.uniform(low, high, (n, steps, len(low)))
            if other:
                planned = np.where(2 * planned > low + high, high, low)
        return self.follow(held(planned, rng.random((n, steps)) < hold))

    @staticmethod
    def follow(planned: NDArray[Any]) -> Policy:
        """A policy that takes planned actions ``[n, T(, a)]`` whatever happens."""
        return lambda time, states: planned[:, time]

    def play(
        self,
        own: Parameters,
        steps: int,
        rng: np.random.Generator,
        *,
        other: bool = False,
        process: float = 0.0,
    ) -> Episodes:
        """One episode of each row.

        Args:
            own: Parameters of the rows.
            steps: Steps ``T``.
            rng: All randomness.
            other: Take the behaviour that made no data.
            process: Size of process noise.
        """
        n = len(next(iter(own.values())))
        states = self.start(rng, n)
        policy = self.policy(rng, n, steps, other)
        first = self.observe(states)
        obs = np.repeat(first[:, None], steps + 1, axis=1)
        taken = []
        length, alive = np.full(n, steps), np.ones(n, dtype=np.bool_)
        for time in range(steps):
            taken.append(policy(time, states))
            following = self.step(states, taken[-1], own)
            if process:
                following = self.disturb(following, process, rng)
            states = np.where(alive[:, None], following, states)
            obs[:, time + 1] = self.observe(states)
            over = self.ended(states) & alive
            length[over] = time + 1
            alive &= ~over
        return Episodes(obs, np.stack(taken, axis=1), length)


def held(planned: NDArray[Any], repeat: NDArray[np.bool_]) -> NDArray[Any]:
    """Actions ``[n, T(, a)]`` of which some repeat the one before ``[n, T]``."""
    time = np.where(repeat, 0, np.arange(planned.shape[1]))
    last = np.maximum.accumulate(time, axis=1)
    return planned[np.arange(len(planned))[:, None], last]


def sometimes(rng: np.random.Generator, n: int, steps: int, share: float, most: float) -> Floats:
    """Doses ``[n, T]`` that are zero but in a share of the steps, up to a largest one."""
    given = rng.random((n, steps)) < share
    return np.where(given, rng.uniform(0, most, (n, steps)), 0.0)


def runge_kutta(slope: Callable[[Floats], Floats], states: Floats, step: float) -> Floats:
    """One step of the classical method of fourth order."""
    first = slope(states)
    second = slope(states + step / 2 * first)
    third = slope(states + step / 2 * second)
    return states + step / 6 * (first + 2 * (second + third) + slope(states + step * third))
