"""Rewards as text: what they compute, and that nothing else can be written."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import torch

from persim_gym.learned.outcomes.expression import Columns, Expression, quoted

COLUMNS = Columns(("glucose", "iob mg", "µg", "min"), ("dose", "carbs"))
CHOICES = Columns(("glucose",), ("drug",), True, ("none", "A b", "C"))

_RNG = np.random.default_rng(0)
OBS, NEXT = _RNG.normal(100.0, 50.0, (2, 5, 3, 4))
ACTION = np.where(_RNG.random((5, 3, 2)) < 0.3, 0.0, _RNG.uniform(0.0, 3.0, (5, 3, 2)))
G, I, U, M = np.moveaxis(OBS, -1, 0)  # noqa: E741
D, C = np.moveaxis(ACTION, -1, 0)
N = NEXT[..., 0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-abs(glucose - 110) - 0.1*dose", -abs(G - 110) - 0.1 * D),
        ("-abs(next.glucose - 110)", -abs(N - 110)),
        ("`iob mg` + next.`iob mg` + µg", I + NEXT[..., 1] + U),
        ("70 <= glucose <= 180", ((G >= 70) & (G <= 180)) * 1.0),
        ("10 * (glucose < 70) - (glucose > 180)", 10.0 * (G < 70) - (G > 180)),
        ("dose and not carbs or glucose != 0", ((D != 0) & (C == 0) | (G != 0)) * 1.0),
        ("1 if next.glucose > 110 else -dose", np.where(N > 110, 1.0, -D)),
        ("where(dose, glucose, 2) + where(1 < 2, dose, 3)", np.where(D != 0, G, 2.0) + D),
        ("min(glucose, 110, carbs) + max(3, dose)", np.minimum(G.clip(max=110), C) + D.clip(3)),
        ("clip(glucose, 70, next.glucose)", np.minimum(np.maximum(G, 70), N)),
        ("exp(-dose) * sqrt(abs(glucose))", np.exp(-D) * abs(G) ** 0.5),
        ("log(1 + dose)", np.log1p(D)),
        ("sin(glucose) ** 2 + cos(glucose) ** 2", np.ones((5, 3))),
        ("glucose // 7 + glucose % 7 + 2**dose + +dose", G // 7 + G % 7 + 2**D + D),
        ("min + min(min, next.min)", M + np.minimum(M, NEXT[..., 3])),
        ("dose", D),
        ("3", np.full((5, 3), 3.0)),
        ("not 1", np.zeros((5, 3))),
        ("\n  glucose +\n  1 ", G + 1),
    ],
)
def test_what_is_computed(text: str, expected: np.ndarray) -> None:
    found = Expression(text, COLUMNS)
    for reward in (found, pickle.loads(pickle.dumps(found))):
        np.testing.assert_allclose(reward(OBS, ACTION, NEXT), expected, rtol=1e-12)
    tensors = [torch.as_tensor(part) for part in (OBS, ACTION, NEXT)]
    value = found(*tensors)
    assert isinstance(value, torch.Tensor)
    np.testing.assert_allclose(value.numpy(), expected, rtol=1e-6)
    row = found(OBS[0, 0], ACTION[0, 0], NEXT[0, 0])
    np.testing.assert_allclose(row, expected[0, 0], rtol=1e-12)


def test_actions_of_fewer_axes_are_broadcast() -> None:
    found = Expression("next.glucose - dose", COLUMNS)
    states = torch.ones(2, 7, 5, 3, 4)
    acted = torch.full((2, 1, 5, 3, 2), 0.25)
    assert found(states, acted, states).shape == (2, 7, 5, 3)
    assert bool((found(states, acted, states) == 0.75).all())
    alone = Columns(("x",), ("u",))
    fewer = Expression("u + x", alone)(states[..., :1], acted[0, 0, ..., :1], states[..., :1])
    assert bool((fewer == 1.25).all())


def test_discrete_actions_by_index_and_name() -> None:
    obs, action = np.zeros((3, 1)), np.array([0, 1, 2])
    assert Expression("drug", CHOICES)(obs, action, obs).tolist() == [0.0, 1.0, 2.0]
    found = Expression("5 * (drug == 'A b') - (\"C\" != `drug`)", CHOICES)
    assert found(obs, action, obs).tolist() == [-1.0, 4.0, 0.0]
    tensors = torch.zeros(3, 1), torch.as_tensor(action), torch.zeros(3, 1)
    assert found(*tensors).tolist() == [-1.0, 4.0, 0.0]
    for text, says in (
        ("drug == 'B'", "there is no action 'B'; actions: none, A b, C"),
        ("drug < glucose == 'C'", "text is compared with a column of discrete actions"),
        ("'C' == 'C'", "text is compared"),
    ):
        with pytest.raises(ValueError, match=says):
            Expression(text, CHOICES)


def test_no_value_is_not_finite_and_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Expression("log(glucose - glucose) + sqrt(-1 - dose) / 0", COLUMNS)
        assert not np.isfinite(found(OBS, ACTION, NEXT)).any()
        tensors = [torch.as_tensor(part) for part in (OBS, ACTION, NEXT)]
        assert not torch.isfinite(found(*tensors)).any()
        # What has no value is not hidden by a bound.
        assert np.isnan(Expression("min(sqrt(-1 - dose), 3)", COLUMNS)(OBS, ACTION, NEXT)).all()


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('x')", "glucose.__class__", "().__class__.__bases__", "next.x.y",
        "`iob mg`.real", "(lambda: 1)()", "lambda: 1", "[g for g in (1, 2)]", "{1: 2}", "{1}",
        "(glucose, 1)", "glucose[0]", "next['glucose']", "(glucose := 3)", "f'{dose}'", "'text'",
        "b'x'", "1j", "None", "...", "glucose in (1, 2)", "glucose is 1", "dose & 1", "~dose",
        "dose @ dose", "dose << 1", "await dose", "yield", "exec('1')", "eval(dose)", "open('x')",
        "max", "next", "next.dose", "abs()", "abs(dose, 1)", "min(dose)", "min(*dose)",
        "clip(dose, low=0, high=1)", "where(dose)", "min(dose)(1)", "9**9**9**9", "10**400",
        "1/0", "1e999", "9" * 400, "(" * 300 + "1" + ")" * 300, "-" * 1900 + "1", "1+" * 900 + "1",
        "x" * 3000, "glucose;dose", "import os", "dose =", "`glucose", "dose if", "\0", "a\nb",
        "abs.__globals__", "print(dose)", "globals()", "dose or __builtins__", "glucos", "true",
    ],
)  # fmt: skip
def test_what_is_refused_in_one_line(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"reward") as caught:
            Expression(text, COLUMNS)
    assert "\n" not in str(caught.value)


def test_errors_say_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"'glucos' \(did you mean 'glucose'\?\); columns: gluc"):
        Expression("abs(glucos)", COLUMNS)
    with pytest.raises(ValueError, match=r"absolut \(did you mean 'abs'\?\); functions"):
        Expression("absolut(glucose)", COLUMNS)
    with pytest.raises(ValueError, match="next action, which is not known yet"):
        Expression("next.dose", COLUMNS)
    with pytest.raises(ValueError, match="is a column of the state and of the action"):
        Expression("x", Columns(("x",), ("x",)))
    assert [quoted(name) for name in ("a", "a b", "class", "1")] == ["a", "`a b`", "`class`", "`1`"]
    with pytest.raises(TypeError, match="reward must be text"):
        Expression(3, COLUMNS)  # type: ignore[arg-type]
