"""Fits in inner coordinates: data with their angles as angles, and what was fitted on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from torch import Tensor

from persim_gym.core import Array, Task
from persim_gym.learned.bounds import BoundEffects, cutting_bounds
from persim_gym.learned.data import Data
from persim_gym.learned.ensemble import Change, Ensemble, before_bounds
from persim_gym.learned.geometry.geometry import Geometry
from persim_gym.offline.transitions import Transitions


class ChartedTask:
    """A task in inner coordinates, as far as a fit uses it."""

    def __init__(self, task: Task, geometry: Geometry) -> None:
        self._task, self._geometry = task, geometry
        space = task.observation_space
        ends = geometry.bounds(torch.as_tensor(space.low), torch.as_tensor(space.high))
        walls = (torch.as_tensor(end.copy()) for end in cutting_bounds(task))
        self.walls = tuple(end.numpy() for end in geometry.bounds(*walls))
        self.name = task.name
        self.observation_space = Box(ends[0].numpy(), ends[1].numpy(), dtype=np.float32)
        self.action_space: Discrete | Box = task.action_space
        self.max_episode_steps = task.max_episode_steps
        self.render_fps = task.render_fps
        self.root_velocity = None
        self.angles = geometry.periodic

    def _outward(self, inner: Array) -> Array:
        obs = self._geometry.outward(torch.as_tensor(inner))
        return obs if isinstance(inner, Tensor) else obs.numpy()

    def reward(self, obs: Array, action: Array, next_obs: Array) -> Array:
        """The task's reward of inner coordinates."""
        return self._task.reward(self._outward(obs), action, self._outward(next_obs))

    def terminated(self, next_obs: Array) -> Array:
        """The task's end of inner coordinates."""
        return self._task.terminated(self._outward(next_obs))

    def sample_start(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """The task's starts in inner coordinates."""
        return self._geometry.inward(torch.as_tensor(self._task.sample_start(rng, n))).numpy()


def charted(data: Data, geometry: Geometry) -> Data:
    """Data in inner coordinates; angles after a step are as far on as the step went."""
    t = data.transitions
    obs = torch.as_tensor(t.obs).double()
    before = geometry.inward(obs)
    # Not the next observations as they are: the change was taken before rounding to float32.
    after = before + geometry.difference(obs, obs + torch.as_tensor(t.change(slice(None))))
    names = t.obs_names or tuple(f"x{k}" for k in range(geometry.obs_dim))
    inner = Transitions(
        agent=t.agent,
        obs=before.numpy(),
        action=t.action,
        next_obs=after.numpy(),
        reward=t.reward,
        terminated=t.terminated,
        truncated=t.truncated,
        episode=t.episode,
        num_agents=t.num_agents,
        task_name=t.task_name,
        obs_names=geometry.names(names),
        action_names=t.action_names,
        action_labels=t.action_labels,
    )
    return Data(inner, ChartedTask(data.task, geometry))


class ChartedEnsemble(Ensemble):
    """An ensemble that was fitted on :func:`charted` data, as one of the observations.

    Args:
        inner: The ensemble of inner coordinates.
        geometry: Which coordinates are angles.
        low: Lower bounds of observations ``[d]``, may be infinite.
        high: Upper bounds ``[d]``.
    """

    def __init__(self, inner: Ensemble, geometry: Geometry, low: Tensor, high: Tensor) -> None:
        self.inner, self.geometry = inner, geometry
        super().__init__(low.to(inner.low), high.to(inner.low), inner.effects)
        self.members, self.num_agents, self.rank = inner.members, inner.num_agents, inner.rank
        self.lag, self.past, self.widths = inner.lag, inner.past, inner.widths
        self.turning, self.linear, self.precise = True, inner.linear, inner.precise

    def _like(self, inner: Ensemble) -> ChartedEnsemble:
        return ChartedEnsemble(inner, self.geometry, self.low, self.high)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> ChartedEnsemble:
        """The same on a device, in a precision."""
        return self._like(self.inner.to(device, dtype))

    def with_effects(self, effects: BoundEffects | None) -> ChartedEnsemble:
        """The same with what happens at bounds, in inner coordinates."""
        return self._like(self.inner.with_effects(effects))

    def agent_factors(self) -> Tensor:
        """The agents' factors ``[m, N, r]``."""
        return self.inner.agent_factors()

    def with_factors(self, factors: Tensor) -> ChartedEnsemble:
        """The same model for agents of other factors ``[m, N', r]``."""
        return self._like(self.inner.with_factors(factors))

    def design(self, states: Tensor, actions: Tensor) -> Tensor:
        """What an agent's factor is multiplied to, in inner coordinates ``[m, n, c, r]``."""
        return self.inner.design(self._entered(states), actions)

    def offset(self) -> Tensor:
        """The change that no factor has a part in ``[c]``."""
        return self.inner.offset()

    def difference(self, states: Tensor, next_obs: Tensor) -> Tensor:
        """Changes ``[..., c]`` of inner coordinates."""
        g = self.geometry
        return g.between(g.inward(states[..., -self.obs_dim :]), g.inward(next_obs))

    def following(self, states: Tensor, change: Tensor) -> Tensor:
        """Observations ``[..., d]`` after changes of inner coordinates."""
        g = self.geometry
        return g.outward(g.inward(states[..., -self.obs_dim :]) + change)

    def _unsettled(self, agents: Tensor, states: Tensor, actions: Tensor) -> Tensor:
        inner = before_bounds(self.inner, agents, self._entered(states), actions)
        return self.geometry.outward(inner)

    def settle(self, obs: Tensor) -> Tensor:
        """Predicted observations ``[..., d]`` put back into their space."""
        g = self.geometry
        return g.outward(self.inner.settle(g.inward(obs)))

    def _change(self, agents: Tensor, actions: Tensor, *, together: bool) -> Change:
        return self.inner._change(agents, actions, together=together)

    def _settled(self, obs: Tensor) -> Tensor:
        return self.inner._settled(obs)

    def _entered(self, states: Tensor) -> Tensor:
        return self.geometry.inward_states(states, self.past)

    def _left(self, obs: Tensor) -> Tensor:
        return self.geometry.outward(obs)

    def tensors(self) -> dict[str, Tensor]:
        """The inner ensemble's, and the bounds."""
        return {**self.inner.tensors(), "space.low": self.low, "space.high": self.high}

    def to_json(self) -> dict[str, Any]:
        """Kind, geometry and the inner ensemble, as plain types."""
        plain = {"geometry": self.geometry.to_json(), "inner": self.inner.to_json()}
        return {"kind": "charted", **plain}
