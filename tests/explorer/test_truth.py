from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from persim_gym.envs.suites import SUITES
from persim_gym.explorer.scene import Scene
from persim_gym.explorer.truth import Truth


def test_pictures_stand_side_by_side(carts: Scene) -> None:
    view = carts.checked(replace(carts.default_view(), horizon=5))
    course = carts.courses(view).a
    true = carts.true_course(view, course)
    assert carts.truth is not None
    assert true is not None
    pictures = {
        step: Image.open(io.BytesIO(carts.truth.pictures(0, true, course.mean, step)))
        for step in (0, 5)
    }
    assert pictures[0].width > 2 * pictures[0].height
    assert pictures[0].tobytes() != pictures[5].tobytes()


@pytest.mark.slow
def test_half_cheetahs_run(opengl: None) -> None:
    suite = SUITES["half-cheetah"]
    truth = Truth(suite, suite.population())
    start = suite.task().sample_start(np.random.default_rng(0), 1)[0].astype(np.float32)
    true = truth.course(0, start, np.ones((4, 6), dtype=np.float32))
    assert true.shape == (5, 18)
    assert truth.pictures(0, true, true, 4).startswith(b"\x89PNG")
    truth.close()
    truth.close()
