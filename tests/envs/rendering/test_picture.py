"""What all pictures share: captions, and the checks of what is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from persim_gym.envs.rendering.picture import (
    Captions,
    check_frame,
    checked_observation,
    covariates_caption,
    import_pygame,
    to_frame,
)
from tests.envs.rendering.drawn import picture


def written(label: str, details: str, *, bottom: bool = False) -> Any:
    """Where a caption has changed a black picture: rows and columns."""
    pygame = import_pygame()
    surface = pygame.Surface((300, 200), 0, 24)
    Captions(pygame).draw(surface, label, details, bottom=bottom)
    return np.nonzero(to_frame(surface).any(axis=2))


def test_captions_stand_in_a_corner() -> None:
    rows, columns = written("agent 3", "force 10")
    assert (rows.min(), columns.min()) == (10, 10)
    assert rows.max() < 100
    rows, columns = written("", "x 3 m", bottom=True)
    assert (rows.max(), columns.max()) == (189, 289)
    longer = written("agent 3 of many", "force 10")[1].max()
    assert longer > written("agent 3", "force 10")[1].max() > written("agent 3", "")[1].max()
    assert len(written("", "")[0]) == 0


def test_pixels_are_a_fresh_array() -> None:
    surface = import_pygame().Surface((6, 4), 0, 24)
    surface.fill((10, 20, 30))
    frame = to_frame(surface)
    assert frame.shape == (4, 6, 3)
    assert frame[0, 0].tolist() == [10, 20, 30]
    frame[:] = 0
    assert to_frame(surface)[0, 0].tolist() == [10, 20, 30]


def test_an_observation_is_finite_and_of_its_shape() -> None:
    seen = checked_observation(np.array([1, 2], np.float32), ("a", "b"), 0.0)
    assert seen.dtype == np.float64
    assert seen.tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match=r"shape \(3,\), expected \(2,\)"):
        checked_observation(np.zeros(3), ("a", "b"), 0.0)
    with pytest.raises(ValueError, match="whose b is nan"):
        checked_observation(np.array([0.0, np.nan]), ("a", "b"), 0.0)
    with pytest.raises(ValueError, match="whose x is inf"):
        checked_observation(np.zeros(2), ("a", "b"), np.inf)


@pytest.mark.parametrize(
    "frame",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)),
     np.zeros((0, 4, 3), np.uint8)],
    ids=["two axes", "four colours", "floats", "empty"],
)  # fmt: skip
def test_what_is_no_picture_is_refused(frame: Any) -> None:
    check_frame(picture(), "left")
    with pytest.raises(ValueError, match="left must be uint8 of shape"):
        check_frame(frame, "left")
    with pytest.raises(TypeError, match="left must be an array, got a value of type list"):
        check_frame(frame.tolist(), "left")


def test_covariates_in_words() -> None:
    assert covariates_caption({"force": 10.0, "length": 0.123456}) == "force 10 · length 0.1235"
    assert covariates_caption({}) == ""
    with pytest.raises(ValueError, match="an agent whose force is nan"):
        covariates_caption({"force": np.nan})
