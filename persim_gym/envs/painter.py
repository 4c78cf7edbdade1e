"""What environments draw: frames of one episode, and the ways in which they are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.core import Dynamics, Task
from persim_gym.envs.rendering import Frame, Renderer, Window, make_renderer

RENDER_MODES = ("human", "rgb_array")
#: Steps of an episode that a drawing may show.
REMEMBERED = 200
CovariatesOf = Callable[[int], Mapping[str, float]]


class Painter:
    """Drawing of one episode: the renderer, its caption and what the observation leaves out."""

    def __init__(
        self, task: Task, covariates_of: CovariatesOf | None, label: str, dynamics: Dynamics
    ) -> None:
        self._task = task
        self._dynamics = dynamics
        self._covariates_of = covariates_of
        self._label = label
        self._renderer: Renderer | None = None
        self._window: Window | None = None
        self._x = 0.0
        self.last: NDArray[np.float64] | None = None
        # A drawing that a task brings may show the episode so far.
        kept = REMEMBERED if hasattr(task, "renderer") else 1
        self._obs: deque[NDArray[np.float64]] = deque(maxlen=kept + 1)
        self._actions: deque[Any] = deque(maxlen=kept)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to this process: the renderer and the window."""
        return {**self.__dict__, "_renderer": None, "_window": None}

    def begin(self, obs: NDArray[np.float64]) -> None:
        """A new episode: the root is at the origin again."""
        self._x = 0.0
        self._obs.clear()
        self._actions.clear()
        self._obs.append(np.array(obs))

    def move(self, obs: NDArray[np.float64], action: Any) -> None:
        """Integrate the root's position, which is not observed, from its velocity."""
        self.last = obs
        self._obs.append(np.array(obs))
        self._actions.append(np.array(action))
        if self._task.root_velocity is not None:
            coordinate, step = self._task.root_velocity
            self._x += float(obs[coordinate]) * step

    def draw(self, agent: int, obs: NDArray[np.float64]) -> Frame:
        """A frame of the given agent in the given state."""
        if self._renderer is None:
            # A task may bring its own drawing.
            own = getattr(self._task, "renderer", None)
            self._renderer = own() if own else make_renderer(self._task.name)
        remember = getattr(self._renderer, "remember", None)
        if remember is not None:
            remember(self._obs, self._actions)
        covariates = self._covariates_of(agent) if self._covariates_of else {}
        names = getattr(self._dynamics, "agent_names", None)  # of own data
        called = names[agent] if names else agent
        label = " ".join(filter(None, [self._label, f"agent {called}"]))
        return self._renderer.draw(obs, covariates, x=self._x, label=label)

    def show(self, frame: Frame) -> None:
        """Show a frame in a window."""
        if self._window is None:
            self._window = Window(f"persim_gym: {self._task.name}", self._task.render_fps)
        self._window.show(frame)

    def close(self) -> None:
        """Release window and renderer; both open again when needed."""
        for part in (self._window, self._renderer):
            if part is not None:
                part.close()
        self._window = self._renderer = None


def check_render_mode(render_mode: str | None, allowed: tuple[str, ...] = RENDER_MODES) -> None:
    """Refuse an unknown render mode.

    Raises:
        ValueError: If it is not one of ``allowed`` or ``None``.
    """
    if render_mode is not None and render_mode not in allowed:
        raise ValueError(
            f"render_mode must be None or one of {', '.join(allowed)}, got {render_mode!r}"
        )
