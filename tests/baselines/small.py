"""Tiny data and fits, and the registry of baselines that the contract is checked for."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from torch import Tensor

from persim_gym import baselines
from persim_gym.baselines.networks import Units
from persim_gym.envs.suites import SUITES
from persim_gym.experiments.baseline_methods import joined
from persim_gym.offline.transitions import Transitions
from persim_gym.policies.behaviours import as_policy
from persim_gym.rollout import EpisodeBatch, Moved, play, start_episodes

#: Agents of the data; agent 1 has none.
AGENTS, SILENT = 4, 1


class Killed(Exception):
    """A fit that was ended from outside."""


@dataclass(frozen=True)
class Entry:
    """A baseline as the contract fits it.

    Attributes:
        name: Its name in ``persim_gym.baselines``.
        task: ``"discrete"``, ``"continuous"``.
        options: Of a tiny fit.
        needs: Modules without which it cannot be fitted.
        plans: Whether it acts by a random search.
    """

    name: str
    task: str
    options: dict[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    plans: bool = False

    @property
    def kind(self) -> Any:
        return getattr(baselines, self.name)

    def shared(self) -> Any:
        """A fit that other tests have, too: not to be changed."""
        return _fitted(self.name, self.task)

    def fit(self, data: Any = None, **more: Any) -> Any:
        for module in self.needs:
            pytest.importorskip(module, reason="pip install 'persim-gym[baselines]'")
        given = data_of(self.task) if data is None else data
        return self.kind.fit(given, **{**self.options, "progress": False, **more})


_TS: dict[str, Any] = {"needs": ("tianshou",)}
_BCQ = {"updates": 30, "batch_size": 8, "hidden": [8], "behaviour_hidden": 8, "choices": 5}
_CQL = {"updates": 30, "batch_size": 8, "hidden": [8], "samples": 2, "quantiles": 3}
_CLONE = {"updates": 20, "hidden": [8], "batch_size": 8}
_SFBC = {
    "updates": 20, "batch_size": 8, "widths": [8, 4], "critic_updates": 10, "critic_hidden": [8],
    "planned": 2, "candidates": 3, "steps": 3,
}  # fmt: skip

_CADM = {"steps": 30, "batch_size": 8, "hidden": [8], "encoder": [8], "ensemble_size": 2,
         "particles": 2}  # fmt: skip
_MOREL = {"updates": 20, "batch_size": 8, "hidden": [8], "policy_hidden": [8], "lanes": 4,
          "policy_steps": 100, "imitation": 1}  # fmt: skip

#: A new baseline joins by an entry; it has to be quick.
ENTRIES = (
    Entry("BCQ", "discrete", _BCQ, **_TS),
    Entry("BCQ", "continuous", _BCQ, **_TS),
    Entry("CQL", "discrete", _CQL, **_TS),
    Entry("CQL", "continuous", _CQL, **_TS),
    Entry("SfBC", "continuous", _SFBC),
    Entry("Cloning", "discrete", _CLONE),
    Entry("Cloning", "continuous", _CLONE),
    Entry("CaDM", "discrete", _CADM, plans=True),
    Entry("CaDM", "continuous", _CADM | {"planner": "shooting"}, plans=True),
    Entry("MOReL", "discrete", _MOREL),
    Entry("MOReL", "continuous", _MOREL),
)


@functools.cache
def _fitted(name: str, task: str) -> Any:
    return next(e for e in ENTRIES if (e.name, e.task) == (name, task)).fit()


def of_each(*entries: Entry) -> Any:
    """A test of each; what needs a further library, which takes a second to import, is slow."""
    return pytest.mark.parametrize(
        "entry",
        [
            pytest.param(e, id=f"{e.name}-{e.task}", marks=pytest.mark.slow if e.needs else ())
            for e in entries
        ],
    )


each = of_each(*ENTRIES)


@functools.cache
def data_of(kind: str) -> Transitions:
    """Random episodes of a few agents: of CartPole, or of a point that is pushed about."""
    return _cartpole() if kind == "discrete" else pushed()


def _cartpole() -> Transitions:
    suite = SUITES["cartpole"]
    agents = np.array([0, 2, 3])
    task, rng = suite.task(), np.random.default_rng(0)
    batch = EpisodeBatch(task, agents, np.zeros(3, dtype=np.int64), 40, 0)
    moves = play(
        suite.dynamics(suite.population(AGENTS)), batch, task.sample_start(rng, 3),
        lambda _, rows, obs: rng.integers(0, 2, len(rows)), rng,
    )  # fmt: skip
    return transitions_of(batch, task.sample_start(np.random.default_rng(0), 3), moves)


def transitions_of(batch: EpisodeBatch, start: Any, moves: Iterable[Moved]) -> Transitions:
    """Steps of episodes as transitions, taken one by one: the loop writes over their arrays."""
    last = start.copy()
    rows: list[tuple[Any, ...]] = []
    for moved in moves:
        result = moved.result
        for i, lane in enumerate(moved.rows.tolist()):
            rows.append(
                (
                    lane, last[lane].copy(), moved.actions[i], result.obs[i].copy(),
                    result.reward[i], result.terminated[i], result.truncated[i],
                )
            )  # fmt: skip
            last[lane] = result.obs[i]
    rows.sort(key=lambda row: row[0])  # stable: an episode's steps stay in order
    lane, obs, action, following, reward, over, cut = (
        np.array(part) for part in zip(*rows, strict=True)
    )
    return Transitions(
        agent=batch.agents[lane], obs=obs, action=action, next_obs=following, reward=reward,
        terminated=over, truncated=cut, episode=lane,
        num_agents=max(AGENTS, int(batch.agents.max()) + 1),
        task_name=batch.task.name,
    )  # fmt: skip


def pushed() -> Transitions:
    """A point that is pushed anyhow; its task is learned from the data."""
    parts = [episodes_of(PushTask(), Push(), "random", agent, 2) for agent in (0, 2, 3)]
    data = parts[0]
    for part in parts[1:]:
        data = joined(data, part)
    return data


class PushTask:
    """A point on a line: the nearer to 0, and the less it is pushed, the better."""

    name = "push"
    observation_space = Box(-10.0, 10.0, (2,), dtype=np.float32)
    action_space = Box(-2.0, 2.0, (1,), dtype=np.float32)
    max_episode_steps = 40
    render_fps = 10
    root_velocity = None

    def reward(self, obs: Any, action: Any, next_obs: Any) -> Any:
        return -(next_obs[..., 0] ** 2) - 0.01 * action[..., 0] ** 2

    def terminated(self, next_obs: Any) -> Any:
        return next_obs[..., 0] > 1e9

    def sample_start(self, rng: np.random.Generator, n: int) -> Any:
        return rng.uniform(-1, 1, (n, 2))


class Push:
    """The point's dynamics; one agent is pushed more easily than another."""

    num_agents, lag = AGENTS, 1

    def step(self, agents: Any, states: Any, actions: Any) -> Any:
        speed = 0.9 * states[:, 1] + 0.2 * (1 + 0.2 * agents) * actions[:, 0]
        return np.stack([states[:, 0] + 0.2 * speed, speed], axis=1)


class PushExpert:
    """Pushes the point to 0 and stops it there."""

    def predict(self, obs: Any, *_: Any, **__: Any) -> Any:
        return np.clip(-1.5 * obs[:, :1] - 1.5 * obs[:, 1:], -2, 2), None


def episodes_of(task: Any, dynamics: Any, policy: Any, agent: int, episodes: int) -> Transitions:
    """Episodes of one agent under a policy, as data."""
    rng = np.random.default_rng(5)
    agents = np.full(episodes, agent)
    batch = EpisodeBatch(task, agents, np.arange(episodes), task.max_episode_steps, 0)
    start = task.sample_start(rng, episodes)
    choose = start_episodes(as_policy(policy, task), batch)
    return transitions_of(batch, start, play(dynamics, batch, start, choose, rng))


def plain_units(task: Any) -> dict[str, Tensor]:
    """Units of a network that sees a task's one-dimensional observations as they are."""
    space = task.action_space
    low, high = (space.low, space.high) if isinstance(space, Box) else (np.zeros(0), np.zeros(0))
    one = torch.ones(task.observation_space.shape)
    bounds = (torch.as_tensor(bound, dtype=torch.float32) for bound in (low, high))
    return Units(0 * one, one, *bounds, torch.ones(1)).tensors()


def linear_net(part: str, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """A network of one layer, as it is kept."""
    return {f"{part}.0.weight": weight.float(), f"{part}.0.bias": bias.float()}
