"""A window on the screen."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

import numpy as np
import pytest

from persim_gym.envs.rendering import Window
from tests.envs.rendering.drawn import picture, run_python


def test_window_keeps_its_rate_and_takes_other_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    import pygame

    class Clock:
        """Pygame's, without the waiting."""

        rates: ClassVar[list[int]] = []

        def tick(self, rate: int) -> None:
            self.rates.append(rate)

    monkeypatch.setattr(pygame.time, "Clock", Clock)
    window = Window("PerSim", fps=50)
    window.close()
    assert not pygame.display.get_init()
    window.show(picture(1))
    for value in range(10):
        window.show(picture(value))
    assert Clock.rates == [50] * 11
    window.show(picture(2, height=50, width=80))
    with pytest.raises(ValueError, match="frame must be uint8"):
        window.show(np.zeros((4, 4), dtype=np.uint8))
    window.close()
    window.close()
    window.show(picture(3))  # opens again
    window.close()
    pygame.display.quit()


def test_a_user_closes_one_window_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    import pygame

    opened: list[Any] = []
    original = pygame.Window

    def spy(*args: Any) -> Any:
        opened.append(original(*args))
        return opened[-1]

    monkeypatch.setattr(pygame, "Window", spy)
    first, second = Window("true", 1000), Window("learned", 1000)
    for window in (first, second):
        window.show(picture())
    pygame.event.post(pygame.Event(pygame.WINDOWCLOSE, window=opened[1]))
    for _ in range(2):
        first.show(picture())
        second.show(picture())
    assert len(opened) == 2
    assert first._window is not None  # the click was meant for the other one
    assert second._window is None
    first.close()
    pygame.display.quit()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a display")
def test_window_without_a_display_tells_the_remedy() -> None:
    code = """
import numpy as np
from persim_gym.envs.rendering import Window
try:
    Window("PerSim", 30).show(np.zeros((40, 60, 3), np.uint8))
except RuntimeError as error:
    print(error)
"""
    assert "use render_mode='rgb_array'" in run_python(code).stdout
