"""A window on the screen."""

from __future__ import annotations

import os
from types import ModuleType
from typing import TYPE_CHECKING

from persim_gym.envs.rendering.picture import Frame, check_frame, import_pygame

if TYPE_CHECKING:
    import pygame


class Window:
    """A window on the screen that shows the frames of any renderer.

    It opens with the first frame. A user who closes it ends the showing and not the program:
    later frames are dropped at once.

    Args:
        title: The window's title.
        fps: Frames per second that :meth:`show` keeps to.
    """

    def __init__(self, title: str, fps: int) -> None:
        self._title = title
        self._fps = fps
        self._pygame: ModuleType | None = None
        self._window: pygame.Window | None = None
        self._clock: pygame.time.Clock | None = None
        self._dismissed = False

    def show(self, frame: Frame) -> None:
        """Show a frame, let the window react to the user, and wait until the frame is due.

        Args:
            frame: Picture ``[height, width, 3]``.

        Raises:
            ValueError: If ``frame`` is no picture.
            RuntimeError: If there is no display.
        """
        check_frame(frame, "frame")
        if self._dismissed:
            return
        height, width = frame.shape[:2]
        if self._window is None:
            self._open(width, height)
        assert self._pygame is not None
        assert self._window is not None
        assert self._clock is not None
        if self._window.size != (width, height):
            self._window.size = (width, height)
        picture = self._pygame.image.frombuffer(frame.tobytes(), (width, height), "RGB")
        self._window.get_surface().blit(picture, (0, 0))
        self._window.flip()
        self._clock.tick(self._fps)
        for event in self._pygame.event.get():
            if event.type != self._pygame.WINDOWCLOSE:
                continue
            if event.window == self._window:
                self._dismissed = True
            else:  # Another window of this program will want to know.
                self._pygame.event.post(event)
        if self._dismissed:
            self.close()

    def close(self) -> None:
        """Close the window; harmless when repeated or never opened."""
        # The video system stays up: another window, ours or the user's, may live in it.
        if self._window is not None:
            self._window.destroy()
            self._window = None

    def _open(self, width: int, height: int) -> None:
        pygame = import_pygame()
        remedy = (
            "no display to show a window on: use render_mode='rgb_array', or set "
            "SDL_VIDEODRIVER=dummy to run without a window"
        )
        try:
            pygame.display.init()
        except pygame.error as error:
            raise RuntimeError(remedy) from error
        # Without a screen SDL falls back to drawing into the void, which was not asked for.
        asked = {os.environ.get("SDL_VIDEODRIVER"), os.environ.get("SDL_VIDEO_DRIVER")}
        if pygame.display.get_driver() == "offscreen" and "offscreen" not in asked:
            pygame.display.quit()
            raise RuntimeError(remedy)
        self._pygame = pygame
        self._window = pygame.Window(self._title, (width, height))
        self._clock = pygame.time.Clock()
