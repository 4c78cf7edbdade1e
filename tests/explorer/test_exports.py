from __future__ import annotations

import csv
import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from persim_gym.explorer.exports import code_of, picture_of, table_of
from persim_gym.explorer.record import Record
from persim_gym.explorer.scene import Scene
from persim_gym.explorer.view import Plan
from persim_gym.learned import Hierarchical, PerSim
from tests.explorer.worlds import patients


@pytest.mark.parametrize("which", ["scene", "carts", "lagged", "numbered"])
def test_the_code_makes_the_same_numbers(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if which in ("lagged", "numbered"):
        data = patients(reward=False)
        if which == "numbered":  # the name of one is the index of another
            data = replace(data, agent_names=("1", "2", "3", "4", "5", "6"))
        lag = 3 if which == "lagged" else 1
        sim = PerSim.fit(data, Hierarchical(degree=1, lag=lag), progress=False)
        scene = Scene(sim, Record(sim, data))
    else:
        scene = request.getfixturevalue(which)
    scene = Scene(scene.sim, scene.record, path=os.fspath(tmp_path / "it's a folder"))
    scene.sim.view().save(scene.path)
    view = replace(scene.default_view(), other=Plan("random", seed=3), start=4)
    view = scene.checked(replace(view, other_agent=scene.agents[2]))
    courses = scene.courses(view)
    found: dict[str, np.ndarray] = {}
    exec(code_of(scene, view, courses), found)
    for i, course in enumerate(courses.sides):
        assert course.low is not None
        assert course.high is not None
        np.testing.assert_array_equal(found["mean"][i], course.mean[1:])
        np.testing.assert_array_equal(found["low"][i], course.low[1:])
        np.testing.assert_array_equal(found["high"][i], course.high[1:])


def test_the_table_holds_every_number(scene: Scene) -> None:
    view = scene.checked(replace(scene.default_view(), other=Plan.of([[1, 1]]), horizon=9, start=8))
    courses = scene.courses(view)
    rows = list(csv.DictReader(io.StringIO(table_of(scene, courses))))
    assert [int(row["step"]) for row in rows] == list(range(10))
    for side, course in zip("ab", courses.sides, strict=True):
        assert course.low is not None
        for d, name in enumerate(scene.coordinates):
            np.testing.assert_array_equal(
                np.float32([float(row[f"{side}.{name}"]) for row in rows]), course.mean[:, d]
            )
            np.testing.assert_array_equal(
                np.float32([float(row[f"{side}.{name} low"]) for row in rows]), course.low[:, d]
            )
        acted = [float(row[f"{side}.epo"]) for row in rows[:-1]]
        np.testing.assert_array_equal(np.float32(acted), course.actions[:, 1])
        assert rows[-1][f"{side}.epo"] == ""
    recorded = [row["recorded.hb"] for row in rows]
    assert recorded[5:] == [""] * 5
    np.testing.assert_array_equal(np.float32(recorded[:5]), courses.recorded[:, 1])


def test_the_table_has_the_truth(carts: Scene) -> None:
    view = carts.checked(replace(carts.default_view(), horizon=5))
    courses = carts.courses(view)
    true = carts.true_course(view, courses.a)
    rows = list(csv.DictReader(io.StringIO(table_of(carts, courses, [true]))))
    found = [float(row["a.angle (rad) true"]) for row in rows]
    assert true is not None
    np.testing.assert_array_equal(found, true[:, 2])


@pytest.mark.slow
@pytest.mark.parametrize("which", ["scene", "bare", "carts"])
def test_the_picture_is_one(which: str, request: pytest.FixtureRequest) -> None:
    scene: Scene = request.getfixturevalue(which)
    view = scene.checked(replace(scene.default_view(), other=Plan("random"), horizon=6))
    courses = scene.courses(view)
    truths = [scene.true_course(view, course) for course in courses.sides]
    picture = Image.open(io.BytesIO(picture_of(scene, view, courses, truths)))
    assert picture.format == "PNG"
    assert picture.width > 1000
    assert len(picture.getcolors() or ()) > 20
