from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from persim_gym.learned.geometry.geometry import Angle, Circle, Geometry

MIXED = Geometry(6, (Circle(3, 1), Circle(0, 5, 2.0)), (Angle(2, 360.0, -180.0),))


@given(
    st.lists(st.floats(-20, 20), min_size=4, max_size=4),
    st.lists(st.floats(-3, 3), min_size=4, max_size=4),
)
def test_out_and_in_again(start: list[float], step: list[float]) -> None:
    inner, change = (torch.tensor(v, dtype=torch.float64) for v in (start, step))
    obs = MIXED.outward(inner)
    after = MIXED.outward(inner + change)
    assert torch.allclose(obs[[3, 0]].hypot(obs[[1, 5]]), torch.tensor([1.0, 2.0]).double())
    assert -180 <= obs[2] <= 180
    back = MIXED.inward(obs)
    assert torch.allclose(MIXED.between(back, inner), torch.zeros(4).double(), atol=1e-9)
    assert torch.allclose(MIXED.difference(obs, after), change, atol=1e-9)


def test_places_bounds_names_and_json() -> None:
    assert MIXED.columns == (0, 1, 2, 4)
    assert MIXED.periodic == (0, 1, 2)
    assert MIXED.plain == (3,)
    low, high = MIXED.bounds(torch.arange(6.0) - 9, torch.arange(6.0))
    assert low.tolist() == [-math.inf] * 3 + [-5]
    assert high.tolist() == [math.inf] * 3 + [4]
    assert MIXED.names("abcdef") == ("angle(a, f)", "angle(d, b)", "c", "e")
    assert Geometry.from_json(json.loads(json.dumps(MIXED.to_json()))) == MIXED
    assert not MIXED.trivial
    assert Geometry(3, angles=(Angle(1),)).trivial
    for wrong in ((Circle(0, 1), Circle(1, 2)), (Circle(0, 6),)):
        with pytest.raises(ValueError, match="column"):
            Geometry(6, wrong)
