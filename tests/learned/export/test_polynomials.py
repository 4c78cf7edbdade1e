"""Names of everything in equations, and polynomials by their recurrence."""

from __future__ import annotations

import math

import numpy as np
import sympy

from persim_gym.learned.export.polynomials import Names, Polynomials, at, low_rank
from tests.learned.closed_form.polynomials import some


def test_names_of_a_past_stand_oldest_first() -> None:
    names = Names.of(some(lag=2), ("x", "y"), ["left", "none", "right"])
    assert names.state(names.observed) == ["x[-1]", "y[-1]", "x", "y"]
    assert names.actions == ("left", "none", "right")
    assert at("x", 0) == "x"
    assert at("x", 3) == "x[-3]"


def test_actions_that_cannot_be_told_apart_are_numbered() -> None:
    for given in (None, ["one"], ["x", "b"]):  # none, too few, one that is a coordinate
        names = Names.of(some(discrete=False), ("x", "y"), given)
        assert names.actions == ("a0", "a1")
    assert Names.of(some(), ("x", "y"), ["one"]).actions == ("action 0", "action 1", "action 2")


def test_a_scale_is_divided_out() -> None:
    """At an input's centre and one scale beside it, by hand."""
    ensemble = some(discrete=False)
    found: Polynomials = low_rank(ensemble, 2, Names.of(ensemble, ("x", "y"), None))
    constant, column = ensemble.monomials.exponents.tolist().index([0, 0, 0, 0]), 1
    own = (ensemble.weights * ensemble.scale * ensemble.factors[:, None, 2, :, None, None]).sum(2)
    mean = own.mean(0)[0]  # [P, d]
    one, *_ = (change for change in found.changes[0])
    assert math.isclose(float(one.coeff(1)), float(mean[constant, 0]))
    powers = np.eye(4, dtype=int)[column].tolist()
    place = ensemble.monomials.exponents.tolist().index(powers)
    exact = float(mean[place, 0] / ensemble.inputs.scale[column])
    assert math.isclose(float(one[tuple(powers)]), exact)
    assert found.inputs[column].value == sympy.Symbol("y")
    assert math.isclose(found.inputs[column].centre, float(ensemble.inputs.centre[column]))
