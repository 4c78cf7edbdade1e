from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from persim_gym.learned.closed_form.basis import SUPPORT, Inputs, Monomials, angles_of
from tests.learned.worlds import PlainTask


def brute(exponents: np.ndarray, z: np.ndarray) -> np.ndarray:
    """``[P, q]``, ``[q, n]`` -> ``[P, n]``."""
    return np.prod(z[None] ** exponents[:, :, None], axis=1)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**20))
def test_monomials_are_products_of_powers(degree: int, inputs: int, seed: int) -> None:
    z = np.random.default_rng(seed).uniform(-2, 2, size=(inputs, 7))
    basis = Monomials.up_to(degree, inputs)
    assert basis.size == math.comb(degree + inputs, inputs)
    assert len({tuple(e) for e in basis.exponents.tolist()}) == basis.size
    assert basis.exponents.sum(1).max() == degree
    np.testing.assert_allclose(basis(torch.as_tensor(z)).numpy(), brute(basis.exponents, z))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**20), st.floats(0.0, 0.6))
def test_a_subset_holds_what_it_is_made_of(
    degree: int, inputs: int, seed: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    basis = Monomials.up_to(degree, inputs)
    wanted = rng.random(basis.size) < share
    part, kept = basis.subset(wanted)
    assert set(np.flatnonzero(wanted)) <= set(kept.tolist())
    assert kept[0] == 0
    np.testing.assert_array_equal(part.exponents, basis.exponents[kept])
    z = rng.uniform(-2, 2, size=(3, inputs, 5))
    expected = np.stack([brute(part.exponents, each) for each in z])
    np.testing.assert_allclose(part(torch.as_tensor(z)).numpy(), expected)
    # Nothing more than ancestors: each that is kept is wanted or leads to one that is.
    for index in set(kept.tolist()) - set(np.flatnonzero(wanted).tolist()) - {0}:
        above = part.exponents - basis.exponents[index]
        assert ((above >= 0).all(1) & (above.sum(1) > 0)).any()


def test_few_runs_and_many_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from persim_gym.learned.closed_form import basis as module

    z = torch.as_tensor(np.random.default_rng(0).normal(size=(2, 4, 6)))
    basis = Monomials.up_to(4, 4)
    found = []
    for few in (0, 1000):
        monkeypatch.setattr(module._Block, "FEW", few)
        found.append(basis(z))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


def test_cosines_enter_to_the_first_power_only() -> None:
    basis = Monomials.up_to(3, 3, cosines=[2])
    assert basis.exponents[:, 2].max() == 1
    everything = Monomials.up_to(3, 3).exponents
    assert basis.size == (everything[:, 2] < 2).sum()


def test_names_and_json() -> None:
    basis = Monomials.up_to(2, 2)
    assert basis.names(["x", "v"]) == ("1", "x", "v", "x^2", "x v", "v^2")
    again = Monomials.from_json(basis.to_json())
    np.testing.assert_array_equal(again.exponents, basis.exponents)
    for wrong in ([], [[1, 0]], [[0, 0], [-1, 0]], [[0, 0], [2, 0]], "text", [[0], [1, 2]]):
        with pytest.raises(ValueError, match="no exponents"):
            Monomials.from_json(wrong)  # type: ignore[arg-type]


def test_inputs_are_centred_only_where_zero_is_far() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal([0.3, 10.0, 0.0], [1.0, 1.0, 1e-20], size=(500, 3))
    units = Inputs.of(values)
    assert units.centre[0] == 0
    assert units.centre[1] == pytest.approx(10.0, abs=0.2)
    assert units.scale[2] == 1.0  # constant: no division by nothing
    z = units(torch.as_tensor(values))
    assert z.shape == (3, 500)
    assert float(z.abs().max()) <= 2.0 + 1e-12


def test_inputs_are_held_near_the_record() -> None:
    values = np.array([[-1.0], [3.0], [1.0]])
    units = Inputs.of(values)
    width = 4.0
    far = torch.tensor([[-100.0], [100.0], [3.5]], dtype=torch.float64)
    z = units(far)[0] * units.scale + units.centre
    np.testing.assert_allclose(z, [-1 - SUPPORT * width, 3 + SUPPORT * width, 3.5])
    z = units.within(0.1)(far)[0] * units.scale + units.centre
    np.testing.assert_allclose(z, [-1.4, 3.4, 3.4])


def test_angles_become_sine_and_cosine_and_are_not_held() -> None:
    values = np.array([[0.1, 5.0], [0.3, 7.0], [-0.2, 6.0]])
    units = Inputs.of(values, angles=[0])
    assert units.size == 3
    assert units.names(["theta", "x"]) == ("sin(theta)", "x", "cos(theta)")
    turned = torch.tensor([[0.7 + 8 * math.pi, 6.0]], dtype=torch.float64)
    for held in (units, units.within(0.1)):
        z = held(turned)
        assert z[0, 0] == pytest.approx(math.sin(0.7))
        assert z[2, 0] == pytest.approx(math.cos(0.7))
    # The state itself is left as it was.
    np.testing.assert_allclose(turned[0, 0], 0.7 + 8 * math.pi)


def test_angles_are_the_tasks_in_every_past_observation() -> None:
    class Turning(PlainTask):
        angles = (1,)

    assert angles_of(Turning(), lag=3, width=2) == (1, 3, 5)
    assert angles_of(PlainTask(), lag=3, width=2) == ()


def test_monomials_of_one_degree_come_after_those_of_less() -> None:
    totals = Monomials.up_to(4, 3).exponents.sum(1)
    assert all(a <= b for a, b in itertools.pairwise(totals.tolist()))


def test_a_run_of_monomials_reads_what_is_there_before_it() -> None:
    # A chain of powers, of which each is made of the one before.
    order = Monomials(np.array([[0], [1], [2], [3], [4], [5]])).order
    for first, parent, length, _ in order.runs:
        assert parent + length <= first
