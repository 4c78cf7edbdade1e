"""Drawing of the three tasks from an observation and the agent's covariates.

True environments, learned environments and side-by-side videos all draw with this code, so that
what differs between two pictures is the state and nothing else. MountainCar and CartPole are
painted with pygame on plain memory (no display is ever opened for an array of pixels),
HalfCheetah is posed and rendered off-screen by MuJoCo. Both libraries are imported when a
renderer is made, never with this package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from persim_gym import checks
from persim_gym.envs.rendering.cart_pole import CartPoleRenderer
from persim_gym.envs.rendering.half_cheetah import HalfCheetahRenderer
from persim_gym.envs.rendering.mountain_car import MountainCarRenderer
from persim_gym.envs.rendering.picture import (
    COOL,
    PAPER,
    WARM,
    Frame,
    check_frame,
    import_pygame,
    to_frame,
)
from persim_gym.envs.rendering.video import write_video
from persim_gym.envs.rendering.window import Window

__all__ = ["Frame", "Renderer", "Window", "make_renderer", "side_by_side", "write_video"]


class Renderer(Protocol):
    """Draws states of one task."""

    def draw(
        self,
        obs: NDArray[Any],
        covariates: Mapping[str, float],
        *,
        x: float = 0.0,
        label: str = "",
    ) -> Frame:
        """Draw one state.

        Args:
            obs: Observation ``[d]``.
            covariates: The agent's covariates, for the drawing and the caption. A covariate that
                is not given is drawn with its default and left out of the caption.
            x: Position of the root in metres, where the observation leaves it out (HalfCheetah).
            label: What or whom the picture shows, such as ``"agent 3"``.

        Returns:
            A fresh picture ``[400, 600, 3]``.

        Raises:
            ValueError: If ``obs`` has another shape, or a number is not finite.
        """

    def close(self) -> None:
        """Free what the renderer holds; harmless when repeated."""


def make_renderer(task_name: str) -> Renderer:
    """Make the renderer of a task.

    Args:
        task_name: ``"mountain-car"``, ``"cartpole"`` or ``"half-cheetah"``.

    Raises:
        ValueError: If there is no such task.
        RuntimeError: If HalfCheetah is asked for and OpenGL can not be initialised.
    """
    renderers: dict[str, Callable[[], Renderer]] = {
        "mountain-car": MountainCarRenderer,
        "cartpole": CartPoleRenderer,
        "half-cheetah": HalfCheetahRenderer,
    }
    if task_name not in renderers:
        raise ValueError(
            f"no renderer for task {task_name!r}{checks.meant(task_name, renderers)}: there are "
            f"{', '.join(renderers)}"
        )
    return renderers[task_name]()


def side_by_side(
    left: Frame, right: Frame, *, left_title: str = "true", right_title: str = "learned"
) -> Frame:
    """Put two pictures next to each other, each under its title.

    Args:
        left: Picture ``[height, width, 3]``.
        right: Picture of the same shape.
        left_title: Title of the left picture.
        right_title: Title of the right picture.

    Returns:
        A fresh picture ``[height + 32, 2 * width + 8, 3]``.

    Raises:
        ValueError: If one is no picture or the shapes differ.
    """
    check_frame(left, "left")
    check_frame(right, "right")
    if left.shape != right.shape:
        raise ValueError(f"left and right must have one shape, got {left.shape} and {right.shape}")
    pygame = import_pygame()
    pygame.font.init()
    bar, gap = 32, 8
    height, width = left.shape[:2]
    surface = pygame.Surface((2 * width + gap, height + bar), 0, 24)
    surface.fill(PAPER)
    font = pygame.font.Font(None, 24)
    for offset, title, color in ((0, left_title, COOL), (width + gap, right_title, WARM)):
        pygame.draw.rect(surface, color, (offset, bar - 3, width, 3))
        text = font.render(title, True, color)
        surface.blit(text, (offset + (width - text.get_width()) // 2, 7))
    frame = to_frame(surface)
    frame[bar:, :width] = left
    frame[bar:, width + gap :] = right
    return frame
