"""The true environment beside a simulator: courses, and pictures of single states."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persim_gym.core import Dynamics, Task
from persim_gym.envs.populations import Population
from persim_gym.envs.rendering import Renderer, make_renderer, side_by_side
from persim_gym.envs.suites import Suite


class Truth:
    """True physics of a simulator's agents."""

    def __init__(self, suite: Suite, population: Population) -> None:
        self.task: Task = suite.task()
        self.population = population
        self._dynamics: Dynamics = suite.dynamics(population)
        self._renderer: Renderer | None = None
        # OpenGL belongs to the thread that has begun with it.
        self._painter = ThreadPoolExecutor(1, "painter")

    def course(
        self, agent: int, start: NDArray[np.float32], actions: NDArray[Any]
    ) -> NDArray[np.float64]:
        """True observations ``[h + 1, d]``; not-a-number where physics breaks."""
        states = np.asarray(start, dtype=np.float64)[None]
        rollout = getattr(self._dynamics, "rollout", None)
        if rollout is not None:
            return np.concatenate([states, rollout([agent], states, actions[None])[0]])
        course, agents = [states[0]], np.array([agent])
        for step in range(len(actions)):
            states = np.asarray(self._dynamics.step(agents, states, actions[step : step + 1]))
            course.append(states[0])
        return np.stack(course)

    def pictures(self, agent: int, true: NDArray[Any], simulated: NDArray[Any], step: int) -> bytes:
        """Two courses ``[h + 1, d]`` at a step, side by side, as a PNG.

        Raises:
            ValueError: If a state is not finite.
            RuntimeError: If there is no OpenGL, where the task needs it.
        """
        return self._painter.submit(self._paint, agent, (true, simulated), step).result()

    def close(self) -> None:
        """Free what drawing holds; harmless when repeated."""
        if self._renderer is not None:
            self._painter.submit(self._renderer.close).result()
            self._renderer = None

    def _paint(self, agent: int, courses: tuple[NDArray[Any], ...], step: int) -> bytes:
        import imageio.v3

        if self._renderer is None:
            self._renderer = make_renderer(self.task.name)
        frames = []
        for course in courses:
            x = 0.0
            if self.task.root_velocity is not None:
                coordinate, seconds = self.task.root_velocity
                x = float(course[1 : step + 1, coordinate].sum()) * seconds
            covariates = self.population.covariates(agent)
            label = f"agent {agent}, step {step}"
            frames.append(self._renderer.draw(course[step], covariates, x=x, label=label))
        both = side_by_side(*frames, right_title="simulated")
        file = io.BytesIO()
        imageio.v3.imwrite(file, both, extension=".png")
        return file.getvalue()
