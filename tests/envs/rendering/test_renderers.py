"""What the renderers of all tasks keep to, and pictures side by side."""

from __future__ import annotations

import numpy as np
import pytest

from persim_gym.envs.rendering import (
    Renderer,
    make_renderer,
    side_by_side,
)
from tests.envs.rendering.drawn import picture, run_python

pytest.importorskip("pygame")

CLASSIC = {
    "mountain-car": (np.array([-0.5, 0.01]), {"gravity": 0.0025}),
    "cartpole": (np.array([0.3, 0.1, 0.05, -0.2]), {"force": 10.0, "length": 0.5}),
}


@pytest.fixture(params=CLASSIC)
def classic(request: pytest.FixtureRequest) -> tuple[Renderer, np.ndarray, dict[str, float]]:
    obs, covariates = CLASSIC[request.param]
    return make_renderer(request.param), obs.copy(), dict(covariates)


def test_unknown_task_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"'pendulum'.*mountain-car, cartpole, half-cheetah"):
        make_renderer("pendulum")


@pytest.mark.slow
def test_import_is_light_and_drawing_needs_no_display_and_prints_nothing() -> None:
    code = """
import sys
import numpy as np
from persim_gym.envs.rendering import make_renderer
assert not {"pygame", "mujoco", "torch", "imageio"} & set(sys.modules)
make_renderer("cartpole").draw(np.zeros(4), {})
import pygame
assert not pygame.display.get_init()
assert not {"mujoco", "torch"} & set(sys.modules)
"""
    done = run_python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_classic_frame(classic: tuple[Renderer, np.ndarray, dict[str, float]]) -> None:
    renderer, obs, covariates = classic
    frame = renderer.draw(obs, covariates, label="agent 3")
    assert frame.shape == (400, 600, 3)
    assert frame.dtype == np.uint8
    assert frame.flags.c_contiguous
    assert frame.flags.writeable
    assert len(np.unique(frame.reshape(-1, 3), axis=0)) > 100
    np.testing.assert_array_equal(
        frame, renderer.draw(obs.astype(np.float32).astype(np.float64), covariates, label="agent 3")
    )
    renderer.close()
    renderer.close()


def test_classic_frame_shows_state_covariates_and_label(
    classic: tuple[Renderer, np.ndarray, dict[str, float]],
) -> None:
    renderer, obs, covariates = classic
    frame = renderer.draw(obs, covariates)
    assert (renderer.draw(obs + 0.1, covariates) != frame).any()
    assert (renderer.draw(obs, covariates, label="agent 3") != frame).any()
    for name in covariates:
        other = renderer.draw(obs, {**covariates, name: covariates[name] / 2})
        # Below the caption, too: agents differ at a glance.
        assert (other[60:] != frame[60:]).any(), name


def test_missing_covariates_are_drawn_with_defaults(
    classic: tuple[Renderer, np.ndarray, dict[str, float]],
) -> None:
    renderer, obs, covariates = classic
    np.testing.assert_array_equal(renderer.draw(obs, {})[60:], renderer.draw(obs, covariates)[60:])


def test_classic_survives_any_finite_state(
    classic: tuple[Renderer, np.ndarray, dict[str, float]],
) -> None:
    renderer, obs, covariates = classic
    for value in (-1e30, -10.0, 10.0, 1e30):
        frame = renderer.draw(np.full_like(obs, value), dict.fromkeys(covariates, abs(value)))
        assert frame.shape == (400, 600, 3)


def test_frames_are_no_shared_buffers(
    classic: tuple[Renderer, np.ndarray, dict[str, float]],
) -> None:
    renderer, obs, covariates = classic
    first = renderer.draw(obs, covariates)
    kept = first.copy()
    second = renderer.draw(obs + 0.1, covariates)
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, kept)
    second[:] = 0
    np.testing.assert_array_equal(renderer.draw(obs, covariates), kept)


def test_unfit_input_is_named(classic: tuple[Renderer, np.ndarray, dict[str, float]]) -> None:
    renderer, obs, covariates = classic
    with pytest.raises(ValueError, match=rf"shape \(7,\), expected \({len(obs)},\)"):
        renderer.draw(np.zeros(7), covariates)
    with pytest.raises(ValueError, match=r"velocity is nan"):
        renderer.draw(np.where(np.arange(len(obs)) == 1, np.nan, obs), covariates)
    with pytest.raises(ValueError, match=r"position is inf"):
        renderer.draw(np.where(np.arange(len(obs)) == 0, np.inf, obs), covariates)
    name = next(iter(covariates))
    with pytest.raises(ValueError, match=rf"{name} is inf"):
        renderer.draw(obs, {name: np.inf})


def test_side_by_side() -> None:
    left, right = picture(10), picture(200)
    frame = side_by_side(left, right)
    assert frame.shape == (72, 128, 3)
    assert frame.dtype == np.uint8
    np.testing.assert_array_equal(frame[32:, :60], left)
    np.testing.assert_array_equal(frame[32:, 68:], right)
    assert (side_by_side(left, right, left_title="agent 1")[:32] != frame[:32]).any()
    assert (side_by_side(left, right, right_title="agent 1")[:32] != frame[:32]).any()
    assert not np.shares_memory(frame, left)


def test_side_by_side_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"one shape, got \(40, 60, 3\) and \(40, 61, 3\)"):
        side_by_side(picture(), picture(width=61))
    with pytest.raises(ValueError, match="right must be uint8"):
        side_by_side(picture(), picture().astype(np.float32))
