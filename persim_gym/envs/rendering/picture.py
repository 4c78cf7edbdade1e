"""What all pictures share: type, size, colours, captions, and the checks of what is drawn."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pygame

#: A picture ``[height, width, 3]``, red, green and blue.
Frame: TypeAlias = NDArray[np.uint8]

#: Red, green and blue, 0 to 255.
Color: TypeAlias = tuple[int, int, int]

WIDTH, HEIGHT = 600, 400  # pixels

# One palette for all three tasks: cool background, warm colours for what moves.
SKY_TOP: Final = (214, 228, 238)
SKY_BOTTOM: Final = (248, 245, 237)
INK: Final = (47, 54, 61)
INK_LIGHT: Final = (104, 114, 124)
PAPER: Final = (252, 251, 248)
WARM: Final = (209, 96, 61)
WARM_DARK: Final = (168, 70, 42)
COOL: Final = (58, 92, 125)
COOL_DARK: Final = (40, 66, 92)
GOLD: Final = (226, 168, 45)
STEEL: Final = (196, 203, 209)


class Captions:
    """Writes captions into the corners of pictures."""

    def __init__(self, pygame: ModuleType) -> None:
        pygame.font.init()
        self.pygame = pygame
        self._font = pygame.font.Font(None, 20)

    def draw(
        self, surface: pygame.Surface, label: str, details: str, *, bottom: bool = False
    ) -> None:
        """Write one line on a light plate: the label in ink, the details in grey.

        Args:
            surface: Picture to write on.
            label: First part, may be empty.
            details: Second part, may be empty; with both empty nothing is drawn.
            bottom: Lower right corner, instead of the upper left.
        """
        parts = [(label, INK), (" · " if label and details else "", INK_LIGHT)]
        parts.append((details, INK_LIGHT))
        texts = [self._font.render(text, True, color) for text, color in parts if text]
        if not texts:
            return
        margin, inset = 10, 8
        size = (sum(text.get_width() for text in texts) + 2 * inset, texts[0].get_height() + 9)
        plate = self.pygame.Surface(size, self.pygame.SRCALPHA)
        self.pygame.draw.rect(plate, (*PAPER, 205), plate.get_rect(), border_radius=6)
        right = inset
        for text in texts:
            plate.blit(text, (right, 5))
            right += text.get_width()
        corner = (margin, margin)
        if bottom:
            corner = (
                surface.get_width() - size[0] - margin,
                surface.get_height() - size[1] - margin,
            )
        surface.blit(plate, corner)


def import_pygame() -> ModuleType:
    """Import pygame, quietly."""
    # On import pygame prints a greeting to stdout, where the command line prints its results.
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    import pygame

    return pygame


def to_frame(surface: pygame.Surface) -> Frame:
    """The pixels of a surface as a fresh, writeable array."""
    pixels = import_pygame().image.tobytes(surface, "RGB")
    width, height = surface.get_size()
    return np.frombuffer(pixels, np.uint8).reshape(height, width, 3).copy()


def checked_observation(obs: NDArray[Any], names: Sequence[str], x: float) -> NDArray[np.float64]:
    """The observation as floats, after checks of its shape ``[d]`` and of every number.

    Args:
        obs: Observation ``[d]``.
        names: What each of its numbers is, for the error.
        x: Position of the root in metres, checked along with it.

    Raises:
        ValueError: If ``obs`` has another shape, or a number is not finite.
    """
    values = np.asarray(obs, dtype=np.float64)
    if values.shape != (len(names),):
        raise ValueError(f"observation has shape {values.shape}, expected {(len(names),)}")
    for name, value in zip((*names, "x"), (*values.tolist(), x), strict=True):
        if not math.isfinite(value):
            raise ValueError(f"can not draw a state whose {name} is {value}")
    return values


def check_frame(frame: Frame, name: str) -> None:
    """Check that an array is a picture.

    Args:
        frame: The array.
        name: What the caller calls it, for the error.

    Raises:
        TypeError: If it is no array.
        ValueError: If it is not of bytes ``[height, width, 3]``, or is empty.
    """
    if not isinstance(frame, np.ndarray):
        raise TypeError(f"{name} must be an array, got a value of type {type(frame).__name__}")
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or frame.size == 0:
        raise ValueError(
            f"{name} must be uint8 of shape (height, width, 3), got {frame.dtype} {frame.shape}"
        )


def covariates_caption(covariates: Mapping[str, float]) -> str:
    """Covariates as in ``"force 10 · length 0.85"``, after a check of every number.

    Raises:
        ValueError: If one is not finite.
    """
    for name, value in covariates.items():
        if not math.isfinite(value):
            raise ValueError(f"can not draw an agent whose {name} is {value}")
    return " · ".join(f"{name} {value:.4g}" for name, value in covariates.items())
